//! One raw record of the stream, and the change that it describes.

use std::borrow::Cow;

use aws_lambda_events::event::dynamodb::UserIdentity;
use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;
use serde_dynamo::AttributeValue;
use serde_json::value::RawValue;

use super::EventName;
use crate::aws::arn::StreamArn;
use crate::value::{InvalidValue, JsonItem, JsonText, JsonValue, base64_text};

/// The longest partition key, and so the longest `itemKey` that the Audit table's index can hold
/// (Amazon DynamoDB Developer Guide, "Service, account, and table quotas").
pub const MAX_KEY_BYTES: usize = 2048;

/// A change of one item, as one record of the stream describes it. Borrows from the record's text.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<'a> {
    /// The ARN of the stream; `None` if the record has none.
    pub stream_arn: Option<StreamArn<'a>>,
    /// The record's unique ID; the same each time the record is delivered.
    pub event_id: Cow<'a, str>,
    /// The record's position in its shard, which also identifies it in the answer to Lambda.
    pub sequence_number: Option<Cow<'a, str>>,
    /// The item's key as text: a string as it is, a number as its decimal text, binary as base64.
    pub item_key: Cow<'a, str>,
    /// When DynamoDB applied the change; `None` if the record does not say. Real streams give whole seconds.
    pub created: Option<DateTime<Utc>>,
    /// The item before and after.
    pub images: Images<'a>,
    /// Who made the change, if the record says: it does only for deletions by DynamoDB's time to live.
    pub principal: Option<String>,
}

/// The kinds of change, with the item's images.
#[derive(Debug, Clone, PartialEq)]
pub enum Images<'a> {
    /// The item was created.
    Insert {
        /// The whole new item.
        new: JsonItem<'a>,
    },
    /// The item was changed.
    Modify {
        /// The whole item before.
        old: JsonItem<'a>,
        /// The whole item after.
        new: JsonItem<'a>,
    },
    /// The item was deleted, by a user or by its time to live.
    Remove {
        /// The whole item as it was.
        old: JsonItem<'a>,
    },
}

impl Images<'_> {
    /// The kind of change.
    #[must_use]
    pub const fn event_name(&self) -> EventName {
        match self {
            Self::Insert { .. } => EventName::Insert,
            Self::Modify { .. } => EventName::Modify,
            Self::Remove { .. } => EventName::Remove,
        }
    }
}

/// Why a record is not a change that can be audited. No retry can fix it. Never quotes the record, which holds
/// configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAChange {
    /// The record's JSON does not have the shape of a stream record.
    #[error("the record does not have the shape of a DynamoDB Streams record (its line {line}, column {column})")]
    Undecodable {
        /// Line in the record's JSON, from 1.
        line: usize,
        /// Column in that line, from 1.
        column: usize,
    },
    /// A member that every stream record has is missing.
    #[error("the record has no {0}")]
    Missing(&'static str),
    /// An event name other than INSERT, MODIFY, REMOVE.
    #[error("the record's eventName is not INSERT, MODIFY or REMOVE")]
    UnknownEventName,
    /// The key attribute is missing, or has a type that a key cannot have.
    #[error(
        "the record has no key: the attribute that KEY_ATTRIBUTE names is missing, or is not a string, number or binary"
    )]
    NoKey,
    /// The key is too long for the Audit table's index.
    #[error("the record's key is longer than 2,048 bytes as text, too long for the Audit table's index")]
    KeyTooLong,
    /// The record has a value that DynamoDB would reject.
    #[error("an attribute has an invalid value: {0}")]
    InvalidValue(InvalidValue),
    /// The time of the change is not one that an entry could have.
    #[error("the record's ApproximateCreationDateTime is not a time in seconds from the year 1971 to the year 9999")]
    InvalidTime,
}

/// Why a record could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The record itself is wrong; no retry can fix it.
    #[error(transparent)]
    Record(#[from] NotAChange),
    /// The stream does not carry both images. This is its view type, which is not `NEW_AND_OLD_IMAGES`.
    #[error("the stream's view type is {0}")]
    ViewType(String),
}

/// What can be read of a record, even of one that cannot be decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The ARN of its stream, if that can be read.
    pub stream_arn: Option<StreamArn<'a>>,
    /// Its sequence number, if that can be read.
    pub sequence_number: Option<Cow<'a, str>>,
    /// What was done to the item, if that can be read.
    pub event_name: Option<EventName>,
}

/// A record as the event has it. Every member is optional, so that an error can name the one that is missing.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(rename = "eventID", borrow)]
    event_id: Option<JsonText<'a>>,
    #[serde(rename = "eventName", borrow)]
    event_name: Option<JsonText<'a>>,
    #[serde(rename = "eventSourceARN", borrow)]
    stream_arn: Option<JsonText<'a>>,
    #[serde(rename = "userIdentity")]
    user_identity: Option<UserIdentity>,
    #[serde(borrow)]
    dynamodb: Option<StreamRecord<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamRecord<'a> {
    approximate_creation_date_time: Option<f64>,
    #[serde(borrow)]
    keys: Option<JsonItem<'a>>,
    #[serde(borrow)]
    new_image: Option<JsonItem<'a>>,
    #[serde(borrow)]
    old_image: Option<JsonItem<'a>>,
    #[serde(borrow)]
    sequence_number: Option<JsonText<'a>>,
    #[serde(borrow)]
    stream_view_type: Option<JsonText<'a>>,
}

/// Decodes one record; `key_attribute` is the name of the item's key.
///
/// # Errors
///
/// [`Refusal`]. [`identify`] then reads what can be read of the record.
pub fn decode<'a>(raw: &'a RawValue, key_attribute: &str) -> Result<Change<'a>, Refusal> {
    let record: Record<'a> = serde_json::from_str(raw.get())
        .map_err(|error| NotAChange::Undecodable { line: error.line(), column: error.column() })?;
    let stream = record.dynamodb.ok_or(NotAChange::Missing("dynamodb"))?;
    if let Some(JsonText(view)) = stream.stream_view_type.filter(|view| view.0 != "NEW_AND_OLD_IMAGES") {
        // Only known names are quoted: any other text could be configuration.
        let known = ["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE"].into_iter().find(|known| *known == view);
        return Err(Refusal::ViewType(known.unwrap_or("unknown").to_owned()));
    }
    // Without an ID, a redelivered record could not be distinguished from a new change.
    let event_id = some_text(record.event_id).ok_or(NotAChange::Missing("eventID"))?;
    let event_name = record.event_name.ok_or(NotAChange::Missing("eventName"))?;
    let event_name = EventName::parse(&event_name.0).ok_or(NotAChange::UnknownEventName)?;
    let new = stream.new_image.ok_or(NotAChange::Missing("dynamodb.NewImage"));
    let old = stream.old_image.ok_or(NotAChange::Missing("dynamodb.OldImage"));
    let images = match event_name {
        EventName::Insert => Images::Insert { new: new? },
        EventName::Modify => Images::Modify { old: old?, new: new? },
        EventName::Remove => Images::Remove { old: old? },
    };
    let keys = stream.keys;

    let (before, after) = match &images {
        Images::Insert { new } => (None, Some(new)),
        Images::Modify { old, new } => (Some(old), Some(new)),
        Images::Remove { old } => (Some(old), None),
    };
    let either = || before.into_iter().chain(after);
    // If the record lists its keys, no other attribute is used as one: its value could be a secret.
    let key = match &keys {
        Some(keys) => keys.get(key_attribute),
        None => either().find_map(|item| item.get(key_attribute)),
    };
    let item_key = key.and_then(JsonValue::scalar_text).filter(|text| !text.is_empty()).ok_or(NotAChange::NoKey)?;
    if item_key.len() > MAX_KEY_BYTES {
        return Err(NotAChange::KeyTooLong.into());
    }
    let values = either().chain(&keys).flat_map(JsonItem::attributes);
    if let Some(reason) = values.filter_map(|(_, value)| value.invalid()).min() {
        return Err(NotAChange::InvalidValue(reason).into());
    }
    let created = stream.approximate_creation_date_time;
    let created = created.map(|seconds| from_epoch_seconds(seconds).ok_or(NotAChange::InvalidTime)).transpose()?;

    Ok(Change {
        stream_arn: some_text(record.stream_arn).map(StreamArn::new),
        event_id,
        item_key,
        created,
        principal: record.user_identity.map(|identity| identity.principal_id).filter(|id| !id.is_empty()),
        sequence_number: some_text(stream.sequence_number),
        images,
    })
}

fn some_text(text: Option<JsonText<'_>>) -> Option<Cow<'_, str>> {
    text.map(|text| text.0).filter(|text| !text.is_empty())
}

/// The `itemKey` of an entry for this key; `None` for a value that cannot be a key.
#[must_use]
pub fn key_text(key: &AttributeValue) -> Option<String> {
    match key {
        AttributeValue::S(text) | AttributeValue::N(text) => Some(text.clone()),
        AttributeValue::B(bytes) => Some(base64_text(bytes)),
        _ => None,
    }
    .filter(|text| !text.is_empty())
}

/// A time as the stream writes it; `None` unless its year is from 1971 to 9999.
fn from_epoch_seconds(seconds: f64) -> Option<DateTime<Utc>> {
    let milliseconds = (seconds * 1000.0).round();
    // The limit is the start of the year 10000. A time in 1970 or before is a default that was never filled in.
    (milliseconds < 253_402_300_800_000.0)
        .then(|| {
            #[allow(
                clippy::cast_possible_truncation,
                reason = "a number below the lowest i64 becomes the lowest, and is filtered out"
            )]
            DateTime::from_timestamp_millis(milliseconds as i64)
        })
        .flatten()
        .filter(|time| time.year() > 1970)
}

/// Reads what can be read of a record, whatever else it contains.
#[must_use]
pub fn identify(raw: &RawValue) -> Identity<'_> {
    #[derive(Default, Deserialize)]
    struct Outline<'a> {
        #[serde(rename = "eventName", borrow)]
        event_name: Option<&'a RawValue>,
        #[serde(rename = "eventSourceARN", borrow)]
        stream_arn: Option<&'a RawValue>,
        #[serde(borrow)]
        dynamodb: Option<&'a RawValue>,
    }
    #[derive(Default, Deserialize)]
    struct StreamOutline<'a> {
        #[serde(rename = "SequenceNumber", borrow)]
        sequence_number: Option<&'a RawValue>,
    }
    fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
        some_text(serde_json::from_str(raw?.get()).ok())
    }
    let record: Outline<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
    let stream: Option<StreamOutline<'_>> = record.dynamodb.and_then(|raw| serde_json::from_str(raw.get()).ok());
    Identity {
        stream_arn: text(record.stream_arn).map(StreamArn::new),
        sequence_number: text(stream.unwrap_or_default().sequence_number),
        event_name: text(record.event_name).and_then(|name| EventName::parse(&name)),
    }
}

#[cfg(test)]
mod tests;
