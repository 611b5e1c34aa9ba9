//! The rules of composite alarms.

use super::alarm::State;

/// An `AlarmRule`: whether a composite alarm is in `ALARM`, from the states of other alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `TRUE` or `FALSE`.
    Always(bool),
    /// `ALARM("name")`, `OK("name")` or `INSUFFICIENT_DATA("name")`.
    Is(State, String),
    /// `NOT`.
    Not(Box<Rule>),
    /// `AND`.
    All(Vec<Rule>),
    /// `OR`.
    Any(Vec<Rule>),
}

/// A text that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rule `{rule}`: expected {expected} at `{at}`")]
pub struct RuleError {
    /// The rule.
    pub rule: String,
    /// What could be there.
    pub expected: &'static str,
    /// What is there instead, to the end.
    pub at: String,
}

/// The most elements of a rule (Amazon CloudWatch API Reference, `PutCompositeAlarm`), which keeps what is nested from
/// going too deep, too.
const MOST_ELEMENTS: usize = 500;

impl Rule {
    /// Reads a rule. `NOT` binds most and `OR` least. An ARN of an alarm stands for the alarm's name.
    ///
    /// # Errors
    ///
    /// Says where it is no rule, and what could be there.
    pub fn parse(rule: &str) -> Result<Self, RuleError> {
        let mut rest = rule;
        let elements = rule.matches('(').count() + rule.matches("NOT").count();
        let parsed = if elements > MOST_ELEMENTS { Err("fewer elements, 500 at most") } else { disjunction(&mut rest) };
        let parsed =
            parsed.and_then(|parsed| if rest.trim_start().is_empty() { Ok(parsed) } else { Err("AND, OR or the end") });
        let at = rest.trim_start().to_owned();
        parsed.map_err(|expected| RuleError { rule: rule.to_owned(), expected, at })
    }

    /// Whether the rule holds, given the other alarms' states.
    #[must_use]
    pub fn holds(&self, state: &dyn Fn(&str) -> State) -> bool {
        match self {
            Self::Always(always) => *always,
            Self::Is(expected, alarm) => state(alarm) == *expected,
            Self::Not(rule) => !rule.holds(state),
            Self::All(rules) => rules.iter().all(|rule| rule.holds(state)),
            Self::Any(rules) => rules.iter().any(|rule| rule.holds(state)),
        }
    }

    /// The names of the alarms that it looks at.
    #[must_use]
    pub fn alarms(&self) -> Vec<&str> {
        match self {
            Self::Always(_) => Vec::new(),
            Self::Is(_, alarm) => vec![alarm],
            Self::Not(rule) => rule.alarms(),
            Self::All(rules) | Self::Any(rules) => rules.iter().flat_map(Self::alarms).collect(),
        }
    }
}

fn disjunction(rest: &mut &str) -> Result<Rule, &'static str> {
    let mut rules = vec![conjunction(rest)?];
    while word(rest, "OR") {
        rules.push(conjunction(rest)?);
    }
    Ok(if rules.len() == 1 { rules.remove(0) } else { Rule::Any(rules) })
}

fn conjunction(rest: &mut &str) -> Result<Rule, &'static str> {
    let mut rules = vec![operand(rest)?];
    while word(rest, "AND") {
        rules.push(operand(rest)?);
    }
    Ok(if rules.len() == 1 { rules.remove(0) } else { Rule::All(rules) })
}

fn operand(rest: &mut &str) -> Result<Rule, &'static str> {
    if word(rest, "NOT") {
        return Ok(Rule::Not(Box::new(operand(rest)?)));
    }
    for (text, always) in [("TRUE", true), ("FALSE", false)] {
        if word(rest, text) {
            return Ok(Rule::Always(always));
        }
    }
    for state in [State::Alarm, State::Ok, State::InsufficientData] {
        if word(rest, &state.to_string()) {
            symbol(rest, '(').ok_or("(")?;
            let name = name(rest)?;
            symbol(rest, ')').ok_or(")")?;
            return Ok(Rule::Is(state, name));
        }
    }
    symbol(rest, '(').ok_or("ALARM, OK, INSUFFICIENT_DATA, TRUE, FALSE, NOT or (")?;
    let rule = disjunction(rest)?;
    symbol(rest, ')').ok_or("AND, OR or )")?;
    Ok(rule)
}

/// The name of an alarm; one with a parenthesis in it must be quoted.
fn name(rest: &mut &str) -> Result<String, &'static str> {
    let quoted = symbol(rest, '"').is_some();
    let (end, missing) = if quoted { ('"', "a closing quote") } else { (')', ")") };
    let (name, after) = rest.split_at(rest.find(end).ok_or(missing)?);
    let name = if quoted { name } else { name.trim() };
    if name.is_empty() {
        return Err("an alarm's name");
    }
    *rest = if quoted { &after[1..] } else { after };
    let of_arn = name.strip_prefix("arn:").and_then(|arn| arn.split_once(":alarm:")).map(|(_, name)| name);
    Ok(of_arn.unwrap_or(name).to_owned())
}

/// Takes the word, if it is next.
fn word(rest: &mut &str, word: &str) -> bool {
    let is_end = |after: &&str| !after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    let after = rest.trim_start().strip_prefix(word).filter(is_end);
    *rest = after.unwrap_or(rest);
    after.is_some()
}

fn symbol(rest: &mut &str, symbol: char) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(symbol)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(name: &str) -> State {
        match name {
            "bad" | "bad (very)" => State::Alarm,
            "good" => State::Ok,
            _ => State::InsufficientData,
        }
    }

    #[test]
    fn a_rule_holds_when_its_alarms_are_in_the_states_it_names() {
        let holding = [
            "TRUE",
            "NOT FALSE",
            r#"ALARM("bad")"#,
            "ALARM(bad)",
            "ALARM( bad )",
            r#"ALARM("bad (very)")"#,
            "ALARM(arn:aws:cloudwatch:eu-west-1:123456789012:alarm:bad)",
            "OK(good) AND INSUFFICIENT_DATA(new)",
            "ALARM(good) OR ALARM(bad)",
            "NOT ALARM(good) AND NOT (OK(bad) OR OK(new))",
            "TRUE OR TRUE AND FALSE",
            "NOT FALSE OR TRUE",
            "NOT(FALSE)",
            "\n  ALARM(bad)\n  AND(TRUE)\n",
        ];
        for rule in holding {
            assert!(Rule::parse(rule).unwrap().holds(&state), "{rule}");
            assert!(!Rule::parse(&format!("NOT ({rule})")).unwrap().holds(&state), "NOT ({rule})");
        }
    }

    #[test]
    fn a_rule_knows_its_alarms() {
        let rule = Rule::parse("ALARM(a) AND NOT (OK(b) OR ALARM(c)) AND TRUE").unwrap();
        assert_eq!(rule.alarms(), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_no_rule_is_refused_where_it_ends_to_be_one() {
        let function = "ALARM, OK, INSUFFICIENT_DATA, TRUE, FALSE, NOT or (";
        let cases = [
            ("", function, ""),
            ("ALARM(a) ALARM(b)", "AND, OR or the end", "ALARM(b)"),
            ("ALARM a", "(", "a"),
            ("ALARM(a", ")", "a"),
            ("ALARM()", "an alarm's name", ")"),
            ("ALARM(\"a)", "a closing quote", "a)"),
            ("(TRUE", "AND, OR or )", ""),
            ("TRUE AND", function, ""),
            ("TRUER", function, "TRUER"),
            ("AT_LEAST(1, ALARM, (a, b))", function, "AT_LEAST(1, ALARM, (a, b))"),
        ];
        let deep = "(".repeat(501);
        assert_eq!(Rule::parse(&deep).unwrap_err().expected, "fewer elements, 500 at most");
        assert_eq!(Rule::parse(&deep[1..]).unwrap_err().expected, function);
        for (rule, expected, at) in cases {
            let error = RuleError { rule: rule.to_owned(), expected, at: at.to_owned() };
            assert_eq!(Rule::parse(rule), Err(error));
        }
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let states = prop::sample::select(vec![State::Ok, State::Alarm, State::InsufficientData]);
        let leaf = prop_oneof![
            any::<bool>().prop_map(Rule::Always),
            (states, "[a-z]{1,4}").prop_map(|(state, name)| Rule::Is(state, name))
        ];
        leaf.prop_recursive(4, 20, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|rule| Rule::Not(Box::new(rule))),
                prop::collection::vec(inner.clone(), 2..4).prop_map(Rule::All),
                prop::collection::vec(inner, 2..4).prop_map(Rule::Any),
            ]
        })
    }

    /// Every operand in parentheses.
    fn write(rule: &Rule) -> String {
        let all = |rules: &[Rule], by: &str| {
            rules.iter().map(|rule| format!("({})", write(rule))).collect::<Vec<_>>().join(by)
        };
        match rule {
            Rule::Always(always) => always.to_string().to_uppercase(),
            Rule::Is(state, name) => format!("{state}(\"{name}\")"),
            Rule::Not(rule) => format!("NOT ({})", write(rule)),
            Rule::All(rules) => all(rules, " AND "),
            Rule::Any(rules) => all(rules, " OR "),
        }
    }

    proptest! {
        #[test]
        fn every_rule_is_read_as_it_was_meant(rule in any_rule()) {
            prop_assert_eq!(Rule::parse(&write(&rule)), Ok(rule));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(ALARM|OK|NOT|AND|OR|TRUE|[(\")é a-z]){0,12}") {
            let _ = Rule::parse(&text);
        }
    }
}
