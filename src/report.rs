//! What one invocation did, as one value. Logs, metrics and spans are all made from it, in `telemetry`.

use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use chrono::{DateTime, Utc};
use opentelemetry::trace::SpanContext;
use std::borrow::Cow;
use std::time::Duration;
use tokio::time::Instant;

use crate::aws::arn::StreamArn;
use crate::handler::InvocationError;
use crate::writer::Request;

/// One invocation. Holds no value of any configuration item.
#[derive(Debug)]
pub struct Report {
    /// Lambda's ID of the invocation.
    pub request_id: String,
    /// The function's ARN as it was invoked.
    pub function_arn: String,
    /// Where the invocation belongs in a trace; not valid where Lambda said nothing.
    pub trace: SpanContext,
    /// Whether this is the first invocation of the process.
    pub cold_start: bool,
    /// When it began, by the time of day.
    pub started: DateTime<Utc>,
    /// When it began and ended, by the steady clock that all other instants here are of.
    pub span: (Instant, Instant),
    /// How much time Lambda had given it.
    pub allowed: Duration,
    /// The stream that the records came from.
    pub stream_arn: Option<StreamArn>,
    /// How many records the event has: counted apart from [`Self::records`], so that one that is lost on the way shows.
    pub received: usize,
    /// Each record, in the order of the event.
    pub records: Vec<Record>,
    /// Each request to the Audit table, in the order in which they were sent.
    pub requests: Vec<Request>,
    /// Each object put into the failure bucket, or not.
    pub objects: Vec<Object>,
    /// How many entries are known to be stored; an entry of a record that is twice in the event counts once.
    pub audits_written: usize,
    /// Why the invocation as a whole failed, if it did.
    pub error: Option<InvocationError>,
}

/// One record of the event.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its place in its shard.
    pub sequence_number: Option<String>,
    /// INSERT, MODIFY or REMOVE; `None` where it could not be read.
    pub event_name: Option<&'static str>,
    /// The key of its item, where it could be read.
    pub item_key: Option<String>,
    /// When the item was changed, where the record says.
    pub created: Option<DateTime<Utc>>,
    /// When work on it began, and when it was settled.
    pub span: (Instant, Instant),
    /// What became of it.
    pub outcome: Outcome,
    /// How many entries it has that are known to be stored.
    pub audits_written: usize,
    /// How many attributes its entries tell of, where it is a modification.
    pub attributes_changed: usize,
    /// How many values its entries leave out.
    pub values_omitted: usize,
}

/// What became of a record. Each record has exactly one outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All its entries are known to be stored.
    Audited,
    /// It changed nothing, so it has no entries.
    Unchanged,
    /// No retry mends it; it is in the failure bucket, whole.
    Quarantined(Cause),
    /// It is reported to Lambda, which delivers it again.
    Failed(Cause),
}

/// Why a record was not audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// A short name of few different values, for metrics and spans.
    pub code: Cow<'static, str>,
    /// One sentence for people.
    pub message: Cow<'static, str>,
}

impl Cause {
    /// A cause of this name and sentence.
    #[must_use]
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// One object for the failure bucket.
#[derive(Debug, Clone)]
pub struct Object {
    /// Which record it is of, by its place in the event.
    pub record: usize,
    /// When it was sent, and when it was answered or given up.
    pub span: (Instant, Instant),
    /// Where it is.
    pub url: String,
    /// The code of the error, where it was refused.
    pub error: Option<String>,
}

/// How many records had each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All entries stored.
    pub audited: usize,
    /// Nothing changed.
    pub unchanged: usize,
    /// In the failure bucket.
    pub quarantined: usize,
    /// Reported to Lambda.
    pub failed: usize,
}

impl Counts {
    /// All of them together.
    #[must_use]
    pub const fn total(self) -> usize {
        self.audited + self.unchanged + self.quarantined + self.failed
    }
}

impl Outcome {
    /// The outcome's name, in spans and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Audited => "audited",
            Self::Unchanged => "unchanged",
            Self::Quarantined(_) => "quarantined",
            Self::Failed(_) => "failed",
        }
    }

    /// Why, where it was not audited.
    #[must_use]
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Audited | Self::Unchanged => None,
            Self::Quarantined(cause) | Self::Failed(cause) => Some(cause),
        }
    }
}

impl Report {
    /// How many records had each outcome.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for record in &self.records {
            match record.outcome {
                Outcome::Audited => counts.audited += 1,
                Outcome::Unchanged => counts.unchanged += 1,
                Outcome::Quarantined(_) => counts.quarantined += 1,
                Outcome::Failed(_) => counts.failed += 1,
            }
        }
        counts
    }

    /// The records that Lambda is to deliver again.
    pub fn failed(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| matches!(record.outcome, Outcome::Failed(_)))
    }

    /// `error` where the invocation failed, `partial` where it reports records as failed, else `ok`.
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
        self.span.1 - self.span.0
    }

    /// The time of day of an instant of this invocation.
    #[must_use]
    pub fn time_of(&self, instant: Instant) -> DateTime<Utc> {
        self.started + instant.saturating_duration_since(self.span.0)
    }

    /// The time from a record's change to the moment its last entry was stored, never below zero, since the clocks of
    /// DynamoDB and of Lambda differ; `None` where nothing was stored or the record has no time.
    #[must_use]
    pub fn lag(&self, record: &Record) -> Option<Duration> {
        let created = record.created.filter(|_| record.outcome == Outcome::Audited)?;
        Some((self.time_of(record.span.1) - created).to_std().unwrap_or_default())
    }

    /// The answer to Lambda: the sequence number of each record that is to be delivered again
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
    use crate::clock::Clock;

    /// An invocation that began at 2024-09-11T09:02:30Z and took five seconds.
    fn report() -> Report {
        let start = Clock::System.instant();
        Report {
            request_id: String::new(),
            function_arn: String::new(),
            trace: SpanContext::NONE,
            cold_start: false,
            started: DateTime::from_timestamp(1_726_045_350, 0).unwrap(),
            span: (start, start + Duration::from_secs(5)),
            allowed: Duration::from_secs(30),
            stream_arn: None,
            received: 0,
            records: Vec::new(),
            requests: Vec::new(),
            objects: Vec::new(),
            audits_written: 0,
            error: None,
        }
    }

    #[test]
    fn instants_have_the_time_of_day_that_the_invocation_began_at() {
        let report = report();
        assert_eq!(report.duration(), Duration::from_secs(5));
        assert_eq!(report.time_of(report.span.0), report.started);
        assert_eq!(report.time_of(report.span.1).to_rfc3339(), "2024-09-11T09:02:35+00:00");
    }

    #[test]
    fn the_lag_is_from_the_change_to_its_last_stored_entry_and_never_below_zero() {
        let report = report();
        let changed = |seconds: i64| Record {
            sequence_number: None,
            event_name: Some("INSERT"),
            item_key: None,
            created: DateTime::from_timestamp(1_726_045_350 + seconds, 0),
            span: (report.span.0, report.span.0 + Duration::from_secs(3)),
            outcome: Outcome::Audited,
            audits_written: 1,
            attributes_changed: 0,
            values_omitted: 0,
        };
        assert_eq!(report.lag(&changed(-2)), Some(Duration::from_secs(5)));
        assert_eq!(report.lag(&changed(4)), Some(Duration::ZERO), "the clocks differ");
        assert_eq!(report.lag(&Record { created: None, ..changed(-2) }), None);
        assert_eq!(report.lag(&Record { outcome: Outcome::Unchanged, ..changed(-2) }), None);
    }
}
