//! An entry of the Audit table, and its form in DynamoDB.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_dynamo::{AttributeValue, Item};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::clock::timestamp;
use crate::value::{self, JsonItem, JsonValue, canonical_hash};

/// One entry of the Audit table. Its parts are borrowed from the record's text.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    /// The table's key; see [`entry_id`](super::entry_id).
    pub id: Uuid,
    /// The key of the changed item, as text.
    pub item_key: Cow<'a, str>,
    /// When the item was changed.
    pub modification_time: DateTime<Utc>,
    /// The changed attribute; `None` if the whole item was created or deleted.
    pub updated_attribute: Option<Cow<'a, str>>,
    /// The value before the change, if any.
    pub old_value: Option<EntryValue<'a>>,
    /// The value after the change, if any.
    pub new_value: Option<EntryValue<'a>>,
    /// Which record the entry comes from, if the operator has enabled that.
    pub provenance: Option<Provenance<'a>>,
}

/// A value in an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryValue<'a> {
    /// The value of one attribute.
    Attribute(JsonValue<'a>),
    /// The whole item, as a map.
    Item(JsonItem<'a>),
    /// A note that replaces an omitted value.
    Note(AttributeValue),
}

/// The record that an entry comes from, and the invocation that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance<'a> {
    /// The stream record's ID.
    pub event_id: Cow<'a, str>,
    /// The stream record's sequence number.
    pub sequence_number: Option<Cow<'a, str>>,
    /// The trace ID of the invocation that last wrote the entry, as X-Ray writes it (`1-…`).
    pub trace_id: Option<String>,
    /// Who made the change, if the record says.
    pub principal: Option<String>,
}

/// An entry as it is sent: an item of the Audit table in DynamoDB JSON, encoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEntry {
    /// The table's key; see [`entry_id`](super::entry_id).
    pub id: Uuid,
    /// The item.
    pub json: String,
}

/// The length of an entry as JSON without its key, its attribute's name and its values.
const OTHER_JSON: usize = 200;

/// A string as DynamoDB JSON.
#[derive(Serialize)]
struct StringValue<'a> {
    #[serde(rename = "S")]
    text: &'a str,
}

/// As an item of the Audit table in DynamoDB JSON, with exactly the contract's attributes.
impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_map(None)?;
        let mut id = [0; Hyphenated::LENGTH];
        item.serialize_entry("id", &StringValue { text: self.id.as_hyphenated().encode_lower(&mut id) })?;
        item.serialize_entry("itemKey", &StringValue { text: &self.item_key })?;
        item.serialize_entry("modificationTime", &StringValue { text: &timestamp(self.modification_time) })?;
        if let Some(text) = &self.updated_attribute {
            item.serialize_entry("updatedAttribute", &StringValue { text })?;
        }
        for (name, value) in [("oldValue", &self.old_value), ("newValue", &self.new_value)] {
            if let Some(value) = value {
                item.serialize_entry(name, value)?;
            }
        }
        if let Some(provenance) = &self.provenance {
            item.serialize_entry("provenance", &provenance.value())?;
        }
        item.end()
    }
}

impl Serialize for EntryValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Attribute(value) => value.serialize(serializer),
            Self::Item(item) => item.serialize(serializer),
            Self::Note(note) => note.serialize(serializer),
        }
    }
}

impl EntryValue<'_> {
    /// The size in bytes, as [`value::size`] counts it.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Attribute(value) => value.size(),
            Self::Item(item) => item.size(),
            Self::Note(note) => value::size(note),
        }
    }

    /// How many levels of lists and maps it has; a note has one.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::Attribute(value) => value.depth(),
            Self::Item(item) => item.depth(),
            Self::Note(_) => 1,
        }
    }

    /// The hash of the value; see [`canonical_hash`].
    #[must_use]
    pub fn canonical_hash(&self) -> String {
        let tree = match self {
            Self::Attribute(value) => value.tree(),
            Self::Item(item) => item.tree(),
            Self::Note(note) => Ok(note.clone()),
        };
        // It was parsed before, so this cannot fail.
        tree.as_ref().map(canonical_hash).unwrap_or_default()
    }

    /// The length of the value as JSON, or slightly less.
    fn json_len(&self) -> usize {
        match self {
            Self::Attribute(value) => value.json().len(),
            Self::Item(item) => item.attributes().iter().map(|(name, value)| name.len() + value.json().len() + 4).sum(),
            Self::Note(note) => value::size(note),
        }
    }
}

impl Entry<'_> {
    /// The entry as it is sent.
    #[must_use]
    pub fn encode(&self) -> EncodedEntry {
        let values = [&self.old_value, &self.new_value].into_iter().flatten().map(EntryValue::json_len);
        let texts = self.item_key.len() + self.updated_attribute.as_ref().map_or(0, |name| name.len());
        // In most cases this is enough, with little waste.
        let mut json = Vec::with_capacity(OTHER_JSON + texts + values.sum::<usize>());
        // Strings and maps with text as names can always be written as JSON, which is UTF-8.
        let written = serde_json::to_writer(&mut json, self).ok().and_then(|()| String::from_utf8(json).ok());
        EncodedEntry { id: self.id, json: written.unwrap_or_default() }
    }

    /// The item that is sent, parsed.
    #[must_use]
    pub fn item(&self) -> Item {
        // It was serialized above, so this cannot fail.
        serde_json::from_str(&self.encode().json).unwrap_or_default()
    }
}

impl Provenance<'_> {
    pub(super) fn value(&self) -> AttributeValue {
        let members = [
            ("eventId", Some(&*self.event_id)),
            ("sequenceNumber", self.sequence_number.as_deref()),
            ("traceId", self.trace_id.as_deref()),
            ("principal", self.principal.as_deref()),
        ];
        let members = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), AttributeValue::S(value?.to_owned()))));
        AttributeValue::M(members.collect())
    }
}
