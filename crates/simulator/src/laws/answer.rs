//! The function's answer to Lambda.

use std::collections::HashSet;
use std::rc::Rc;

use config_audit::report::{Outcome, Record, Report};
use config_audit_mapping::shard::Answer;
use serde::Deserialize;

use crate::expected::Expected;
use crate::ledger::{Ledger, OMITTED, QUARANTINED, TrackedChange};

/// Nothing is acknowledged unless it is stored, and the answer gives the sequence numbers of the records that Lambda
/// must deliver again.
pub(crate) fn of_an_answer(
    ledger: &Ledger,
    batch: &[Rc<TrackedChange>],
    report: &Report,
    answer: &Answer,
) -> Vec<String> {
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
    let Ok(answer) = answer else { return Vec::new() };
    let Ok(answer) = serde_json::from_slice::<Failures>(answer) else {
        return vec!["an answer is not of the shape that Lambda reads".to_owned()];
    };
    let mut violations = Vec::new();
    let mut failed = HashSet::new();
    for failure in answer.batch_item_failures {
        let of_it =
            |tracked: &&Rc<TrackedChange>| Some(&tracked.change.sequence_number) == failure.item_identifier.as_ref();
        let Some(tracked) = batch.iter().find(of_it) else {
            return vec![format!("the answer names {:?}, which is not a record of the batch", failure.item_identifier)];
        };
        failed.insert(tracked.change.index);
    }
    let is_failed = |record: &Record| matches!(record.outcome, Outcome::Failed(_));
    for (tracked, record) in batch.iter().zip(&report.records) {
        if is_failed(record) != failed.contains(&tracked.change.index) {
            violations.push(format!(
                "record #{} is {:?}, and the answer says otherwise",
                tracked.change.index, record.outcome
            ));
        }
    }
    for tracked in batch.iter().filter(|tracked| !failed.contains(&tracked.change.index)) {
        if let Some(missing) = missing(ledger, tracked) {
            violations.push(format!("record #{} was acknowledged, and {missing}", tracked.change.index));
        }
    }
    violations
}

/// What a change lacks that it must have before it is acknowledged.
fn missing(ledger: &Ledger, tracked: &TrackedChange) -> Option<String> {
    let objects = ledger.objects();
    let objects = objects.get(&tracked.record).map_or(&[][..], Vec::as_slice);
    if let Some(reason) = tracked.poison() {
        let is_kept = objects.iter().any(|object| object.key.starts_with(QUARANTINED) && object.reason == reason);
        return (!is_kept).then(|| format!("it is not in the failure bucket as {reason}"));
    }
    if tracked.change.wrong_view_type {
        return Some("it lacks an image".to_owned());
    }
    let contents = ledger.contents();
    let absent = tracked.expected.iter().map(Expected::content).find(|content| !contents.contains_key(content));
    if let Some(content) = absent {
        return Some(format!("the table has no entry {content}"));
    }
    let omits = tracked.expected.iter().any(|entry| entry.omitted() > 0);
    let is_kept = objects.iter().any(|object| object.key.starts_with(OMITTED) && object.reason == "value_omitted");
    (omits && !is_kept).then(|| "the failure bucket has no full record of it".to_owned())
}
