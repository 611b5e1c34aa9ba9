//! The reference model: a change to an item, the stream record that DynamoDB writes for it, and the entries that the
//! contract requires. It shares no code with the Lambda, because the Lambda is checked against it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_dynamo::AttributeValue;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::expected::Expected;
use crate::value::{Item, Value, dynamodb_json};

/// The Configuration table's stream.
pub const STREAM_ARN: &str =
    "arn:aws:dynamodb:eu-central-1:000000000000:table/Configuration/stream/2026-01-01T00:00:00.000";

/// The key of the canary, an item whose changes are not audited.
pub const CANARY: &str = "config-audit:canary";

/// The reason in the failure bucket for a record whose entry DynamoDB rejects regardless of its values.
pub(crate) const REJECTED: &str = "rejected_by_dynamodb";

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordDefect {
    /// It does not have the shape of a record.
    Undecodable,
    /// It has no key.
    NoKey,
    /// Its event name is unknown.
    UnknownEvent,
    /// It has an invalid number.
    InvalidValue,
    /// Its time is in milliseconds.
    InvalidTime,
    /// DynamoDB rejects its entries.
    Rejected,
    /// DynamoDB rejects its entries unless they have notes in place of values.
    ValuesRejected,
    /// It has no sequence number.
    NoSequenceNumber,
    /// It has no time.
    NoTime,
}

impl RecordDefect {
    /// The reason in the failure bucket, if no retry can fix the record.
    #[must_use]
    pub fn quarantine_reason(self) -> Option<&'static str> {
        match self {
            Self::Undecodable => Some("undecodable"),
            Self::NoKey => Some("no_key"),
            Self::UnknownEvent => Some("unknown_event_name"),
            Self::InvalidValue => Some("invalid_value"),
            Self::InvalidTime => Some("invalid_time"),
            Self::Rejected => Some(REJECTED),
            Self::ValuesRejected | Self::NoSequenceNumber | Self::NoTime => None,
        }
    }

    /// The key of an item whose records all have the defect, if the defect must be recognizable from an entry.
    #[must_use]
    pub fn item_key(self) -> Option<&'static str> {
        match self {
            Self::Rejected => Some("REJECTED"),
            Self::ValuesRejected => Some("VALUES_REJECTED"),
            Self::NoTime => Some("TIMELESS"),
            _ => None,
        }
    }
}

/// One change to an item.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its index among all changes in the run.
    pub index: usize,
    /// The item's key.
    pub key: String,
    /// The item before the change, if it existed.
    pub old: Option<Item>,
    /// The item after the change, if it exists.
    pub new: Option<Item>,
    /// When it was made, by DynamoDB's clock.
    pub at: DateTime<Utc>,
    /// Its position in its shard.
    pub sequence_number: String,
    /// What is wrong with its record.
    pub defect: Option<RecordDefect>,
    /// Whether the stream has only one image.
    pub wrong_view_type: bool,
}

impl Change {
    /// INSERT, MODIFY or REMOVE.
    #[must_use]
    pub fn event_name(&self) -> &'static str {
        match (&self.old, &self.new) {
            (None, _) => "INSERT",
            (Some(_), Some(_)) => "MODIFY",
            (Some(_), None) => "REMOVE",
        }
    }

    /// The record as it appears in the event.
    #[must_use]
    pub fn record(&self) -> String {
        if self.defect == Some(RecordDefect::Undecodable) {
            // The rest of its identity can still be read.
            return json!({
                "eventID": self.index, "eventSourceARN": STREAM_ARN,
                "dynamodb": { "SequenceNumber": self.sequence_number }
            })
            .to_string();
        }
        let image = |item: &Item| {
            let mut image: BTreeMap<&str, Json> =
                item.iter().map(|(name, value)| (*name, dynamodb_json(&value.attribute()))).collect();
            if self.defect == Some(RecordDefect::InvalidValue) {
                image.insert("broken", json!({ "N": "one" }));
            }
            if self.defect != Some(RecordDefect::NoKey) {
                image.insert("key", json!({ "S": self.key }));
            }
            image
        };
        let is_in_milliseconds = self.defect == Some(RecordDefect::InvalidTime);
        let time = if is_in_milliseconds { self.at.timestamp_millis() } else { self.at.timestamp() };
        let mut stream = json!({
            "SequenceNumber": self.sequence_number,
            "SizeBytes": 64,
            "StreamViewType": if self.wrong_view_type { "KEYS_ONLY" } else { "NEW_AND_OLD_IMAGES" },
            "Keys": if self.defect == Some(RecordDefect::NoKey) { json!({}) } else { json!({ "key": { "S": self.key } }) },
            "ApproximateCreationDateTime": time as f64,
        });
        if let Some(old) = &self.old {
            stream["OldImage"] = json!(image(old));
        }
        if let Some(new) = &self.new {
            stream["NewImage"] = json!(image(new));
        }
        let missing = match self.defect {
            Some(RecordDefect::NoSequenceNumber) => Some("SequenceNumber"),
            Some(RecordDefect::NoTime) => Some("ApproximateCreationDateTime"),
            _ => None,
        };
        if let (Some(missing), Some(stream)) = (missing, stream.as_object_mut()) {
            stream.remove(missing);
        }
        let event_name = if self.defect == Some(RecordDefect::UnknownEvent) { "RENAME" } else { self.event_name() };
        json!({
            "eventID": self.event_id(),
            "eventName": event_name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-central-1",
            "dynamodb": stream,
            "eventSourceARN": STREAM_ARN,
        })
        .to_string()
    }

    /// Whether it changes the canary and nothing else: before and after, the item has only the value 0 and a time.
    #[must_use]
    pub fn is_of_canary(&self) -> bool {
        let is = |item: &Item| {
            item.len() == 2
                && matches!(item.get("value"), Some(Value::Number(0, 0)))
                && matches!(item.get("scheduledTime"), Some(Value::Text(time)) if is_time(time))
        };
        self.key == CANARY && self.old.iter().chain(&self.new).all(is)
    }

    /// The entries that the contract requires.
    #[must_use]
    pub fn entries(&self) -> Vec<Expected> {
        if self.is_of_canary() {
            return Vec::new();
        }
        let whole = |item: &Item| {
            let mut members: HashMap<String, AttributeValue> =
                item.iter().map(|(name, value)| ((*name).to_owned(), value.attribute())).collect();
            members.insert("key".to_owned(), AttributeValue::S(self.key.clone()));
            AttributeValue::M(members)
        };
        match (&self.old, &self.new) {
            (None, None) => Vec::new(),
            (None, Some(new)) => vec![self.entry(None, None, Some(whole(new)))],
            (Some(old), None) => vec![self.entry(None, Some(whole(old)), None)],
            (Some(old), Some(new)) => {
                let mut names: Vec<&'static str> = old.keys().chain(new.keys()).copied().collect();
                names.sort_unstable();
                names.dedup();
                names
                    .into_iter()
                    .filter(|name| old.get(name) != new.get(name))
                    .map(|name| {
                        let value = |item: &Item| item.get(name).map(Value::attribute);
                        self.entry(Some(name), value(old), value(new))
                    })
                    .collect()
            }
        }
    }

    /// The event ID in the record.
    fn event_id(&self) -> String {
        format!("{:032x}", self.index + 1)
    }

    /// The ID of the entry for this attribute: the first bits of a hash, in the form of a version 4 UUID.
    fn entry_id(&self, attribute: Option<&str>) -> Uuid {
        let text = [STREAM_ARN, &self.event_id(), attribute.unwrap_or_default()].join("\0");
        let hash: [u8; 32] = Sha256::digest(text).into();
        Builder::from_random_bytes(std::array::from_fn(|index| hash[index])).into_uuid()
    }

    fn entry(&self, attribute: Option<&str>, old: Option<AttributeValue>, new: Option<AttributeValue>) -> Expected {
        let text = |text: String| AttributeValue::S(text);
        let mut attributes = BTreeMap::from([("itemKey", text(self.key.clone()))]);
        if self.defect != Some(RecordDefect::NoTime) {
            let time = self.at.format("%Y-%m-%dT%H:%M:%S.000Z").to_string();
            attributes.insert("modificationTime", text(time));
        }
        if let Some(attribute) = attribute {
            attributes.insert("updatedAttribute", text(attribute.to_owned()));
        }
        attributes.extend(old.map(|old| ("oldValue", old)));
        attributes.extend(new.map(|new| ("newValue", new)));
        let full_record = format!("s3://failures/omitted/Configuration/{}.json", self.event_id());
        let entry = Expected::new(self.entry_id(attribute), attributes, &full_record);
        if self.defect == Some(RecordDefect::ValuesRejected) { entry.without_values(&full_record) } else { entry }
    }
}

/// Whether a string looks like `2026-03-03T10:15:00Z`.
fn is_time(text: &str) -> bool {
    let digits = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    digits.eq("0000-00-00T00:00:00Z".bytes())
}
