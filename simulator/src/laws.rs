//! The promises, each checked where it can be broken: at each write, at each answer, and when all has settled.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config_audit::report::{Outcome, Report};
use config_audit::telemetry::catalog;
use config_audit::telemetry::metrics::Taken;
use serde::Deserialize;
use serde_dynamo::AttributeValue;
use uuid::Uuid;

use crate::fault::Fault;
use crate::mapping::StreamRecord;
use crate::mapping::shard::Answer;
use crate::observed;
use crate::world::{Calls, Made, World};

/// An answer has to be out this long before the time-out.
const LEAST_MARGIN: Duration = Duration::from_millis(100);

/// An entry has the contract's attributes and no others, and an ID that is v4 in form.
pub(crate) fn of_an_entry(world: &World, id: Uuid, item: &serde_dynamo::Item) {
    const ATTRIBUTES: [&str; 6] = ["id", "itemKey", "modificationTime", "updatedAttribute", "oldValue", "newValue"];
    if let Some(other) = item.keys().find(|name| !ATTRIBUTES.contains(&name.as_str())) {
        world.violate(format!("an entry has the attribute {other}"));
    }
    let text = id.to_string();
    if text.as_bytes()[14] != b'4' || !b"89ab".contains(&text.as_bytes()[19]) {
        world.violate(format!("the ID {text} is not v4 in form"));
    }
    if item.get("id") != Some(&AttributeValue::S(text)) {
        world.violate("an entry has another ID than its item");
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

    world.metrics.record(report, 0);
    let taken = world.metrics.take();
    observed::emit(world, &taken);
    let received = sum(&taken, &catalog::RECORDS_RECEIVED);
    let outcomes = [
        &catalog::RECORDS_AUDITED,
        &catalog::RECORDS_UNCHANGED,
        &catalog::RECORDS_QUARANTINED,
        &catalog::RECORDS_FAILED,
    ];
    if received != batch.len() as u64 || received != outcomes.iter().map(|metric| sum(&taken, metric)).sum::<u64>() {
        let sums: Vec<String> = taken.counters.iter().map(|(metric, sum)| format!("{} {sum}", metric.name)).collect();
        world.violate(format!("the books do not balance: {} records, {}", batch.len(), sums.join(", ")));
        return;
    }
    let written = sum(&taken, &catalog::AUDITS_WRITTEN);
    let acknowledged = calls.acknowledged.borrow().len() as u64;
    // A panic of the client loses what was known.
    if written > acknowledged || written < acknowledged && !calls.may_fail.get() {
        world.violate(format!("AuditsWritten is {written}, and the table acknowledged {acknowledged}"));
    }
    let latencies = samples(&taken, &catalog::WRITE_LATENCY);
    if latencies > calls.requests.get() || latencies < calls.requests.get() && !calls.may_fail.get() {
        world.violate(format!("WriteLatency has {latencies} samples of {} requests", calls.requests.get()));
    }
    let timed = |(made, record): (&Rc<Made>, &config_audit::report::Record)| {
        record.outcome == Outcome::Audited && made.change.oddity != Some(crate::change::Oddity::NoTime)
    };
    let lags = batch.iter().zip(&report.records).filter(|pair| timed(*pair)).count();
    if samples(&taken, &catalog::AUDIT_LAG) != lags {
        world.violate("AuditLag has not one sample for each audited record");
    }

    if let Some(error) = &report.error {
        let nameless = batch.iter().any(|made| made.change.oddity == Some(crate::change::Oddity::NoSequenceNumber));
        if !calls.may_fail.get() && !world.scenario.wrong_view_type && !nameless {
            world.violate(format!("an invocation failed as a whole, and nothing asked for it: {error}"));
        }
        return;
    }
    for (made, record) in batch.iter().zip(&report.records) {
        let is_right = match (&record.outcome, made.poison()) {
            _ if calls.store_faults.get() > 0 || calls.requests.get() > 0 && has_run_out(report) => true,
            (Outcome::Audited, None) => !made.expected.is_empty(),
            (Outcome::Unchanged, None) => made.expected.is_empty(),
            (Outcome::Quarantined(cause), Some(reason)) => cause.code == reason,
            // It waits for the bucket, and holds up nothing but itself.
            (Outcome::Failed(_), Some(_)) => calls.bucket_faults.get() > 0 || !world.scenario.has_bucket,
            (Outcome::Failed(_), None) => {
                made.change.is_large() && (calls.bucket_faults.get() > 0 || !world.scenario.has_bucket)
            }
            _ => false,
        };
        if !is_right {
            let index = made.change.index;
            world.violate(format!("record #{index} is {:?}, and no fault asked for it", record.outcome));
        }
    }
}

/// Whether the time was over before the work was.
fn has_run_out(report: &Report) -> bool {
    report
        .requests
        .iter()
        .any(|request| request.result.as_ref().is_err_and(|error| error.code == "deadline" || error.code == "timeout"))
        || report.failed().any(|record| record.outcome.cause().is_some_and(|cause| cause.code == "deadline"))
}

/// Nothing is acknowledged that is not stored, and what is to come again is named by its sequence number.
pub(crate) fn of_an_answer(world: &World, batch: &[Rc<Made>], answer: &Answer) {
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

fn sum(taken: &Taken, metric: &catalog::Metric) -> u64 {
    taken.counters.iter().find(|(other, _)| **other == *metric).map_or(0, |(_, sum)| *sum)
}

fn samples(taken: &Taken, metric: &catalog::Metric) -> usize {
    taken.samples.iter().find(|(other, _)| **other == *metric).map_or(0, |(_, values)| values.len())
}
