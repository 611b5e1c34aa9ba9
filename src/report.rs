//! What one invocation did, as one value. Logs, metrics and spans are all made from it, in `telemetry`.

use std::borrow::Cow;
use std::time::Duration;

use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use chrono::{DateTime, Utc};
use opentelemetry::trace::SpanContext;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::aws::arn::StreamArn;
use crate::clock::{Clock, Interval};
use crate::invocation::{Invocation, InvocationError, working_time};
use crate::reason::Reason;
use crate::settings::Function;
use crate::store::{Put, StoreError};
use crate::stream::{Change, EventName, identify, records};

/// One invocation. Holds no value of any configuration item.
#[derive(Debug)]
pub struct Report {
    /// The function that was invoked.
    pub function: Function,
    /// Lambda's ID of the invocation.
    pub request_id: String,
    /// The function's ARN as it was invoked.
    pub function_arn: String,
    /// The invocation's position in a trace; not valid if Lambda sent none.
    pub trace: SpanContext,
    /// Whether this is the first invocation of the process.
    pub cold_start: bool,
    /// When it began, as the time of day.
    pub started: DateTime<Utc>,
    /// When it began and ended, on the monotonic clock that all instants here use.
    pub interval: Interval,
    /// How much time Lambda had given it.
    pub allowed: Duration,
    /// The stream that the records came from.
    pub stream_arn: Option<StreamArn<'static>>,
    /// The number of records in the event, counted independently of [`Self::records`] to reveal a lost record.
    pub received: usize,
    /// Each record, in the order of the event.
    pub records: Vec<Record>,
    /// Each request to the Audit table, in the order in which they were sent.
    pub requests: Vec<Request>,
    /// Each object sent to the failure bucket, in the same order.
    pub objects: Vec<Object>,
    /// How many entries are known to be stored; an entry of a record that occurs twice in the event counts once.
    pub audits_written: usize,
    /// How many spans could not be sent.
    pub spans_lost: usize,
    /// Why the invocation as a whole failed, if it did.
    pub error: Option<InvocationError>,
}

/// One record of the event.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its place in its shard.
    pub sequence_number: Option<String>,
    /// What was done to the item; `None` if it could not be read.
    pub event_name: Option<EventName>,
    /// The key of its item, if it could be read.
    pub item_key: Option<String>,
    /// When the item was changed, if the record says.
    pub created: Option<DateTime<Utc>>,
    /// When work on it began, and when it was settled.
    pub interval: Interval,
    /// Its outcome.
    pub outcome: Outcome,
    /// How many entries it has that are known to be stored.
    pub audits_written: usize,
    /// How many attributes it changed, if it is a modification.
    pub attributes_changed: usize,
    /// How many values its entries omit.
    pub values_omitted: usize,
    /// Whether it concerns the canary, which is not configuration and has no entries.
    pub is_canary: bool,
}

/// The outcome of a record. Each record has exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All its entries are known to be stored.
    Audited,
    /// Its entry's witness is known to be stored.
    Witnessed,
    /// Nothing must be stored for it: it changed no attribute, or concerns the canary; or it is a redelivery's repeat of an
    /// entry, or there is no witness bucket.
    Unchanged,
    /// No retry can fix it; the complete record is in the failure bucket.
    Quarantined(Cause),
    /// It is reported to Lambda, which delivers it again.
    Failed(Cause),
}

/// Why a record was not audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The reason, for programs.
    pub reason: Reason,
    /// One sentence for people.
    pub message: Cow<'static, str>,
}

impl Cause {
    /// A cause with this reason and sentence.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Why a record failed that was unsettled at the end: the error of the invocation, or else the deadline, with this
    /// sentence.
    #[must_use]
    pub fn of_unsettled(error: Option<&InvocationError>, at_deadline: &'static str) -> Self {
        let by_error = error.and_then(|error| Some(Self::new(error.reason()?, error.to_string())));
        by_error.unwrap_or_else(|| Self::new(Reason::Deadline, at_deadline))
    }
}

/// One request to the Audit table.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// When it was sent, and when it was answered or abandoned.
    pub interval: Interval,
    /// How many entries it carried.
    pub entries: usize,
    /// How many attempts these entries had before.
    pub retries: u32,
    /// The result.
    pub result: Result<Put, StoreError>,
}

/// One object for the failure bucket.
#[derive(Debug, Clone)]
pub struct Object {
    /// The index of its record in the event.
    pub record: usize,
    /// When it was sent, and when it was answered or abandoned.
    pub interval: Interval,
    /// Its URL.
    pub url: String,
    /// The error code, if it was rejected.
    pub error: Option<String>,
}

/// How many records had each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All entries stored.
    pub audited: usize,
    /// The witness stored.
    pub witnessed: usize,
    /// Nothing changed.
    pub unchanged: usize,
    /// In the failure bucket.
    pub quarantined: usize,
    /// Reported to Lambda.
    pub failed: usize,
}

impl Counts {
    /// The total.
    #[must_use]
    pub const fn total(self) -> usize {
        self.audited + self.witnessed + self.unchanged + self.quarantined + self.failed
    }
}

impl Outcome {
    /// The outcome's name, in spans and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Audited => "audited",
            Self::Witnessed => "witnessed",
            Self::Unchanged => "unchanged",
            Self::Quarantined(_) => "quarantined",
            Self::Failed(_) => "failed",
        }
    }

    /// Why it was not audited, if it was not.
    #[must_use]
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Audited | Self::Witnessed | Self::Unchanged => None,
            Self::Quarantined(cause) | Self::Failed(cause) => Some(cause),
        }
    }
}

impl Record {
    /// A record that has not been decoded yet. Until it is settled it counts as failed.
    #[must_use]
    pub fn unsettled(now: Instant) -> Self {
        Self {
            sequence_number: None,
            event_name: None,
            item_key: None,
            created: None,
            interval: Interval::new(now),
            outcome: Outcome::Failed(Cause::new(
                Reason::Deadline,
                "the invocation ended before the record was settled",
            )),
            audits_written: 0,
            attributes_changed: 0,
            values_omitted: 0,
            is_canary: false,
        }
    }
}

impl Record {
    /// The record of a change that has not been settled yet.
    #[must_use]
    pub fn of_change(change: &Change<'_>, now: Instant) -> Self {
        Self {
            event_name: Some(change.images.event_name()),
            item_key: Some(change.item_key.clone().into_owned()),
            sequence_number: change.sequence_number.clone().map(Cow::into_owned),
            created: change.created,
            ..Self::unsettled(now)
        }
    }

    /// Copies the raw record's own identification, whatever else it contains. Returns its stream.
    pub fn identify<'a>(&mut self, raw: &'a RawValue) -> Option<StreamArn<'a>> {
        let identity = identify(raw);
        self.sequence_number = identity.sequence_number.map(Cow::into_owned);
        self.event_name = identity.event_name;
        identity.stream_arn
    }
}

impl Report {
    /// The report of an invocation that begins now.
    #[must_use]
    pub fn new(function: Function, invocation: &Invocation<'_>, clock: Clock) -> Self {
        let started = clock.now();
        Self {
            function,
            request_id: invocation.request_id.clone(),
            function_arn: invocation.function_arn.clone(),
            trace: invocation.trace.clone(),
            cold_start: invocation.cold_start,
            started,
            interval: Interval::new(clock.instant()),
            allowed: (invocation.deadline - started).to_std().unwrap_or_default(),
            stream_arn: None,
            received: 0,
            records: Vec::new(),
            requests: Vec::new(),
            objects: Vec::new(),
            audits_written: 0,
            spans_lost: 0,
            error: None,
        }
    }

    /// Splits the event into its records; `None` if nothing can be done with it, and [`Self::error`] says why.
    pub fn split<'a>(&mut self, event: &'a [u8]) -> Option<Vec<&'a RawValue>> {
        let split = if working_time(self.allowed).is_zero() {
            Err(InvocationError::NoTime(self.allowed))
        } else {
            records(event).map_err(InvocationError::from)
        };
        split.map_err(|error| self.error = Some(error)).ok()
    }

    /// How many records had each outcome.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for record in &self.records {
            match record.outcome {
                Outcome::Audited => counts.audited += 1,
                Outcome::Witnessed => counts.witnessed += 1,
                Outcome::Unchanged => counts.unchanged += 1,
                Outcome::Quarantined(_) => counts.quarantined += 1,
                Outcome::Failed(_) => counts.failed += 1,
            }
        }
        counts
    }

    /// The records that Lambda is asked to redeliver.
    pub fn failed(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| matches!(record.outcome, Outcome::Failed(_)))
    }

    /// The records whose entries are all known to be stored.
    pub fn audited(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.outcome == Outcome::Audited)
    }

    /// Fails the invocation if records failed that cannot be reported to Lambda one by one.
    pub fn fail_without_sequence_numbers(&mut self) {
        let nameless = self.failed().filter(|record| record.sequence_number.is_none()).count();
        if self.error.is_none() && nameless > 0 {
            self.error = Some(InvocationError::NoSequenceNumber(nameless));
        }
    }

    /// `error` if the invocation failed, `partial` if it reports records as failed, otherwise `ok`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match (&self.error, self.failed().next()) {
            (Some(_), _) => "error",
            (None, Some(_)) => "partial",
            (None, None) => "ok",
        }
    }

    /// How long the invocation took.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.interval.duration()
    }

    /// The time of day of an instant of this invocation.
    #[must_use]
    pub fn time_of(&self, instant: Instant) -> DateTime<Utc> {
        self.started + instant.saturating_duration_since(self.interval.started)
    }

    /// The time from a record's change to the moment its last entry was stored, never below zero, because the clocks of
    /// DynamoDB and of Lambda differ; `None` if nothing was stored or the record has no time.
    #[must_use]
    pub fn lag(&self, record: &Record) -> Option<Duration> {
        let created = record.created.filter(|_| record.outcome == Outcome::Audited)?;
        Some((self.time_of(record.interval.ended) - created).to_std().unwrap_or_default())
    }

    /// The answer to Lambda: the sequence number of each record that Lambda is asked to deliver again
    /// (AWS Lambda Developer Guide, "Configuring partial batch response with DynamoDB and Lambda").
    ///
    /// # Errors
    ///
    /// Why the invocation failed: then Lambda delivers the whole batch again.
    pub fn answer(&self) -> Result<DynamoDbEventResponse, InvocationError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let mut answer = DynamoDbEventResponse::default();
        answer.batch_item_failures = self
            .failed()
            .map(|record| {
                let mut failure = DynamoDbBatchItemFailure::default();
                failure.item_identifier.clone_from(&record.sequence_number);
                failure
            })
            .collect();
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::report;

    #[tokio::test(start_paused = true)]
    async fn instants_are_converted_to_the_time_of_day() {
        let report = report();
        assert_eq!(report.duration(), Duration::from_secs(5));
        assert_eq!(report.time_of(report.interval.started), report.started);
        assert_eq!(report.time_of(report.interval.ended).to_rfc3339(), "2024-09-11T09:02:35+00:00");
    }

    #[tokio::test(start_paused = true)]
    async fn the_lag_is_from_the_change_to_its_last_stored_entry_and_never_below_zero() {
        let report = report();
        let changed = |seconds: i64| Record {
            created: DateTime::from_timestamp(1_726_045_350 + seconds, 0),
            interval: Interval { ended: report.interval.started + Duration::from_secs(3), ..report.interval },
            outcome: Outcome::Audited,
            ..Record::unsettled(report.interval.started)
        };
        assert_eq!(report.lag(&changed(-2)), Some(Duration::from_secs(5)));
        assert_eq!(report.lag(&changed(4)), Some(Duration::ZERO), "the clocks differ");
        assert_eq!(report.lag(&Record { created: None, ..changed(-2) }), None);
        assert_eq!(report.lag(&Record { outcome: Outcome::Unchanged, ..changed(-2) }), None);
    }
}
