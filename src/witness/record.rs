//! One record of the Audit table's stream: what it demands, and its outcome.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use serde_dynamo::AttributeValue;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::fingerprint::Fingerprint;
use super::object::Witness;
use crate::aws::arn::StreamArn;
use crate::bucket::BucketError;
use crate::clock::timestamp;
use crate::quarantine::tampering_key;
use crate::quarantine::uploader::{Upload, Uploaded};
use crate::reason::Reason;
use crate::report::{Cause, Outcome, Record};
use crate::stream::{Change, Images, Refusal, WrongViewType, decode};
use crate::value::JsonItem;

/// The key of the Audit table.
const ID: &str = "id";

/// One record in progress.
#[derive(Debug)]
pub(super) struct StreamRecord<'a> {
    raw: &'a RawValue,
    stream_arn: Option<StreamArn<'a>>,
    record: Record,
    /// What must be stored of its entry before it is settled, if anything.
    witness: Option<Witness>,
    /// `None` until the record is settled.
    outcome: Option<Outcome>,
}

/// What a record says.
struct Reading<'a> {
    stream_arn: Option<StreamArn<'a>>,
    record: Record,
    event: Event,
}

/// What happened to an entry.
enum Event {
    /// The function wrote it. A tampered record may look the same.
    Stored(Fingerprint),
    /// The function wrote it again, with nothing new but its provenance.
    Redelivered,
    /// Somebody did this.
    Tampering(Cause),
}

impl<'a> StreamRecord<'a> {
    /// A record that has not been read yet.
    pub(super) fn new(raw: &'a RawValue, now: Instant) -> Self {
        Self { raw, stream_arn: None, record: Record::unsettled(now), witness: None, outcome: None }
    }

    /// Reads the record. Returns what must be put into the failure bucket, if anything. `witnessing` is whether entries
    /// leave a witness.
    pub(super) fn begin(&mut self, witnessing: bool) -> Result<Option<Upload<'a>>, WrongViewType> {
        let (raw, now) = (self.raw, self.record.interval.started);
        let cause = match catch_unwind(AssertUnwindSafe(|| read(raw, now))) {
            Ok(Ok(Reading { stream_arn, record, event })) => {
                self.stream_arn = stream_arn;
                self.record = record;
                match event {
                    Event::Stored(fingerprint) if witnessing => {
                        self.witness = Some(Witness {
                            id: self.record.item_key.clone().unwrap_or_default(),
                            fingerprint,
                            stored: self.record.created.map(timestamp),
                        });
                        return Ok(None);
                    }
                    Event::Stored(_) | Event::Redelivered => {
                        self.outcome = Some(Outcome::Unchanged);
                        return Ok(None);
                    }
                    Event::Tampering(cause) => cause,
                }
            }
            Ok(Err(Refusal::ViewType(view))) => return Err(WrongViewType(view)),
            Ok(Err(Refusal::Record(error))) => Cause::new(error.into(), error.to_string()),
            Err(_) => Cause::new(Reason::Panic, "the function panicked while it worked on the record; this is a bug"),
        };
        if self.record.sequence_number.is_none() {
            self.stream_arn = self.record.identify(self.raw);
        }
        let key = tampering_key(self.stream_arn.as_ref(), self.raw);
        Ok(Some(Upload { key, cause, record: self.raw }))
    }

    /// The stream that the record came from, if the record says.
    pub(super) fn stream_arn(&self) -> Option<&StreamArn<'a>> {
        self.stream_arn.as_ref()
    }

    /// When DynamoDB made the record, if it says.
    pub(super) fn created(&self) -> Option<DateTime<Utc>> {
        self.record.created
    }

    /// What must be stored of its entry, if anything.
    pub(super) fn witness(&self) -> Option<&Witness> {
        self.witness.as_ref()
    }

    /// The result of storing the witnesses.
    pub(super) fn witnessed(&mut self, result: &Result<(), BucketError>, now: Instant) {
        if self.witness.is_some() {
            self.record.interval.ended = now;
            self.outcome = Some(match result {
                Ok(()) => Outcome::Witnessed,
                Err(error) => Outcome::Failed(Cause::new(Reason::NotWitnessed, error.message.clone())),
            });
        }
    }

    /// The result of storing the record in the failure bucket.
    pub(super) fn uploaded(&mut self, uploaded: Uploaded, now: Instant) {
        self.record.interval.ended = now;
        self.outcome = Some(uploaded.outcome());
    }

    /// The record's outcome. An unsettled record failed for `unsettled`.
    pub(super) fn end(mut self, unsettled: &Cause, now: Instant) -> Record {
        if self.outcome.is_none() {
            self.record.interval.ended = now;
            if self.record.sequence_number.is_none() {
                self.stream_arn = self.record.identify(self.raw);
            }
        }
        Record { outcome: self.outcome.unwrap_or_else(|| Outcome::Failed(unsettled.clone())), ..self.record }
    }
}

fn read(raw: &RawValue, now: Instant) -> Result<Reading<'_>, Refusal> {
    let change = decode(raw, ID)?;
    let record = Record::of_change(&change, now);
    let event = match &change.images {
        Images::Insert { new } => Event::Stored(Fingerprint::of(tree(new))),
        Images::Modify { old, new } => {
            let (old, new) = (tree(old), tree(new));
            let names = different(&old, &new);
            if Fingerprint::of(old).agrees_with(&Fingerprint::of(new)) {
                Event::Redelivered
            } else {
                Event::Tampering(Cause::new(Reason::EntryAltered, format!("somebody altered the entry: its {names}")))
            }
        }
        Images::Remove { .. } => Event::Tampering(Cause::new(Reason::EntryDeleted, deleted(&change))),
    };
    Ok(Reading { stream_arn: change.stream_arn, record, event })
}

/// Who deleted the entry, as far as the record says.
fn deleted(change: &Change<'_>) -> String {
    let by = change.principal.as_ref().map(|principal| format!(" by {principal}")).unwrap_or_default();
    format!("the entry was deleted{by}")
}

/// An image as a tree. It was decoded before, so this cannot fail.
fn tree(image: &JsonItem<'_>) -> HashMap<String, AttributeValue> {
    match image.tree() {
        Ok(AttributeValue::M(attributes)) => attributes,
        _ => HashMap::new(),
    }
}

/// The names of the attributes that differ. Only those that entries have: any other name could be configuration.
fn different(old: &HashMap<String, AttributeValue>, new: &HashMap<String, AttributeValue>) -> String {
    const KNOWN: [&str; 6] = ["itemKey", "modificationTime", "updatedAttribute", "oldValue", "newValue", "provenance"];
    let names: Vec<&str> = KNOWN.into_iter().filter(|name| old.get(*name) != new.get(*name)).collect();
    if names.is_empty() { "other attributes".to_owned() } else { names.join(", ") }
}
