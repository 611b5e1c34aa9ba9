//! The trail: what the entries of the Audit table tell together.
//!
//! [`Step`] is one entry, as a step in the life of its item; [`fold`] puts the steps of an item in order, and finds what
//! is missing or altered. Pure: [`crate::tables`] reads the tables.

pub mod fold;
mod instant;
mod state;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use config_audit::audit::{Context, Plan, entry_id, omitted_hash, plan, value_hash};
use config_audit::aws::arn::StreamArn;
use config_audit::stream::{self, Images};
use config_audit::value::equal;
use config_audit_mapping::SequenceNumber;
use serde_dynamo::AttributeValue;
use uuid::Uuid;

pub use state::Image;

/// An item of DynamoDB, in the library's type.
pub type Item = HashMap<String, AttributeValue>;

/// What stands in the stream's place in the ID of a backfilled entry. It must never change: by it such an entry is known.
const BACKFILL: &str = "config-audit backfill";

/// How a backfilled entry's note says where the full record is.
const RECORD: &str = "dynamodb:";

/// The ID of the entry that backfilling gives an item: the same in every run, and of no stream record.
#[must_use]
pub fn backfill_id(item_key: &str) -> Uuid {
    entry_id(Some(&StreamArn::parse(BACKFILL.to_owned())), item_key, None)
}

/// What backfilling writes for an item that was read at this time: one entry, in the form of a creation.
///
/// An entry that would be over DynamoDB's limits has a note in the place of the item. There is no other full record than the
/// item itself, so that is where the note says that it is (`dynamodb:<table>/<item key>`); once the item changes, the note's
/// hash is what is left of it.
#[must_use]
pub fn backfill_plan(table: &str, item_key: &str, item: Item, time: DateTime<Utc>) -> Plan {
    let change = stream::Change {
        stream_arn: Some(StreamArn::parse(BACKFILL.to_owned())),
        event_id: item_key.to_owned(),
        sequence_number: None,
        item_key: item_key.to_owned(),
        created: None,
        principal: None,
        images: Images::Insert { new: item.into() },
    };
    plan(change, time, &Context::default(), || format!("{RECORD}{table}/{item_key}"))
}

/// One entry, as a step in the life of its item.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The entry's ID.
    pub id: String,
    /// When the change was made, as the entry says it: fixed in width, so that times compare as text.
    pub time: String,
    /// The change's place in the stream, where entries carry their provenance.
    pub sequence: Option<SequenceNumber>,
    /// What was done.
    pub change: Change,
}

/// What one entry says was done.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The item was created.
    Insert(Whole),
    /// One attribute was changed; no value is no attribute.
    Modify {
        /// Its name.
        attribute: String,
        /// Its value before.
        old: Option<AttributeValue>,
        /// Its value after.
        new: Option<AttributeValue>,
    },
    /// The item was deleted.
    Remove(Whole),
    /// Nothing was done: backfilling saw the item like this.
    Snapshot(Whole),
    /// No entry of ours is like this.
    Unreadable,
}

/// A whole item in an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Whole {
    /// Its attributes.
    Known(Item),
    /// The hash of an item that was too large for the entry.
    Omitted(String),
}

impl Step {
    /// Reads an item of the Audit table. What is no entry becomes a [`Change::Unreadable`].
    #[must_use]
    pub fn read(mut entry: Item) -> Self {
        let sequence = match entry.get("provenance") {
            Some(AttributeValue::M(provenance)) => match provenance.get("sequenceNumber") {
                Some(AttributeValue::S(number)) => Some(SequenceNumber::new(number)),
                _ => None,
            },
            _ => None,
        };
        let is_of_an_attribute = entry.contains_key("updatedAttribute");
        let mut text = |name: &str| match entry.remove(name) {
            Some(AttributeValue::S(text)) => Some(text),
            _ => None,
        };
        let id = text("id").unwrap_or_default();
        let time = text("modificationTime").unwrap_or_default();
        let key = text("itemKey").unwrap_or_default();
        let is_backfill = backfill_id(&key).to_string() == id;
        let attribute = text("updatedAttribute");
        let is_timed = time.len() == 24 && DateTime::parse_from_rfc3339(&time).is_ok();
        let change = match (attribute, entry.remove("oldValue"), entry.remove("newValue")) {
            _ if !is_timed => None,
            (Some(_), None, None) => None,
            (Some(attribute), old, new) => Some(Change::Modify { attribute, old, new }),
            _ if is_of_an_attribute => None,
            (None, None, Some(new)) if is_backfill => Whole::read_backfilled(new, &key).map(Change::Snapshot),
            (None, None, Some(new)) => Whole::read(new).map(Change::Insert),
            (None, Some(old), None) => Whole::read(old).map(Change::Remove),
            _ => None,
        };
        Self { id, time, sequence, change: change.unwrap_or(Change::Unreadable) }
    }

    /// Whether backfilling wrote it.
    #[must_use]
    pub fn is_backfilled(&self) -> bool {
        matches!(self.change, Change::Snapshot(_))
    }
}

impl Whole {
    fn read(value: AttributeValue) -> Option<Self> {
        if let Some(hash) = omitted_hash(&value) {
            return Some(Self::Omitted(hash.to_owned()));
        }
        if let AttributeValue::M(image) = value { Some(Self::Known(image)) } else { None }
    }

    /// The same of a backfilled entry. An item may have the names of a note's members; that its record is the item of this
    /// key tells a note from it.
    fn read_backfilled(value: AttributeValue, key: &str) -> Option<Self> {
        let AttributeValue::M(members) = &value else { return None };
        let record = match members.get("record") {
            Some(AttributeValue::S(record)) => record.as_str(),
            _ => "",
        };
        let is_of_item = record
            .strip_prefix(RECORD)
            .and_then(|rest| rest.strip_suffix(key))
            .is_some_and(|table| table.ends_with('/'));
        match value {
            AttributeValue::M(image) if !is_of_item => Some(Self::Known(image)),
            value => Self::read(value),
        }
    }
}

/// Whether two values are the same value, where either may be known by its hash alone; no value is no attribute.
fn same(one: Option<&AttributeValue>, other: Option<&AttributeValue>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    equal(one, other)
        || match (omitted_hash(one), omitted_hash(other)) {
            (Some(one), Some(other)) => one == other,
            (Some(hash), None) => hash == value_hash(other),
            (None, Some(hash)) => hash == value_hash(one),
            (None, None) => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn step(entry: Value) -> Step {
        Step::read(serde_json::from_value(entry).unwrap())
    }

    fn with(mut entry: Value, more: &Value) -> Value {
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    }

    fn bare() -> Value {
        json!({ "id": {"S": "i"}, "itemKey": {"S": "K"}, "modificationTime": {"S": "2024-09-11T09:02:28.000Z"} })
    }

    #[test]
    fn an_entry_is_read_as_what_was_done() {
        let image = json!({ "M": { "key": {"S": "K"} } });
        let item: Item = serde_json::from_value(image["M"].clone()).unwrap();
        let one = || Some(AttributeValue::N("1".to_owned()));
        let modify = |old, new| Change::Modify { attribute: "a".to_owned(), old, new };
        for (more, change) in [
            (json!({ "newValue": image }), Change::Insert(Whole::Known(item.clone()))),
            (json!({ "oldValue": image }), Change::Remove(Whole::Known(item.clone()))),
            (json!({ "updatedAttribute": {"S": "a"}, "newValue": {"N": "1"} }), modify(None, one())),
            (json!({ "updatedAttribute": {"S": "a"}, "oldValue": {"N": "1"} }), modify(one(), None)),
            (
                json!({ "id": {"S": backfill_id("K").to_string()}, "newValue": image }),
                Change::Snapshot(Whole::Known(item)),
            ),
        ] {
            assert_eq!(step(with(bare(), &more)).change, change, "{more}");
        }
    }

    #[test]
    fn a_backfilled_item_too_large_for_an_entry_is_known_by_its_hash() {
        let item: Item = [("x".to_owned(), AttributeValue::S("x".repeat(410_000)))].into();
        let plan = backfill_plan("Configuration", "K", item.clone(), DateTime::UNIX_EPOCH);
        let [entry] = &plan.entries[..] else { panic!("{} entries", plan.entries.len()) };
        assert_eq!((plan.values_omitted, entry.id), (1, backfill_id("K")));
        let Some(AttributeValue::M(note)) = &entry.new_value else { panic!("no note") };
        assert_eq!(note["record"], AttributeValue::S("dynamodb:Configuration/K".to_owned()));
        let step = Step::read(entry.item().into_inner());
        assert_eq!(step.change, Change::Snapshot(Whole::Omitted(value_hash(&AttributeValue::M(item)))));
        // An item that has the names of a note's members is none.
        let members = [("omitted", "w"), ("bytes", "1"), ("sha256", &*"0".repeat(64)), ("record", "K")];
        let alike: Item =
            members.into_iter().map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned()))).collect();
        let plan = backfill_plan("Configuration", "K", alike.clone(), DateTime::UNIX_EPOCH);
        let step = Step::read(plan.entries[0].item().into_inner());
        assert_eq!(step.change, Change::Snapshot(Whole::Known(alike)));
    }

    #[test]
    fn what_no_entry_looks_like_is_unreadable() {
        let image = json!({ "M": {} });
        for more in [
            json!({}),
            json!({ "newValue": {"N": "1"} }),
            json!({ "oldValue": image, "newValue": image }),
            json!({ "updatedAttribute": {"S": "a"} }),
            json!({ "updatedAttribute": {"N": "1"}, "newValue": image }),
            json!({ "newValue": image, "modificationTime": {"S": "yesterday"} }),
            json!({ "newValue": image, "modificationTime": {"S": "2024-09-11T09:02:28Z"} }),
        ] {
            assert_eq!(step(with(bare(), &more)).change, Change::Unreadable, "{more}");
        }
    }
}
