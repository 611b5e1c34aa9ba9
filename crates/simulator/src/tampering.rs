//! Somebody tampers with the Audit table, and the witness watches: the real witness handler behind the modelled event
//! source mapping, with every fault of its buckets, and the comparison that `verify --witness` makes.
//!
//! One seed determines what happens: which entries the function writes, and writes again; what somebody does to them, seen by
//! the stream or while it is disabled; and how the deliveries fail.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use config_audit::bucket::{Bucket, BucketError};
use config_audit::clock::{Clock, timestamp};
use config_audit::invocation::Invocation;
use config_audit::telemetry::catalog::{self, Measured};
use config_audit::witness::{Fingerprint, WitnessHandler, WitnessObject, is_authentic};
use config_audit_evidence::{Comparison, FindingKind, StoredEntry};
use config_audit_mapping::{MappingSettings, SequenceNumber, ShardState, Step, StreamRecord, event};
use fastrand::Rng;
use opentelemetry::trace::SpanContext;
use serde_json::{Value, json};

use crate::scenario::EPOCH;

const STREAM: &str = "arn:aws:dynamodb:eu-central-1:905418349556:table/Audit/stream/2024-09-11T09:00:17.927";
/// Stands for every configuration value; it must not be in the witness bucket.
const SECRET: &str = "s3cr3t";
/// How long an invocation may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A run must end after this many invocations.
const MAX_INVOCATIONS: usize = 1_000;

/// What an entry is, as far as this model is concerned: its value and its time.
type Content = (u32, i64);

/// The life of one entry.
#[derive(Debug, Default)]
struct Life {
    /// Each content with which the stream saw it appear, in order.
    appeared: Vec<Content>,
    /// What the table has now.
    now: Option<Content>,
}

/// The Audit table, and what its stream has of it.
struct Table {
    rng: Rng,
    lives: BTreeMap<usize, Life>,
    records: Vec<StreamRecord>,
    /// How many of the records show tampering.
    tampering: usize,
}

/// A bucket whose faults end after a while.
struct FaultyBucket {
    rng: RefCell<Rng>,
    faults_left: RefCell<u32>,
    objects: RefCell<BTreeMap<String, String>>,
    /// Whether an object is only put if there is none of its name.
    is_conditional: bool,
}

impl Bucket for FaultyBucket {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), BucketError> {
        let draw = self.rng.borrow_mut().u8(..8);
        let is_faulty = draw < 4 && *self.faults_left.borrow() > 0;
        let refused = || BucketError { code: "AccessDenied".to_owned(), message: "as simulated".to_owned() };
        if is_faulty {
            *self.faults_left.borrow_mut() -= 1;
            match draw {
                0 => return Err(refused()),
                1 => std::future::pending().await,
                2 => tokio::time::sleep(Duration::from_secs(5)).await,
                _ => {}
            }
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        let mut objects = self.objects.borrow_mut();
        if !self.is_conditional || !objects.contains_key(key) {
            objects.insert(key.to_owned(), text);
        }
        // Stored, but the answer is lost.
        if is_faulty && draw == 3 { Err(refused()) } else { Ok(()) }
    }

    fn url(&self, key: &str) -> String {
        format!("s3://bucket/{key}")
    }
}

impl FaultyBucket {
    fn new(seed: u64, faults: u32, is_conditional: bool) -> Self {
        let rng = RefCell::new(Rng::with_seed(seed));
        Self { rng, faults_left: RefCell::new(faults), objects: RefCell::default(), is_conditional }
    }
}

/// The entry with this number, as an item of the table.
fn item(number: usize, (value, time): Content, trace: Option<u32>) -> Value {
    let mut item = json!({
        "id": {"S": format!("entry-{number}")},
        "itemKey": {"S": "KEY"},
        "modificationTime": {"S": timestamp(at(time))},
        "newValue": {"S": format!("{SECRET}-{value}")},
    });
    if let Some(trace) = trace {
        item["provenance"] = json!({"M": { "eventId": {"S": "event"}, "traceId": {"S": format!("1-{trace}")} }});
    }
    item
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

impl Table {
    /// When the next thing happens: one a minute, beginning an hour after the first entry, since nothing is known of those that
    /// are hardly younger than it.
    fn time(&self) -> i64 {
        let hour = if self.records.is_empty() { 0 } else { 3600 };
        EPOCH + hour + 60 * i64::try_from(self.records.len()).unwrap_or_default()
    }

    /// Adds a record to the stream, unless it is disabled.
    fn record(&mut self, number: usize, name: &str, old: Option<Value>, new: Option<Value>) {
        let sequence = self.records.len() + 1;
        let mut stream = json!({
            "ApproximateCreationDateTime": self.time(),
            "Keys": { "id": {"S": format!("entry-{number}")} },
            "SequenceNumber": format!("{sequence:021}"),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        });
        for (image, value) in [("OldImage", old), ("NewImage", new)] {
            if let Some(value) = value {
                stream[image] = value;
            }
        }
        let record = json!({
            "eventID": format!("event-{sequence}"), "eventName": name, "eventSourceARN": STREAM, "dynamodb": stream,
        });
        self.records.push(StreamRecord {
            sequence_number: SequenceNumber::new(format!("{sequence:021}")),
            created_ms: self.time() * 1000,
            event_name: name.to_owned(),
            json: record.to_string(),
        });
    }

    /// An entry appears in the table.
    fn insert(&mut self, number: usize, content: Content) {
        self.record(number, "INSERT", None, Some(item(number, content, None)));
        let life = self.lives.entry(number).or_default();
        life.appeared.push(content);
        life.now = Some(content);
    }

    /// Somebody deletes an entry.
    fn remove(&mut self, number: usize, old: Content) {
        self.record(number, "REMOVE", Some(item(number, old, None)), None);
        self.tampering += 1;
        self.set(number, None);
    }

    /// Does something at random to a random entry that exists, or writes a new one.
    fn act(&mut self) {
        let (count, draw) = (self.lives.len(), self.rng.u8(..10));
        let number = self.rng.usize(..count);
        let Some(old) = self.lives.get(&number).and_then(|life| life.now) else {
            return self.insert(count, (0, self.time()));
        };
        let (before, other) = (item(number, old, None), (self.rng.u32(1..9), old.1));
        match draw {
            // Another delivery: with another trace, or with its provenance for the first time.
            0 => self.record(number, "MODIFY", Some(item(number, old, Some(1))), Some(item(number, old, Some(2)))),
            1 => self.record(number, "MODIFY", Some(before), Some(item(number, old, Some(1)))),
            2 | 3 => {
                let new = if draw == 2 { other } else { (old.0, old.1 - 1) };
                if new != old {
                    self.record(number, "MODIFY", Some(before), Some(item(number, new, None)));
                    self.tampering += 1;
                    self.set(number, Some(new));
                }
            }
            4 => self.remove(number, old),
            // Deleted and written again: as it was, or otherwise, or otherwise and then as it was.
            5 => {
                self.remove(number, old);
                let is_restored = self.rng.bool();
                if self.rng.bool() {
                    self.insert(number, other);
                    if is_restored {
                        self.remove(number, other);
                    }
                }
                if is_restored {
                    self.insert(number, old);
                }
            }
            // The stream is disabled.
            6 => self.set(number, Some(other)),
            7 => self.set(number, None),
            8 => {
                let time = self.time();
                self.lives.entry(count).or_default().now = Some((1, time));
            }
            _ => self.insert(count, (0, self.time())),
        }
    }

    fn set(&mut self, number: usize, content: Option<Content>) {
        self.lives.entry(number).or_default().now = content;
    }

    /// What must be found about each entry.
    fn expected(&self) -> BTreeMap<String, FindingKind> {
        let finding = |life: &Life| match (life.appeared.first(), life.now) {
            (None, None) => None,
            (None, Some(_)) => Some(FindingKind::Forged),
            (Some(_), None) => Some(FindingKind::Deleted),
            (Some(first), Some(now)) if *first != now => Some(FindingKind::Altered),
            (Some(first), Some(_)) => {
                life.appeared.iter().any(|other| other != first).then_some(FindingKind::Rewritten)
            }
        };
        let lives = self.lives.iter();
        lives.filter_map(|(number, life)| Some((format!("entry-{number}"), finding(life)?))).collect()
    }
}

/// Plays what this seed determines; returns the broken laws.
#[must_use]
pub fn tampering(seed: u64) -> Vec<String> {
    let mut rng = Rng::with_seed(seed ^ 0x7a3);
    let mut table = Table { rng: rng.fork(), lives: BTreeMap::new(), records: Vec::new(), tampering: 0 };
    table.insert(0, (0, EPOCH));
    for _ in 0..rng.u32(1..20) {
        table.act();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    match runtime {
        Ok(runtime) => runtime.block_on(play(&table, &mut rng)),
        Err(error) => vec![format!("no runtime can be made: {error}")],
    }
}

async fn play(table: &Table, rng: &mut Rng) -> Vec<String> {
    let handler = WitnessHandler {
        bucket: Some(FaultyBucket::new(rng.u64(..), rng.u32(..6), true)),
        quarantine: Some(FaultyBucket::new(rng.u64(..), rng.u32(..6), false)),
        clock: Clock::starting_at(at(table.time())),
    };
    let mut violations = Vec::new();
    let counted = deliver(table, &handler, rng, &mut violations).await;
    if counted < table.tampering || (table.tampering == 0 && counted > 0) {
        violations.push(format!("EntriesTampered is {counted}, and the stream shows {}", table.tampering));
    }
    let [witnesses, evidence] = [&handler.bucket, &handler.quarantine]
        .map(|bucket| bucket.as_ref().map(|bucket| bucket.objects.borrow().clone()).unwrap_or_default());
    if evidence.len() != table.tampering {
        violations.push(format!(
            "{} records of tampering are kept, and the stream has {}",
            evidence.len(),
            table.tampering
        ));
    }
    if witnesses.values().any(|body| body.contains(SECRET)) {
        violations.push("a value is in the witness bucket".to_owned());
    }
    match compare(table, &witnesses) {
        Ok(found) if found == table.expected() => {}
        Ok(found) => violations.push(format!("verify finds {found:?}, and the tampering was {:?}", table.expected())),
        Err(error) => violations.push(error),
    }
    violations
}

/// Delivers the whole stream. Returns how often the function counted tampering.
async fn deliver(
    table: &Table,
    handler: &WitnessHandler<FaultyBucket, FaultyBucket>,
    rng: &mut Rng,
    violations: &mut Vec<String>,
) -> usize {
    let mut shard = ShardState::new(MappingSettings {
        batch_size: rng.usize(1..8),
        maximum_record_age: None,
        ..MappingSettings::default()
    });
    let mut waiting = table.records.iter();
    let (mut counted, mut lost_answers) = (0, rng.u32(..4));
    let now_ms = || handler.clock.now().timestamp_millis();
    for _ in 0..MAX_INVOCATIONS {
        while shard.room() > 0
            && let Some(record) = waiting.next()
        {
            shard.push(record.clone(), now_ms());
        }
        match shard.next(now_ms()) {
            Step::Wait(None) => return counted,
            Step::Wait(Some(until)) => {
                tokio::time::sleep(Duration::from_millis(u64::try_from(until - now_ms()).unwrap_or_default())).await;
            }
            Step::GiveUp { .. } => violations.push("the mapping gave up".to_owned()),
            Step::Invoke(records) => {
                let (count, answer) = invoke(handler, &records, violations).await;
                counted += count;
                // The function may have done everything, and Lambda does not know.
                let is_lost = lost_answers > 0 && rng.u8(..4) == 0;
                lost_answers -= u32::from(is_lost);
                shard.answered(&if is_lost { Err("the answer is lost".to_owned()) } else { answer }, now_ms());
            }
        }
    }
    violations.push(format!("{MAX_INVOCATIONS} steps did not deliver the stream"));
    counted
}

/// One invocation. Returns how much tampering it counted, and its answer.
async fn invoke(
    handler: &WitnessHandler<FaultyBucket, FaultyBucket>,
    records: &[Arc<StreamRecord>],
    violations: &mut Vec<String>,
) -> (usize, Result<Vec<u8>, String>) {
    let event = event(records);
    let started = handler.clock.instant();
    let invocation = Invocation {
        request_id: "request".to_owned(),
        function_arn: "arn:aws:lambda:eu-central-1:905418349556:function:witness".to_owned(),
        trace: SpanContext::NONE,
        cold_start: false,
        deadline: handler.clock.now() + TIMEOUT,
        event: event.as_bytes(),
    };
    let report = handler.handle(&invocation).await;
    if handler.clock.instant() - started > TIMEOUT {
        violations.push("the witness did not answer in time".to_owned());
    }
    if report.counts().total() != records.len() {
        violations.push(format!("{} records have an outcome, of {}", report.counts().total(), records.len()));
    }
    if format!("{report:?}").contains(SECRET) {
        violations.push("a value is in the report".to_owned());
    }
    let measured = catalog::measure(&report, Duration::from_mins(5));
    let tampered = measured.iter().find(|(metric, _)| **metric == catalog::ENTRIES_TAMPERED);
    let count = tampered.map_or(0, |(_, measured)| if let Measured::Count(count) = measured { *count } else { 0 });
    let answer = report.answer().map_err(|error| error.to_string());
    (count, answer.and_then(|answer| serde_json::to_vec(&answer).map_err(|error| error.to_string())))
}

/// What `verify --witness` finds two days later.
fn compare(table: &Table, witnesses: &BTreeMap<String, String>) -> Result<BTreeMap<String, FindingKind>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the comparison failed: {error}");
    let mut comparison = Comparison::new();
    for (number, content) in table.lives.iter().filter_map(|(number, life)| Some((number, life.now?))) {
        let attributes: HashMap<String, _> =
            serde_json::from_value(item(*number, content, None)).map_err(|error| failed(&error))?;
        let entry = StoredEntry {
            id: format!("entry-{number}"),
            item_key: "KEY".to_owned(),
            time: timestamp(at(content.1)),
            fingerprint: Fingerprint::of(attributes),
        };
        comparison.add_entry(entry).map_err(|error| failed(&error))?;
    }
    for (key, body) in witnesses {
        if !is_authentic(key, body.as_bytes()) {
            return Err(format!("the object {key} does not have the hash in its name"));
        }
        let object: WitnessObject = serde_json::from_str(body).map_err(|error| failed(&error))?;
        for witness in object.entries {
            comparison.add_witness(witness, None, true).map_err(|error| failed(&error))?;
        }
    }
    let mut judgement = comparison.judge(at(table.time()) + Duration::from_hours(48));
    let mut found = BTreeMap::new();
    while let Some(part) = judgement.next_part() {
        for suspect in part.map_err(|error| failed(&error))? {
            found.insert(suspect.finding().id.clone(), suspect.finding().kind);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tampering_goes_unnoticed_and_nothing_else_is_reported() {
        for seed in 0..500 {
            assert_eq!(tampering(seed), [""; 0], "seed {seed}");
        }
    }

    /// A law about something that never happens would prove nothing.
    #[test]
    fn every_kind_of_finding_occurs() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut table =
                Table { rng: Rng::with_seed(seed), lives: BTreeMap::new(), records: Vec::new(), tampering: 0 };
            table.insert(0, (0, EPOCH));
            (0..20).for_each(|_| table.act());
            kinds.extend(table.expected().into_values());
        }
        assert_eq!(kinds.len(), 4, "{kinds:?}");
    }
}
