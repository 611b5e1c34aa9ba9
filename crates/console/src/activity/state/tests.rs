//! How events change the state.

use std::time::Duration;

use config_audit_local::event::LogSource;
use config_audit_local::{CompletedInvocation, InvocationError};
use config_audit_mapping::Condition;
use serde_dynamo::AttributeValue;
use serde_json::json;

use super::*;

const ARN: &str = "arn:aws:dynamodb:eu-central-1:000000000000:table/Configuration-local/stream/x";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_496_000, 0).unwrap()
}

/// A state, with methods that send it events.
pub(crate) struct Scene(pub(crate) State);

impl Scene {
    pub(crate) fn new() -> Self {
        Self(State::new(Some(ARN), now()))
    }

    pub(crate) fn apply(&mut self, event: &WorldEvent) -> &mut Self {
        self.0.apply(event, now());
        self
    }

    /// Reads a change and delivers it to a new invocation.
    pub(crate) fn deliver(&mut self, number: usize, key: &str, name: &str) -> &mut Self {
        self.read(number, key, name).redeliver(&[number], &format!("request-{number}"))
    }

    pub(crate) fn read(&mut self, number: usize, key: &str, name: &str) -> &mut Self {
        self.apply(&WorldEvent::RecordRead {
            shard_id: "shard".to_owned(),
            sequence_number: sequence(number),
            event_id: format!("event-{number}"),
            event_name: name.to_owned(),
            item_key: key.to_owned(),
            created: now() - TimeDelta::seconds(2),
        })
    }

    pub(crate) fn redeliver(&mut self, numbers: &[usize], request_id: &str) -> &mut Self {
        for number in numbers {
            let (shard_id, event_name) = ("shard".to_owned(), "MODIFY".to_owned());
            self.apply(&WorldEvent::RecordDelivered { shard_id, sequence_number: sequence(*number), event_name });
        }
        let (request_id, trace_header) = (request_id.to_owned(), "Root=1-2-3".to_owned());
        self.apply(&WorldEvent::InvocationStarted { request_id, trace_header })
    }

    pub(crate) fn line(&mut self, line: &str) -> &mut Self {
        self.apply(&WorldEvent::LogLine { source: LogSource::Stdout, line: line.to_owned() })
    }

    pub(crate) fn span(&mut self, number: usize, outcome: &str) -> &mut Self {
        let metadata = json!({ "config_audit.record.sequence_number": sequence(number).as_str(),
            "config_audit.record.outcome": outcome });
        let document = json!({ "id": "a", "name": "audit", "start_time": 1.0, "end_time": 2.0, "subsegments": [
            { "id": format!("b{number}"), "name": "edit", "start_time": 1.0, "end_time": 1.5, "metadata": metadata }] });
        self.apply(&WorldEvent::SegmentReceived { document })
    }

    pub(crate) fn answer(&mut self, failed: &[usize]) -> &mut Self {
        let failures: Vec<_> =
            failed.iter().map(|number| json!({ "itemIdentifier": sequence(*number).as_str() })).collect();
        let body = json!({ "batchItemFailures": failures }).to_string();
        self.end_with(Ok(body.into()))
    }

    pub(crate) fn end_with(&mut self, outcome: config_audit_local::Outcome) -> &mut Self {
        let (request_id, duration) = ("any".to_owned(), Duration::from_millis(12));
        self.apply(&WorldEvent::InvocationEnded(CompletedInvocation { request_id, outcome, duration, init: None }))
    }

    pub(crate) fn store(&mut self, number: usize, key: &str, attribute: Option<&str>) -> &mut Self {
        let arn = StreamArn::new(ARN.to_owned());
        let id = entry_id(Some(&arn), &format!("event-{number}"), attribute).to_string();
        let texts = [("id", Some(id.as_str())), ("itemKey", Some(key)), ("updatedAttribute", attribute)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?)));
        let item = texts.map(|(name, text)| (name, AttributeValue::S(text.to_owned())));
        self.apply(&WorldEvent::EntryStored { entry: Entry::from_item(item.collect::<Vec<_>>()) })
    }

    pub(crate) fn retry(&mut self, retry: u32) -> &mut Self {
        let (shard_id, delay, reason) = ("shard".to_owned(), Duration::from_secs(1), "reported".to_owned());
        self.apply(&WorldEvent::RetryScheduled { shard_id, records: 1, retry, delay, reason })
    }

    fn advance(&mut self, number: usize) -> &mut Self {
        let shard_id = "shard".to_owned();
        self.apply(&WorldEvent::CheckpointAdvanced { shard_id, sequence_number: sequence(number) })
    }

    fn places(&self) -> Vec<&Place> {
        self.0.changes.newest_first().rev().map(|change| &change.place).collect()
    }
}

fn sequence(number: usize) -> SequenceNumber {
    SequenceNumber::new(format!("{:021}", number + 1))
}

#[test]
fn a_change_is_followed_from_the_stream_into_the_trail() {
    let mut scene = Scene::new();
    scene.read(0, "A", "INSERT");
    assert_eq!((scene.places(), scene.0.waiting()), (vec![&Place::InStream], 1));
    scene.redeliver(&[0], "one");
    assert_eq!(scene.places(), [&Place::InFunction]);
    assert!(scene.0.running().is_some());
    scene.span(0, "audited").answer(&[]).advance(0).store(0, "A", None);
    let change = scene.0.changes.newest().unwrap();
    assert_eq!((&change.place, change.entries, change.lag_ms), (&Place::Audited, 1, Some(2000.0)));
    assert_eq!((scene.0.waiting(), scene.0.counts.entries, scene.0.running().is_some()), (0, 1, false));
    let entry = &scene.0.invocations.newest().unwrap().entries[0];
    assert_eq!(scene.0.invocation_of(&entry.id), Some("one"));
}

#[test]
fn a_failed_record_and_those_behind_it_wait_and_a_retry_audits_them() {
    let mut scene = Scene::new();
    scene.read(0, "A", "MODIFY").read(1, "B", "MODIFY").read(2, "C", "MODIFY").redeliver(&[0, 1, 2], "one");
    let line = json!({ "level": "ERROR", "message": "record failed, and Lambda will redeliver it", "reason": "throttled",
        "sequenceNumber": sequence(1).as_str() });
    scene.line(&line.to_string()).span(0, "audited").answer(&[1]).advance(0).retry(1);
    let waits =
        |reason: &str| Place::AwaitingRetry { retry: 1, at: now() + TimeDelta::seconds(1), reason: reason.to_owned() };
    assert_eq!(scene.places(), [&Place::Audited, &waits("throttled"), &waits("a record before it failed")]);
    assert_eq!((scene.0.waiting(), scene.0.retries().count(), scene.0.counts.failed_invocations), (2, 1, 1));
    scene.redeliver(&[1, 2], "two").span(1, "audited").span(2, "unchanged").answer(&[]).advance(2);
    assert_eq!(scene.places(), [&Place::Audited, &Place::Audited, &Place::Unchanged]);
    assert_eq!((scene.0.waiting(), scene.0.retries().count()), (0, 0));
    assert_eq!(scene.0.changes.newest().unwrap().deliveries, 2);
}

#[test]
fn a_failed_invocation_shows_its_error_and_records_given_up_on_their_condition() {
    let mut scene = Scene::new();
    let exited = InvocationError::Exited { status: "signal: 9".to_owned() };
    scene.deliver(0, "A", "MODIFY").end_with(Err(exited));
    assert!(matches!(scene.places()[..], [Place::Failed { reason }] if reason.contains("signal: 9")));
    let (key, condition) = ("key".to_owned(), Condition::RetryAttemptsExhausted);
    scene.apply(&WorldEvent::SentToDestination { key, condition, records: 1 }).advance(0);
    assert!(matches!(scene.places()[..], [Place::GivenUp { condition }] if condition == "RetryAttemptsExhausted"));
}

#[test]
fn a_record_is_quarantined_by_its_log_line_and_its_invocation_has_not_failed() {
    let mut scene = Scene::new();
    let line = json!({ "level": "ERROR", "message": "record quarantined: no key", "reason": "no_key",
        "sequenceNumber": sequence(0).as_str() });
    scene.deliver(0, "", "MODIFY").line(&line.to_string()).answer(&[]);
    assert!(matches!(scene.places()[..], [Place::Quarantined { reason }] if reason == "no_key"));
    assert_eq!((scene.0.counts.quarantined, scene.0.counts.failed_invocations), (1, 0));
    assert_eq!(scene.0.notices.len(), 1);
}

#[test]
fn memory_does_not_grow_with_time() {
    let mut scene = Scene::new();
    let line = "x".repeat(1 << 16);
    for number in 0..MAX_INVOCATIONS + 200 {
        scene.deliver(number, "A", "MODIFY").line(&line).answer(&[]).advance(number).store(number, "A", Some("value"));
    }
    let state = &scene.0;
    assert_eq!((state.changes.len(), state.changes.dropped()), (MAX_CHANGES, 200));
    assert_eq!((state.invocations.len(), state.notices.len()), (MAX_INVOCATIONS, MAX_NOTICES));
    assert_eq!((state.by_sequence.len(), state.by_entry.len()), (MAX_CHANGES, MAX_INVOCATIONS));
    let text: usize = state.invocations.newest_first().map(Invocation::bytes).sum();
    assert!(text == state.text && text <= MAX_TEXT && text > MAX_TEXT / 2, "{text}");
    let oldest = state.invocations.newest_first().next_back().unwrap();
    assert!(oldest.is_trimmed && oldest.lines.is_empty());
    assert_eq!(state.change(sequence(MAX_INVOCATIONS + 199).as_str()).unwrap().entries, 1);
    assert!(state.change(sequence(0).as_str()).is_none());
}
