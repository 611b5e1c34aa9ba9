//! A value in the result of a query.

use std::cmp::Ordering;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// A value in the result of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value: the line does not have the field.
    Missing,
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// A time.
    Time(DateTime<Utc>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => Ok(()),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Time(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true)),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Missing => serializer.serialize_none(),
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(_) | Self::Time(_) => serializer.collect_str(self),
        }
    }
}

impl From<bool> for Value {
    fn from(is_true: bool) -> Self {
        Self::Number(f64::from(u8::from(is_true)))
    }
}

impl Value {
    /// A member of a line. Objects and arrays have no value of their own; Logs Insights only knows their members.
    pub(super) fn of(json: Option<&serde_json::Value>) -> Self {
        match json {
            Some(serde_json::Value::String(text)) => Self::Text(text.clone()),
            Some(serde_json::Value::Number(number)) => number.as_f64().map_or(Self::Missing, Self::Number),
            Some(serde_json::Value::Bool(is_true)) => Self::from(*is_true),
            _ => Self::Missing,
        }
    }

    /// The value as a number: a time becomes milliseconds since 1970, and numeric text is parsed.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Time(time) => Some(time.timestamp_millis() as f64),
        }
    }

    pub(super) fn is_true(&self) -> bool {
        self.number().is_some_and(|number| number != 0.0)
    }

    pub(super) fn is_missing(&self) -> bool {
        *self == Self::Missing
    }

    /// Compares numbers by size, and other values as text. A missing value comes before all others.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self.is_missing(), other.is_missing()) {
            (false, false) => match (self.number(), other.number()) {
                (Some(one), Some(other)) => one.total_cmp(&other),
                _ => self.to_string().cmp(&other.to_string()),
            },
            (one, other) => other.cmp(&one),
        }
    }
}
