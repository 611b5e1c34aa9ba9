//! An entry of the Audit table, and its form in DynamoDB.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_dynamo::{AttributeValue, Item};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::clock::timestamp;

/// One entry of the Audit table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The table's key; see [`entry_id`](super::entry_id).
    pub id: Uuid,
    /// The key of the changed item, as text.
    pub item_key: String,
    /// When the item was changed.
    pub modification_time: DateTime<Utc>,
    /// The changed attribute; `None` if the whole item was created or deleted.
    pub updated_attribute: Option<String>,
    /// The value before the change; `None` if there was none.
    pub old_value: Option<AttributeValue>,
    /// The value after the change; `None` if there is none.
    pub new_value: Option<AttributeValue>,
    /// Which record the entry comes from, if the operator has switched that on.
    pub provenance: Option<Provenance>,
}

/// The record that an entry comes from, and the invocation that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The stream record's ID.
    pub event_id: String,
    /// The stream record's sequence number.
    pub sequence_number: Option<String>,
    /// The trace ID of the invocation that last wrote the entry, as X-Ray writes it (`1-…`).
    pub trace_id: Option<String>,
    /// Who made the change, if the record says.
    pub principal: Option<String>,
}

/// An entry as it is sent: an item of the Audit table in DynamoDB JSON, made once. The text is far smaller than the values that
/// it was made of: a list of a list is 8 bytes of text, and more than 200 in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEntry {
    /// The table's key; see [`entry_id`](super::entry_id).
    pub id: Uuid,
    /// The item.
    pub json: String,
}

/// A string as DynamoDB JSON.
#[derive(Serialize)]
struct Text<'a> {
    #[serde(rename = "S")]
    text: &'a str,
}

/// As an item of the Audit table in DynamoDB JSON, with exactly the contract's attributes.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_map(None)?;
        let mut id = [0; Hyphenated::LENGTH];
        item.serialize_entry("id", &Text { text: self.id.as_hyphenated().encode_lower(&mut id) })?;
        item.serialize_entry("itemKey", &Text { text: &self.item_key })?;
        item.serialize_entry("modificationTime", &Text { text: &timestamp(self.modification_time) })?;
        if let Some(text) = &self.updated_attribute {
            item.serialize_entry("updatedAttribute", &Text { text })?;
        }
        let provenance = self.provenance.as_ref().map(Provenance::value);
        let values = [("oldValue", &self.old_value), ("newValue", &self.new_value), ("provenance", &provenance)];
        for (name, value) in values {
            if let Some(value) = value {
                item.serialize_entry(name, value)?;
            }
        }
        item.end()
    }
}

impl Entry {
    /// The entry as it is sent.
    #[must_use]
    pub fn encode(&self) -> EncodedEntry {
        // Strings and maps with text as names can always be written as JSON.
        EncodedEntry { id: self.id, json: serde_json::to_string(self).unwrap_or_default() }
    }

    /// The item that is sent, for those who read it.
    #[must_use]
    pub fn item(&self) -> Item {
        // It was written just now.
        serde_json::from_str(&self.encode().json).unwrap_or_default()
    }
}

impl Provenance {
    pub(super) fn value(&self) -> AttributeValue {
        let members = [
            ("eventId", Some(&self.event_id)),
            ("sequenceNumber", self.sequence_number.as_ref()),
            ("traceId", self.trace_id.as_ref()),
            ("principal", self.principal.as_ref()),
        ];
        let members =
            members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), AttributeValue::S(value?.clone()))));
        AttributeValue::M(members.collect())
    }
}
