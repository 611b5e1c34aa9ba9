//! An invocation, with everything that the function sent during it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use config_audit_local::CompletedInvocation;
use config_audit_local::event::LogSource;
use serde_json::Value;

/// An invocation of the function.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Its request ID.
    pub request_id: String,
    /// The trace header that the function received.
    pub trace_header: String,
    /// When it began.
    pub started: DateTime<Utc>,
    /// Whether it was a cold start.
    pub is_cold: bool,
    /// The sequence numbers of its records.
    pub records: Vec<String>,
    /// What the function printed.
    pub lines: Vec<(LogSource, String)>,
    /// The segment documents, as JSON.
    pub documents: Vec<String>,
    /// Whether lines and documents were dropped to stay within the memory limit.
    pub is_trimmed: bool,
    /// The entries that it stored, as far as the console saw them.
    pub entries: Vec<StoredEntry>,
    /// How it ended; `None` while it is running.
    pub ended: Option<Ended>,
}

/// An entry that an invocation stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its ID.
    pub id: String,
    /// The item's key.
    pub key: String,
    /// The attribute; empty for the item as a whole.
    pub attribute: String,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// How long it took.
    pub duration: Duration,
    /// The sequence numbers that it reported as failed, or why the whole invocation failed.
    pub outcome: Result<Vec<String>, String>,
    /// When it ended, and the report that Lambda would have logged.
    pub report: Option<(DateTime<Utc>, String)>,
}

impl Invocation {
    pub(crate) fn new(request_id: String, trace_header: String, started: DateTime<Utc>, records: Vec<String>) -> Self {
        Self {
            request_id,
            trace_header,
            started,
            is_cold: false,
            records,
            lines: Vec::new(),
            documents: Vec::new(),
            is_trimmed: false,
            entries: Vec::new(),
            ended: None,
        }
    }

    /// The size of its lines and documents, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.lines.iter().map(|(_, line)| line.len()).chain(self.documents.iter().map(String::len)).sum()
    }

    /// Drops its lines and documents.
    pub(super) fn trim(&mut self) {
        self.is_trimmed |= !self.lines.is_empty() || !self.documents.is_empty();
        (self.lines, self.documents) = (Vec::new(), Vec::new());
    }

    /// Whether it failed, or reported a record as failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| !matches!(&ended.outcome, Ok(failed) if failed.is_empty()))
    }
}

impl Ended {
    pub(super) fn of(completed: &CompletedInvocation, now: DateTime<Utc>) -> Self {
        let outcome = match &completed.outcome {
            Ok(body) => Ok(failures(body)),
            Err(error) => Err(error.to_string()),
        };
        let report = Some((now, completed.platform_report(now).to_string()));
        Self { duration: completed.duration, outcome, report }
    }
}

/// The sequence numbers in an answer.
fn failures(answer: &[u8]) -> Vec<String> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let failures = answer["batchItemFailures"].as_array().into_iter().flatten();
    failures.filter_map(|failure| Some(failure["itemIdentifier"].as_str()?.to_owned())).collect()
}
