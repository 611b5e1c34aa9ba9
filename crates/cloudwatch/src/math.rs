//! Metric math, as far as the bundled alarms and dashboards need it.
//!
//! What AWS documents about missing datapoints, and what follows from it:
//! - If one of two time series has no datapoint, an operator uses 0 for it; if neither has one, the result has none. A
//!   number has no datapoints of its own, so `m1 + 1` has those of `m1`.
//! - A division by zero has no result.
//! - `IF` has no result if its condition has none, or if the value that it selects has none; but if the value for a true
//!   condition is missing, it counts as 0.
//! - `FILL` has a datapoint in every period, also if the metric has none in any period that CloudWatch reads, a case that
//!   AWS does not document.

use std::collections::BTreeMap;
use std::fmt;

/// What an expression can refer to by its `Id`.
#[derive(Debug, Clone, Copy)]
pub enum Query<'a> {
    /// A metric, by its index.
    Metric(usize),
    /// Another expression.
    Expression(&'a str),
}

/// An expression whose result is a time series.
#[derive(Debug, Clone)]
pub struct Expression(Node);

/// An expression that cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the expression `{expression}`: {problem}")]
pub struct MathError {
    /// The expression.
    pub expression: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The syntax is wrong.
    #[error("expected {expected}, found {found}")]
    Syntax {
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A function, or a form of one, that is not supported.
    #[error("{0} is not supported; the functions are ABS, FILL with a number or a series, and IF")]
    Function(String),
    /// An `Id` that does not exist.
    #[error("no metric or expression has the Id {0}")]
    Id(String),
    /// An `Id` whose expression refers to itself.
    #[error("{0} depends on itself")]
    Cycle(String),
    /// It is too large.
    #[error("it is nested deeper than {MAX_DEPTH}, or has more than {MAX_OPERANDS} operands")]
    Large,
    /// It is a number, where a time series is required.
    #[error("{0} is a number, but must be a time series")]
    Scalar(&'static str),
}

// Limits of an expression together with all expressions that it refers to, which keep their evaluation within the stack and
// memory. CloudWatch allows 2,048 characters.
const MAX_DEPTH: usize = 100;
const MAX_OPERANDS: usize = 2048;

/// The result for two values; none if it is not defined.
type Operator = fn(f64, f64) -> Option<f64>;

#[derive(Debug, Clone)]
enum Node {
    Number(f64),
    Metric(usize),
    Unary(fn(f64) -> f64, Box<Node>),
    Binary(Operator, Box<[Node; 2]>),
    If(Box<[Node; 2]>, Option<Box<Node>>),
    Fill(Box<[Node; 2]>),
}

/// The operators, from those that bind loosest.
const OPERATORS: [&[(&str, Operator)]; 5] = [
    &[("OR", or), ("||", or)],
    &[("AND", and), ("&&", and)],
    &[
        ("==", |left, right| truth(left - right == 0.0)),
        ("!=", |left, right| truth(left - right != 0.0)),
        ("<=", |left, right| truth(left <= right)),
        (">=", |left, right| truth(left >= right)),
        ("<", |left, right| truth(left < right)),
        (">", |left, right| truth(left > right)),
    ],
    &[("+", |left, right| Some(left + right)), ("-", |left, right| Some(left - right))],
    &[
        ("*", |left, right| Some(left * right)),
        ("/", |left, right| if right == 0.0 { None } else { Some(left / right) }),
    ],
];

#[allow(clippy::unnecessary_wraps, reason = "an operator may have no result")]
fn truth(truth: bool) -> Option<f64> {
    Some(f64::from(u8::from(truth)))
}

fn or(left: f64, right: f64) -> Option<f64> {
    truth(left != 0.0 || right != 0.0)
}

fn and(left: f64, right: f64) -> Option<f64> {
    truth(left != 0.0 && right != 0.0)
}

impl Expression {
    /// The expression or metric with this `Id`; `queries` has everything that it can refer to.
    ///
    /// # Errors
    ///
    /// Says which part of which expression is wrong or not supported.
    pub fn new(id: &str, queries: &BTreeMap<&str, Query>) -> Result<Self, MathError> {
        let node = Parser::query(id, queries, &mut Reading::default())
            .unwrap_or_else(|| Err(MathError { expression: id.to_owned(), problem: Problem::Id(id.to_owned()) }))?;
        if !node.is_series() {
            let expression = match queries.get(id) {
                Some(Query::Expression(text)) => *text,
                _ => id,
            };
            return Err(MathError { expression: expression.to_owned(), problem: Problem::Scalar("the result") });
        }
        Ok(Self(node))
    }

    /// The value in a period; `metric` gives the value of a metric in it, by the metric's index.
    #[must_use]
    pub fn value(&self, metric: &dyn Fn(usize) -> Option<f64>) -> Option<f64> {
        self.0.value(metric)
    }
}

impl Node {
    /// Whether it is a time series and not a number.
    fn is_series(&self) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Unary(_, of) => of.is_series(),
            Self::Binary(_, sides) => sides.iter().any(Self::is_series),
            Self::If(first, otherwise) => first.iter().chain(otherwise.as_deref()).any(Self::is_series),
            _ => true,
        }
    }

    fn value(&self, metric: &dyn Fn(usize) -> Option<f64>) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Metric(number) => metric(*number),
            Self::Unary(function, of) => of.value(metric).map(function),
            Self::Binary(operator, sides) => {
                let [left, right] = &**sides;
                let missing = || (left.is_series() && right.is_series()).then_some(0.0);
                match (left.value(metric), right.value(metric)) {
                    (None, None) => None,
                    (left, right) => operator(left.or_else(missing)?, right.or_else(missing)?),
                }
            }
            Self::If(first, otherwise) => {
                let [condition, then] = &**first;
                if condition.value(metric)? == 0.0 {
                    otherwise.as_deref()?.value(metric)
                } else {
                    then.value(metric).or_else(|| condition.is_series().then_some(0.0))
                }
            }
            Self::Fill(sides) => {
                let [of, filler] = &**sides;
                of.value(metric).or_else(|| filler.value(metric))
            }
        }
    }
}

/// A part of an expression.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Number(f64),
    /// An Id, a function, AND or OR.
    Name(&'a str),
    Symbol(&'a str),
    /// A character that no expression contains.
    Other(char),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(text) | Self::Symbol(text) => write!(f, "`{text}`"),
            Self::Other(other) => write!(f, "`{other}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// The first token, and what follows it.
fn token(text: &str) -> (Token<'_>, &str) {
    let text = text.trim_start();
    let split = |is_part: fn(char) -> bool| text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    let Some(first) = text.chars().next() else { return (Token::End, "") };
    if first.is_ascii_alphabetic() || first == '_' {
        let (name, rest) = split(|c| c.is_ascii_alphanumeric() || c == '_');
        return (Token::Name(name), rest);
    }
    if first.is_ascii_digit() || first == '.' {
        let (number, rest) = split(|c| c.is_ascii_digit() || c == '.');
        return number.parse().map_or((Token::Other(first), rest), |number| (Token::Number(number), rest));
    }
    let symbols = ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "(", ")", ","];
    let symbol = symbols.into_iter().find_map(|symbol| Some((Token::Symbol(symbol), text.strip_prefix(symbol)?)));
    symbol.unwrap_or((Token::Other(first), &text[first.len_utf8()..]))
}

/// How far the parser has come, including the expressions that are referred to.
#[derive(Default)]
struct Reading {
    /// The Ids whose expressions are being parsed.
    within: Vec<String>,
    depth: usize,
    operands: usize,
}

struct Parser<'a> {
    queries: &'a BTreeMap<&'a str, Query<'a>>,
    reading: &'a mut Reading,
    expression: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// Parses the metric or expression with this Id; none if there is none.
    fn query(
        id: &str,
        queries: &'a BTreeMap<&'a str, Query<'a>>,
        reading: &'a mut Reading,
    ) -> Option<Result<Node, MathError>> {
        Some(match queries.get(id)? {
            Query::Metric(metric) => Ok(Node::Metric(*metric)),
            Query::Expression(expression) => {
                reading.within.push(id.to_owned());
                let mut parser = Parser { queries, reading: &mut *reading, expression, rest: expression };
                let node = parser.binary(&OPERATORS).and_then(|node| match parser.take() {
                    Token::End => Ok(node),
                    found => Err(parser.syntax("an operator or the end", found)),
                });
                reading.within.pop();
                node
            }
        })
    }

    fn binary(&mut self, operators: &[&[(&str, Operator)]]) -> Result<Node, MathError> {
        let Some((level, tighter)) = operators.split_first() else { return self.unary() };
        let mut node = self.binary(tighter)?;
        loop {
            let (next, rest) = token(self.rest);
            let is_next = |text: &str| next == Token::Symbol(text) || next == Token::Name(text);
            let Some((_, operator)) = level.iter().find(|(text, _)| is_next(text)) else { return Ok(node) };
            self.rest = rest;
            node = Node::Binary(*operator, Box::new([node, self.binary(tighter)?]));
        }
    }

    fn unary(&mut self) -> Result<Node, MathError> {
        self.reading.depth += 1;
        self.reading.operands += 1;
        if self.reading.depth > MAX_DEPTH || self.reading.operands > MAX_OPERANDS {
            return Err(self.error(Problem::Large));
        }
        let node = self.operand();
        self.reading.depth -= 1;
        node
    }

    fn operand(&mut self) -> Result<Node, MathError> {
        match self.take() {
            Token::Symbol("-") => Ok(Node::Unary(|value| -value, Box::new(self.unary()?))),
            Token::Symbol("(") => {
                let node = self.binary(&OPERATORS)?;
                self.expect(")")?;
                Ok(node)
            }
            Token::Number(number) => Ok(Node::Number(number)),
            Token::Name(name) if self.is_next("(") => self.function(name),
            Token::Name(name) => {
                let id = name.to_owned();
                if self.reading.within.contains(&id) {
                    return Err(self.error(Problem::Cycle(id)));
                }
                Parser::query(&id, self.queries, self.reading).unwrap_or_else(|| Err(self.error(Problem::Id(id))))
            }
            found => Err(self.syntax("a number, an Id, a function or (", found)),
        }
    }

    fn function(&mut self, name: &str) -> Result<Node, MathError> {
        if !["ABS", "FILL", "IF"].contains(&name) {
            return Err(self.error(Problem::Function(name.to_owned())));
        }
        self.expect("(")?;
        let node = match name {
            "ABS" => Node::Unary(f64::abs, Box::new(self.series()?)),
            "IF" => {
                let condition = self.binary(&OPERATORS)?;
                self.expect(",")?;
                let then = self.binary(&OPERATORS)?;
                let otherwise = if self.is_next(",") {
                    self.expect(",")?;
                    Some(Box::new(self.binary(&OPERATORS)?))
                } else {
                    None
                };
                Node::If(Box::new([condition, then]), otherwise)
            }
            _ => {
                let of = self.series()?;
                self.expect(",")?;
                if let (Token::Name(kind @ ("REPEAT" | "LINEAR")), _) = token(self.rest) {
                    return Err(self.error(Problem::Function(format!("FILL(…, {kind})"))));
                }
                Node::Fill(Box::new([of, self.binary(&OPERATORS)?]))
            }
        };
        self.expect(")")?;
        Ok(node)
    }

    fn series(&mut self) -> Result<Node, MathError> {
        let node = self.binary(&OPERATORS)?;
        if node.is_series() { Ok(node) } else { Err(self.error(Problem::Scalar("a function's argument"))) }
    }

    fn take(&mut self) -> Token<'a> {
        let (token, rest) = token(self.rest);
        self.rest = rest;
        token
    }

    fn is_next(&self, symbol: &str) -> bool {
        token(self.rest).0 == Token::Symbol(symbol)
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), MathError> {
        let (found, rest) = token(self.rest);
        if found != Token::Symbol(symbol) {
            return Err(self.syntax(&format!("`{symbol}`"), found));
        }
        self.rest = rest;
        Ok(())
    }

    fn syntax(&self, expected: &str, found: Token) -> MathError {
        self.error(Problem::Syntax { expected: expected.to_owned(), found: found.to_string() })
    }

    fn error(&self, problem: Problem) -> MathError {
        MathError { expression: self.expression.to_owned(), problem }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Metrics are `metric1` and so on; `-` is a missing datapoint, as in AWS's tables.
    fn evaluate(expression: &str, metrics: &[&str]) -> String {
        let read = |text: &str| text.split(' ').map(|value| value.parse::<f64>().ok()).collect::<Vec<_>>();
        let series: Vec<_> = metrics.iter().map(|text| read(text)).collect();
        let names: Vec<_> = (1..=metrics.len()).map(|number| format!("metric{number}")).collect();
        let mut queries: BTreeMap<_, _> = names.iter().map(String::as_str).zip((0..).map(Query::Metric)).collect();
        queries.insert("result", Query::Expression(expression));
        let expression = Expression::new("result", &queries).unwrap();
        let values = (0..series[0].len()).map(|period| expression.value(&|metric| series[metric][period]));
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        values.map(text).collect::<Vec<_>>().join(" ")
    }

    fn problem(expression: &str) -> String {
        let queries = BTreeMap::from([
            ("m1", Query::Metric(0)),
            ("e1", Query::Expression("e2 + 1")),
            ("e2", Query::Expression("e1 + 1")),
            ("result", Query::Expression(expression)),
        ]);
        Expression::new("result", &queries).unwrap_err().to_string()
    }

    /// From "Using math expressions with CloudWatch metrics".
    #[test]
    fn the_published_examples_of_operators_and_if_hold() {
        let two = ["30 20 0 0", "20 - 20 -"];
        assert_eq!(evaluate("(metric1 < metric2)", &two), "0 0 1 0");
        assert_eq!(evaluate("(metric1 >= 30)", &two), "1 0 0 0");
        assert_eq!(evaluate("(metric1 > 15 AND metric2 > 15)", &two), "1 0 0 0");
        let three = ["1 1 0 0 -", "30 - 0 0 30", "0 0 20 - 20"];
        assert_eq!(evaluate("IF(metric1, metric2, metric3)", &three), "30 0 20 - -");
        assert_eq!(evaluate("IF(metric1, 5, metric3)", &three), "5 5 20 - -");
        assert_eq!(evaluate("IF(metric1, metric2, 5)", &three), "30 0 5 5 -");
        assert_eq!(evaluate("IF(metric1, metric2)", &three), "30 0 - - -");
        assert_eq!(evaluate("IF(1 > 0, metric2, metric3)", &three), "30 - 0 0 30");
    }

    #[test]
    fn a_missing_datapoint_is_zero_beside_an_existing_one() {
        assert_eq!(evaluate("metric1 - metric2", &["1 - 3 -", "1 2 - -"]), "0 -2 3 -");
        assert_eq!(evaluate("metric1 * 2 + 1", &["1 -"]), "3 -");
        assert_eq!(evaluate("-metric1", &["1 -"]), "-1 -");
        assert_eq!(evaluate("metric1 / metric2", &["1 1 1 -", "2 0 - 2"]), "0.5 - - 0");
        assert_eq!(evaluate("100 * metric1 / (metric1 + metric2)", &["1 0 -", "3 0 -"]), "25 - -");
    }

    #[test]
    fn functions_do_what_cloudwatch_documents() {
        let two = ["1 - -5 -", "2 3 - -"];
        assert_eq!(evaluate("ABS(metric1)", &two), "1 - 5 -");
        assert_eq!(evaluate("FILL(metric1, 0)", &two), "1 0 -5 0");
        assert_eq!(evaluate("FILL(metric1, metric2)", &two), "1 3 -5 -");
    }

    #[test]
    fn operators_bind_as_they_do_in_arithmetic() {
        assert_eq!(evaluate("metric1 + 2 * 3 - 4 / 2", &["1"]), "5");
        assert_eq!(evaluate("(metric1+2)*3", &["1"]), "9");
        assert_eq!(evaluate("10 - metric1 - 1", &["1"]), "8");
        assert_eq!(evaluate("metric1 == 1 || metric1 > 5 && metric1 < 0", &["1"]), "1");
        assert_eq!(evaluate("metric1 + 1 != 2 OR --metric1 <= .5", &["1"]), "0");
    }

    #[test]
    fn an_error_names_what_is_wrong() {
        let known = "is not supported; the functions are ABS, FILL with a number or a series, and IF";
        let cases = [
            ("SEARCH('x')", format!("SEARCH {known}")),
            ("m1 - MAX(m1)", format!("MAX {known}")),
            ("FILL(m1, REPEAT)", format!("FILL(…, REPEAT) {known}")),
            ("m2 + 1", "no metric or expression has the Id m2".to_owned()),
            ("m1 > 1 +", "expected a number, an Id, a function or (, found the end".to_owned()),
            ("m1 m1", "expected an operator or the end, found `m1`".to_owned()),
            ("m1 ^ 2", "expected an operator or the end, found `^`".to_owned()),
            ("IF(m1", "expected `,`, found the end".to_owned()),
            ("1 + 2", "the result is a number, but must be a time series".to_owned()),
            ("FILL(1, 2)", "a function's argument is a number, but must be a time series".to_owned()),
        ];
        for (expression, expected) in cases {
            assert_eq!(problem(expression), format!("the expression `{expression}`: {expected}"));
        }
        assert_eq!(problem("e1"), "the expression `e1 + 1`: e1 depends on itself");
        let large = "it is nested deeper than 100, or has more than 2048 operands";
        assert!(problem(&"(".repeat(5000)).ends_with(large));
        assert!(problem(&"-".repeat(5000)).ends_with(large));
        let doubled: Vec<_> =
            (0..40).map(|number| (format!("e{number}"), format!("e{0} + e{0}", number + 1))).collect();
        let mut queries: BTreeMap<_, _> =
            doubled.iter().map(|(id, text)| (id.as_str(), Query::Expression(text))).collect();
        queries.insert("e40", Query::Metric(0));
        assert!(Expression::new("e0", &queries).unwrap_err().to_string().ends_with(large));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_rejected(
            text in "[-a-z0-9A-Z+*/()\\[\\],.<>=!&| ]{0,30}|(IF|FILL|ABS|m1|[0-9]|[-+*/(),]){0,20}",
        ) {
            let queries = BTreeMap::from([("m1", Query::Metric(0)), ("result", Query::Expression(&text))]);
            let _ = Expression::new("result", &queries);
        }
    }
}
