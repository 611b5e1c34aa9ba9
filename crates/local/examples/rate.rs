//! Measures how many changes a second the local world audits, and how long each change waits for its entry.
//!
//! Starts a world, and changes its Configuration table through DynamoDB's API as fast as the entries follow: at most
//! `IN_FLIGHT` changes lack an entry. Of ten changes, three create a setting and seven change one. At the end it reads
//! both tables back: each change must have its entry, with the ID that its record gives it, and there must be no
//! others.
//!
//! ```sh
//! cargo build --release --locked --workspace --bin bootstrap --example rate
//! target/release/examples/rate target/release/bootstrap [CHANGES] [DIRECTORY]
//! ```
//!
//! `CHANGES` is a million by default; without `DIRECTORY` the world is in memory. The last line of output is JSON.

#![allow(clippy::print_stdout, reason = "figures are for the terminal")]

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use config_audit::audit::entry_id;
use config_audit::aws::arn::StreamArn;
use config_audit::clock::Clock;
use config_audit_local::aws::entry::Entry;
use config_audit_local::aws::stream::StreamReader;
use config_audit_local::{EventBus, Source, World, WorldEvent, WorldSettings};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The maximum number of items in one `BatchWriteItem`.
const BATCH: usize = 25;
/// The maximum number of requests that wait for DynamoDB's answer.
const WRITERS: usize = 4;
/// The maximum number of changes without an entry, so that the lag stays bounded.
const IN_FLIGHT: usize = 800;
/// How many entries are read back at once.
const PAGE: i32 = 1000;
/// How long the world may go without an entry before it counts as stuck.
const STUCK: Duration = Duration::from_mins(1);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let bootstrap = arguments.next().ok_or("usage: rate BOOTSTRAP [CHANGES] [DIRECTORY]")?;
    let changes = match arguments.next() {
        Some(changes) => changes.to_str().and_then(|text| text.parse().ok()).ok_or("CHANGES must be a number")?,
        None => 1_000_000,
    };
    let mut settings = WorldSettings::new(bootstrap);
    settings.directory = arguments.next().map(PathBuf::from);
    settings.source = Some(Source::default());
    let store = if settings.directory.is_some() { "file" } else { "memory" };

    let bus = EventBus::new();
    let mut watch = Watch::new(bus.subscribe(), changes);
    let world = World::start(settings, bus).await?;
    let run = Arc::new(Run::new(&world, changes)?);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(Arc::clone(&run).write(writer));
    }
    watch.all_entries(&run).await?;
    while let Some(written) = writers.join_next().await {
        written??;
    }
    let memory = json!({ "world": resident("self")?, "function": resident(&watch.pid.to_string())? });
    let verified = verify(&world, changes).await;
    world.stop().await;
    watch.print(store, &memory);
    if let Err(error) = &verified {
        println!("{error}");
    }
    println!("{}", watch.json(store, &memory, verified.is_ok()));
    verified
}

/// The changes, and the state that the writers share.
struct Run {
    client: Client,
    table: String,
    changes: usize,
    /// The next change that no writer has begun.
    next: AtomicUsize,
    /// When each change was sent, in microseconds since the start.
    sent: Vec<AtomicU64>,
    started: tokio::time::Instant,
    /// A permit for each change that may still be in flight.
    room: Semaphore,
}

impl Run {
    fn new(world: &World, changes: usize) -> Result<Self> {
        let client = world.database().ok_or("the world has no database")?.client().clone();
        Ok(Self {
            client,
            table: Source::default().table,
            changes,
            next: AtomicUsize::new(0),
            sent: (0..changes).map(|_| AtomicU64::new(0)).collect(),
            started: Clock::System.instant(),
            room: Semaphore::new(IN_FLIGHT),
        })
    }

    fn elapsed(&self) -> u64 {
        u64::try_from((Clock::System.instant() - self.started).as_micros()).unwrap_or(u64::MAX)
    }

    /// Makes changes until all are made. Each writer has its own settings, so the changes of each setting are in order.
    async fn write(self: Arc<Self>, writer: usize) -> Result<()> {
        let mut settings = 0;
        let mut changed = 0;
        loop {
            let first = self.next.fetch_add(BATCH, Ordering::Relaxed);
            let batch = first..self.changes.min(first + BATCH);
            if batch.is_empty() {
                return Ok(());
            }
            let permits = u32::try_from(batch.len())?;
            self.room.acquire_many(permits).await?.forget();
            let earlier = settings;
            let mut requests = Vec::with_capacity(batch.len());
            for change in batch.clone() {
                let setting = if change % 10 < 3 || earlier < BATCH {
                    settings += 1;
                    settings
                } else {
                    changed = changed % earlier + 1;
                    changed
                };
                let put = PutRequest::builder()
                    .item("key", AttributeValue::S(format!("SETTING_{writer}_{setting}")))
                    .item("value", AttributeValue::N(change.to_string()));
                requests.push(WriteRequest::builder().put_request(put.build()?).build());
            }
            let now = self.elapsed();
            for sent in &self.sent[batch] {
                sent.store(now, Ordering::Relaxed);
            }
            let output = self.client.batch_write_item().request_items(&self.table, requests).send().await?;
            if output.unprocessed_items.is_some_and(|items| !items.is_empty()) {
                return Err("DynamoDB left items unprocessed".into());
            }
        }
    }
}

/// What has been seen of the entries.
struct Watch {
    events: UnboundedReceiver<Arc<WorldEvent>>,
    /// For each change, whether its entry was seen.
    seen: Vec<bool>,
    /// The time from sending a change to seeing its entry, in microseconds, in the order of the entries.
    lags: Vec<u64>,
    /// When each tenth of the entries was complete, in microseconds.
    tenths: Vec<u64>,
    /// How many warnings and retries the world reported.
    troubles: usize,
    pid: u32,
}

impl Watch {
    fn new(events: UnboundedReceiver<Arc<WorldEvent>>, changes: usize) -> Self {
        let (seen, lags) = (vec![false; changes], Vec::with_capacity(changes));
        Self { events, seen, lags, tenths: vec![0], troubles: 0, pid: 0 }
    }

    async fn all_entries(&mut self, run: &Run) -> Result<()> {
        while self.lags.len() < run.changes {
            let event = tokio::time::timeout(STUCK, self.events.recv()).await;
            let event = event.map_err(|_| format!("no event after {} entries", self.lags.len()))?;
            match &*event.ok_or("the world has ended")? {
                WorldEvent::EntryStored { entry } => self.entry(entry, run)?,
                WorldEvent::ProcessStarted { pid } => self.pid = *pid,
                WorldEvent::Warning { message } | WorldEvent::RetryScheduled { reason: message, .. } => {
                    self.troubles += 1;
                    println!("{message}");
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, run: &Run) -> Result<()> {
        let change = change_of(entry).ok_or("an entry has no new value")?;
        let seen = self.seen.get_mut(change).ok_or("an entry belongs to no change")?;
        if std::mem::replace(seen, true) {
            return Err(format!("change {change} has two entries").into());
        }
        let now = run.elapsed();
        self.lags.push(now - run.sent[change].load(Ordering::Relaxed));
        run.room.add_permits(1);
        if self.lags.len() * 10 >= run.changes * self.tenths.len() {
            self.tenths.push(now);
        }
        Ok(())
    }

    /// Changes per second in this tenth of the run.
    fn rate(&self, tenth: usize) -> f64 {
        let took = self.tenths[tenth + 1] - self.tenths[tenth];
        self.lags.len() as f64 / 10.0 / (took as f64 / 1e6)
    }

    /// The lag that this many of a thousand changes do not exceed, in milliseconds.
    fn lag(lags: &[u64], per_mille: usize) -> f64 {
        let mut sorted = lags.to_vec();
        sorted.sort_unstable();
        let index = (sorted.len() * per_mille / 1000).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default() as f64 / 1e3
    }

    fn print(&self, store: &str, memory: &Value) {
        println!("{} changes, store: {store}, warnings and retries: {}", self.lags.len(), self.troubles);
        println!("{:>6} {:>12} {:>9} {:>9} {:>9}", "tenth", "changes/s", "lag p50", "p99", "max ms");
        for (tenth, lags) in self.lags.chunks(self.lags.len().div_ceil(10)).enumerate() {
            let (rate, p50, p99) = (self.rate(tenth), Self::lag(lags, 500), Self::lag(lags, 990));
            println!("{:>6} {rate:>12.0} {p50:>9.0} {p99:>9.0} {:>9.0}", tenth + 1, Self::lag(lags, 1000));
        }
        println!("memory at the end, MB: {memory}");
    }

    fn json(&self, store: &str, memory: &Value, verified: bool) -> Value {
        let round = |value: f64| (value * 10.0).round() / 10.0;
        let all = self.lags.len() as f64 / (self.tenths[10] as f64 / 1e6);
        json!({
            "changes": self.lags.len(),
            "store": store,
            "changesPerSecond": {
                "first": round(self.rate(0)), "middle": round(self.rate(4)), "last": round(self.rate(9)), "all": round(all),
            },
            "lagMs": {
                "p50": round(Self::lag(&self.lags, 500)),
                "p99": round(Self::lag(&self.lags, 990)),
                "max": round(Self::lag(&self.lags, 1000)),
            },
            "memoryMb": memory,
            "troubles": self.troubles,
            "verified": verified,
        })
    }
}

/// The change that this entry records, found by the value that it set.
fn change_of(entry: &Entry) -> Option<usize> {
    use serde_dynamo::AttributeValue as Attribute;
    match entry.value("newValue")?.0 {
        Attribute::N(digits) => digits.parse().ok(),
        Attribute::M(item) => match item.get("value")? {
            Attribute::N(digits) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Checks that the entries have the IDs that the stream's records give, and the values of the changes, each once.
async fn verify(world: &World, changes: usize) -> Result<()> {
    let database = world.database().ok_or("the world has no database")?;
    let source = Source::default();
    let stream = database.ensure_configuration_table(&source.table, &source.key_attribute).await?;
    let mut expected = expected_ids(database.streams(), stream).await?;
    let records = expected.len();
    let mut seen = vec![false; changes];
    // Without a limit dynoxide reads the rest of the table for each page.
    let scan = database.client().scan().table_name("Audit-local").limit(PAGE);
    let mut items = scan.into_paginator().items().send();
    while let Some(item) = items.next().await {
        let entry = Entry::from_item(item?);
        if !expected.remove(&Uuid::parse_str(entry.text("id"))?) {
            return Err(format!("entry {} belongs to no record", entry.text("id")).into());
        }
        let change =
            change_of(&entry).and_then(|change| seen.get_mut(change)).ok_or("an entry belongs to no change")?;
        *change = true;
    }
    let missing = seen.iter().filter(|seen| !**seen).count();
    if records == changes && expected.is_empty() && missing == 0 {
        return Ok(());
    }
    let (without, ids) = (records - expected.len(), expected.len());
    Err(format!("{changes} changes, {records} records, {without} entries, {ids} IDs missing, {missing} values missing")
        .into())
}

/// The IDs that the records of this stream give to their entries.
async fn expected_ids(client: aws_sdk_dynamodbstreams::Client, stream: String) -> Result<HashSet<Uuid>> {
    let arn = StreamArn::new(stream.clone());
    let mut ids = HashSet::new();
    let mut reader = StreamReader::new(client, stream, BTreeMap::new());
    reader.refresh().await?;
    let shards: Vec<String> = reader.shards().map(|(id, _)| id.to_owned()).collect();
    for shard in shards {
        loop {
            let page = reader.read(&shard, 1000).await?;
            if page.records.is_empty() {
                break;
            }
            for record in page.records {
                let event = record.event_id.ok_or("a record has no event ID")?;
                let is_change = record.dynamodb.is_some_and(|change| change.old_image.is_some());
                ids.insert(entry_id(Some(&arn), &event, is_change.then_some("value")));
            }
        }
    }
    Ok(ids)
}

/// The resident memory of a process, in MB.
fn resident(process: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in the status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1000)
}
