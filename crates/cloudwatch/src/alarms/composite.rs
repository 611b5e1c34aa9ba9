//! The rules of composite alarms.

use super::rule::State;

/// An `AlarmRule`: whether a composite alarm is in `ALARM`, from the states of other alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompositeRule {
    /// `TRUE` or `FALSE`.
    Always(bool),
    /// `ALARM("name")`, `OK("name")` or `INSUFFICIENT_DATA("name")`.
    Is(State, String),
    /// `NOT`.
    Not(Box<CompositeRule>),
    /// `AND`.
    All(Vec<CompositeRule>),
    /// `OR`.
    Any(Vec<CompositeRule>),
}

/// A string that is not a valid rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rule `{rule}`: expected {expected} at `{at}`")]
pub struct RuleError {
    /// The rule.
    pub rule: String,
    /// What was expected.
    pub expected: &'static str,
    /// The rest of the rule, from where it was expected.
    pub at: String,
}

/// The limit of CloudWatch (Amazon CloudWatch API Reference, `PutCompositeAlarm`). It also limits how deeply rules nest.
const MAX_ELEMENTS: usize = 500;

impl CompositeRule {
    /// Reads a rule. `NOT` binds tightest and `OR` loosest. An ARN of an alarm stands for the alarm's name.
    ///
    /// # Errors
    ///
    /// Says where the rule is wrong, and what was expected there.
    pub fn parse(rule: &str) -> Result<Self, RuleError> {
        let mut rest = rule;
        let elements = rule.matches('(').count() + rule.matches("NOT").count();
        let parsed = if elements > MAX_ELEMENTS { Err("fewer elements, 500 at most") } else { disjunction(&mut rest) };
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

    /// The names of the alarms that the rule watches.
    #[must_use]
    pub fn alarms(&self) -> Vec<&str> {
        match self {
            Self::Always(_) => Vec::new(),
            Self::Is(_, alarm) => vec![alarm],
            Self::Not(rule) => rule.alarms(),
            Self::All(rules) | Self::Any(rules) => rules.iter().flat_map(Self::alarms).collect(),
        }
    }

    /// The names of the alarms that can make it hold, without those that only keep it from holding.
    #[must_use]
    pub fn causes(&self) -> Vec<&str> {
        match self {
            Self::Always(_) | Self::Not(_) => Vec::new(),
            Self::Is(_, alarm) => vec![alarm],
            Self::All(rules) | Self::Any(rules) => rules.iter().flat_map(Self::causes).collect(),
        }
    }
}

fn disjunction(rest: &mut &str) -> Result<CompositeRule, &'static str> {
    let mut rules = vec![conjunction(rest)?];
    while word(rest, "OR") {
        rules.push(conjunction(rest)?);
    }
    Ok(if rules.len() == 1 { rules.remove(0) } else { CompositeRule::Any(rules) })
}

fn conjunction(rest: &mut &str) -> Result<CompositeRule, &'static str> {
    let mut rules = vec![operand(rest)?];
    while word(rest, "AND") {
        rules.push(operand(rest)?);
    }
    Ok(if rules.len() == 1 { rules.remove(0) } else { CompositeRule::All(rules) })
}

fn operand(rest: &mut &str) -> Result<CompositeRule, &'static str> {
    if word(rest, "NOT") {
        return Ok(CompositeRule::Not(Box::new(operand(rest)?)));
    }
    for (text, always) in [("TRUE", true), ("FALSE", false)] {
        if word(rest, text) {
            return Ok(CompositeRule::Always(always));
        }
    }
    for state in [State::Alarm, State::Ok, State::InsufficientData] {
        if word(rest, &state.to_string()) {
            symbol(rest, '(').ok_or("(")?;
            let name = name(rest)?;
            symbol(rest, ')').ok_or(")")?;
            return Ok(CompositeRule::Is(state, name));
        }
    }
    symbol(rest, '(').ok_or("ALARM, OK, INSUFFICIENT_DATA, TRUE, FALSE, NOT or (")?;
    let rule = disjunction(rest)?;
    symbol(rest, ')').ok_or("AND, OR or )")?;
    Ok(rule)
}

/// The name of an alarm, which must be quoted if it contains a parenthesis.
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

/// Consumes the word if it comes next.
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
            assert!(CompositeRule::parse(rule).unwrap().holds(&state), "{rule}");
            assert!(!CompositeRule::parse(&format!("NOT ({rule})")).unwrap().holds(&state), "NOT ({rule})");
        }
    }

    #[test]
    fn a_rule_lists_the_alarms_that_it_watches() {
        let rule = CompositeRule::parse("ALARM(a) AND NOT (OK(b) OR ALARM(c)) AND TRUE").unwrap();
        assert_eq!(rule.alarms(), ["a", "b", "c"]);
    }

    #[test]
    fn a_text_that_is_not_a_rule_is_rejected_with_the_place_and_what_was_expected() {
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
        assert_eq!(CompositeRule::parse(&deep).unwrap_err().expected, "fewer elements, 500 at most");
        assert_eq!(CompositeRule::parse(&deep[1..]).unwrap_err().expected, function);
        for (rule, expected, at) in cases {
            let error = RuleError { rule: rule.to_owned(), expected, at: at.to_owned() };
            assert_eq!(CompositeRule::parse(rule), Err(error));
        }
    }

    fn any_rule() -> impl Strategy<Value = CompositeRule> {
        let states = prop::sample::select(vec![State::Ok, State::Alarm, State::InsufficientData]);
        let leaf = prop_oneof![
            any::<bool>().prop_map(CompositeRule::Always),
            (states, "[a-z]{1,4}").prop_map(|(state, name)| CompositeRule::Is(state, name))
        ];
        leaf.prop_recursive(4, 20, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|rule| CompositeRule::Not(Box::new(rule))),
                prop::collection::vec(inner.clone(), 2..4).prop_map(CompositeRule::All),
                prop::collection::vec(inner, 2..4).prop_map(CompositeRule::Any),
            ]
        })
    }

    /// Writes a rule with every operand in parentheses.
    fn write(rule: &CompositeRule) -> String {
        let all = |rules: &[CompositeRule], by: &str| {
            rules.iter().map(|rule| format!("({})", write(rule))).collect::<Vec<_>>().join(by)
        };
        match rule {
            CompositeRule::Always(always) => always.to_string().to_uppercase(),
            CompositeRule::Is(state, name) => format!("{state}(\"{name}\")"),
            CompositeRule::Not(rule) => format!("NOT ({})", write(rule)),
            CompositeRule::All(rules) => all(rules, " AND "),
            CompositeRule::Any(rules) => all(rules, " OR "),
        }
    }

    proptest! {
        #[test]
        fn every_rule_is_read_as_it_was_written(rule in any_rule()) {
            prop_assert_eq!(CompositeRule::parse(&write(&rule)), Ok(rule));
        }

        #[test]
        fn any_text_is_read_or_rejected(text in "(ALARM|OK|NOT|AND|OR|TRUE|[(\")é a-z]){0,12}") {
            let _ = CompositeRule::parse(&text);
        }
    }
}
