//! The expressions of a query, and their evaluation.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use chrono::DateTime;

use super::LogEvent;
use super::value::Value;

/// A row: a line, or a group of lines.
#[derive(Debug, Clone)]
pub(super) struct Row<'a> {
    pub(super) event: Option<&'a LogEvent>,
    /// The values that commands have added, by name.
    pub(super) values: BTreeMap<String, Value>,
}

/// The rows of a group.
pub(super) type Group<'a, 'b> = Vec<&'a Row<'b>>;

impl<'a> Row<'a> {
    pub(super) fn of(event: &'a LogEvent) -> Self {
        Self { event: Some(event), values: BTreeMap::new() }
    }

    /// The value of a field: one that a command has added, or a member of the line. The path of a nested member
    /// consists of names and positions, separated by dots.
    pub(super) fn field(&self, name: &str) -> Value {
        if let Some(value) = self.values.get(name) {
            return value.clone();
        }
        let Some(event) = self.event else { return Value::Missing };
        match name {
            "@timestamp" => Value::Time(event.at),
            "@message" => Value::Text(event.message.clone()),
            _ => Value::of(name.split('.').try_fold(&event.document, |within, part| {
                part.parse::<usize>().ok().and_then(|position| within.get(position)).or_else(|| within.get(part))
            })),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Expression {
    Field(String),
    Value(Value),
    Binary(Operator, Box<[Expression; 2]>),
    /// Whether the first is one of the others.
    In(Box<Expression>, Vec<Expression>),
    Call(Function, Vec<Expression>),
    /// One value for a whole group.
    Aggregate(Aggregate, Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operator {
    Or,
    And,
    Compare(Comparison),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Function {
    /// The beginning of the period in which the line was logged; periods have this many milliseconds.
    Bin(i64),
    /// The first argument that has a value.
    Coalesce,
    FromMillis,
    IsPresent,
    Strlen,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Aggregate {
    Average,
    /// How many rows have a value.
    Count,
    CountDistinct,
    Maximum,
    Minimum,
    Sum,
}

impl Expression {
    /// Its value for a row. A row alone has no aggregates.
    pub(super) fn of_row(&self, row: &Row<'_>) -> Value {
        self.value(&|name| row.field(name), &|_, _| Value::Missing)
    }

    /// Its value for a group. Only aggregates see the fields of its rows.
    pub(super) fn of_group(&self, group: &Group<'_, '_>) -> Value {
        self.value(&|_| Value::Missing, &|aggregate, argument| {
            aggregate.of(group.iter().map(|row| argument.of_row(row)).filter(|value| !value.is_missing()))
        })
    }

    fn value(&self, field: &dyn Fn(&str) -> Value, aggregate: &dyn Fn(Aggregate, &Self) -> Value) -> Value {
        let value = |expression: &Self| expression.value(field, aggregate);
        match self {
            Self::Field(name) => field(name),
            Self::Value(value) => value.clone(),
            Self::Binary(Operator::And, both) => both.iter().all(|one| value(one).is_true()).into(),
            Self::Binary(Operator::Or, both) => both.iter().any(|one| value(one).is_true()).into(),
            Self::Binary(Operator::Compare(comparison), both) => {
                let [one, other] = both.each_ref().map(value);
                comparison.holds(&one, &other).into()
            }
            Self::In(one, others) => {
                let one = value(one);
                others.iter().any(|other| Comparison::Equal.holds(&one, &value(other))).into()
            }
            Self::Call(Function::Bin(length), _) => {
                field("@timestamp").number().map_or(Value::Missing, |now| time(now - now.rem_euclid(*length as f64)))
            }
            Self::Call(Function::Coalesce, arguments) => {
                arguments.iter().map(value).find(|value| !value.is_missing()).unwrap_or(Value::Missing)
            }
            Self::Call(Function::FromMillis, arguments) => {
                arguments.first().and_then(|argument| value(argument).number()).map_or(Value::Missing, time)
            }
            Self::Call(Function::IsPresent, arguments) => {
                arguments.iter().all(|argument| !value(argument).is_missing()).into()
            }
            Self::Call(Function::Strlen, arguments) => match arguments.first().map(value) {
                None | Some(Value::Missing) => Value::Missing,
                Some(text) => Value::Number(text.to_string().chars().count() as f64),
            },
            Self::Aggregate(kind, argument) => aggregate(*kind, argument),
        }
    }
}

/// A time in milliseconds since 1970.
#[allow(clippy::cast_possible_truncation, reason = "a time within the range is a whole number of milliseconds")]
fn time(milliseconds: f64) -> Value {
    DateTime::from_timestamp_millis(milliseconds as i64).map_or(Value::Missing, Value::Time)
}

impl Comparison {
    /// No comparison with a missing value holds.
    fn holds(self, one: &Value, other: &Value) -> bool {
        if one.is_missing() || other.is_missing() {
            return false;
        }
        let order = one.compare(other);
        match self {
            Self::Equal => order == Ordering::Equal,
            Self::NotEqual => order != Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
        }
    }
}

impl Aggregate {
    fn of(self, values: impl Iterator<Item = Value>) -> Value {
        match self {
            Self::Count => Value::Number(values.count() as f64),
            Self::CountDistinct => {
                Value::Number(values.map(|value| value.to_string()).collect::<HashSet<_>>().len() as f64)
            }
            Self::Maximum => values.max_by(Value::compare).unwrap_or(Value::Missing),
            Self::Minimum => values.min_by(Value::compare).unwrap_or(Value::Missing),
            Self::Sum | Self::Average => {
                let numbers: Vec<f64> = values.filter_map(|value| value.number()).collect();
                let (sum, count) = (numbers.iter().sum::<f64>(), numbers.len());
                match self {
                    _ if count == 0 => Value::Missing,
                    Self::Sum => Value::Number(sum),
                    _ => Value::Number(sum / count as f64),
                }
            }
        }
    }
}
