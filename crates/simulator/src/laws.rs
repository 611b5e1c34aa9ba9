//! The promises, each checked where it can be broken: at each write, at each answer, and when all has settled.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config_audit::report::{Outcome, Report};
use config_audit::telemetry::catalog::{self, Measured};
use serde::Deserialize;
use serde_dynamo::AttributeValue;
use uuid::Uuid;

use crate::change::{Oddity, note};
use crate::fault::Fault;
use crate::world::{Calls, Made, World};
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
pub(crate) fn of_an_invocation(world: &World, batch: &[Rc<Made>], calls: &Calls, report: &Report, left: Duration) {
    if left < LEAST_MARGIN {
        world.violate(format!("an answer was ready only {left:?} before the time-out"));
    }
    // The handler stops a tenth of its time before the end, or a second where that is less.
    let margin = (world.scenario.timeout / 10).min(Duration::from_secs(1)) + Duration::from_millis(10);
    if left <= margin && report.failed().next().is_some() {
        world.saw(Fault::DeadlineReached);
    }

    metrics_agree(world, batch, calls, report);

    if let Some(error) = &report.error {
        let nameless = batch.iter().any(|made| made.change.oddity == Some(Oddity::NoSequenceNumber));
        if !calls.may_fail.get() && !world.scenario.wrong_view_type && !nameless {
            world.violate(format!("an invocation failed as a whole, and nothing asked for it: {error}"));
        }
        return;
    }
    for (made, record) in batch.iter().zip(&report.records) {
        let is_right = match (&record.outcome, made.poison()) {
            _ if calls.store_faults.get() > 0 => true,
            (Outcome::Audited, None) => !made.expected.is_empty(),
            (Outcome::Unchanged, None) => made.expected.is_empty(),
            (Outcome::Quarantined(cause), Some(reason)) => cause.reason.code() == reason,
            // It waits for the bucket, and holds up nothing but itself.
            (Outcome::Failed(_), poison) => {
                (poison.is_some() || made.change.is_large())
                    && (calls.bucket_faults.get() > 0 || !world.scenario.has_bucket)
            }
            _ => false,
        };
        if !is_right {
            let index = made.change.index;
            world.violate(format!("record #{index} is {:?}, and no fault asked for it", record.outcome));
        }
    }
}

/// The metrics say what became of the records, and what the table was asked and answered.
fn metrics_agree(world: &World, batch: &[Rc<Made>], calls: &Calls, report: &Report) {
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
        (&catalog::AUDITS_WRITTEN, sum(&measured, &catalog::AUDITS_WRITTEN), calls.acknowledged.borrow().len()),
        (&catalog::WRITE_LATENCY, samples(&measured, &catalog::WRITE_LATENCY).len() as u64, calls.requests.get()),
    ];
    for (metric, told, seen) in requests {
        // A panic of the client loses what was known.
        if told > seen as u64 || told < seen as u64 && !calls.may_fail.get() {
            world.violate(format!("{} says {told}, and the table saw {seen}", metric.name));
        }
    }
    // A request that was halved to find an invalid entry repeats nothing.
    let is_halved = batch.iter().any(|made| made.poison() == Some("rejected_by_dynamodb"));
    let retries = sum(&measured, &catalog::WRITE_RETRIES);
    if !is_halved && !calls.may_fail.get() && retries != calls.repeats.get() as u64 {
        world.violate(format!("WriteRetries says {retries}, and the table saw {}", calls.repeats.get()));
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
