//! DynamoDB's values: as they are delivered ([`JsonValue`]), and as trees, where these are needed: to compare two
//! values, and for their canonical text.

mod json;
mod number;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_dynamo::AttributeValue;
use sha2::{Digest, Sha256};

pub use json::{JsonItem, JsonText, JsonValue};
pub use number::Number;

/// Why DynamoDB would refuse a value. Never quotes the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum InvalidValue {
    /// An `N` or a member of an `NS` is not a DynamoDB number.
    #[error("a number is not a decimal of at most 38 digits with a magnitude from 1E-130 to 9.99E+125")]
    Number,
    /// An `SS`, `NS` or `BS` is empty.
    #[error("a set is empty")]
    EmptySet,
    /// A `NULL` is not `true`.
    #[error("a NULL is not true")]
    Null,
}

/// Whether two values are equal: numbers by numeric value, sets and maps whatever their order, lists in order, binary by
/// bytes. Values of different types are never equal.
#[must_use]
pub fn equal(one: &AttributeValue, other: &AttributeValue) -> bool {
    match (one, other) {
        (AttributeValue::N(one), AttributeValue::N(other)) => number_equal(one, other),
        (AttributeValue::Ns(one), AttributeValue::Ns(other)) => numbers(one) == numbers(other),
        (AttributeValue::Ss(one), AttributeValue::Ss(other)) => members(one) == members(other),
        (AttributeValue::Bs(one), AttributeValue::Bs(other)) => members(one) == members(other),
        (AttributeValue::L(one), AttributeValue::L(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (AttributeValue::M(one), AttributeValue::M(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| equal(value, other)))
        }
        (one, other) => one == other,
    }
}

fn number_equal(one: &str, other: &str) -> bool {
    // An invalid number is compared as text, so that every value equals itself.
    one == other || Number::parse(one).is_some_and(|one| Number::parse(other).is_some_and(|other| one == other))
}

fn members<T: std::hash::Hash + Eq>(set: &[T]) -> HashSet<&T> {
    set.iter().collect()
}

fn numbers(set: &[String]) -> HashSet<Result<Number, &String>> {
    set.iter().map(|text| Number::parse(text).ok_or(text)).collect()
}

/// The size of a value in bytes, as DynamoDB counts it
/// (Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats").
#[must_use]
pub fn size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.len(),
        AttributeValue::N(text) => number_size(text),
        AttributeValue::Bool(_) | AttributeValue::Null(_) => 1,
        AttributeValue::Ss(members) => members.iter().map(String::len).sum(),
        AttributeValue::Ns(members) => members.iter().map(|text| number_size(text)).sum(),
        AttributeValue::Bs(members) => members.iter().map(Vec::len).sum(),
        AttributeValue::L(members) => 3 + members.iter().map(|member| 1 + size(member)).sum::<usize>(),
        AttributeValue::M(members) => {
            3 + members.iter().map(|(name, member)| 1 + name.len() + size(member)).sum::<usize>()
        }
    }
}

fn number_size(text: &str) -> usize {
    Number::parse(text).map_or(text.len(), |number| number.size())
}

/// How many levels of lists and maps a value has; scalars and sets have none.
#[cfg(test)]
fn depth(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::L(members) => 1 + members.iter().map(depth).max().unwrap_or(0),
        AttributeValue::M(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The value as DynamoDB JSON with names and set members in order: the same text for the same value, in whatever order
/// it was delivered. Numbers keep their text.
#[must_use]
pub fn canonical_json(value: &AttributeValue) -> String {
    // Strings, sequences and maps with text as names can always be written as JSON.
    serde_json::to_string(&Canonical(value)).unwrap_or_default()
}

/// The SHA-256 of a value's [canonical JSON](canonical_json), in lower-case hexadecimal. The text is never in memory as a
/// whole: it can be many times as large as the value.
#[must_use]
pub fn canonical_hash(value: &AttributeValue) -> String {
    let mut hash = HashWriter(Sha256::new());
    // The same, and hashing cannot fail either.
    let _ = serde_json::to_writer(&mut hash, &Canonical(value));
    hex(&hash.0.finalize())
}

struct HashWriter(Sha256);

impl std::io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A value that is serialized in canonical order.
struct Canonical<'a>(&'a AttributeValue);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn tagged<S: Serializer>(serializer: S, tag: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(tag, value)?;
            map.end()
        }
        fn sorted<T: Ord>(members: impl IntoIterator<Item = T>) -> Vec<T> {
            let mut members: Vec<T> = members.into_iter().collect();
            members.sort_unstable();
            members
        }
        match self.0 {
            AttributeValue::S(text) => tagged(serializer, "S", text),
            AttributeValue::N(text) => tagged(serializer, "N", text),
            AttributeValue::B(bytes) => tagged(serializer, "B", &base64_text(bytes)),
            AttributeValue::Bool(truth) => tagged(serializer, "BOOL", truth),
            AttributeValue::Null(truth) => tagged(serializer, "NULL", truth),
            AttributeValue::Ss(members) => tagged(serializer, "SS", &sorted(members)),
            AttributeValue::Ns(members) => tagged(serializer, "NS", &sorted(members)),
            AttributeValue::Bs(members) => {
                tagged(serializer, "BS", &sorted(members.iter().map(|bytes| base64_text(bytes))))
            }
            AttributeValue::L(members) => tagged(serializer, "L", &CanonicalList(members)),
            AttributeValue::M(members) => tagged(serializer, "M", &CanonicalMap(members)),
        }
    }
}

struct CanonicalList<'a>(&'a [AttributeValue]);

impl Serialize for CanonicalList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Canonical))
    }
}

struct CanonicalMap<'a>(&'a HashMap<String, AttributeValue>);

impl Serialize for CanonicalMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members: BTreeMap<_, _> = self.0.iter().collect();
        serializer.collect_map(members.into_iter().map(|(name, member)| (name, Canonical(member))))
    }
}

/// Bytes as DynamoDB writes them in JSON: base64 of RFC 4648, with padding.
#[must_use]
pub fn base64_text(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The bytes of base64 as DynamoDB writes it; `None` for any other text.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// Bytes as lower-case hexadecimal text.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    pub(crate) fn value(json: Value) -> AttributeValue {
        serde_json::from_value(json).expect("a DynamoDB value")
    }

    /// Any valid value, of all ten types.
    pub(crate) fn any_value() -> impl Strategy<Value = AttributeValue> {
        let number = any::<i32>().prop_map(|n| n.to_string());
        let scalar = prop_oneof![
            ".{0,8}".prop_map(AttributeValue::S),
            number.clone().prop_map(AttributeValue::N),
            prop::collection::vec(any::<u8>(), 0..8).prop_map(AttributeValue::B),
            any::<bool>().prop_map(AttributeValue::Bool),
            Just(AttributeValue::Null(true)),
            prop::collection::hash_set(".{1,4}", 1..4).prop_map(|set| AttributeValue::Ss(set.into_iter().collect())),
            prop::collection::hash_set(number, 1..4).prop_map(|set| AttributeValue::Ns(set.into_iter().collect())),
            prop::collection::hash_set(prop::collection::vec(any::<u8>(), 1..4), 1..4)
                .prop_map(|set| AttributeValue::Bs(set.into_iter().collect())),
        ];
        scalar.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
                prop::collection::hash_map("[a-z]{1,4}", inner, 0..4).prop_map(AttributeValue::M),
            ]
        })
    }

    /// The same value, with its members in another order and its numbers in another form.
    fn rewritten(value: &AttributeValue) -> AttributeValue {
        match value {
            AttributeValue::N(text) => AttributeValue::N(format!("{text}.00")),
            AttributeValue::Ns(members) => {
                AttributeValue::Ns(members.iter().rev().map(|text| format!("{text}0E-1")).collect())
            }
            AttributeValue::Ss(members) => AttributeValue::Ss(members.iter().rev().cloned().collect()),
            AttributeValue::Bs(members) => AttributeValue::Bs(members.iter().rev().cloned().collect()),
            AttributeValue::L(members) => AttributeValue::L(members.iter().map(rewritten).collect()),
            AttributeValue::M(members) => {
                AttributeValue::M(members.iter().map(|(name, member)| (name.clone(), rewritten(member))).collect())
            }
            other => other.clone(),
        }
    }

    #[test]
    fn equality_is_by_value() {
        for (one, other, same) in [
            (json!({"N": "1"}), json!({"N": "1.0"}), true),
            (json!({"N": "1"}), json!({"S": "1"}), false),
            (json!({"NS": ["1", "2"]}), json!({"NS": ["2.0", "1E0"]}), true),
            (json!({"SS": ["a", "b"]}), json!({"SS": ["b", "a"]}), true),
            (json!({"SS": ["a"]}), json!({"SS": ["a", "b"]}), false),
            (json!({"BS": ["YQ==", "Yg=="]}), json!({"BS": ["Yg==", "YQ=="]}), true),
            (json!({"L": [{"N": "1"}, {"N": "2"}]}), json!({"L": [{"N": "2"}, {"N": "1"}]}), false),
            (json!({"L": [{"N": "1"}]}), json!({"L": [{"N": "1"}, {"N": "1"}]}), false),
            (json!({"M": {"a": {"N": "1"}, "b": {"S": ""}}}), json!({"M": {"b": {"S": ""}, "a": {"N": "1.0"}}}), true),
            (json!({"M": {"a": {"N": "1"}}}), json!({"M": {"b": {"N": "1"}}}), false),
            (json!({"B": "AAE="}), json!({"B": "AAE="}), true),
            (json!({"B": "AAE="}), json!({"B": "AAI="}), false),
            (json!({"BOOL": true}), json!({"BOOL": false}), false),
            (json!({"NULL": true}), json!({"NULL": true}), true),
        ] {
            assert_eq!(equal(&value(one.clone()), &value(other.clone())), same, "{one} and {other}");
            assert_eq!(equal(&value(other.clone()), &value(one.clone())), same, "{other} and {one}");
        }
    }

    /// The figures are those of the Developer Guide's page on item sizes.
    #[test]
    fn sizes_are_counted_as_dynamodb_counts_them() {
        for (json, bytes) in [
            (json!({"S": "é"}), 2),
            (json!({"N": "3600"}), 2),
            (json!({"N": "-27"}), 3),
            (json!({"N": "0"}), 1),
            (json!({"N": "1.2"}), 3),
            (json!({"N": "1.234"}), 4),
            (json!({"N": "12.34"}), 3),
            (json!({"N": "100"}), 2),
            (json!({"N": "0.001"}), 2),
            (json!({"B": "AAEC"}), 3),
            (json!({"BOOL": true}), 1),
            (json!({"NULL": true}), 1),
            (json!({"L": []}), 3),
            (json!({"L": [{"S": "ab"}, {"BOOL": true}]}), 3 + (1 + 2) + (1 + 1)),
            (json!({"M": {"key": {"S": "ab"}}}), 3 + 1 + 3 + 2),
            (json!({"SS": ["a", "bc"]}), 3),
        ] {
            assert_eq!(size(&value(json.clone())), bytes, "{json}");
        }
    }

    /// An auditor can make the text, and so the hash, with any language's sort.
    #[test]
    fn the_canonical_text_has_names_and_members_in_the_order_of_their_bytes() {
        let text = r#"{"M":{"a":{"SS":["a","a!","a\"","é"]},"a!":{"NS":["1","10","9"]},"b":{"BS":["AA==","YQ=="]}}}"#;
        let value = value(json!({"M": {
            "b": {"BS": ["YQ==", "AA=="]},
            "a!": {"NS": ["9", "10", "1"]},
            "a": {"SS": ["é", "a\"", "a!", "a"]},
        }}));
        assert_eq!(canonical_json(&value), text);
    }

    #[test]
    fn depth_counts_lists_and_maps() {
        assert_eq!(depth(&value(json!({"SS": ["a"]}))), 0);
        assert_eq!(depth(&value(json!({"L": []}))), 1);
        assert_eq!(depth(&value(json!({"M": {"a": {"L": [{"M": {}}]}, "b": {"S": ""}}}))), 3);
    }

    proptest! {
        #[test]
        fn a_value_equals_itself_in_any_order_and_form(value in any_value()) {
            prop_assert!(equal(&value, &value));
            prop_assert!(equal(&value, &rewritten(&value)));
            prop_assert!(equal(&rewritten(&value), &value));
        }

        #[test]
        fn equality_is_symmetric(one in any_value(), other in any_value()) {
            prop_assert_eq!(equal(&one, &other), equal(&other, &one));
        }

        #[test]
        fn the_canonical_text_is_the_value_and_has_one_order(value in any_value()) {
            let text = canonical_json(&value);
            let back: AttributeValue = serde_json::from_str(&text).unwrap();
            prop_assert!(equal(&back, &value));
            prop_assert_eq!(&canonical_json(&back), &text);
            prop_assert_eq!(canonical_hash(&value), hex(&Sha256::digest(text)));
        }

        #[test]
        fn dynamodb_json_is_lossless(value in any_value()) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<AttributeValue>(&text).unwrap(), value);
        }
    }
}
