//! The promises, each checked where it can be broken: at each write, at each answer, and when all has settled.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config_audit::invocation::InvocationError;
use config_audit::report::{Outcome, Report};
use config_audit::telemetry::catalog::{self, Measured};
use serde::Deserialize;
use serde_dynamo::AttributeValue;
use uuid::Uuid;

use crate::change::{Oddity, note};
use crate::fault::Fault;
use crate::log::{InvocationLog, RequestAnswer};
use crate::scenario::Millis;
use crate::world::{Made, World};
use chrono::{DateTime, Utc};
use config_audit_mapping::StreamRecord;
use config_audit_mapping::shard::Answer;

/// An answer has to be out this long before the time-out.
const LEAST_MARGIN: Duration = Duration::from_millis(100);

/// An entry has the contract's attributes and no others, and an ID that is v4 in form. What it leaves out is in the
/// failure bucket, under the name that it gives.
pub(crate) fn of_an_entry(world: &World, id: Uuid, item: &serde_dynamo::Item) {
    const ATTRIBUTES: [&str; 6] = ["id", "itemKey", "modificationTime", "updatedAttribute", "oldValue", "newValue"];
    let is_known = |name: &str| ATTRIBUTES.contains(&name) || name == "provenance" && world.scenario.provenance;
    if let Some(other) = item.keys().find(|name| !is_known(name)) {
        world.violate(format!("an entry has the attribute {other}"));
    }
    let names_its_event = |value: &AttributeValue| matches!(value, AttributeValue::M(of) if of.contains_key("eventId"));
    if world.scenario.provenance && !item.get("provenance").is_some_and(names_its_event) {
        world.violate("an entry does not tell where it comes from");
    }
    let text = id.to_string();
    if text.as_bytes()[14] != b'4' || !b"89ab".contains(&text.as_bytes()[19]) {
        world.violate(format!("the ID {text} is not v4 in form"));
    }
    if item.get("id") != Some(&AttributeValue::S(text)) {
        world.violate("an entry has another ID than its item");
    }
    for note in ["oldValue", "newValue"].into_iter().filter_map(|name| item.get(name).and_then(note)) {
        let text = |name: &str| match note.get(name) {
            Some(AttributeValue::S(text)) => text.as_str(),
            _ => "",
        };
        if !world.omitted.borrow().contains(text("sha256")) {
            world.violate("the hash of a value that was left out is not that of any value");
        }
        let key = text("record").strip_prefix("s3://failures/").unwrap_or_default();
        if !world.kept.borrow().values().flatten().any(|kept| kept.key == key) {
            world.violate(format!("an entry says that its record is in {key:?}, and nothing is"));
        }
    }
}

/// The books balance, the metrics agree with what the parts saw, a healthy record suffers from no other, and all of it in
/// time. `left` is the time from the report to the function's time-out.
pub(crate) fn of_an_invocation(
    world: &World,
    batch: &[Rc<Made>],
    log: &InvocationLog,
    report: &Report,
    left: Duration,
) {
    if left < LEAST_MARGIN {
        world.violate(format!("an answer was ready only {left:?} before the time-out"));
    }
    let excuses = Excuses::new(world, log);
    if excuses.deadline_reached && report.failed().next().is_some() {
        world.saw(Fault::DeadlineReached);
    }

    metrics_agree(world, batch, log, report);

    // One without a sequence number fails the invocation, and costs no other record anything.
    let is_aborted = match &report.error {
        None | Some(InvocationError::NoSequenceNumber(_)) => false,
        Some(_) => true,
    };
    if let Some(error) = &report.error {
        let nameless = batch.iter().any(|made| made.change.oddity == Some(Oddity::NoSequenceNumber));
        if !log.may_fail() && !world.scenario.wrong_view_type && !nameless {
            world.violate(format!("an invocation failed as a whole, and nothing asked for it: {error}"));
        }
    }
    for (made, record) in batch.iter().zip(&report.records) {
        let is_right = match (&record.outcome, made.poison()) {
            (Outcome::Audited, None) => {
                !made.expected.is_empty() && made.expected.iter().all(|entry| excuses.stored(entry.id))
            }
            (Outcome::Unchanged, None) => made.expected.is_empty(),
            (Outcome::Quarantined(cause), Some(reason)) => {
                cause.reason.code() == reason && excuses.object_stored(made, QUARANTINED).is_some()
            }
            (Outcome::Failed(_), _) => is_aborted || excuses.may_fail(made),
            _ => false,
        };
        if !is_right {
            let index = made.change.index;
            world.violate(format!("record #{index} is {:?}, and no fault of its own asked for it", record.outcome));
        }
    }
}

/// What the failure bucket names a record that no retry can mend, and the full record of values that were left out.
const QUARANTINED: &str = "quarantined/";
const OMITTED: &str = "omitted/";
/// Where nothing is wrong, everything that a record needs is done in less.
const HEALTHY: Millis = 250;
/// Where something is wrong with other records' requests, an entry that need not wait for anything is sent this soon.
const LONGEST_ATTEMPT: Millis = 5_000;

/// Why records of one invocation may fail: one of their own requests or objects met a fault, or could not be tried in the
/// time that there was.
struct Excuses<'a> {
    log: &'a InvocationLog,
    has_bucket: bool,
    /// When the handler stops working on the records.
    deadline: Millis,
    /// Whether it worked until then.
    deadline_reached: bool,
}

impl<'a> Excuses<'a> {
    fn new(world: &World, log: &'a InvocationLog) -> Self {
        let timeout = world.scenario.timeout;
        // It stops a tenth of its time before the end, or a second where that is less.
        let allowed = timeout - (timeout / 10).min(Duration::from_secs(1));
        let deadline = log.started + u64::try_from(allowed.as_millis()).unwrap_or(Millis::MAX);
        // A request that could not be answered any more is not sent.
        let deadline_reached = world.now() + 20 >= deadline;
        Self { log, has_bucket: world.scenario.has_bucket, deadline, deadline_reached }
    }

    fn may_fail(&self, made: &Made) -> bool {
        let started = self.log.started;
        let is_rejected = made.poison() == Some("rejected_by_dynamodb");
        if made.poison().is_some() && !is_rejected {
            return self.object_may_fail(made, QUARANTINED, started);
        }
        let ready = if made.change.is_large() {
            match self.object_stored(made, OMITTED) {
                Some(stored) => Some(stored),
                None => return self.object_may_fail(made, OMITTED, started),
            }
        } else {
            None
        };
        if made.expected.iter().any(|entry| self.entry_may_fail(entry.id, ready)) {
            return true;
        }
        let rejected = made.expected.iter().filter_map(|entry| self.rejected(entry.id)).max();
        is_rejected && rejected.is_some_and(|at| self.object_may_fail(made, QUARANTINED, at))
    }

    /// `ready` is when the object that it waited for was stored.
    fn entry_may_fail(&self, id: Uuid, ready: Option<Millis>) -> bool {
        if self.stored(id) || self.rejected(id).is_some() {
            return false;
        }
        let requests = self.log.requests.borrow();
        let mut own = requests.iter().filter(|request| request.entries.contains(&id));
        if own.any(|request| !request.faults.is_empty()) {
            return true;
        }
        // It was never sent, or with too little time left.
        let in_time = match ready {
            Some(ready) if self.log.store_faulted() => {
                self.deadline - ready.min(self.deadline) >= LONGEST_ATTEMPT.min((self.deadline - self.log.started) / 2)
            }
            Some(ready) => self.deadline - ready.min(self.deadline) >= HEALTHY,
            None => !self.log.store_faulted(),
        };
        self.deadline_reached && !in_time
    }

    /// `ready` is when it was known that the record must be kept.
    fn object_may_fail(&self, made: &Made, prefix: &str, ready: Millis) -> bool {
        if !self.has_bucket {
            return true;
        }
        if self.object_stored(made, prefix).is_some() {
            return false;
        }
        let objects = self.log.objects.borrow();
        let mut own = objects.iter().filter(|object| object.record == made.record && object.key.starts_with(prefix));
        if own.any(|object| !object.faults.is_empty()) {
            return true;
        }
        let in_time = !self.log.bucket_faulted() && self.deadline - ready.min(self.deadline) >= HEALTHY;
        self.deadline_reached && !in_time
    }

    /// Whether the table said that it has this entry.
    fn stored(&self, id: Uuid) -> bool {
        let is_it = |answer: &RequestAnswer| matches!(answer, RequestAnswer::Stored(stored) if stored.contains(&id));
        self.log.requests.borrow().iter().filter_map(|request| request.answer.as_ref()).any(|(_, answer)| is_it(answer))
    }

    /// When the table said that this entry is invalid.
    fn rejected(&self, id: Uuid) -> Option<Millis> {
        let requests = self.log.requests.borrow();
        let mut alone = requests.iter().filter(|request| request.entries == [id]);
        alone.find_map(|request| match request.answer {
            Some((at, RequestAnswer::Rejected)) => Some(at),
            _ => None,
        })
    }

    /// When the bucket said that it has this object of a record.
    fn object_stored(&self, made: &Made, prefix: &str) -> Option<Millis> {
        let objects = self.log.objects.borrow();
        let mut own = objects.iter().filter(|object| object.record == made.record && object.key.starts_with(prefix));
        own.find_map(|object| object.stored)
    }
}

/// The metrics say what became of the records, and what the table was asked and answered.
fn metrics_agree(world: &World, batch: &[Rc<Made>], log: &InvocationLog, report: &Report) {
    let measured = catalog::measure(report);
    let with =
        |is_it: &dyn Fn(&Outcome) -> bool| report.records.iter().filter(|record| is_it(&record.outcome)).count() as u64;
    let audited = || {
        let pairs = batch.iter().zip(&report.records);
        pairs.filter(|(_, record)| record.outcome == Outcome::Audited).map(|(made, _)| made)
    };
    let attributes = audited().flat_map(|made| &made.expected).filter(|entry| entry.is_of_an_attribute()).count();
    let omitted = audited().flat_map(|made| &made.expected).map(|entry| entry.omitted().count()).sum::<usize>();
    let agree = [
        (&catalog::RECORDS_RECEIVED, batch.len() as u64),
        (&catalog::RECORDS_AUDITED, with(&|outcome| *outcome == Outcome::Audited)),
        (&catalog::RECORDS_UNCHANGED, with(&|outcome| *outcome == Outcome::Unchanged)),
        (&catalog::RECORDS_QUARANTINED, with(&|outcome| matches!(outcome, Outcome::Quarantined(_)))),
        (&catalog::RECORDS_FAILED, with(&|outcome| matches!(outcome, Outcome::Failed(_)))),
        (&catalog::ATTRIBUTES_CHANGED, attributes as u64),
        (&catalog::VALUES_OMITTED, omitted as u64),
    ];
    for (metric, expected) in agree {
        if sum(&measured, metric) != expected {
            let (name, told) = (metric.name, sum(&measured, metric));
            world.violate(format!("the books do not balance: {name} is {told}, and should be {expected}"));
        }
    }
    let requests = [
        (&catalog::AUDITS_WRITTEN, sum(&measured, &catalog::AUDITS_WRITTEN), log.stored()),
        (
            &catalog::WRITE_LATENCY,
            samples(&measured, &catalog::WRITE_LATENCY).len() as u64,
            log.requests.borrow().len(),
        ),
    ];
    for (metric, told, seen) in requests {
        // A panic of the client loses what was known.
        if told > seen as u64 || told < seen as u64 && !log.may_fail() {
            world.violate(format!("{} says {told}, and the table saw {seen}", metric.name));
        }
    }
    // A request that was halved to find an invalid entry repeats nothing.
    let is_halved = batch.iter().any(|made| made.poison() == Some("rejected_by_dynamodb"));
    let retries = sum(&measured, &catalog::WRITE_RETRIES);
    if !is_halved && !log.may_fail() && retries != log.repeats() as u64 {
        world.violate(format!("WriteRetries says {retries}, and the table saw {}", log.repeats()));
    }
    let timed = audited().filter(|made| made.change.oddity != Some(Oddity::NoTime));
    let lags = samples(&measured, &catalog::AUDIT_LAG);
    let bounds = timed.map(|made| {
        let since = |time: DateTime<Utc>| (time.timestamp_millis() - made.change.at.timestamp() * 1_000).max(0) as f64;
        since(report.started) - 1.0..=since(report.time_of(report.interval.ended)) + 1.0
    });
    let bounds: Vec<_> = bounds.collect();
    if lags.len() != bounds.len() || !lags.iter().zip(&bounds).all(|(lag, bounds)| bounds.contains(lag)) {
        world.violate(format!("AuditLag says {lags:?}, and should be within {bounds:?}"));
    }
}

/// Nothing is acknowledged that is not stored, and what is to come again is named by its sequence number.
pub(crate) fn of_an_answer(world: &World, batch: &[Rc<Made>], report: &Report, answer: &Answer) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Failures {
        batch_item_failures: Vec<Failure>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Failure {
        item_identifier: Option<String>,
    }
    let Ok(answer) = answer else { return };
    let Ok(answer) = serde_json::from_slice::<Failures>(answer) else {
        world.violate("an answer is not of the shape that Lambda reads");
        return;
    };
    let mut failed = HashSet::new();
    for failure in answer.batch_item_failures {
        let of_it = |made: &&Rc<Made>| Some(&made.change.sequence_number) == failure.item_identifier.as_ref();
        let Some(made) = batch.iter().find(of_it) else {
            world.violate(format!("the answer names {:?}, no record of the batch", failure.item_identifier));
            return;
        };
        failed.insert(made.change.index);
    }
    let is_failed = |record: &config_audit::report::Record| matches!(record.outcome, Outcome::Failed(_));
    for (made, record) in batch.iter().zip(&report.records) {
        if is_failed(record) != failed.contains(&made.change.index) {
            world.violate(format!(
                "record #{} is {:?}, and the answer says otherwise",
                made.change.index, record.outcome
            ));
        }
    }
    for made in batch.iter().filter(|made| !failed.contains(&made.change.index)) {
        if let Some(missing) = missing(world, made) {
            world.violate(format!("record #{} was acknowledged, and {missing}", made.change.index));
        }
    }
}

/// What a change does not have that it must have, to be acknowledged.
fn missing(world: &World, made: &Made) -> Option<String> {
    let kept = world.kept.borrow();
    let kept = kept.get(&made.record).map_or(&[][..], Vec::as_slice);
    if let Some(reason) = made.poison() {
        let is_kept = kept.iter().any(|kept| kept.key.starts_with("quarantined/") && kept.reason == reason);
        return (!is_kept).then(|| format!("it is not in the failure bucket as {reason}"));
    }
    if made.change.wrong_view_type {
        return Some("it lacks an image".to_owned());
    }
    let contents = world.contents.borrow();
    let absent =
        made.expected.iter().map(crate::change::Expected::content).find(|content| !contents.contains_key(content));
    if let Some(content) = absent {
        return Some(format!("the table has no entry {content}"));
    }
    let omitted = kept.iter().any(|kept| kept.key.starts_with("omitted/"));
    (made.change.is_large() && !omitted).then(|| "the failure bucket has no full record of it".to_owned())
}

/// The destination has every record, whole.
pub(crate) fn of_the_destination(
    world: &World,
    records: &[Arc<StreamRecord>],
    body: Result<Vec<u8>, serde_json::Error>,
) {
    #[derive(Deserialize)]
    struct Object {
        payload: String,
    }
    let payload = body.ok().and_then(|body| serde_json::from_slice::<Object>(&body).ok()).map(|object| object.payload);
    let payload = payload.unwrap_or_default();
    let made = world.made.borrow();
    for record in records {
        let of_it = |made: &&Rc<Made>| made.change.sequence_number == record.sequence_number.as_str();
        if world.scenario.is_fair() {
            world.violate(format!("{} is given up, and nothing was wrong", record.sequence_number));
        }
        match made.iter().find(of_it) {
            Some(made) if payload.contains(&made.record) => made.given_up.set(true),
            _ => world.violate("the on-failure destination has a record that is not whole"),
        }
    }
}

/// A record leaves the stream unread only where nobody polls.
pub(crate) fn of_an_expiry(world: &World, made: &Made) {
    let excused = world.scenario.weather.iter().any(|weather| weather.fault == Fault::MappingDisabled);
    if !excused {
        world.violate(format!("record #{} left the stream while the mapping polled", made.change.index));
    }
}

/// Each change has exactly its entries, or its whole record is kept; and there is nothing else.
pub(crate) fn at_the_end(world: &World) {
    let mut left: HashMap<String, usize> = world.contents.borrow().clone();
    let made = world.made.borrow();
    let kept = world.kept.borrow();
    let is_kept = |made: &Made| {
        let quarantined = |kept: &crate::world::Kept| kept.key.starts_with("quarantined/");
        made.given_up.get() || kept.get(&made.record).is_some_and(|kept| kept.iter().any(quarantined))
    };
    let (settled_otherwise, audited): (Vec<_>, Vec<_>) =
        made.iter().partition(|made| is_kept(made) || made.expired.get() || made.dropped.get());
    for made in audited {
        if made.poison().is_some() {
            world.violate(format!("record #{} can be mended by no retry, and is kept nowhere", made.change.index));
        }
        for expected in &made.expected {
            match left.get_mut(&expected.content()) {
                Some(count) if *count > 0 => *count -= 1,
                _ => world.violate(format!("#{} is lost: no entry {}", made.change.index, expected.content())),
            }
        }
    }
    // What was given up, or is quarantined, may have been written before.
    for expected in settled_otherwise.iter().flat_map(|made| &made.expected) {
        if let Some(count) = left.get_mut(&expected.content()) {
            *count = count.saturating_sub(1);
        }
    }
    for (content, _) in left.into_iter().filter(|(_, count)| *count > 0) {
        world.violate(format!("an entry that no change asked for: {content}"));
    }
    for (record, kept) in kept.iter() {
        let quarantined = kept.iter().any(|kept| kept.key.starts_with("quarantined/"));
        match made.iter().find(|made| made.record == *record) {
            Some(made) if quarantined && made.poison().is_none() => {
                world.violate(format!("#{} is quarantined, and nothing is wrong with it", made.change.index));
            }
            Some(_) => {}
            None => world.violate("the failure bucket has a record that the stream never had"),
        }
    }
}

type Measurements = [(&'static catalog::Metric, Measured)];

fn sum(measured: &Measurements, metric: &catalog::Metric) -> u64 {
    match measured.iter().find(|(other, _)| *other == metric) {
        Some((_, Measured::Count(count))) => *count as u64,
        _ => 0,
    }
}

fn samples<'a>(measured: &'a Measurements, metric: &catalog::Metric) -> &'a [f64] {
    match measured.iter().find(|(other, _)| *other == metric) {
        Some((_, Measured::Samples(samples))) => samples,
        _ => &[],
    }
}
