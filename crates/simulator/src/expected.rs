//! The entries that the contract requires, as the reference model builds them, and the text used to compare them with
//! those in the Audit table.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use serde_dynamo::AttributeValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::limits::{MAX_ITEM_BYTES, MAX_LEVELS, bytes, levels};
use crate::value::dynamodb_json;

/// The attributes of an entry that hold values of the item.
pub(crate) const VALUES: [&str; 2] = ["oldValue", "newValue"];
/// The bytes that DynamoDB counts for the ID and the time, which have the same length in every entry.
const ID_AND_TIME_BYTES: usize = "id".len() + 36 + TIME.len() + "2026-03-03T00:00:00.000Z".len();
const TIME: &str = "modificationTime";

/// An entry that a change must have.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its ID.
    pub id: Uuid,
    /// All attributes except the ID and the provenance.
    attributes: BTreeMap<&'static str, AttributeValue>,
    /// How many values it omits because it would exceed DynamoDB's limits.
    over_limits: usize,
    /// How many values it omits in total.
    omitted: usize,
}

impl Expected {
    /// The entry with these attributes, and with notes in place of values if it would exceed DynamoDB's limits.
    /// `full_record` is the location of the full record that the notes give.
    pub(crate) fn new(id: Uuid, attributes: BTreeMap<&'static str, AttributeValue>, full_record: &str) -> Self {
        let mut entry = Self { id, attributes, over_limits: 0, omitted: 0 };
        for name in VALUES {
            if entry.attributes.get(name).is_some_and(|value| levels(value) > MAX_LEVELS) {
                entry.omit(name, "nested deeper than 31 levels", full_record);
            }
        }
        // The largest value is omitted first; if both have the same size, the new one.
        while entry.bytes() > MAX_ITEM_BYTES
            && let Some(largest) = entry.values().max_by_key(|name| entry.attributes.get(name).map(bytes))
        {
            entry.omit(largest, "the entry would be larger than 400 KB", full_record);
        }
        entry.over_limits = entry.omitted;
        entry
    }

    /// The entry with notes in place of all its values, because DynamoDB rejects it with the values.
    pub(crate) fn without_values(mut self, full_record: &str) -> Self {
        for name in self.values().collect::<Vec<_>>() {
            self.omit(name, "DynamoDB rejects the entry with this value", full_record);
        }
        self
    }

    fn omit(&mut self, name: &'static str, why: &str, full_record: &str) {
        let Some(value) = self.attributes.get(name) else { return };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let members = [
            ("omitted", text(why)),
            ("bytes", AttributeValue::N(bytes(value).to_string())),
            ("sha256", AttributeValue::S(hash(value))),
            ("record", text(full_record)),
        ];
        let note: HashMap<_, _> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.attributes.insert(name, AttributeValue::M(note));
        self.omitted += 1;
    }

    /// The names of the attributes that have a value, not a note.
    fn values(&self) -> impl Iterator<Item = &'static str> {
        VALUES.into_iter().filter(|name| self.attributes.get(name).is_some_and(|value| note(value).is_none()))
    }

    /// The size of the item without its provenance.
    fn bytes(&self) -> usize {
        let others = self.attributes.iter().filter(|(name, _)| **name != TIME);
        ID_AND_TIME_BYTES + others.map(|(name, value)| name.len() + bytes(value)).sum::<usize>()
    }

    /// The content that the entry must have, as one string: see [`content`].
    #[must_use]
    pub fn content(&self) -> String {
        text_of(self.attributes.iter().map(|(name, value)| (*name, value)))
    }

    /// How many values it omits.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Whether it omits a value because it would exceed DynamoDB's limits, so that DynamoDB need not reject it first.
    #[must_use]
    pub fn is_over_limits(&self) -> bool {
        self.over_limits > 0
    }

    /// Whether it is about a single attribute.
    #[must_use]
    pub fn is_of_an_attribute(&self) -> bool {
        self.attributes.contains_key("updatedAttribute")
    }
}

/// The content of an entry in the table, except its ID and provenance, as one string. `without_time` also leaves out
/// the time of the change.
#[must_use]
pub fn content(entry: &serde_dynamo::Item, without_time: bool) -> String {
    let is_left_out = |name: &str| ["id", "provenance"].contains(&name) || without_time && name == TIME;
    let attributes = entry.iter().map(|(name, value)| (name.as_str(), value));
    let sorted: BTreeMap<_, _> = attributes.filter(|(name, _)| !is_left_out(name)).collect();
    text_of(sorted.into_iter())
}

/// The note that an entry has in place of an omitted value, if this is one.
#[must_use]
pub fn note(value: &AttributeValue) -> Option<&HashMap<String, AttributeValue>> {
    match value {
        AttributeValue::M(members) if members.contains_key("omitted") && members.contains_key("sha256") => {
            Some(members)
        }
        _ => None,
    }
}

/// Whether an entry has a value of the item, not only notes in place of values.
pub(crate) fn has_values(entry: &serde_dynamo::Item) -> bool {
    VALUES.into_iter().filter_map(|name| entry.get(name)).any(|value| note(value).is_none())
}

/// SHA-256 of the value's DynamoDB JSON, with names and set members sorted, as `docs/semantics.md` defines it.
fn hash(value: &AttributeValue) -> String {
    let digest = Sha256::digest(dynamodb_json(&with_sorted_sets(value)).to_string());
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn with_sorted_sets(value: &AttributeValue) -> AttributeValue {
    match value {
        AttributeValue::M(members) => {
            AttributeValue::M(members.iter().map(|(name, member)| (name.clone(), with_sorted_sets(member))).collect())
        }
        AttributeValue::L(members) => AttributeValue::L(members.iter().map(with_sorted_sets).collect()),
        AttributeValue::Ns(members) => {
            let mut members = members.clone();
            members.sort_unstable();
            AttributeValue::Ns(members)
        }
        other => other.clone(),
    }
}

fn text_of<'a>(attributes: impl Iterator<Item = (&'a str, &'a AttributeValue)>) -> String {
    let mut text = String::new();
    for (name, value) in attributes {
        text.push_str(name);
        text.push('=');
        write_value(&mut text, value);
        text.push(';');
    }
    text
}

fn write_value(text: &mut String, value: &AttributeValue) {
    match value {
        AttributeValue::M(members) => {
            let sorted: BTreeMap<&String, &AttributeValue> = members.iter().collect();
            text.push('{');
            for (name, value) in sorted {
                text.push_str(name);
                text.push(':');
                write_value(text, value);
                text.push(',');
            }
            text.push('}');
        }
        AttributeValue::L(members) => {
            text.push('[');
            for member in members {
                write_value(text, member);
                text.push(',');
            }
            text.push(']');
        }
        AttributeValue::S(letters) if letters.len() > 1_000 => {
            let _ = write!(text, "({} letters with the hash {})", letters.len(), hash(value));
        }
        AttributeValue::S(letters) => {
            text.push('"');
            text.push_str(letters);
            text.push('"');
        }
        AttributeValue::N(value) => text.push_str(value),
        AttributeValue::Ns(members) => {
            let _ = write!(text, "{members:?}");
        }
        // The reference model has no other types.
        _ => text.push('?'),
    }
}
