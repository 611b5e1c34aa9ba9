//! What finally becomes of a change.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use config_audit_mapping::StreamRecord;
use serde::Deserialize;

use crate::change::REJECTED;
use crate::fault::Fault;
use crate::ledger::{Ledger, OMITTED, StoredObject, TrackedChange};
use crate::scenario::Scenario;

/// The destination has every record in full.
pub(crate) fn of_the_destination(
    ledger: &Ledger,
    is_fault_free: bool,
    records: &[Arc<StreamRecord>],
    body: Result<Vec<u8>, serde_json::Error>,
) -> Vec<String> {
    #[derive(Deserialize)]
    struct Object {
        payload: String,
    }
    let payload = body.ok().and_then(|body| serde_json::from_slice::<Object>(&body).ok()).map(|object| object.payload);
    let payload = payload.unwrap_or_default();
    let changes = ledger.changes();
    let mut violations = Vec::new();
    for record in records {
        let of_it = |tracked: &&Rc<TrackedChange>| tracked.change.sequence_number == record.sequence_number.as_str();
        if is_fault_free {
            violations.push(format!("{} is given up, and nothing was wrong", record.sequence_number));
        }
        match changes.iter().find(of_it) {
            Some(tracked) if payload.contains(&tracked.record) => {}
            _ => violations.push("the on-failure destination has a record that is not whole".to_owned()),
        }
    }
    violations
}

/// A record leaves the stream unread only if nothing polls it.
pub(crate) fn of_an_expiry(scenario: &Scenario, tracked: &TrackedChange) -> Vec<String> {
    if scenario
        .fault_windows
        .iter()
        .any(|window| matches!(window.fault, Fault::MappingDisabled | Fault::StreamReplaced))
    {
        return Vec::new();
    }
    vec![format!("record #{} left the stream while the mapping polled", tracked.change.index)]
}

/// Each change has exactly its entries, or its whole record is kept; nothing else exists.
pub(crate) fn at_the_end(ledger: &Ledger) -> Vec<String> {
    let mut violations = Vec::new();
    let mut left: HashMap<String, usize> = ledger.contents().clone();
    let changes = ledger.changes();
    let objects = ledger.objects();
    let quarantined = |objects: &Vec<StoredObject>| objects.iter().any(StoredObject::is_quarantined);
    let full_record = |objects: &Vec<StoredObject>| objects.iter().any(|object| object.key.starts_with(OMITTED));
    let may_omit = |tracked: &TrackedChange| {
        tracked.poison() == Some(REJECTED) || tracked.expected.iter().any(|entry| entry.omitted() > 0)
    };
    let is_kept = |tracked: &TrackedChange| {
        tracked.given_up.get().is_some() || objects.get(&tracked.record).is_some_and(quarantined)
    };
    let is_lost = |tracked: &TrackedChange| tracked.expired.get().or(tracked.dropped.get()).is_some();
    let (settled_otherwise, audited): (Vec<_>, Vec<_>) =
        changes.iter().partition(|tracked| is_kept(tracked) || is_lost(tracked));
    for tracked in audited {
        if tracked.poison().is_some() {
            violations.push(format!("record #{} can be mended by no retry, and is kept nowhere", tracked.change.index));
        }
        for expected in &tracked.expected {
            match left.get_mut(&expected.content()) {
                Some(count) if *count > 0 => *count -= 1,
                _ => violations.push(format!("#{} is lost: no entry {}", tracked.change.index, expected.content())),
            }
        }
    }
    // Changes that were given up or quarantined may have been written before.
    for expected in settled_otherwise.iter().flat_map(|tracked| &tracked.expected) {
        if let Some(count) = left.get_mut(&expected.content()) {
            *count = count.saturating_sub(1);
        }
    }
    for (content, _) in left.into_iter().filter(|(_, count)| *count > 0) {
        violations.push(format!("an entry that no change asked for: {content}"));
    }
    for (record, objects) in objects.iter() {
        match changes.iter().find(|tracked| tracked.record == *record) {
            Some(tracked) if quarantined(objects) && tracked.poison().is_none() => {
                violations.push(format!("#{} is quarantined, and nothing is wrong with it", tracked.change.index));
            }
            Some(tracked) if full_record(objects) && !may_omit(tracked) => {
                violations.push(format!("#{} has its full record kept, and omits no value", tracked.change.index));
            }
            Some(_) => {}
            None => violations.push("the failure bucket has a record that the stream never had".to_owned()),
        }
    }
    violations
}
