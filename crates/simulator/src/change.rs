//! The reference model: what is done to an item, the stream record that DynamoDB makes of it, and the entries that the
//! contract asks for it. It shares no code with the Lambda: it is what the Lambda is held against.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use chrono::{DateTime, Utc};
use serde_dynamo::AttributeValue;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// The Configuration table's stream.
pub const STREAM_ARN: &str =
    "arn:aws:dynamodb:eu-central-1:000000000000:table/Configuration/stream/2026-01-01T00:00:00.000";

/// The reason in the failure bucket for a record whose entry DynamoDB finds invalid.
pub const REJECTED: &str = "rejected_by_dynamodb";

/// The value of an attribute. Two are equal when they are the same value, whatever they look like in the record.
#[derive(Debug, Clone)]
pub enum Value {
    /// A number, and the number of zeros behind its point in the record.
    Number(i64, usize),
    /// A text.
    Text(String),
    /// A set of numbers, in the order of the record.
    Set(Vec<i64>),
    /// A text of this many letters, too large for an entry beside another of the kind.
    Large(usize),
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
            (Self::Large(one), Self::Large(other)) => one == other,
            _ => false,
        }
    }
}

impl Value {
    /// As the stream writes it.
    fn json(&self) -> Json {
        match self.attribute() {
            AttributeValue::N(text) => json!({ "N": text }),
            AttributeValue::Ns(texts) => json!({ "NS": texts }),
            AttributeValue::S(text) => json!({ "S": text }),
            _ => Json::Null,
        }
    }

    /// As an entry has it: digit for digit as in the record.
    fn attribute(&self) -> AttributeValue {
        match self {
            Self::Number(number, 0) => AttributeValue::N(number.to_string()),
            Self::Number(number, zeros) => AttributeValue::N(format!("{number}.{}", "0".repeat(*zeros))),
            Self::Text(text) => AttributeValue::S(text.clone()),
            Self::Set(members) => AttributeValue::Ns(members.iter().map(ToString::to_string).collect()),
            Self::Large(letters) => AttributeValue::S("x".repeat(*letters)),
        }
    }
}

/// An item of the Configuration table, without its key.
pub type Item = BTreeMap<&'static str, Value>;

/// What is odd about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// It is not of a record's shape.
    Undecodable,
    /// It has no key.
    NoKey,
    /// Its event name is unknown.
    UnknownEvent,
    /// It has a number that is none.
    InvalidValue,
    /// DynamoDB finds its entry invalid.
    Rejected,
    /// It has no sequence number.
    NoSequenceNumber,
    /// It has no time.
    NoTime,
}

impl Oddity {
    /// The reason in the failure bucket, where no retry can mend the record.
    #[must_use]
    pub fn quarantine_reason(self) -> Option<&'static str> {
        match self {
            Self::Undecodable => Some("undecodable"),
            Self::NoKey => Some("no_key"),
            Self::UnknownEvent => Some("unknown_event_name"),
            Self::InvalidValue => Some("invalid_value"),
            Self::Rejected => Some(REJECTED),
            Self::NoSequenceNumber | Self::NoTime => None,
        }
    }
}

/// One change of an item, as it was made.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its place among all changes of the run.
    pub index: usize,
    /// The item's key.
    pub key: String,
    /// The item before; `None` where there was none.
    pub old: Option<Item>,
    /// The item after; `None` where there is none.
    pub new: Option<Item>,
    /// When it was made, by DynamoDB's clock.
    pub at: DateTime<Utc>,
    /// Its place in its shard.
    pub sequence_number: String,
    /// What is odd about its record.
    pub oddity: Option<Oddity>,
    /// Whether the stream has but one image.
    pub wrong_view_type: bool,
}

/// An entry that a change must have.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its ID.
    pub id: Uuid,
    attributes: BTreeMap<&'static str, AttributeValue>,
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

    /// The record as it stands in the event.
    #[must_use]
    pub fn record(&self) -> String {
        if self.oddity == Some(Oddity::Undecodable) {
            // What is left of its identity can still be read.
            return json!({
                "eventID": self.index, "eventSourceARN": STREAM_ARN,
                "dynamodb": { "SequenceNumber": self.sequence_number }
            })
            .to_string();
        }
        let image = |item: &Item| {
            let mut image: BTreeMap<&str, Json> = item.iter().map(|(name, value)| (*name, value.json())).collect();
            if self.oddity == Some(Oddity::InvalidValue) {
                image.insert("broken", json!({ "N": "one" }));
            }
            if self.oddity != Some(Oddity::NoKey) {
                image.insert("key", json!({ "S": self.key }));
            }
            image
        };
        let mut stream = json!({
            "SequenceNumber": self.sequence_number,
            "SizeBytes": 64,
            "StreamViewType": if self.wrong_view_type { "KEYS_ONLY" } else { "NEW_AND_OLD_IMAGES" },
            "Keys": if self.oddity == Some(Oddity::NoKey) { json!({}) } else { json!({ "key": { "S": self.key } }) },
            "ApproximateCreationDateTime": self.at.timestamp() as f64,
        });
        if let Some(old) = &self.old {
            stream["OldImage"] = json!(image(old));
        }
        if let Some(new) = &self.new {
            stream["NewImage"] = json!(image(new));
        }
        let missing = match self.oddity {
            Some(Oddity::NoSequenceNumber) => Some("SequenceNumber"),
            Some(Oddity::NoTime) => Some("ApproximateCreationDateTime"),
            _ => None,
        };
        if let (Some(missing), Some(stream)) = (missing, stream.as_object_mut()) {
            stream.remove(missing);
        }
        let event_name = if self.oddity == Some(Oddity::UnknownEvent) { "RENAME" } else { self.event_name() };
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

    /// The entries that the contract asks for.
    #[must_use]
    pub fn entries(&self) -> Vec<Expected> {
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

    /// Whether one of its entries leaves a value out.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.entries().iter().any(|entry| entry.omitted().next().is_some())
    }

    /// As the record names it.
    fn event_id(&self) -> String {
        format!("{:032x}", self.index + 1)
    }

    /// The ID of the entry for this attribute: a version 4 UUID in form, with the first bits of a hash in it.
    fn entry_id(&self, attribute: Option<&str>) -> Uuid {
        let text = [STREAM_ARN, &self.event_id(), attribute.unwrap_or_default()].join("\0");
        let hash: [u8; 32] = Sha256::digest(text).into();
        Builder::from_random_bytes(std::array::from_fn(|index| hash[index])).into_uuid()
    }

    fn entry(&self, attribute: Option<&str>, old: Option<AttributeValue>, new: Option<AttributeValue>) -> Expected {
        let text = |text: String| AttributeValue::S(text);
        let mut attributes = BTreeMap::from([("itemKey", text(self.key.clone()))]);
        if self.oddity != Some(Oddity::NoTime) {
            let time = self.at.format("%Y-%m-%dT%H:%M:%S.000Z").to_string();
            attributes.insert("modificationTime", text(time));
        }
        if let Some(attribute) = attribute {
            attributes.insert("updatedAttribute", text(attribute.to_owned()));
        }
        attributes.extend(old.map(|old| ("oldValue", old)));
        attributes.extend(new.map(|new| ("newValue", new)));
        Expected { id: self.entry_id(attribute), attributes }
    }
}

impl Expected {
    /// What the entry must have in it, as one text: see [`content`].
    #[must_use]
    pub fn content(&self) -> String {
        text_of(self.attributes.iter().map(|(name, value)| (*name, value)), &is_too_large, false)
    }

    /// The hashes of its values that are too large to be in it.
    pub fn omitted(&self) -> impl Iterator<Item = String> {
        self.attributes.values().filter(|value| is_too_large(value)).map(hash)
    }

    /// Whether it tells of one attribute.
    #[must_use]
    pub fn is_of_an_attribute(&self) -> bool {
        self.attributes.contains_key("updatedAttribute")
    }
}

/// What an entry in the table has in it but its ID and its provenance, as one text. `without_time` leaves out when the
/// change was. A note in a value's place is the same, whatever it says.
#[must_use]
pub fn content(entry: &serde_dynamo::Item, without_time: bool) -> String {
    let mut attributes: Vec<_> =
        entry.iter().filter(|(name, _)| !["id", "provenance"].contains(&name.as_str())).collect();
    attributes.sort_unstable_by_key(|(name, _)| *name);
    text_of(
        attributes.into_iter().map(|(name, value)| (name.as_str(), value)),
        &|value| note(value).is_some(),
        without_time,
    )
}

/// What stands in an entry for a value that is too large for it.
#[must_use]
pub fn note(value: &AttributeValue) -> Option<&HashMap<String, AttributeValue>> {
    match value {
        AttributeValue::M(members) if members.contains_key("omitted") && members.contains_key("sha256") => {
            Some(members)
        }
        _ => None,
    }
}

fn is_too_large(value: &AttributeValue) -> bool {
    size(value) > 400 * 1024
}

/// SHA-256 of the value's DynamoDB JSON, names in order, as the README has it.
fn hash(value: &AttributeValue) -> String {
    fn json(value: &AttributeValue) -> Json {
        match value {
            AttributeValue::M(members) => {
                json!({ "M": members.iter().map(|(name, value)| (name, json(value))).collect::<BTreeMap<_, _>>() })
            }
            AttributeValue::Ns(members) => {
                let mut members = members.clone();
                members.sort_unstable();
                json!({ "NS": members })
            }
            AttributeValue::N(text) => json!({ "N": text }),
            AttributeValue::S(text) => json!({ "S": text }),
            _ => Json::Null,
        }
    }
    let digest = Sha256::digest(json(value).to_string());
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn text_of<'a>(
    attributes: impl Iterator<Item = (&'a str, &'a AttributeValue)>,
    is_left_out: &dyn Fn(&AttributeValue) -> bool,
    without_time: bool,
) -> String {
    let mut text = String::new();
    for (name, value) in attributes {
        if without_time && name == "modificationTime" {
            continue;
        }
        text.push_str(name);
        text.push('=');
        if is_left_out(value) {
            text.push_str("(left out)");
        } else {
            write_value(&mut text, value);
        }
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
        AttributeValue::S(value) => {
            text.push('"');
            text.push_str(value);
            text.push('"');
        }
        AttributeValue::N(value) => text.push_str(value),
        AttributeValue::Ns(members) => {
            let _ = write!(text, "{members:?}");
        }
        // The reference has no others.
        _ => text.push('?'),
    }
}

fn size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::M(members) => members.values().map(size).sum(),
        _ => 0,
    }
}
