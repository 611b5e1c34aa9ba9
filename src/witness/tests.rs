use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::invocation::InvocationError;
use crate::report::Counts;
use crate::testing::{MemoryBucket, invocation};

const STREAM: &str = "arn:aws:dynamodb:eu-central-1:1:table/Audit/stream/2024-09-11T09:00:17.927";
const NAMES: [&str; 3] = ["INSERT", "MODIFY", "REMOVE"];

fn entry(number: usize, value: &str) -> Value {
    json!({
        "id": {"S": format!("entry-{number}")},
        "itemKey": {"S": "K"},
        "modificationTime": {"S": "2024-09-11T09:02:28.000Z"},
        "newValue": {"S": value},
    })
}

fn record(number: usize, name: &str, old: Option<Value>, new: Option<Value>) -> Value {
    let mut stream = json!({
        "ApproximateCreationDateTime": 1_726_045_348,
        "Keys": { "id": {"S": format!("entry-{number}")} },
        "SequenceNumber": number.to_string(),
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    });
    for (image, value) in [("OldImage", old), ("NewImage", new)] {
        if let Some(value) = value {
            stream[image] = value;
        }
    }
    json!({
        "eventID": format!("event-{number}"), "eventName": name, "eventSourceARN": STREAM, "dynamodb": stream,
    })
}

fn inserted(number: usize) -> Value {
    record(number, "INSERT", None, Some(entry(number, "SECRET")))
}

fn traced(number: usize, trace: &str) -> Value {
    let mut entry = entry(number, "SECRET");
    entry["provenance"] = json!({ "M": { "eventId": {"S": "e"}, "traceId": {"S": trace} } });
    entry
}

type Handler = WitnessHandler<MemoryBucket, MemoryBucket>;

fn handler() -> Handler {
    let clock = Clock::starting_at(chrono::DateTime::from_timestamp(1_726_045_350, 0).unwrap());
    WitnessHandler { bucket: Some(MemoryBucket::default()), quarantine: Some(MemoryBucket::default()), clock }
}

async fn handle(handler: &Handler, records: &[Value]) -> Report {
    let event = json!({ "Records": records }).to_string();
    handler.handle(&invocation(handler.clock.now(), event.as_bytes())).await
}

/// Why each record was not witnessed; empty if it was, or if nothing had to be done.
fn codes(report: &Report) -> Vec<&str> {
    report.records.iter().map(|record| record.outcome.cause().map_or("", |cause| cause.reason.code())).collect()
}

/// The IDs in the objects of the witness bucket.
fn witnessed(handler: &Handler) -> Vec<String> {
    let objects = handler.bucket.as_ref().unwrap().objects.borrow();
    let mut ids = Vec::new();
    for (key, body) in objects.iter() {
        assert!(is_authentic(key, body.as_bytes()), "{key}");
        let object: WitnessObject = serde_json::from_str(body).unwrap();
        ids.extend(object.entries.into_iter().map(|witness| witness.id));
    }
    ids.sort();
    ids
}

#[tokio::test(start_paused = true)]
async fn each_entry_leaves_a_witness_without_its_values() {
    let handler = handler();
    let report = handle(&handler, &[inserted(1), inserted(2)]).await;
    assert_eq!(report.counts(), Counts { witnessed: 2, ..Counts::default() });
    assert_eq!(witnessed(&handler), ["entry-1", "entry-2"]);
    let objects = handler.bucket.as_ref().unwrap().objects.borrow();
    assert_eq!(objects.len(), 1, "one object for a batch");
    assert!(objects.values().all(|body| !body.contains("SECRET")));
    let fingerprint = Fingerprint::of(serde_json::from_value(entry(1, "SECRET")).unwrap());
    let object: WitnessObject = serde_json::from_str(objects.values().next().unwrap()).unwrap();
    assert_eq!(object.entries[0].fingerprint, fingerprint);
    assert_eq!(object.entries[0].stored.as_deref(), Some("2024-09-11T09:02:28.000Z"));
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_batch_writes_the_same_object() {
    let handler = handler();
    handle(&handler, &[inserted(1), inserted(2)]).await;
    handle(&handler, &[inserted(1), inserted(2)]).await;
    assert_eq!(handler.bucket.as_ref().unwrap().objects.borrow().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn tampering_is_reported_and_the_entry_as_it_was_is_kept() {
    let handler = handler();
    let altered = record(1, "MODIFY", Some(entry(1, "SECRET")), Some(entry(1, "FORGED")));
    let deleted = record(2, "REMOVE", Some(entry(2, "SECRET")), None);
    let again = record(3, "MODIFY", Some(traced(3, "1-a")), Some(traced(3, "1-b")));
    let report = handle(&handler, &[altered.clone(), deleted, again, inserted(4)]).await;
    assert_eq!(codes(&report), ["entry_altered", "entry_deleted", "", ""]);
    assert_eq!(report.counts(), Counts { witnessed: 1, unchanged: 1, quarantined: 2, ..Counts::default() });
    let message = &report.records[0].outcome.cause().unwrap().message;
    assert_eq!(message, "somebody altered the entry: its newValue");
    let kept = handler.quarantine.as_ref().unwrap().objects.borrow();
    assert!(kept.keys().all(|key| key.starts_with("tampering/Audit/")), "{kept:?}");
    assert!(kept.values().any(|body| body.contains("SECRET") && body.contains("FORGED")));
    assert_eq!(witnessed(&handler), ["entry-4"], "what an entry was altered to has no witness");
}

#[tokio::test(start_paused = true)]
async fn without_a_witness_bucket_tampering_is_still_reported() {
    let handler = WitnessHandler { bucket: None, ..handler() };
    let deleted = record(2, "REMOVE", Some(entry(2, "SECRET")), None);
    let report = handle(&handler, &[inserted(1), deleted]).await;
    assert_eq!(report.counts(), Counts { unchanged: 1, quarantined: 1, ..Counts::default() });
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_that_is_not_stored() {
    let deleted = record(2, "REMOVE", Some(entry(2, "SECRET")), None);
    let records = [inserted(1), deleted, json!({ "eventName": "INSERT" })];
    let refusing = || Some(MemoryBucket { refuses: true, ..MemoryBucket::default() });
    let silent = || Some(MemoryBucket { never_answers: true, ..MemoryBucket::default() });

    let report = handle(&WitnessHandler { bucket: refusing(), ..handler() }, &records[..2]).await;
    assert_eq!(codes(&report), ["not_witnessed", "entry_deleted"]);
    assert_eq!(report.answer().unwrap().batch_item_failures.len(), 1);

    let report = handle(&WitnessHandler { quarantine: refusing(), ..handler() }, &records[..2]).await;
    assert_eq!(report.counts(), Counts { witnessed: 1, failed: 1, ..Counts::default() });

    let report = handle(&WitnessHandler { bucket: silent(), quarantine: silent(), ..handler() }, &records[..2]).await;
    assert_eq!((report.counts().failed, codes(&report)), (2, vec!["deadline", "entry_deleted"]));
    assert!(report.duration() < Duration::from_secs(30), "it answers before the deadline");

    let report = handle(&handler(), &records).await;
    assert_eq!(report.counts(), Counts { witnessed: 1, quarantined: 2, ..Counts::default() });
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_both_images_fails_the_invocation() {
    let mut record = inserted(1);
    record["dynamodb"]["StreamViewType"] = json!("KEYS_ONLY");
    record["dynamodb"].as_object_mut().unwrap().remove("NewImage");
    let report = handle(&handler(), &[record]).await;
    assert_eq!(report.error, Some(InvocationError::ViewType("KEYS_ONLY".to_owned())));
    let report = handle(&handler(), &[]).await;
    assert_eq!(report.error, None);
}

proptest! {
    /// Whatever the records and the buckets do, the books balance, and what is acknowledged is stored.
    #[test]
    fn each_record_has_exactly_one_outcome(
        kinds in prop::collection::vec((0_usize..3, any::<bool>()), 0..12),
        (refuses_witness, refuses_failures, is_silent, has_bucket) in any::<(bool, bool, bool, bool)>(),
    ) {
        let records: Vec<Value> = kinds.iter().enumerate().map(|(number, (kind, is_bad))| {
            let old = (*kind > 0).then(|| entry(number, "SECRET"));
            let new = (*kind < 2).then(|| entry(number, if *kind == 0 { "SECRET" } else { "FORGED" }));
            let mut record = record(number, NAMES[*kind], old, new);
            if *is_bad {
                record.as_object_mut().unwrap().remove("eventID");
            }
            record
        }).collect();
        let handler = WitnessHandler {
            bucket: has_bucket.then(|| MemoryBucket { refuses: refuses_witness, never_answers: is_silent, ..MemoryBucket::default() }),
            quarantine: Some(MemoryBucket { refuses: refuses_failures, ..MemoryBucket::default() }),
            ..handler()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let report = runtime.block_on(handle(&handler, &records));
        prop_assert_eq!(report.counts().total(), records.len());
        prop_assert_eq!(report.received, records.len());
        let stored = if has_bucket { witnessed(&handler).len() } else { 0 };
        prop_assert_eq!(report.counts().witnessed, stored);
        let tampered = kinds.iter().filter(|(kind, is_bad)| *kind > 0 && !is_bad).count();
        prop_assert_eq!(codes(&report).iter().filter(|code| code.starts_with("entry_")).count(), tampered);
        let text = format!("{report:?}");
        prop_assert!(!text.contains("SECRET") && !text.contains("FORGED"));
    }
}
