//! The values of attributes in the reference model, and their DynamoDB JSON.

use std::collections::{BTreeMap, HashMap};

use serde_dynamo::AttributeValue;
use serde_json::{Value as Json, json};

/// An item of the Configuration table, without its key.
pub type Item = BTreeMap<&'static str, Value>;

/// The value of an attribute. Two are equal if they are the same value, however the record writes them.
#[derive(Debug, Clone)]
pub enum Value {
    /// A number, and the number of zeros after its decimal point in the record.
    Number(i64, usize),
    /// A string.
    Text(String),
    /// A set of numbers, in the order of the record.
    Set(Vec<i64>),
    /// A string of this many characters, too large for an entry.
    Large(usize),
    /// A list of decimals after a string of this many characters, so that the size of the decimals decides whether it
    /// fits into an entry.
    Padded(usize),
    /// A number nested in this many lists and maps.
    Nested(usize, i64),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(one, _), Self::Number(other, _)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Set(one), Self::Set(other)) => {
                let sorted = |set: &[i64]| {
                    let mut set = set.to_vec();
                    set.sort_unstable();
                    set
                };
                sorted(one) == sorted(other)
            }
            (Self::Large(one), Self::Large(other)) | (Self::Padded(one), Self::Padded(other)) => one == other,
            (Self::Nested(levels, one), Self::Nested(other_levels, other)) => (levels, one) == (other_levels, other),
            _ => false,
        }
    }
}

impl Value {
    /// Rewrites the value as another client might write it.
    pub(crate) fn rewrite(&mut self) {
        match self {
            Self::Number(_, zeros) => *zeros = (*zeros + 1) % 3,
            Self::Set(members) => members.reverse(),
            Self::Text(_) | Self::Large(_) | Self::Padded(_) | Self::Nested(..) => {}
        }
    }

    /// Whether an entry may be unable to hold it.
    pub(crate) fn may_be_over_limits(&self) -> bool {
        matches!(self, Self::Large(_) | Self::Padded(_) | Self::Nested(..))
    }

    /// The value in an entry: digit for digit as in the record.
    pub(crate) fn attribute(&self) -> AttributeValue {
        let number = |text: &str| AttributeValue::N(text.to_owned());
        match self {
            Self::Number(value, 0) => AttributeValue::N(value.to_string()),
            Self::Number(value, zeros) => AttributeValue::N(format!("{value}.{}", "0".repeat(*zeros))),
            Self::Text(text) => AttributeValue::S(text.clone()),
            Self::Set(members) => AttributeValue::Ns(members.iter().map(ToString::to_string).collect()),
            Self::Large(letters) => AttributeValue::S("x".repeat(*letters)),
            Self::Padded(letters) => {
                let decimals = ["1.2", "12.34", "1.234", "-0.001", "1001.5", "700"].map(number);
                AttributeValue::L([AttributeValue::S("x".repeat(*letters))].into_iter().chain(decimals).collect())
            }
            Self::Nested(levels, value) => (0..*levels).fold(number(&value.to_string()), |inner, level| {
                if level % 2 == 0 {
                    AttributeValue::L(vec![inner])
                } else {
                    AttributeValue::M(HashMap::from([("inner".to_owned(), inner)]))
                }
            }),
        }
    }
}

/// DynamoDB JSON, with the names in maps sorted.
pub(crate) fn dynamodb_json(value: &AttributeValue) -> Json {
    match value {
        AttributeValue::M(members) => {
            let members: BTreeMap<_, _> =
                members.iter().map(|(name, member)| (name.as_str(), dynamodb_json(member))).collect();
            json!({ "M": members })
        }
        AttributeValue::L(members) => json!({ "L": members.iter().map(dynamodb_json).collect::<Vec<_>>() }),
        AttributeValue::Ns(members) => json!({ "NS": members }),
        AttributeValue::N(text) => json!({ "N": text }),
        AttributeValue::S(text) => json!({ "S": text }),
        // The reference model has no other types.
        _ => Json::Null,
    }
}
