//! A whole invocation: any event, and any answers from the Audit table and the failure bucket.
//!
//! The input's first line says how they answer (see `handler`); the rest is the event. Then the same event is delivered
//! again while nothing fails, as Lambda would deliver it.

#![no_main]

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use config_audit::audit::{Context, EncodedEntry, MAX_ITEM_BYTES, Plan, plan};
use config_audit::bucket::{Bucket, BucketError};
use config_audit::clock::Clock;
use config_audit::handler::Handler;
use config_audit::invocation::Invocation;
use config_audit::quarantine::{omitted_key, quarantine_key};
use config_audit::report::{Outcome, Report};
use config_audit::store::{Failure, MAX_BATCH, Put, Store, StoreError};
use config_audit::stream::{decode, identify, records};
use config_audit::value::size;
use config_audit_fuzz::{MARKER, enlarged, mutate};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use opentelemetry::trace::SpanContext;
use serde_dynamo::Item;
use serde_json::value::RawValue;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;
use uuid::Uuid;

const ALLOWED: Duration = Duration::from_secs(30);
/// 2024-09-11T09:02:30Z.
const NOW: i64 = 1_726_045_350;

/// Its clock advances only when all tasks are waiting.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let start = data[..size].iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    mutate(data, start, size, max_size, seed)
});

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Corpus::Reject };
    let (script, event) = (&input[..end], &input[end + 1..]);
    let event = str::from_utf8(event).map_or_else(|_| event.to_vec(), |text| enlarged(text).into_owned().into_bytes());
    fastrand::seed(0);

    let mut handler = handler(script);
    let report = invoke(&mut handler, &event);
    check(&handler, &report, &event);
    let stored = handler.store.items.borrow().clone();

    handler.store.answers.borrow_mut().clear();
    handler.quarantine.get_or_insert_default().mood.set(Mood::Keeps);
    let again = invoke(&mut handler, &event);
    check(&handler, &again, &event);
    assert!(again.error.is_some() || again.failed().next().is_none(), "a record failed although nothing did");
    let items = handler.store.items.borrow();
    assert!(stored.keys().all(|id| items.contains_key(id)), "a second delivery lost an entry");
    Corpus::Keep
});

type Parts = Handler<MemoryStore, MemoryBucket>;

/// The first letter sets the failure bucket: `-` there is none, `r` it refuses, `n` it never answers, otherwise it
/// keeps objects. If the second letter is `p`, entries have provenance. The others are the Audit table's answers, one
/// per request.
fn handler(script: &[u8]) -> Parts {
    let mood = |letter: &u8| match letter {
        b'-' => None,
        b'r' => Some(Mood::Refuses),
        b'n' => Some(Mood::NeverAnswers),
        _ => Some(Mood::Keeps),
    };
    let mood = script.first().map_or(Some(Mood::Keeps), mood);
    let answers = script.iter().skip(2).copied().collect();
    Handler {
        store: MemoryStore { answers: RefCell::new(answers), ..MemoryStore::default() },
        quarantine: mood.map(|mood| MemoryBucket { mood: Cell::new(mood), ..MemoryBucket::default() }),
        clock: Clock::System,
        key_attribute: "key".to_owned(),
        provenance: script.get(1) == Some(&b'p'),
    }
}

fn invoke(handler: &mut Parts, event: &[u8]) -> Report {
    RUNTIME.block_on(async {
        let now = time_of_start();
        handler.clock = Clock::starting_at(now);
        let invocation = Invocation {
            request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
            function_arn: "arn:aws:lambda:eu-central-1:123456789012:function:config-audit-dev-audit".to_owned(),
            trace: SpanContext::NONE,
            cold_start: false,
            deadline: now + ALLOWED,
            event,
        };
        handler.handle(&invocation).await
    })
}

fn time_of_start() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).expect("a time")
}

fn check(handler: &Parts, report: &Report, event: &[u8]) {
    assert!(report.duration() < ALLOWED, "the answer is late");
    let raw = records(event).unwrap_or_default();
    assert_eq!((report.received, report.counts().total()), (raw.len(), raw.len()), "the books do not balance");
    check_answer(report);

    let plans: Vec<_> = raw.iter().map(|raw| planned(handler, raw)).collect();
    let planned = items(plans.iter().flatten().map(|(plan, _)| plan));
    let stored = handler.store.items.borrow();
    for (id, item) in &*stored {
        assert!(
            planned.get(id).is_some_and(|planned| planned.contains(item)),
            "what is stored is not an entry of the event"
        );
    }
    let no_objects = RefCell::default();
    let objects = handler.quarantine.as_ref().map_or(&no_objects, |bucket| &bucket.objects).borrow();
    for ((raw, record), plan) in raw.iter().zip(&report.records).zip(&plans) {
        match &record.outcome {
            Outcome::Unchanged => {
                assert!(plan.as_ref().is_some_and(|(plan, _)| plan.entries.is_empty()), "it changed something");
            }
            Outcome::Audited => {
                let (plan, full_record) = plan.as_ref().expect("what is audited can be decoded");
                assert!(!plan.entries.is_empty(), "there was nothing to audit");
                assert!(
                    plan.entries.iter().all(|entry| stored.contains_key(&entry.id)),
                    "it is acknowledged, not stored"
                );
                assert!(plan.values_omitted == 0 || objects.contains_key(full_record), "its full record is nowhere");
            }
            Outcome::Quarantined(_) => {
                let body = objects.get(&quarantine_key(identify(raw).stream_arn.as_ref(), raw));
                assert!(body.is_some_and(|body| kept_record(body) == raw.get()), "it is acknowledged, not kept");
            }
            Outcome::Witnessed => panic!("the audit function witnesses nothing"),
            Outcome::Failed(_) => {
                assert!(report.error.is_some() || record.sequence_number.is_some(), "it is not reported");
            }
        }
        if let Some(cause) = record.outcome.cause() {
            assert!(
                !cause.reason.code().contains(MARKER) && !cause.message.contains(MARKER),
                "a cause quotes the record"
            );
        }
    }
}

/// The answer has the shape that Lambda expects and names the failed records, or it is an error that quotes no value.
fn check_answer(report: &Report) {
    match report.answer() {
        Err(error) => assert!(!format!("{error} {error:?}").contains(MARKER), "the error quotes the event"),
        Ok(answer) => {
            let answer = serde_json::to_value(&answer).expect("the answer is JSON");
            let members = answer.as_object().expect("the answer is an object");
            assert_eq!(members.len(), 1);
            let named: Vec<&str> = members["batchItemFailures"]
                .as_array()
                .expect("it is a list")
                .iter()
                .map(|failure| failure["itemIdentifier"].as_str().expect("it is a text"))
                .collect();
            let failed: Vec<_> = report.failed().filter_map(|record| record.sequence_number.as_deref()).collect();
            assert_eq!(named, failed);
            assert!(named.iter().all(|number| !number.is_empty()), "an empty identifier fails the whole batch");
        }
    }
}

/// What must be written for a record, and the key of its full record; `None` if no retry can fix it.
fn planned<'a>(handler: &Parts, raw: &'a RawValue) -> Option<(Plan<'a>, String)> {
    let change = decode(raw, "key").ok()?;
    let key = omitted_key(change.stream_arn.as_ref(), &change.event_id);
    let time = change.created.unwrap_or_else(time_of_start);
    let context = Context { provenance: handler.provenance.then_some(None) };
    let url = || handler.quarantine.as_ref().map_or_else(String::new, |bucket| bucket.url(&key));
    Some((plan(change, time, &context, url), key))
}

/// The items of the plans, by ID. Records with the same ID in an event are the same record, unless a fuzzer wrote the
/// event.
fn items<'a>(plans: impl Iterator<Item = &'a Plan<'a>>) -> HashMap<Uuid, Vec<Item>> {
    let mut items = HashMap::<_, Vec<_>>::new();
    for entry in plans.flat_map(|plan| &plan.entries) {
        items.entry(entry.id).or_default().push(entry.item());
    }
    items
}

/// The record in an object of the failure bucket, byte for byte.
fn kept_record(body: &[u8]) -> &str {
    #[derive(serde::Deserialize)]
    struct Object<'a> {
        #[serde(borrow)]
        record: &'a RawValue,
    }
    let object: Object<'_> = serde_json::from_slice(body).expect("an object is JSON");
    object.record.get()
}

/// An Audit table that answers as the input says, and afterwards as it should.
#[derive(Debug, Default)]
struct MemoryStore {
    items: RefCell<HashMap<Uuid, Item>>,
    answers: RefCell<VecDeque<u8>>,
}

impl Store for MemoryStore {
    async fn put(&self, entries: &[&EncodedEntry]) -> Result<Put, StoreError> {
        let ids: HashSet<Uuid> = entries.iter().map(|entry| entry.id).collect();
        assert!((1..=MAX_BATCH).contains(&entries.len()), "DynamoDB refuses a batch of {}", entries.len());
        assert_eq!(ids.len(), entries.len(), "DynamoDB refuses a batch that has a key twice");
        let answer = self.answers.borrow_mut().pop_front().unwrap_or(b'.');
        let failure = match answer {
            b't' => Some(Failure::Throttled),
            b'u' | b'w' => Some(Failure::Unavailable),
            b'r' => Some(Failure::Rejected),
            b'm' => Some(Failure::Misconfigured),
            b'f' => Some(Failure::Refused),
            _ => None,
        };
        match answer {
            b'n' => std::future::pending().await,
            b's' => sleep(Duration::from_secs(3)).await,
            _ => {}
        }
        // `w` writes, but reports a failure.
        if let Some(failure) = failure
            && answer != b'w'
        {
            return Err(refusal(failure));
        }
        let items: Vec<(Uuid, Item)> =
            entries.iter().map(|entry| (entry.id, serde_json::from_str(&entry.json).unwrap())).collect();
        let bytes = |item: &Item| item.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
        if items.iter().any(|(_, item)| bytes(item) > MAX_ITEM_BYTES) {
            return Err(refusal(Failure::Rejected));
        }
        // A digit returns that many entries as unprocessed.
        let back = if answer.is_ascii_digit() { usize::from(answer - b'0').min(items.len()) } else { 0 };
        self.items.borrow_mut().extend(items.into_iter().skip(back));
        match failure {
            Some(failure) => Err(refusal(failure)),
            None => Ok(Put { unprocessed: (0..back).collect(), ..Put::default() }),
        }
    }
}

fn refusal(failure: Failure) -> StoreError {
    let message = "as the input has it".to_owned();
    StoreError { failure, code: format!("{failure:?}"), message, request_id: None }
}

#[derive(Debug, Default, Clone, Copy)]
enum Mood {
    #[default]
    Keeps,
    Refuses,
    NeverAnswers,
}

/// A failure bucket that keeps what it is given, or never keeps anything.
#[derive(Debug, Default)]
struct MemoryBucket {
    objects: RefCell<HashMap<String, Vec<u8>>>,
    mood: Cell<Mood>,
}

impl Bucket for MemoryBucket {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), BucketError> {
        match self.mood.get() {
            Mood::Keeps => {}
            Mood::Refuses => {
                let (code, message) = ("AccessDenied".to_owned(), "as the input has it".to_owned());
                return Err(BucketError { code, message });
            }
            Mood::NeverAnswers => std::future::pending().await,
        }
        self.objects.borrow_mut().insert(key.to_owned(), body);
        Ok(())
    }

    fn url(&self, key: &str) -> String {
        format!("s3://failures/{key}")
    }
}
