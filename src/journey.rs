//! One record's path through an invocation: its content, its next step, and its outcome.
//!
//! A journey does no I/O. The handler performs [`Journey::next_step`] and reports the result to the journey with
//! [`Journey::written`] or [`Journey::uploaded`], until nothing is left to do. No record waits for another.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio::time::Instant;
use uuid::Uuid;

use crate::audit::{Context, EncodedEntry, Entry, Plan, plan};
use crate::aws::arn::StreamArn;
use crate::canary::is_of_canary;
use crate::clock::Interval;
use crate::quarantine::uploader::{Upload, Uploaded};
use crate::quarantine::{omitted_key, quarantine_key};
use crate::reason::Reason;
use crate::report::{Cause, Outcome, Record};
use crate::stream::{Refusal, WrongViewType, decode};
use crate::writer::{WriteOutcome, Written};

/// One record in progress.
#[derive(Debug)]
pub struct Journey<'a> {
    raw: &'a RawValue,
    stream_arn: Option<StreamArn<'a>>,
    record: Record,
    /// `None` until the record is settled.
    outcome: Option<Outcome>,
    next: Next<'a>,
    /// Whether entries with notes in place of rejected values have been tried.
    has_omitted_values: bool,
}

/// The next thing to do for a record.
#[derive(Debug)]
pub enum Step<'a> {
    /// Write its entries.
    Write(Vec<EncodedEntry>),
    /// Put an object for it into the failure bucket.
    Upload(Upload<'a>),
}

/// What remains to be done for a record.
#[derive(Debug, Default)]
enum Next<'a> {
    /// Nothing.
    #[default]
    Done,
    /// Write its entries.
    Write(Vec<EncodedEntry>),
    /// Put it into the failure bucket, which quarantines it.
    Upload(Upload<'a>),
    /// Put its full record into the failure bucket, and then write the entries that refer to it.
    UploadThenWrite(Upload<'a>, Vec<EncodedEntry>),
}

/// What the plans of all records in an invocation depend on.
pub struct Planning<'a> {
    /// The Configuration table's key.
    pub key_attribute: &'a str,
    /// What all entries of the invocation share.
    pub context: Context,
    /// When the invocation began, for changes that have no time of their own.
    pub started: DateTime<Utc>,
    /// The URL of an object with this key in the failure bucket; empty if there is no bucket.
    pub url: &'a dyn Fn(&str) -> String,
}

impl<'a> Journey<'a> {
    /// A record that has not been decoded yet.
    #[must_use]
    pub fn new(raw: &'a RawValue, now: Instant) -> Self {
        Self {
            raw,
            stream_arn: None,
            record: Record::unsettled(now),
            outcome: None,
            next: Next::Done,
            has_omitted_values: false,
        }
    }

    /// Decodes the record and plans its entries. Returns its event ID; `None` for a record that is not a change.
    ///
    /// # Errors
    ///
    /// [`WrongViewType`]: the stream is wrong, not the record.
    pub fn begin(&mut self, planning: &Planning<'_>, now: Instant) -> Result<Option<Cow<'a, str>>, WrongViewType> {
        self.record.interval = Interval::new(now);
        let raw = self.raw;
        // A panic on one record must not affect the others. Its partial result is discarded.
        match catch_unwind(AssertUnwindSafe(|| decode_and_plan(raw, planning, now))) {
            Ok(Ok(Planned { stream_arn, record, entries, event_id })) => {
                self.stream_arn = stream_arn;
                self.record = record;
                if entries.is_empty() {
                    self.outcome = Some(Outcome::Unchanged);
                } else if self.record.values_omitted > 0 {
                    let message = "a value exceeds DynamoDB's limits for an entry";
                    self.upload_then_write(&event_id, message, &entries);
                } else {
                    self.next = Next::Write(encode(&entries));
                }
                return Ok(Some(event_id));
            }
            Ok(Err(Refusal::ViewType(view))) => return Err(WrongViewType(view)),
            Ok(Err(Refusal::Record(error))) => self.not_a_change(Cause::new(error.into(), error.to_string())),
            Err(_) => {
                let message = "the function panicked while it worked on the record; this is a bug";
                self.not_a_change(Cause::new(Reason::Panic, message));
            }
        }
        Ok(None)
    }

    /// No retry can fix the record: it is stored unchanged, and what can be read of it is reported.
    fn not_a_change(&mut self, cause: Cause) {
        self.stream_arn = self.record.identify(self.raw);
        self.next = Next::Upload(self.quarantine(cause));
    }

    /// The full record is stored first, because the entries refer to it.
    fn upload_then_write(&mut self, event_id: &str, why: &'static str, entries: &[Entry<'_>]) {
        let key = omitted_key(self.stream_arn.as_ref(), event_id);
        let object = Upload { key, cause: Cause::new(Reason::ValueOmitted, why), record: self.raw };
        self.next = Next::UploadThenWrite(object, encode(entries));
    }

    /// Another record of the event has the same event ID but other content. Their entries and their full records would
    /// have the same names.
    pub fn conflicts(&mut self) {
        self.outcome = None;
        let message = "another record of the same event has its event ID and other content";
        self.next = Next::Upload(self.quarantine(Cause::new(Reason::DuplicateEventId, message)));
    }

    /// DynamoDB rejects entries of a valid record. The required part of an entry is small, so it is written again with
    /// notes in place of its values. If that is rejected too, the record is quarantined.
    fn rejected(&mut self, rejected: &[Uuid], planning: &Planning<'_>, now: Instant) {
        if !std::mem::replace(&mut self.has_omitted_values, true)
            && let Ok(Planned { mut entries, event_id, .. }) = decode_and_plan(self.raw, planning, now)
        {
            entries.retain(|entry| rejected.contains(&entry.id));
            let full_record = (planning.url)(&omitted_key(self.stream_arn.as_ref(), &event_id));
            let omitted: usize = entries.iter_mut().map(|entry| entry.omit_values(&full_record)).sum();
            if omitted > 0 {
                self.record.values_omitted += omitted;
                let message = "DynamoDB rejects an entry with the record's values";
                return self.upload_then_write(&event_id, message, &entries);
            }
        }
        let message = "DynamoDB finds an entry of the record invalid (ValidationException)";
        self.next = Next::Upload(self.quarantine(Cause::new(Reason::RejectedByDynamoDb, message)));
    }

    /// The object that quarantines the record.
    fn quarantine(&self, cause: Cause) -> Upload<'a> {
        Upload { key: quarantine_key(self.stream_arn.as_ref(), self.raw), cause, record: self.raw }
    }

    /// The record, byte for byte.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw.get()
    }

    /// The stream that the record came from, if the record says.
    #[must_use]
    pub fn stream_arn(&self) -> Option<&StreamArn<'a>> {
        self.stream_arn.as_ref()
    }

    /// Returns the next step, once; `None` if none is left, or until the last step is done.
    pub fn next_step(&mut self) -> Option<Step<'a>> {
        match std::mem::take(&mut self.next) {
            Next::Done => None,
            Next::Write(entries) => Some(Step::Write(entries)),
            Next::Upload(object) => Some(Step::Upload(object)),
            Next::UploadThenWrite(object, entries) => {
                self.next = Next::Write(entries);
                Some(Step::Upload(object))
            }
        }
    }

    /// The result of writing the record's entries.
    pub fn written(&mut self, written: &Written, planning: &Planning<'_>) {
        self.record.audits_written += written.stored;
        self.record.interval.ended = written.at;
        match &written.outcome {
            WriteOutcome::Stored => self.outcome = Some(Outcome::Audited),
            WriteOutcome::Rejected(entries) => self.rejected(entries, planning, written.at),
            WriteOutcome::Unknown(cause) => {
                let message = format!("its entries are not known to be stored: {}", cause.message);
                self.outcome = Some(Outcome::Failed(Cause::new(cause.reason.clone(), message)));
            }
            WriteOutcome::Unanswered => {}
        }
    }

    /// The result of storing the record in the failure bucket.
    pub fn uploaded(&mut self, uploaded: Uploaded, now: Instant) {
        self.record.interval.ended = now;
        if uploaded.refused.is_none() && matches!(self.next, Next::Write(_)) {
            return;
        }
        self.next = Next::Done;
        self.outcome = Some(uploaded.outcome());
    }

    /// The record's outcome. An unsettled record failed for `unsettled`, unless it has its own cause.
    #[must_use]
    pub fn end(mut self, unsettled: &Cause, now: Instant) -> Record {
        if self.outcome.is_none() {
            self.record.interval.ended = now;
            if self.record.sequence_number.is_none() {
                self.stream_arn = self.record.identify(self.raw);
            }
        }
        let failed = || match self.next {
            Next::Upload(Upload { cause, .. }) => {
                let message = format!("{}; there was no time left to store it", cause.message);
                Cause::new(cause.reason, message)
            }
            _ => unsettled.clone(),
        };
        Record { outcome: self.outcome.unwrap_or_else(|| Outcome::Failed(failed())), ..self.record }
    }
}

/// A record that is a change, and what must be written for it.
struct Planned<'a> {
    stream_arn: Option<StreamArn<'a>>,
    record: Record,
    entries: Vec<Entry<'a>>,
    event_id: Cow<'a, str>,
}

fn decode_and_plan<'a>(raw: &'a RawValue, planning: &Planning<'_>, now: Instant) -> Result<Planned<'a>, Refusal> {
    let change = decode(raw, planning.key_attribute)?;
    let record = Record { is_canary: is_of_canary(&change, planning.key_attribute), ..Record::of_change(&change, now) };
    let (stream_arn, event_id) = (change.stream_arn.clone(), change.event_id.clone());
    if record.is_canary {
        return Ok(Planned { record, entries: Vec::new(), stream_arn, event_id });
    }
    let full_record = || (planning.url)(&omitted_key(stream_arn.as_ref(), &event_id));
    let time = change.created.unwrap_or(planning.started);
    let Plan { entries, attributes_changed, values_omitted } = plan(change, time, &planning.context, full_record);
    Ok(Planned { record: Record { attributes_changed, values_omitted, ..record }, entries, stream_arn, event_id })
}

fn encode(entries: &[Entry<'_>]) -> Vec<EncodedEntry> {
    entries.iter().map(Entry::encode).collect()
}
