//! Metric math, as far as the bundled alarms and dashboards need it.
//!
//! What AWS documents about missing datapoints, and what follows from it:
//! - If one of two time series has no datapoint, an operator uses 0 for it; if neither has one, the result has none. A
//!   number has no datapoints of its own, so `m1 + 1` has those of `m1`.
//! - A division by zero has no result.
//! - `IF` has no result if its condition has none, or if the value that it selects has none; but if the value for a true
//!   condition is missing, it counts as 0.
//! - `FILL` with a number has a datapoint in every period, even if the metric has none in any period that CloudWatch
//!   reads, a case that AWS does not document. `FILL` with `REPEAT` has none before the metric's first, and with
//!   `LINEAR` none after its last either.
//! - `EPOCH` has a datapoint in every period, even where the metric has none.

mod node;
mod parse;

use std::collections::BTreeMap;

use node::{Data, Node};
use parse::{Parser, Reading};

// Limits of an expression, including all expressions that it refers to, so that evaluation does not exhaust the stack
// or memory. CloudWatch allows 2,048 characters.
const MAX_DEPTH: usize = 100;
const MAX_OPERANDS: usize = 2048;

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
    #[error("{0} is not supported; the functions are ABS, EPOCH, FILL, FLOOR and IF")]
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

    /// The value in each period; `begins` says when the periods begin, in seconds since 1970, and `metrics` has the values of
    /// each metric in them, by the metric's index.
    #[must_use]
    pub fn values(&self, begins: &[i64], metrics: &[Vec<Option<f64>>]) -> Vec<Option<f64>> {
        self.0.values(Data { begins, metrics })
    }

    /// Whether each value depends only on the data of its own period, not on other periods or on the period's time.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.is_local()
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
        let begins: Vec<i64> = (0..).step_by(60).take(series[0].len()).collect();
        let values = expression.values(&begins, &series);
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        values.into_iter().map(text).collect::<Vec<_>>().join(" ")
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
        assert_eq!(evaluate("FILL(metric1, REPEAT)", &["- 2 - - 3 -"]), "- 2 2 2 3 3");
        assert_eq!(evaluate("FILL(metric1, LINEAR)", &["- 2 - - 5 1 -"]), "- 2 3 4 5 1 -");
        assert_eq!(evaluate("FLOOR(metric1)", &["1.9 - -0.5"]), "1 - -1");
        assert_eq!(evaluate("EPOCH(metric1)", &["1 - 1"]), "0 60 120");
        let in_time = "FLOOR(10000 * (metric1 - FILL(metric2, 0)) / metric1) / 100";
        assert_eq!(evaluate(in_time, &["3 - 30000 3", "- - 1 3"]), "100 - 99.99 0");
    }

    #[test]
    fn the_time_since_the_last_datapoint_can_be_told() {
        let last = "FILL(IF(metric1 > 0, EPOCH(metric1)), REPEAT)";
        let since = |series: &str| evaluate(&format!("IF({last} > 0, EPOCH(metric1) - {last})"), &[series]);
        assert_eq!(since("- 0 3 - 0 - 2 -"), "- - 0 60 120 180 0 60");
        assert_eq!(since("- - -"), "- - -", "it is not the time since 1970");
    }

    #[test]
    fn an_expression_that_looks_at_other_periods_or_at_the_time_is_not_local() {
        let is_local = |expression: &str| {
            let queries = BTreeMap::from([("m1", Query::Metric(0)), ("result", Query::Expression(expression))]);
            Expression::new("result", &queries).unwrap().is_local()
        };
        assert!(is_local("IF(FILL(m1, 0) > 1, -m1 / 2, ABS(m1))"));
        for expression in ["FILL(m1, REPEAT)", "1 - FLOOR(FILL(m1, LINEAR))", "IF(m1, 1, EPOCH(m1))"] {
            assert!(!is_local(expression), "{expression}");
        }
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
        let known = "is not supported; the functions are ABS, EPOCH, FILL, FLOOR and IF";
        let cases = [
            ("SEARCH('x')", format!("SEARCH {known}")),
            ("m1 - MAX(m1)", format!("MAX {known}")),
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
            text in "[-a-z0-9A-Z+*/()\\[\\],.<>=!&| ]{0,30}|(IF|FILL|ABS|EPOCH|REPEAT|m1|[0-9]|[-+*/(),]){0,20}",
        ) {
            let queries = BTreeMap::from([("m1", Query::Metric(0)), ("result", Query::Expression(&text))]);
            let _ = Expression::new("result", &queries);
        }
    }
}
