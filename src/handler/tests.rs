use std::time::Duration;

use chrono::DateTime;

use super::*;
use crate::reason::Reason;
use crate::report::{Counts, Outcome};
use crate::store::Failure;
use crate::stream::NotAnEvent;
use crate::testing::{MemoryBucket, MemoryStore, Reply};
use serde_json::{Value, json};

pub(super) type TestHandler = Handler<MemoryStore, MemoryBucket>;

const ALLOWED: Duration = Duration::from_secs(30);
pub(super) const MARKER: &str = "marker-7f3a9";

pub(super) fn handler(replies: Vec<Reply>) -> TestHandler {
    Handler {
        store: MemoryStore::replying(replies),
        quarantine: Some(MemoryBucket::default()),
        clock: Clock::System,
        key_attribute: "key".to_owned(),
        provenance: false,
    }
}

/// Runs on a clock that advances only while everything is waiting.
fn on_paused_clock<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// Runs one invocation on a test clock that starts at 2024-09-11T09:02:30Z. Checks what always holds.
pub(super) fn invoke(handler: &mut TestHandler, event: &Value) -> Report {
    let raw = serde_json::to_vec(event).unwrap();
    on_paused_clock(async {
        let now = DateTime::from_timestamp(1_726_045_350, 0).unwrap();
        handler.clock = Clock::starting_at(now);
        let report = handler.handle(&crate::testing::invocation(now, &raw)).await;
        assert!(report.duration() < ALLOWED, "the answer leaves before the deadline");
        if let Some(records) = event["Records"].as_array() {
            assert_eq!((report.received, report.counts().total()), (records.len(), records.len()), "the books balance");
        }
        report
    })
}

pub(super) fn insert(number: usize) -> Value {
    json!({
        "eventID": format!("event-{number}"),
        "eventName": "INSERT",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_726_045_348.0,
            "Keys": {"key": {"S": format!("KEY_{number}")}},
            "NewImage": {"key": {"S": format!("KEY_{number}")}, "value": {"S": MARKER}},
            "SequenceNumber": format!("{}", 1_000_000 + number),
            "StreamViewType": "NEW_AND_OLD_IMAGES"
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-central-1:123456789012:table/Configuration-dev/stream/x"
    })
}

/// A modification of two attributes.
pub(super) fn modify(number: usize) -> Value {
    let mut record = insert(number);
    record["eventName"] = json!("MODIFY");
    record["dynamodb"]["OldImage"] =
        json!({"key": {"S": format!("KEY_{number}")}, "one": {"S": MARKER}, "two": {"N": "1"}});
    record["dynamodb"]["NewImage"] = json!({"key": {"S": format!("KEY_{number}")}, "one": {"S": "other"}});
    record
}

pub(super) fn event(records: impl IntoIterator<Item = Value>) -> Value {
    json!({ "Records": records.into_iter().collect::<Vec<_>>() })
}

fn inserts(count: usize) -> Value {
    event((0..count).map(insert))
}

pub(super) fn nonsense() -> Value {
    json!({ "eventName": 5, "dynamodb": {"SequenceNumber": "777", "NewImage": MARKER} })
}

fn failed(report: &Report) -> Vec<&str> {
    report.failed().map(|record| record.sequence_number.as_deref().unwrap()).collect()
}

#[test]
fn healthy_records_are_audited_and_none_is_reported() {
    let mut handler = handler(vec![]);
    let report = invoke(&mut handler, &inserts(100));
    assert_eq!(report.counts(), Counts { audited: 100, ..Counts::default() });
    assert_eq!(handler.store.contents().len(), 100);
    assert_eq!(serde_json::to_string(&report.answer().unwrap()).unwrap(), r#"{"batchItemFailures":[]}"#);
    assert_eq!(report.lag(&report.records[0]), Some(Duration::from_secs(2)));
}

#[test]
fn an_event_without_records_is_answered() {
    assert_eq!(invoke(&mut handler(vec![]), &inserts(0)).outcome(), "ok");
}

#[test]
fn the_same_event_three_times_gives_the_same_entries_byte_for_byte() {
    let mut handler = handler(vec![]);
    invoke(&mut handler, &inserts(30));
    let once = handler.store.contents();
    invoke(&mut handler, &inserts(30));
    invoke(&mut handler, &inserts(30));
    assert_eq!(handler.store.contents(), once);
}

#[test]
fn a_record_that_is_twice_in_an_event_is_audited_once_and_acknowledged_twice() {
    let mut handler = handler(vec![]);
    let report = invoke(&mut handler, &event([insert(1), insert(1)]));
    assert_eq!(report.counts().audited, 2);
    assert_eq!(report.audits_written, 1);
    assert_eq!(handler.store.contents().len(), 1);
}

#[test]
fn invalid_records_go_to_the_failure_bucket_and_do_not_affect_the_others() {
    let mut handler = handler(vec![]);
    let report = invoke(&mut handler, &event([insert(1), nonsense(), insert(2)]));
    assert_eq!(report.counts(), Counts { audited: 2, quarantined: 1, ..Counts::default() });
    assert_eq!(failed(&report), [""; 0]);
    let objects = handler.quarantine.unwrap().objects.into_inner();
    let object: Value = serde_json::from_str(objects.values().next().unwrap()).unwrap();
    assert_eq!(object["record"], nonsense());
    assert_eq!(object["reason"], "undecodable");
}

#[test]
fn without_a_working_failure_bucket_invalid_records_are_reported_as_failed() {
    for quarantine in [None, Some(MemoryBucket { refuses: true, ..MemoryBucket::default() })] {
        let mut handler = handler(vec![]);
        handler.quarantine = quarantine;
        let report = invoke(&mut handler, &event([insert(1), nonsense()]));
        assert_eq!(report.counts(), Counts { audited: 1, failed: 1, ..Counts::default() });
        assert_eq!(failed(&report), ["777"]);
    }
}

#[test]
fn a_failure_bucket_that_never_answers_blocks_only_its_own_records() {
    let mut handler = handler(vec![]);
    handler.quarantine = Some(MemoryBucket { never_answers: true, ..MemoryBucket::default() });
    let report = invoke(&mut handler, &event([nonsense(), insert(1)]));
    assert_eq!(failed(&report), ["777"]);
    assert_eq!(report.counts().audited, 1);
}

#[test]
fn a_store_that_fails_for_a_while_loses_and_duplicates_nothing() {
    let mut handler = handler(vec![
        Reply::Fail(Failure::Unavailable),
        Reply::StoredButUnavailable,
        Reply::Unprocessed(9),
        Reply::Never,
    ]);
    let report = invoke(&mut handler, &inserts(100));
    assert_eq!(report.counts().audited, 100);
    assert_eq!(handler.store.contents().len(), 100);
}

#[test]
fn a_store_that_never_answers_is_abandoned_in_time_and_every_record_is_reported() {
    let mut handler = handler(vec![Reply::Never; 10_000]);
    let report = invoke(&mut handler, &inserts(250));
    assert_eq!(report.counts().failed, 250);
    assert_eq!(report.answer().unwrap().batch_item_failures.len(), 250);
}

/// The documented limits are only approximate.
#[test]
fn an_entry_that_dynamodb_finds_invalid_is_written_again_with_notes_in_place_of_its_values() {
    let mut record = modify(1);
    record["dynamodb"]["OldImage"]["two"] = json!({"S": "x".repeat(5_000)});
    let mut handler = handler(vec![]);
    handler.store = MemoryStore::rejecting_more_than(4_000);
    let report = invoke(&mut handler, &event([record.clone(), insert(2)]));
    assert_eq!(report.counts(), Counts { audited: 2, ..Counts::default() });
    assert_eq!((report.records[0].audits_written, report.records[0].values_omitted), (2, 1));
    let contents = handler.store.contents();
    let url = "s3://failures/omitted/Configuration-dev/event-1.json";
    assert!(contents.iter().any(|item| item.contains(url) && item.contains("DynamoDB rejects")), "{contents:?}");
    assert!(contents.iter().any(|item| item.contains(MARKER) && item.contains("one")), "the other attribute is whole");
    assert!(
        handler.quarantine.as_ref().unwrap().objects.borrow().values().next().unwrap().contains(&record.to_string())
    );

    // The next delivery has the same result.
    invoke(&mut handler, &event([record.clone(), record, insert(2)]));
    assert_eq!(handler.store.contents(), contents);
}

#[test]
fn an_entry_that_is_invalid_even_without_values_sends_its_record_to_the_failure_bucket() {
    let mut handler = handler(vec![Reply::Fail(Failure::Rejected); 2]);
    let report = invoke(&mut handler, &event([insert(1)]));
    assert_eq!(report.counts().quarantined, 1);
    assert_eq!(report.records[0].outcome.cause().unwrap().reason, Reason::RejectedByDynamoDb);
}

/// An entry's ID is made from the record's, so both cannot be stored.
#[test]
fn a_second_record_with_the_same_event_id_and_other_content_is_quarantined() {
    let mut other = insert(1);
    other["dynamodb"]["NewImage"]["value"] = json!({"S": "other"});
    let mut handler = handler(vec![]);
    let report = invoke(&mut handler, &event([insert(1), other.clone(), insert(1)]));
    assert_eq!(report.counts(), Counts { audited: 2, quarantined: 1, ..Counts::default() });
    assert_eq!(report.records[1].outcome.cause().unwrap().reason, Reason::DuplicateEventId);
    assert_eq!(handler.store.contents().len(), 1);
    assert!(handler.store.contents()[0].contains(MARKER));
    assert!(
        handler.quarantine.unwrap().objects.into_inner().into_values().next().unwrap().contains(&other.to_string())
    );
}

/// Their full records would have the same name.
#[test]
fn a_second_large_record_with_the_same_event_id_and_other_content_is_quarantined() {
    let (one, mut other, mut disjoint) = (oversized(1), oversized(1), oversized(1));
    other["dynamodb"]["NewImage"]["value"] = json!({"S": "y".repeat(420_000)});
    disjoint["eventName"] = json!("MODIFY");
    disjoint["dynamodb"]["OldImage"] = json!({"key": {"S": "KEY_1"}});
    for second in [other, disjoint] {
        let mut handler = handler(vec![]);
        let report = invoke(&mut handler, &event([one.clone(), second.clone()]));
        assert_eq!(report.counts(), Counts { audited: 1, quarantined: 1, ..Counts::default() });
        let objects = handler.quarantine.unwrap().objects.into_inner();
        assert!(objects["omitted/Configuration-dev/event-1.json"].contains(&one.to_string()));
        let quarantined = objects.iter().find(|(key, _)| key.starts_with("quarantined/")).unwrap().1;
        assert!(quarantined.contains(&second.to_string()));
    }
}

#[test]
fn an_invocation_without_time_is_answered_at_once() {
    let raw = serde_json::to_vec(&inserts(100)).unwrap();
    for allowed in [0, 100, 150] {
        let now = DateTime::from_timestamp(1_726_045_350, 0).unwrap();
        let mut handler = handler(vec![]);
        let report = on_paused_clock(async {
            handler.clock = Clock::starting_at(now);
            let mut invocation = crate::testing::invocation(now, &raw);
            invocation.deadline = now + Duration::from_millis(allowed);
            handler.handle(&invocation).await
        });
        assert_eq!(report.answer().unwrap_err(), InvocationError::NoTime(Duration::from_millis(allowed)));
        assert_eq!((report.duration(), report.counts().total(), report.received), (Duration::ZERO, 0, 0));
    }
}

#[test]
fn a_wrong_table_fails_the_invocation_and_every_record_that_is_not_stored() {
    let mut handler = handler(vec![Reply::Fail(Failure::Misconfigured)]);
    let report = invoke(&mut handler, &inserts(10));
    assert_eq!(report.counts().failed, 10);
    assert_eq!(report.answer().unwrap_err().code(), "AuditTable");
}

#[test]
fn a_stream_without_both_images_fails_the_invocation_with_what_to_change() {
    let mut record = insert(1);
    record["dynamodb"]["StreamViewType"] = json!("KEYS_ONLY");
    let mut handler = handler(vec![]);
    let report = invoke(&mut handler, &event([insert(0), record]));
    assert_eq!(report.counts().failed, 2);
    let error = report.answer().unwrap_err().to_string();
    assert!(error.contains("KEYS_ONLY") && error.contains("NEW_AND_OLD_IMAGES"), "{error}");
    assert_eq!(handler.store.contents(), [""; 0]);
}

#[test]
fn a_failed_record_that_cannot_be_named_fails_the_invocation() {
    let mut handler = handler(vec![]);
    handler.quarantine = None;
    let report = invoke(&mut handler, &event([json!("nonsense"), insert(1)]));
    assert_eq!(report.answer().unwrap_err(), InvocationError::NoSequenceNumber(1));
    assert_eq!(report.counts(), Counts { audited: 1, failed: 1, ..Counts::default() });
}

#[test]
fn an_invalid_event_fails_the_invocation() {
    for event in [json!({}), json!([]), json!(MARKER)] {
        let report = invoke(&mut handler(vec![]), &event);
        assert_eq!(report.answer().unwrap_err(), InvocationError::NotAnEvent(NotAnEvent));
    }
}

#[test]
fn a_value_over_the_limits_is_replaced_by_a_note_only_if_its_full_record_is_stored() {
    let mut record = insert(1);
    record["dynamodb"]["NewImage"]["value"] = json!({"S": "x".repeat(420_000)});
    let mut kept = handler(vec![]);
    let report = invoke(&mut kept, &event([record.clone(), insert(2)]));
    assert_eq!(report.counts().audited, 2);
    assert_eq!(report.records[0].values_omitted, 1);
    let url = "s3://failures/omitted/Configuration-dev/event-1.json";
    assert!(kept.store.contents().iter().any(|item| item.contains(url)));
    assert!(kept.quarantine.unwrap().objects.borrow().contains_key("omitted/Configuration-dev/event-1.json"));

    let mut refused = handler(vec![]);
    refused.quarantine = Some(MemoryBucket { refuses: true, ..MemoryBucket::default() });
    let report = invoke(&mut refused, &event([record, insert(2)]));
    assert_eq!(failed(&report), ["1000001"]);
    assert_eq!(refused.store.contents().len(), 1);
}

#[test]
fn a_record_without_a_time_has_the_time_of_processing() {
    let mut record = insert(1);
    record["dynamodb"].as_object_mut().unwrap().remove("ApproximateCreationDateTime");
    let mut handler = handler(vec![]);
    let report = invoke(&mut handler, &event([record]));
    assert!(handler.store.contents()[0].contains("2024-09-11T09:02:30.000Z"));
    assert_eq!(report.lag(&report.records[0]), None);
}

#[test]
fn a_record_that_causes_a_panic_is_quarantined_and_does_not_affect_the_others() {
    let record = oversized(1);
    let mut handler = handler(vec![]);
    handler.quarantine = Some(MemoryBucket { panics: true, ..MemoryBucket::default() });
    let report = invoke(&mut handler, &event([insert(0), record.clone(), insert(2)]));
    assert_eq!(report.counts(), Counts { audited: 2, quarantined: 1, ..Counts::default() });
    let cause = report.records[1].outcome.cause().unwrap();
    assert_eq!((cause.reason.code(), report.records[1].sequence_number.as_deref()), ("panic", Some("1000001")));
    assert!(!cause.message.contains("secret"));
    let objects = handler.quarantine.unwrap().objects.into_inner();
    assert!(objects.values().next().unwrap().contains(&record.to_string()));
}

/// A record whose value is too large for an entry.
fn oversized(number: usize) -> Value {
    let mut record = insert(number);
    record["dynamodb"]["NewImage"]["value"] = json!({"S": "x".repeat(420_000)});
    record
}

/// One entry that is throttled until the deadline: its request comes first, and its retries get the same answer.
fn throttled_beside(records: impl IntoIterator<Item = Value>) -> (TestHandler, Value) {
    let mut handler = handler(vec![]);
    handler.store = MemoryStore::throttling("KEY_0");
    (handler, event(std::iter::once(insert(0)).chain(records)))
}

#[test]
fn a_throttled_record_does_not_block_a_record_that_waits_for_its_object() {
    let (mut handler, event) = throttled_beside([oversized(1)]);
    let report = invoke(&mut handler, &event);
    assert_eq!(failed(&report), ["1000000"]);
    assert_eq!(report.records[1].outcome, Outcome::Audited);
    assert!(report.records[1].interval.duration() < Duration::from_secs(1), "{:?}", report.records[1].interval);
}

#[test]
fn a_throttled_record_does_not_block_a_record_that_dynamodb_rejects() {
    let (mut handler, event) = throttled_beside((1..60).map(insert));
    handler.store = handler.store.and_rejecting("KEY_40");
    let report = invoke(&mut handler, &event);
    // The records of the throttled request are throttled with it.
    assert_eq!(report.counts(), Counts { audited: 34, quarantined: 1, failed: 25, ..Counts::default() });
    assert_eq!(report.records[40].outcome.name(), "quarantined");
}

/// Nothing waits for it, so it has until the deadline.
#[test]
fn a_slow_failure_bucket_has_until_the_deadline() {
    for seconds in [16, 28] {
        let mut handler = handler(vec![]);
        let takes = Duration::from_secs(seconds);
        handler.quarantine = Some(MemoryBucket { takes, ..MemoryBucket::default() });
        let report = invoke(&mut handler, &event([nonsense(), oversized(1)]));
        assert_eq!(report.counts(), Counts { audited: 1, quarantined: 1, ..Counts::default() }, "{seconds} s");
    }
}

#[test]
fn an_error_of_the_invocation_does_not_erase_causes() {
    // The failure bucket refuses one record; the store throttles all others, and then answers for the first of them
    // that their table is gone.
    let throttled = Reply::Fail(Failure::Throttled);
    let mut handler = handler(vec![throttled, throttled, Reply::Fail(Failure::Misconfigured)]);
    handler.quarantine = Some(MemoryBucket { refuses: true, ..MemoryBucket::default() });
    let report = invoke(&mut handler, &event([nonsense()].into_iter().chain((0..30).map(insert))));
    assert_eq!(report.error.as_ref().unwrap().code(), "AuditTable");
    let reasons: Vec<&str> =
        report.records.iter().map(|record| record.outcome.cause().unwrap().reason.code()).collect();
    assert_eq!(reasons[0], "undecodable");
    assert!(report.records[0].outcome.cause().unwrap().message.contains("not allowed"), "{:?}", report.records[0]);
    let with = |reason: &str| reasons.iter().filter(|other| **other == reason).count();
    let mut counts = [with("AuditTable"), with("Throttled")];
    counts.sort_unstable();
    assert_eq!(counts, [5, 25], "{reasons:?}");
}

#[test]
fn records_without_sequence_numbers_do_not_erase_the_causes_of_others() {
    let mut handler = handler(vec![Reply::Fail(Failure::Throttled); 10_000]);
    handler.quarantine = None;
    let report = invoke(&mut handler, &event([json!("nonsense"), insert(1)]));
    assert_eq!(report.error, Some(InvocationError::NoSequenceNumber(1)));
    let reasons: Vec<&str> =
        report.records.iter().map(|record| record.outcome.cause().unwrap().reason.code()).collect();
    assert_eq!(reasons, ["undecodable", "Throttled"]);
}

#[test]
fn a_client_that_panics_affects_only_unsettled_records() {
    let mut handler = handler(vec![Reply::Ok, Reply::Panic]);
    let report = invoke(&mut handler, &inserts(50));
    assert_eq!(report.error, Some(InvocationError::Panicked));
    assert_eq!(report.counts(), Counts { audited: 25, failed: 25, ..Counts::default() });
    assert!(report.failed().all(|record| record.outcome.cause().unwrap().reason == Reason::Panicked));
    assert_eq!(report.requests.len(), 2, "what was sent is known");
}

/// Sample events are for people to try. Each is run, and its results are compared with a snapshot.
#[test]
fn each_sample_event_has_the_result_that_its_name_says() {
    let mut names: Vec<_> = std::fs::read_dir("events").unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 11);
    for path in names {
        let event: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let mut handler = handler(vec![]);
        let report = invoke(&mut handler, &event);
        assert_eq!(report.outcome(), "ok");
        let outcomes: Vec<_> = report
            .records
            .iter()
            .map(|record| match record.outcome.cause() {
                Some(cause) => format!("{}: {}", record.outcome.name(), cause.reason),
                None => record.outcome.name().to_owned(),
            })
            .collect();
        let items: Vec<Value> = handler
            .store
            .contents()
            .iter()
            .map(|item| {
                serde_json::from_str::<Value>(
                    &item.replace(&"x".repeat(200_000), "x…").replace(&"y".repeat(250_000), "y…"),
                )
                .unwrap()["M"]
                    .take()
            })
            .collect();
        let objects: std::collections::BTreeSet<String> =
            handler.quarantine.unwrap().objects.into_inner().into_keys().collect();
        let name = path.file_stem().unwrap().to_str().unwrap();
        insta::assert_json_snapshot!(name, json!({ "records": outcomes, "entries": items, "objects": objects }));
    }
}
