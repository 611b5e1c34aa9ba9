//! The work that every audit must do: parse the event, hash the ID of each entry, and write each entry once.
//!
//! It does the minimum: values stay the text that was received, images are compared as text, and nothing can fail.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Builder;

/// The most items that `BatchWriteItem` accepts.
pub(crate) const ENTRIES_IN_A_BODY: usize = 25;
const START: &str = r#"{"RequestItems":{"Audit":["#;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "Records")]
    records: Vec<Record<'a>>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, rename = "eventID")]
    event_id: Cow<'a, str>,
    #[serde(borrow, rename = "eventSourceARN")]
    source: Cow<'a, str>,
    #[serde(borrow)]
    dynamodb: Change<'a>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(rename = "ApproximateCreationDateTime")]
    created: f64,
    #[serde(borrow, rename = "Keys")]
    keys: Image<'a>,
    #[serde(borrow, rename = "NewImage")]
    new: Option<&'a RawValue>,
    #[serde(borrow, rename = "OldImage")]
    old: Option<&'a RawValue>,
}

type Image<'a> = BTreeMap<&'a str, &'a RawValue>;

/// The bodies that write the entries of an event.
pub(crate) fn bodies(event: &[u8]) -> serde_json::Result<Vec<Bytes>> {
    let event: Event = serde_json::from_slice(event)?;
    let mut bodies = Bodies::default();
    for record in &event.records {
        let key = record.dynamodb.keys.get("key").map_or("", |key| key.get());
        let time = timestamp(record.dynamodb.created);
        let mut entry = |attribute: Option<&str>, old: Option<&str>, new: Option<&str>| {
            let id = entry_id(&record.source, &record.event_id, attribute.unwrap_or_default());
            bodies.next_entry();
            let body = &mut bodies.current;
            body.extend([r#"{"PutRequest":{"Item":{"id":{"S":""#, &id, r#""},"itemKey":"#, key]);
            body.extend([r#","modificationTime":{"S":""#, &time, r#""}"#]);
            if let Some(attribute) = attribute {
                body.extend([r#","updatedAttribute":{"S":""#, attribute, r#""}"#]);
            }
            for (name, value) in [("oldValue", old), ("newValue", new)] {
                match value {
                    Some(value) if attribute.is_none() => {
                        body.extend([",\"", name, r#"":{"M":"#, value, "}"]);
                    }
                    Some(value) => body.extend([",\"", name, "\":", value]),
                    None => {}
                }
            }
            body.push_str("}}}");
        };
        match (record.dynamodb.old, record.dynamodb.new) {
            (Some(old), Some(new)) => {
                let old: Image = serde_json::from_str(old.get())?;
                let new: Image = serde_json::from_str(new.get())?;
                for (name, value) in &new {
                    let before = old.get(name).map(|value| value.get());
                    if before != Some(value.get()) {
                        entry(Some(name), before, Some(value.get()));
                    }
                }
                for (name, value) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
                    entry(Some(name), Some(value.get()), None);
                }
            }
            (old, new) => entry(None, old.map(RawValue::get), new.map(RawValue::get)),
        }
    }
    Ok(bodies.finish())
}

/// A body with this many entries, of the usual size.
pub(crate) fn sample(entries: usize) -> Bytes {
    let put = format!(r#"{{"PutRequest":{{"Item":{{"id":{{"S":"{}"}}}}}}}}"#, "x".repeat(233));
    Bytes::from(format!("{START}{}]}}}}", vec![put; entries].join(",")))
}

#[derive(Default)]
struct Bodies {
    finished: Vec<Bytes>,
    current: String,
    entries: usize,
}

impl Bodies {
    fn next_entry(&mut self) {
        if self.entries == ENTRIES_IN_A_BODY {
            self.finish_current();
        }
        if self.entries == 0 {
            self.current.reserve(8_192);
            self.current.push_str(START);
        } else {
            self.current.push(',');
        }
        self.entries += 1;
    }

    fn finish_current(&mut self) {
        self.current.push_str("]}}");
        self.finished.push(Bytes::from(std::mem::take(&mut self.current)));
        self.entries = 0;
    }

    fn finish(mut self) -> Vec<Bytes> {
        if self.entries > 0 {
            self.finish_current();
        }
        self.finished
    }
}

fn entry_id(source: &str, event_id: &str, attribute: &str) -> String {
    let mut hash = Sha256::new();
    for part in [source, "\0", event_id, "\0", attribute] {
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A time in seconds since 1970 as text, to the second (Howard Hinnant's `civil_from_days`).
fn timestamp(seconds: f64) -> String {
    let seconds = seconds as i64;
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}
