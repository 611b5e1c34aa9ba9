//! One record's way through an invocation: what it is, what is to be done next, and what came of it.
//!
//! A journey does no I/O. The handler does what [`Journey::take_next`] asks for and tells the journey how it went, with
//! [`Journey::written`] or [`Journey::kept`], until nothing is left to do. No record waits for another.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::audit::{Context, Entry, plan};
use crate::clock::Interval;
use crate::quarantine::keeper::{Keep, Kept};
use crate::quarantine::{omitted_key, quarantine_key};
use crate::reason::Reason;
use crate::report::{Cause, Outcome, Record};
use crate::stream::{Refusal, decode, identify};
use crate::writer::{Fate, Written};

/// One record on its way.
#[derive(Debug)]
pub struct Journey<'a> {
    raw: &'a RawValue,
    record: Record,
    /// `None` until the record is settled.
    outcome: Option<Outcome>,
    next: Next<'a>,
}

/// What is to be done next for a record.
#[derive(Debug, Default)]
pub enum Next<'a> {
    /// Nothing.
    #[default]
    Done,
    /// Write its entries.
    Write(Vec<Entry>),
    /// Keep it in the failure bucket, and then it is quarantined.
    Keep(Keep<'a>),
    /// Keep its full record in the failure bucket, and then write the entries that refer to it.
    KeepThenWrite(Keep<'a>, Vec<Entry>),
}

/// What the plans of all records in an invocation depend on.
pub struct Planning<'a> {
    /// The Configuration table's key.
    pub key_attribute: &'a str,
    /// What every entry of the invocation has.
    pub context: Context,
    /// When the invocation began: the time of a change that does not say when it was made.
    pub started: DateTime<Utc>,
    /// Where an object of this key is in the failure bucket; empty where there is no bucket.
    pub url: &'a dyn Fn(&str) -> String,
}

/// The stream lacks an image; this is its view type.
#[derive(Debug, PartialEq, Eq)]
pub struct WrongViewType(pub String);

impl<'a> Journey<'a> {
    /// A record of which nothing is known yet.
    #[must_use]
    pub fn new(raw: &'a RawValue, now: Instant) -> Self {
        Self { raw, record: Record::unsettled(now), outcome: None, next: Next::Done }
    }

    /// Decodes the record and plans its entries.
    ///
    /// # Errors
    ///
    /// [`WrongViewType`], which no record of the stream can do anything about.
    pub fn begin(&mut self, planning: &Planning<'_>, now: Instant) -> Result<(), WrongViewType> {
        self.record.interval = Interval::new(now);
        let raw = self.raw;
        // A panic on one record must not cost the others. What it may have left half done is thrown away.
        let planned = catch_unwind(AssertUnwindSafe(|| {
            let change = decode(raw, planning.key_attribute)?;
            let record = Record {
                event_name: Some(change.images.event_name()),
                item_key: Some(change.item_key.clone()),
                sequence_number: change.sequence_number.clone(),
                created: change.created,
                ..Record::unsettled(now)
            };
            let key = omitted_key(change.stream_arn.as_ref(), &change.event_id);
            let time = change.created.unwrap_or(planning.started);
            Ok((record, plan(change, time, &planning.context, || (planning.url)(&key)), key))
        }));
        match planned {
            Ok(Ok((record, plan, key))) => {
                self.record = Record {
                    attributes_changed: plan.attributes_changed,
                    values_omitted: plan.values_omitted,
                    ..record
                };
                if plan.entries.is_empty() {
                    self.outcome = Some(Outcome::Unchanged);
                } else if plan.values_omitted > 0 {
                    let cause = Cause::new(Reason::ValueOmitted, "a value is over DynamoDB's limits for an entry");
                    self.next = Next::KeepThenWrite(Keep { key, cause, record: raw }, plan.entries);
                } else {
                    self.next = Next::Write(plan.entries);
                }
            }
            Ok(Err(Refusal::ViewType(view))) => return Err(WrongViewType(view)),
            Ok(Err(Refusal::Record(error))) => self.not_a_change(Cause::new(error.into(), error.to_string())),
            Err(_) => {
                let message = "the function panicked while it worked on the record; this is a bug";
                self.not_a_change(Cause::new(Reason::Panic, message));
            }
        }
        Ok(())
    }

    /// No retry mends the record: what can still be read of it is reported, and it is kept as it is.
    fn not_a_change(&mut self, cause: Cause) {
        let identity = identify(self.raw);
        self.next =
            Next::Keep(Keep { key: quarantine_key(identity.stream_arn.as_ref(), self.raw), cause, record: self.raw });
        self.record.sequence_number = identity.sequence_number;
        self.record.event_name = identity.event_name;
    }

    /// What is to be done next, once.
    pub fn take_next(&mut self) -> Next<'a> {
        std::mem::take(&mut self.next)
    }

    /// Holds entries back until the full record that they refer to is [kept](Self::kept).
    pub fn hold(&mut self, entries: Vec<Entry>) {
        self.next = Next::Write(entries);
    }

    /// The record's entries are written, or not.
    pub fn written(&mut self, written: &Written) {
        self.record.audits_written = written.stored;
        self.record.interval.ended = written.at;
        match &written.fate {
            Fate::Stored => self.outcome = Some(Outcome::Audited),
            Fate::Rejected => {
                let message = "DynamoDB finds an entry of the record invalid (ValidationException)";
                let cause = Cause::new(Reason::RejectedByDynamoDb, message);
                let key = quarantine_key(identify(self.raw).stream_arn.as_ref(), self.raw);
                self.next = Next::Keep(Keep { key, cause, record: self.raw });
            }
            Fate::Unknown(reason) => {
                let message = format!("its entries are not known to be stored ({reason})");
                self.outcome = Some(Outcome::Failed(Cause::new(reason.clone(), message)));
            }
            Fate::Unanswered => {}
        }
    }

    /// The failure bucket has the record, or does not.
    pub fn kept(&mut self, kept: Kept, now: Instant) {
        self.record.interval.ended = now;
        match (kept.refused, &self.next) {
            (Some(why), _) => {
                self.next = Next::Done;
                let message = format!("{}; {why}", kept.cause.message);
                self.outcome = Some(Outcome::Failed(Cause::new(kept.cause.reason, message)));
            }
            (None, Next::Write(_)) => {}
            (None, _) => self.outcome = Some(Outcome::Quarantined(kept.cause)),
        }
    }

    /// What came of the record. One that is not settled failed for `unsettled`, which gives the cause and the time.
    #[must_use]
    pub fn end(self, unsettled: impl FnOnce() -> (Cause, Instant)) -> Record {
        let mut record = self.record;
        record.outcome = self.outcome.unwrap_or_else(|| {
            let (cause, now) = unsettled();
            record.interval.ended = now;
            Outcome::Failed(cause)
        });
        record
    }
}
