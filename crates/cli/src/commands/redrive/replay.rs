//! Replays objects through the function's own handler.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use config_audit::audit::EncodedEntry;
use config_audit::aws::error_chain;
use config_audit::bucket::{Bucket, BucketError};
use config_audit::clock::Clock;
use config_audit::handler::Handler;
use config_audit::invocation::{Invocation, InvocationError};
use config_audit::report::{Counts, Outcome, Report};
use config_audit::store::dynamodb::DynamoDbStore;
use config_audit::store::{Failure, Put, Store, StoreError};
use config_audit_mapping::object::{self, FailedRecords, ObjectError};
use futures_util::stream::{Stream, StreamExt};
use opentelemetry::trace::SpanContext;

use super::error::RedriveError;
use crate::aws::Aws;
use crate::place::{self, Listed, NotAnObject, Place, PlaceError};
use config_audit_tables::AwsError;

/// How many objects are replayed at the same time; each may have several requests to the table in flight.
const MAX_IN_FLIGHT: usize = 8;
/// How long the table may throttle or fail before part of an object counts as failed.
const PATIENCE: TimeDelta = TimeDelta::minutes(1);
/// The size of the largest object that can contain a record or a batch, in bytes: a Lambda event has at most 6 MB,
/// which is about twice as much as a JSON string.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

/// A replay of the objects of a place.
#[derive(Debug)]
pub struct Redrive {
    /// Where the objects are.
    pub place: Place,
    /// The Audit table, with a client that does not retry; `None` in a dry run, which does not write to the place
    /// either.
    pub table: Option<DynamoDbStore>,
    /// The Configuration table's key.
    pub key_attribute: String,
    /// Whether entries carry their provenance.
    pub provenance: bool,
    /// The account, for errors and for notices about the writer's retries.
    pub account: Option<Aws>,
    /// The keys of the objects that this run wrote. Listings include them, although they were replayed just now.
    put: RefCell<HashSet<String>>,
}

/// An object and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its key.
    pub key: String,
    /// When it was written.
    pub modified: Option<DateTime<Utc>>,
    /// Its outcome.
    pub fate: Fate,
}

/// The outcome for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is a full record that an audit entry refers to, so it is not replayed.
    Omitted,
    /// It is a record of the Audit table's stream that shows tampering, and no change of configuration.
    Tampering,
    /// This run wrote it, or another run has moved it.
    Skipped,
    /// It contains no records that can be replayed.
    Damaged(ObjectError),
    /// It is not an object.
    NotAnObject(NotAnObject),
    /// It cannot be read, for this reason.
    Unreadable(String),
    /// Its records were replayed.
    Replayed(Replayed),
}

/// The outcomes of an object's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Why they were in the bucket.
    pub reason: String,
    /// The keys of their items, as far as they can be read.
    pub item_keys: BTreeSet<String>,
    /// The number with each outcome.
    pub counts: Counts,
    /// How many entries are known to be stored.
    pub entries_written: usize,
    /// Whether it was moved to the archive.
    pub archived: bool,
    /// The keys of the objects that still contain its records, with the reason: the object itself, or those of records
    /// that were quarantined again.
    pub left: BTreeMap<String, String>,
}

impl Redrive {
    /// A replay of the objects in `place` into `table`; without a table, a dry run. The other settings are the function's
    /// defaults.
    #[must_use]
    pub fn new(place: Place, table: Option<DynamoDbStore>) -> Self {
        let (key_attribute, put) = ("key".to_owned(), RefCell::default());
        Self { place, table, key_attribute, provenance: false, account: None, put }
    }

    /// Replays the objects concurrently, and returns them in listing order. Dropping the stream stops the run without
    /// losing anything.
    pub fn objects(&self) -> impl Stream<Item = Result<Seen, RedriveError>> {
        let seen = |listed: Result<Listed, PlaceError>| async { self.object(listed?).await };
        self.place.list().map(seen).buffered(MAX_IN_FLIGHT)
    }

    async fn object(&self, listed: Listed) -> Result<Seen, RedriveError> {
        let Listed { key, size, modified, not_an_object } = listed;
        let fate = if let Some(reason) = not_an_object {
            Fate::NotAnObject(reason)
        } else if place::is_full_record(&key) {
            Fate::Omitted
        } else if place::is_tampering(&key) {
            Fate::Tampering
        } else if self.put.borrow().contains(&key) {
            Fate::Skipped
        } else if size > MAX_SIZE {
            Fate::Damaged(ObjectError::TooLarge(size))
        } else {
            match self.place.get(&key).await {
                Ok(None) => Fate::Skipped,
                Err(error) => Fate::Unreadable(error_chain(&error)),
                Ok(Some(body)) => match object::read(&body) {
                    Err(error) => Fate::Damaged(error),
                    // The keys in a partial copy of the bucket do not tell.
                    Ok(held) if held.reason == "value_omitted" => Fate::Omitted,
                    Ok(held) if matches!(held.reason.as_str(), "entry_altered" | "entry_deleted") => Fate::Tampering,
                    Ok(held) => Fate::Replayed(self.replay(&key, held).await?),
                },
            }
        };
        Ok(Seen { key, modified, fate })
    }

    async fn replay(&self, key: &str, held: FailedRecords) -> Result<Replayed, RedriveError> {
        let handler = Handler {
            store: self,
            quarantine: Some(self),
            clock: Clock::System,
            key_attribute: self.key_attribute.clone(),
            provenance: self.provenance,
        };
        let mut replayed = Replayed { reason: held.reason, ..Replayed::default() };
        for event in &held.events {
            let invocation = Invocation {
                request_id: held.request_id.clone(),
                function_arn: held.function_arn.clone(),
                trace: SpanContext::NONE,
                cold_start: false,
                deadline: Clock::System.now() + PATIENCE,
                event,
            };
            let report = handler.handle(&invocation).await;
            if let (Some(InvocationError::Store(error)), Some(table)) = (&report.error, &self.table) {
                return Err(self.table_error(table, error));
            }
            replayed.add(key, &report, &self.place.url());
        }
        // A record that was quarantined again is in its own object, unless it replaced this one.
        if !replayed.left.contains_key(key) && !self.place.is_archived(key) {
            match if self.table.is_some() { self.place.archive(key).await } else { Ok(()) } {
                Ok(()) => replayed.archived = true,
                Err(error) => drop(replayed.left.insert(key.to_owned(), error_chain(&error))),
            }
        }
        Ok(replayed)
    }

    /// Checks that the table accepts entries before anything is replayed.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn probe(&self) -> Result<(), RedriveError> {
        let Some(table) = &self.table else { return Ok(()) };
        table.probe().await.map_err(|error| self.table_error(table, &error))
    }

    /// The store's error in this command's words; its own message is for operators of the function.
    fn table_error(&self, table: &DynamoDbStore, error: &StoreError) -> RedriveError {
        let place = self.account.as_ref().map(|account| format!(" {}", account.place())).unwrap_or_default();
        let action = format!("writing to the Audit table {}{place}", table.table());
        if (error.failure, error.code.as_str()) == (Failure::Misconfigured, "ValidationException") {
            let reason =
                "its key is not only `id` of type S, so it is not an Audit table; check --audit-table".to_owned();
            return RedriveError::Table(AwsError { action, code: Some(error.code.clone()), reason });
        }
        let permission = "dynamodb:BatchWriteItem on the table, and the use of its KMS key, if it has one";
        RedriveError::Table(AwsError::of_writer(action, permission, &error.code))
    }
}

impl Replayed {
    /// Counts what one invocation did.
    fn add(&mut self, key: &str, report: &Report, url: &str) {
        let counts = report.counts();
        self.counts.audited += counts.audited;
        self.counts.unchanged += counts.unchanged;
        self.counts.quarantined += counts.quarantined;
        self.counts.failed += counts.failed;
        self.entries_written += report.audits_written;
        if let Some(error) = &report.error {
            self.left.insert(key.to_owned(), format!("not all of its records are stored: {error}"));
        }
        self.item_keys.extend(report.records.iter().filter_map(|record| record.item_key.clone()));
        for (index, record) in report.records.iter().enumerate() {
            match &record.outcome {
                Outcome::Audited | Outcome::Witnessed | Outcome::Unchanged => {}
                Outcome::Quarantined(cause) => {
                    let object = report.objects.iter().rev().find(|object| object.record == index);
                    let quarantined = object.and_then(|object| object.url.strip_prefix(url)).unwrap_or(key);
                    self.left.insert(quarantined.to_owned(), format!("quarantined again: {}", cause.message));
                }
                Outcome::Failed(cause) => {
                    self.left.insert(key.to_owned(), format!("not all of its records are stored: {}", cause.message));
                }
            }
        }
    }
}

/// The Audit table, as the handler sees it.
impl Store for &Redrive {
    async fn put(&self, entries: &[&EncodedEntry]) -> Result<Put, StoreError> {
        let Some(table) = &self.table else { return Ok(Put::default()) };
        let put = table.put(entries).await;
        if let Some(retries) = self.account.as_ref().map(Aws::retry_notice) {
            let will_retry = |error: &StoreError| matches!(error.failure, Failure::Throttled | Failure::Unavailable);
            retries.attempted(put.as_ref().err().is_some_and(will_retry));
        }
        put
    }
}

/// The failure bucket, as the handler sees it.
impl Bucket for &Redrive {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), BucketError> {
        if place::is_full_record(key) && matches!(self.place, Place::Directory { bucket: None, .. }) {
            let message = "an entry refers to its full record in the failure bucket, but it is unknown which bucket \
                 this directory is a copy of; use --failure-bucket";
            return Err(BucketError { code: "unavailable".to_owned(), message: message.to_owned() });
        }
        if self.table.is_some() {
            self.place
                .put(key, body)
                .await
                .map_err(|error| BucketError { code: error.code().to_owned(), message: error_chain(&error) })?;
            self.put.borrow_mut().insert(key.to_owned());
        }
        Ok(())
    }

    fn url(&self, key: &str) -> String {
        format!("{}{key}", self.place.url())
    }
}
