//! `config-audit redrive`: replays what is in the failure bucket through the function's own handler.
//!
//! A record makes the same entries each time, under the same IDs, and its object has the same key each time. So a replay of
//! what was stored changes nothing (but the `traceId` of entries with provenance, which is of the last delivery), and
//! everything here may be cut short at any point, run again, and run at the same time as the function, or as itself.
//!
//! [`place`] is where the objects are, [`config_audit_mapping::object`] what they hold, [`summary`] what a run came to.

pub mod place;
pub mod summary;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use config_audit::audit::Entry;
use config_audit::clock::Clock;
use config_audit::handler::Handler;
use config_audit::invocation::{Invocation, InvocationError};
use config_audit::quarantine::{Quarantine, QuarantineError};
use config_audit::report::{Counts, Outcome, Report};
use config_audit::store::dynamodb::DynamoDbStore;
use config_audit::store::{Failure, Put, Store, StoreError};
use futures_util::stream::{Stream, StreamExt};
use opentelemetry::trace::SpanContext;
use tokio::signal::unix::{SignalKind, signal};

use self::place::{Listed, Location, OMITTED, Place, PlaceError};
use self::summary::{Summary, describe};
use crate::aws::{AwsArguments, AwsError};
use crate::terminal::{Output, Terminal};
use config_audit::aws::error_chain;
use config_audit::settings::{Environment, ProcessEnvironment};
use config_audit_mapping::object::{self, Damage, Held};

/// The most objects under way at once; each may have eight requests to the table under way.
const IN_FLIGHT: usize = 8;
/// How long a table that throttles or fails is asked again, for each part of an object.
const PATIENCE: TimeDelta = TimeDelta::minutes(1);
/// No record or batch is larger: an event of Lambda's has at most 6 MB, about twice that as a JSON string.
const LARGEST: u64 = 64 * 1024 * 1024;
/// How often progress is told: after so many objects, or so much time.
const PROGRESS_OBJECTS: usize = 100;
const PROGRESS_TIME: Duration = Duration::from_secs(5);

/// Which failures are to be replayed into which table.
#[derive(Debug, Args)]
pub struct RedriveArguments {
    /// The failure bucket, `s3://BUCKET` or `s3://BUCKET/PREFIX`, or a directory with a copy of it
    #[arg(value_name = "PLACE")]
    location: Location,
    /// The Audit table, by name or ARN
    #[arg(long, value_name = "NAME", required_unless_present = "dry_run")]
    audit_table: Option<String>,
    /// The Configuration table's key: the function's `KEY_ATTRIBUTE`
    #[arg(long, value_name = "NAME", default_value = "key")]
    key_attribute: String,
    /// Write where entries come from, as the function does with `AUDIT_PROVENANCE=on`; give it where the function has that
    ///
    /// An entry that is stored already is written again whole. Without this option it would lose its `provenance`; with it, it
    /// loses only `provenance.traceId`, the trace of the last delivery, which a replay is not.
    #[arg(long)]
    provenance: bool,
    /// For a directory: the bucket that it is a copy of, which entries with omitted values name
    ///
    /// Their full records are written to omitted/ in the directory; copy them to the bucket.
    #[arg(long, value_name = "BUCKET")]
    failure_bucket: Option<String>,
    /// Say what is there and what would come of it, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print the summary
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The account
    #[command(flatten)]
    aws: AwsArguments,
    /// Use the S3 behind this URL [default: `AWS_ENDPOINT_URL_S3`, or --endpoint-url]
    #[arg(long, value_name = "URL", help_heading = "AWS")]
    s3_endpoint_url: Option<String>,
}

/// Why nothing can be replayed, or no more.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// Nothing can be written to the Audit table until somebody changes something.
    #[error("{0}")]
    Table(AwsError),
    /// The objects can't be listed.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// There is no such directory.
    #[error("{} is no directory; give one, or a bucket as s3://BUCKET", .0.display())]
    NoDirectory(PathBuf),
    /// The bucket's name is known.
    #[error("--failure-bucket is for a directory; {0} is the failure bucket already")]
    FailureBucket(String),
    /// A signal handler can't be installed.
    #[error("can't wait for Ctrl-C")]
    Signal(#[source] std::io::Error),
    /// The summary can't be written.
    #[error("the summary can't be written as JSON")]
    Json(#[source] serde_json::Error),
}

impl RedriveError {
    /// 2 where the command line is to blame, 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::NoDirectory(_) | Self::FailureBucket(_)) { 2 } else { 1 }
    }
}

/// Replays the objects of a place.
#[derive(Debug)]
pub struct Redrive {
    /// Where the objects are.
    pub place: Place,
    /// The Audit table, through a client that does not retry; none in a dry run, which writes nothing to the place either.
    pub table: Option<DynamoDbStore>,
    /// The Configuration table's key.
    pub key_attribute: String,
    /// Whether entries tell where they come from.
    pub provenance: bool,
    /// The objects that were put here meanwhile. They are listed too, and were replayed just now.
    put: RefCell<HashSet<String>>,
}

/// An object, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its key.
    pub key: String,
    /// When it was written.
    pub modified: Option<DateTime<Utc>>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is a full record that an entry names, and not to be replayed.
    Omitted,
    /// It was put here by this run, or taken away by another.
    Passed,
    /// It holds no records that could be replayed.
    Damaged(Damage),
    /// It can't be read just now, or by us.
    Unread(String),
    /// Its records were replayed.
    Replayed(Replayed),
}

/// What became of an object's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Why they were there.
    pub reason: String,
    /// The keys of their items, where they can be read.
    pub item_keys: BTreeSet<String>,
    /// How many had each outcome.
    pub counts: Counts,
    /// How many entries are known to be stored.
    pub entries_written: usize,
    /// Whether the object is in the archive now.
    pub archived: bool,
    /// Keys of the objects that still hold records of it, with the reason: itself, or those of records that were
    /// quarantined again.
    pub left: BTreeMap<String, String>,
}

impl Redrive {
    /// A replay of what is in `place` into `table`; without a table, a dry run. The other settings are the function's
    /// defaults.
    #[must_use]
    pub fn new(place: Place, table: Option<DynamoDbStore>) -> Self {
        let (key_attribute, put) = ("key".to_owned(), RefCell::default());
        Self { place, table, key_attribute, provenance: false, put }
    }

    /// Replays each object, several at a time, and tells of them in the order in which they are listed. Whoever drops the
    /// stream ends the run, and loses nothing.
    pub fn objects(&self) -> impl Stream<Item = Result<Seen, RedriveError>> {
        let seen = |listed: Result<Listed, PlaceError>| async { self.object(listed?).await };
        self.place.list().map(seen).buffered(IN_FLIGHT)
    }

    async fn object(&self, listed: Listed) -> Result<Seen, RedriveError> {
        let Listed { key, size, modified } = listed;
        let fate = if key.starts_with(OMITTED) {
            Fate::Omitted
        } else if self.put.borrow().contains(&key) {
            Fate::Passed
        } else if size > LARGEST {
            Fate::Damaged(Damage::TooLarge(size))
        } else {
            match self.place.get(&key).await {
                Ok(None) => Fate::Passed,
                Err(error) => Fate::Unread(error_chain(&error)),
                Ok(Some(body)) => match object::read(&body) {
                    Err(damage) => Fate::Damaged(damage),
                    // In a copy of a part of the bucket the key does not say it.
                    Ok(held) if held.reason == "value_omitted" => Fate::Omitted,
                    Ok(held) => Fate::Replayed(self.replay(&key, held).await?),
                },
            }
        };
        Ok(Seen { key, modified, fate })
    }

    async fn replay(&self, key: &str, held: Held) -> Result<Replayed, RedriveError> {
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
                return Err(table_error(table, error));
            }
            replayed.add(key, &report, &self.place.url());
        }
        // A record that was quarantined again may have replaced this object. Where it has not, it is whole in another.
        if !replayed.left.contains_key(key) {
            match if self.table.is_some() { self.place.archive(key).await } else { Ok(()) } {
                Ok(()) => replayed.archived = true,
                Err(error) => drop(replayed.left.insert(key.to_owned(), error_chain(&error))),
            }
        }
        Ok(replayed)
    }

    /// Finds out whether entries can be written, before anything is replayed.
    ///
    /// # Errors
    /// Why they can't.
    pub async fn probe(&self) -> Result<(), RedriveError> {
        let Some(table) = &self.table else { return Ok(()) };
        table.probe().await.map_err(|error| table_error(table, &error))
    }
}

/// The store's error, which speaks to whoever runs the function, in this command's words.
fn table_error(table: &DynamoDbStore, error: &StoreError) -> RedriveError {
    let action = format!("writing to the Audit table {}", table.table());
    let other = |reason: String| AwsError { action: action.clone(), code: Some(error.code.clone()), reason };
    RedriveError::Table(match (error.failure, error.code.as_str()) {
        (Failure::Misconfigured, "ValidationException") => {
            other("its key is not `id` of type S alone, so it is no Audit table; check --audit-table".to_owned())
        }
        (Failure::Misconfigured, "request") => {
            other("no request could be made; check --region and your credentials".to_owned())
        }
        (Failure::Misconfigured, code) => {
            let permission = "dynamodb:BatchWriteItem on the table, and the use of its KMS key, if it has one";
            AwsError::of_code(&action, permission, code)
        }
        _ => other(error.message.clone()),
    })
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
                Outcome::Audited | Outcome::Unchanged => {}
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
    async fn put(&self, entries: &[&Entry]) -> Result<Put, StoreError> {
        match &self.table {
            Some(table) => table.put(entries).await,
            None => Ok(Put::default()),
        }
    }
}

/// The failure bucket, as the handler sees it.
impl Quarantine for &Redrive {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), QuarantineError> {
        if key.starts_with(OMITTED) && matches!(self.place, Place::Directory { bucket: None, .. }) {
            let message = "an entry names where the full record is, and for a directory nothing says which bucket it is a \
                 copy of; give --failure-bucket";
            return Err(QuarantineError { code: "unavailable".to_owned(), message: message.to_owned() });
        }
        if self.table.is_some() {
            self.place
                .put(key, body)
                .await
                .map_err(|error| QuarantineError { code: error.code().to_owned(), message: error_chain(&error) })?;
            self.put.borrow_mut().insert(key.to_owned());
        }
        Ok(())
    }

    fn url(&self, key: &str) -> String {
        format!("{}{key}", self.place.url())
    }
}

/// Runs the command; returns its exit code: 0 when all is replayed, or there was nothing to do; otherwise 1.
///
/// # Errors
/// When nothing can be replayed, or no more. What was done until then is printed.
pub async fn run(arguments: RedriveArguments, terminal: Terminal) -> Result<u8, RedriveError> {
    let is_text = arguments.output == Output::Text;
    let dry_run = arguments.dry_run;
    let redrive = redrive(arguments).await?;
    redrive.probe().await?;

    let mut summary = Summary { dry_run, ..Summary::default() };
    let mut stop = pin!(interrupted()?);
    if let Some(table) = &redrive.table {
        terminal.progress(&format!("replaying into {}; Ctrl-C ends it, and the next run goes on", table.table()));
    }
    let (mut seen, mut told) = (0_usize, Clock::System.instant());
    let mut objects = pin!(redrive.objects());
    let ended = loop {
        let object = tokio::select! {
            biased;
            () = &mut stop => {
                summary.interrupted = true;
                break Ok(());
            }
            object = objects.next() => match object {
                Some(Ok(object)) => object,
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            },
        };
        if dry_run
            && is_text
            && let Some(text) = describe(&object, Clock::System.now())
        {
            terminal.result(&text);
        }
        summary.add(object);
        seen += 1;
        if !dry_run && (seen.is_multiple_of(PROGRESS_OBJECTS) || Clock::System.instant() - told > PROGRESS_TIME) {
            terminal.progress(&summary.progress());
            told = Clock::System.instant();
        }
    };
    if seen == 0 && ended.is_err() {
        return ended.map(|()| 1);
    }
    summary.interrupted |= ended.is_err();
    let text = if is_text {
        summary.to_text(terminal)
    } else {
        serde_json::to_string_pretty(&summary).map_err(RedriveError::Json)?
    };
    terminal.result(text.trim_end());
    ended.map(|()| u8::from(!summary.is_complete()))
}

async fn redrive(arguments: RedriveArguments) -> Result<Redrive, RedriveError> {
    let aws = arguments.aws.load().await;
    let s3_endpoint_url = || {
        let set = ProcessEnvironment.get("AWS_ENDPOINT_URL_S3").filter(|url| !url.is_empty());
        arguments.s3_endpoint_url.or(set)
    };
    let place = match (arguments.location, arguments.failure_bucket) {
        (Location::Bucket { bucket, .. }, Some(_)) => return Err(RedriveError::FailureBucket(bucket)),
        (Location::Bucket { bucket, prefix }, None) => {
            Place::Bucket { client: aws.s3(s3_endpoint_url().as_deref()), bucket, prefix }
        }
        (Location::Directory(path), _) if !path.is_dir() => return Err(RedriveError::NoDirectory(path)),
        (Location::Directory(path), bucket) => Place::Directory { path, bucket },
    };
    let table = arguments.audit_table.filter(|_| !arguments.dry_run);
    let table = table.map(|table| DynamoDbStore::new(aws.dynamodb_without_retries(), &table));
    let mut redrive = Redrive::new(place, table);
    redrive.key_attribute = arguments.key_attribute;
    redrive.provenance = arguments.provenance;
    Ok(redrive)
}

/// Waits for Ctrl-C or SIGTERM, from now on.
fn interrupted() -> Result<impl Future<Output = ()>, RedriveError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RedriveError::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RedriveError::Signal)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
