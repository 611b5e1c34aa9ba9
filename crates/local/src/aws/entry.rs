//! Audit entries as plain JSON, without loss.
//!
//! A number becomes the JSON number with the same digits as in DynamoDB. JSON has no sets and no bytes; those become an
//! object with the type's name, as in DynamoDB's own JSON: `{"SS": ["a", "b"]}`, `{"NS": [1, 2]}`,
//! `{"B": "AAE="}`, `{"BS": ["AAE="]}`. The members of an entry come in the contract's order, those of a map by name.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_dynamo::AttributeValue;
use serde_json::value::RawValue;

use super::tables::{Item, item};

/// The order in which the contract gives an entry's attributes.
const ORDER: [&str; 6] = ["id", "itemKey", "modificationTime", "updatedAttribute", "oldValue", "newValue"];

/// An item of the Audit table. Serialises as plain JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    item: Item,
}

impl Entry {
    /// The entry in this item, whose values have the workspace's type or an SDK's.
    #[must_use]
    pub fn from_item<V: Into<AttributeValue>>(attributes: impl IntoIterator<Item = (String, V)>) -> Self {
        Self { item: item(attributes) }
    }

    /// The item of the table.
    #[must_use]
    pub fn item(&self) -> &Item {
        &self.item
    }

    /// A string attribute of the entry, such as `itemKey`; empty if it is missing.
    #[must_use]
    pub fn text(&self, attribute: &str) -> &str {
        if let Some(AttributeValue::S(text)) = self.item.get(attribute) { text } else { "" }
    }

    /// An attribute of the entry, which serialises as plain JSON.
    #[must_use]
    pub fn value(&self, attribute: &str) -> Option<Plain<'_>> {
        self.item.get(attribute).map(Plain)
    }

    /// The entry without the configuration's values.
    #[must_use]
    pub fn without_values(&self) -> Self {
        let mut item = self.item.clone();
        item.retain(|name, _| !["oldValue", "newValue"].contains(&name.as_str()));
        Self { item }
    }

    /// The sort key of entries: the time of the change, then the item, the attribute, the ID.
    #[must_use]
    pub fn order(&self) -> [&str; 4] {
        [self.text("modificationTime"), self.text("itemKey"), self.text("updatedAttribute"), self.text("id")]
    }

    /// The entry as indented JSON.
    #[must_use]
    pub fn to_pretty_json(&self) -> String {
        // Maps with string keys, numbers and strings can always be serialised.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.item.len()))?;
        for name in ORDER {
            if let Some(value) = self.item.get(name) {
                map.serialize_entry(name, &Plain(value))?;
            }
        }
        let others: BTreeMap<_, _> = self.item.iter().filter(|(name, _)| !ORDER.contains(&name.as_str())).collect();
        for (name, value) in others {
            map.serialize_entry(name, &Plain(value))?;
        }
        map.end()
    }
}

/// A DynamoDB value that serialises as plain JSON.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a>(pub &'a AttributeValue);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            AttributeValue::S(text) => serializer.serialize_str(text),
            AttributeValue::N(digits) => number(digits).serialize(serializer),
            AttributeValue::Bool(value) => serializer.serialize_bool(*value),
            AttributeValue::Null(_) => serializer.serialize_unit(),
            AttributeValue::L(values) => serializer.collect_seq(values.iter().map(Plain)),
            AttributeValue::M(values) => {
                let sorted: BTreeMap<_, _> = values.iter().collect();
                serializer.collect_map(sorted.into_iter().map(|(name, value)| (name, Plain(value))))
            }
            AttributeValue::B(bytes) => tagged(serializer, "B", &STANDARD.encode(bytes)),
            AttributeValue::Ss(values) => tagged(serializer, "SS", values),
            AttributeValue::Ns(values) => {
                tagged(serializer, "NS", &values.iter().map(|digits| number(digits)).collect::<Vec<_>>())
            }
            AttributeValue::Bs(values) => {
                let encoded: Vec<_> = values.iter().map(|bytes| STANDARD.encode(bytes)).collect();
                tagged(serializer, "BS", &encoded)
            }
        }
    }
}

/// A number, digit for digit; text that is not a JSON number stays text.
#[derive(Serialize)]
#[serde(untagged)]
enum Number<'a> {
    Json(Box<RawValue>),
    Text(&'a str),
}

fn number(digits: &str) -> Number<'_> {
    let starts_as_number = digits.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match RawValue::from_string(digits.to_owned()) {
        Ok(raw) if starts_as_number => Number::Json(raw),
        _ => Number::Text(digits),
    }
}

fn tagged<S: Serializer>(serializer: S, name: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(name, value)?;
    map.end()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn n(digits: &str) -> AttributeValue {
        AttributeValue::N(digits.to_owned())
    }

    fn entry(attributes: impl IntoIterator<Item = (&'static str, AttributeValue)>) -> Entry {
        Entry::from_item(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)))
    }

    #[test]
    fn an_entry_is_written_in_the_contracts_order() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let entry = entry([
            ("provenance", AttributeValue::M(HashMap::from([("eventId".to_owned(), text("e"))]))),
            ("newValue", n("1800")),
            ("oldValue", n("3600")),
            ("updatedAttribute", text("value")),
            ("modificationTime", text("2024-09-11T09:02:28.000Z")),
            ("itemKey", text("CACHE_TTL_SEC")),
            ("id", text("i")),
        ]);
        let expected = concat!(
            r#"{"id":"i","itemKey":"CACHE_TTL_SEC","modificationTime":"2024-09-11T09:02:28.000Z","#,
            r#""updatedAttribute":"value","oldValue":3600,"newValue":1800,"provenance":{"eventId":"e"}}"#,
        );
        assert_eq!(serde_json::to_string(&entry).unwrap(), expected);
    }

    #[test]
    fn every_type_is_written_without_loss() {
        let digits = "12345678901234567890123456789012345678";
        let value = AttributeValue::M(HashMap::from([
            ("a".to_owned(), n(digits)),
            ("b".to_owned(), n("-1.5E-10")),
            ("c".to_owned(), AttributeValue::L(vec![AttributeValue::Bool(true), AttributeValue::Null(true)])),
            ("d".to_owned(), AttributeValue::B(vec![0, 1])),
            ("e".to_owned(), AttributeValue::Ss(vec!["x".to_owned()])),
            ("f".to_owned(), AttributeValue::Ns(vec![digits.to_owned()])),
            ("g".to_owned(), AttributeValue::Bs(vec![vec![0, 1]])),
            ("h".to_owned(), n("NaN")),
        ]));
        let expected = format!(
            concat!(
                r#"{{"newValue":{{"a":{0},"b":-1.5E-10,"c":[true,null],"d":{{"B":"AAE="}},"e":{{"SS":["x"]}},"#,
                r#""f":{{"NS":[{0}]}},"g":{{"BS":["AAE="]}},"h":"NaN"}}}}"#,
            ),
            digits
        );
        assert_eq!(serde_json::to_string(&entry([("newValue", value)])).unwrap(), expected);
    }
}
