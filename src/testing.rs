//! Parts that tests share: a store in memory that fails on request.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use opentelemetry::trace::SpanContext;
use proptest::prelude::*;
use serde_dynamo::{AttributeValue, Item};
use serde_json::value::to_raw_value;
use uuid::Uuid;

use crate::audit::{EncodedEntry, Entry, EntryValue, entry_id};
use crate::bucket::{Bucket, BucketError};
use crate::clock::{Clock, Interval};
use crate::invocation::Invocation;
use crate::reason::Reason;
use crate::report::{Cause, Object, Outcome, Record, Report, Request};
use crate::settings::Function;
use crate::store::{Failure, MAX_BATCH, Put, Store, StoreError};
use crate::stream::EventName;

/// How a store answers one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    Ok,
    Slow(Duration),
    Never,
    /// Returns this many entries unprocessed, or all if there are fewer.
    Unprocessed(usize),
    /// The same, after a while.
    SlowAndUnprocessed(Duration, usize),
    Fail(Failure),
    /// Writes the entries, but reports a failure.
    StoredButUnavailable,
    /// The client panics.
    Panic,
}

/// Anything that a store may do.
pub(crate) fn any_reply() -> impl Strategy<Value = Reply> {
    let failures =
        [Failure::Throttled, Failure::Unavailable, Failure::Rejected, Failure::Misconfigured, Failure::Refused];
    prop_oneof![
        Just(Reply::Ok),
        Just(Reply::Never),
        Just(Reply::StoredButUnavailable),
        (0_usize..25).prop_map(Reply::Unprocessed),
        (0_u64..8_000).prop_map(|milliseconds| Reply::Slow(Duration::from_millis(milliseconds))),
        prop::sample::select(failures.to_vec()).prop_map(Reply::Fail),
    ]
}

/// An Audit table in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    items: RefCell<HashMap<Uuid, Item>>,
    replies: RefCell<VecDeque<Reply>>,
    rejected: HashSet<Uuid>,
    /// An item whose entries are invalid.
    rejected_key: Option<&'static str>,
    /// Entries with more bytes of JSON than this are invalid.
    max_json: Option<usize>,
    /// An item whose entries are throttled, with everything sent along with them.
    throttled_key: Option<&'static str>,
}

impl MemoryStore {
    pub(crate) fn replying(replies: Vec<Reply>) -> Self {
        Self { replies: RefCell::new(replies.into()), ..Self::default() }
    }

    /// A store that finds these of [`entries`] invalid.
    pub(crate) fn rejecting<const N: usize>(indices: [usize; N]) -> Self {
        let all = entries(indices.iter().max().map_or(0, |most| most + 1));
        Self { rejected: indices.into_iter().map(|index| all[index].id).collect(), ..Self::default() }
    }

    /// A store that throttles each request with an entry of this item.
    pub(crate) fn throttling(item_key: &'static str) -> Self {
        Self { throttled_key: Some(item_key), ..Self::default() }
    }

    /// The same store, which also finds the entries of this item invalid.
    pub(crate) fn and_rejecting(self, item_key: &'static str) -> Self {
        Self { rejected_key: Some(item_key), ..self }
    }

    /// A store that finds entries with more bytes of JSON invalid.
    pub(crate) fn rejecting_more_than(max_json: usize) -> Self {
        Self { max_json: Some(max_json), ..Self::default() }
    }

    pub(crate) fn contains(&self, id: Uuid) -> bool {
        self.items.borrow().contains_key(&id)
    }

    /// All items as JSON text, in order.
    pub(crate) fn contents(&self) -> Vec<String> {
        let mut items: Vec<String> = self
            .items
            .borrow()
            .values()
            .map(|item| crate::value::canonical_json(&AttributeValue::M(item.clone().into_inner())))
            .collect();
        items.sort();
        items
    }

    fn keep<'a>(&self, entries: impl IntoIterator<Item = &'a &'a EncodedEntry>) {
        self.items.borrow_mut().extend(entries.into_iter().map(|entry| (entry.id, item(entry))));
    }
}

fn item(entry: &EncodedEntry) -> Item {
    serde_json::from_str(&entry.json).unwrap()
}

fn error(failure: Failure) -> StoreError {
    let message = "as the test told it to".to_owned();
    StoreError { failure, code: format!("{failure:?}"), message, request_id: None }
}

impl Store for MemoryStore {
    async fn put(&self, entries: &[&EncodedEntry]) -> Result<Put, StoreError> {
        let ids: HashSet<Uuid> = entries.iter().map(|entry| entry.id).collect();
        assert!((1..=MAX_BATCH).contains(&entries.len()), "DynamoDB refuses a batch of {}", entries.len());
        assert_eq!(ids.len(), entries.len(), "DynamoDB refuses a batch that has a key twice");
        let reply = self.replies.borrow_mut().pop_front().unwrap_or(Reply::Ok);
        match reply {
            Reply::Never => std::future::pending::<()>().await,
            Reply::Slow(time) | Reply::SlowAndUnprocessed(time, _) => tokio::time::sleep(time).await,
            Reply::Fail(failure) => return Err(error(failure)),
            Reply::StoredButUnavailable => {
                self.keep(entries);
                return Err(error(Failure::Unavailable));
            }
            Reply::Panic => panic!("a secret"),
            Reply::Ok | Reply::Unprocessed(_) => {}
        }
        let has = |key: Option<&str>| {
            let key = key.map(|key| AttributeValue::S(key.to_owned()));
            key.is_some() && entries.iter().any(|entry| item(entry).get("itemKey") == key.as_ref())
        };
        let has_large_value = entries.iter().any(|entry| entry.json.len() > self.max_json.unwrap_or(usize::MAX));
        if has(self.throttled_key) {
            return Err(error(Failure::Throttled));
        }
        if !ids.is_disjoint(&self.rejected) || has(self.rejected_key) || has_large_value {
            return Err(error(Failure::Rejected));
        }
        let back = match reply {
            Reply::Unprocessed(count) | Reply::SlowAndUnprocessed(_, count) => count.min(entries.len()),
            _ => 0,
        };
        self.keep(&entries[back..]);
        Ok(Put { unprocessed: (0..back).collect(), ..Put::default() })
    }
}

/// This many different entries; the same ones each time.
pub(crate) fn entries(count: usize) -> Vec<EncodedEntry> {
    let entry = |index: usize| {
        let value = to_raw_value(&AttributeValue::N(index.to_string())).unwrap();
        let entry = Entry {
            id: entry_id(None, &format!("event-{index}"), None),
            item_key: format!("KEY_{index}").into(),
            modification_time: DateTime::UNIX_EPOCH,
            updated_attribute: None,
            old_value: None,
            new_value: Some(EntryValue::Attribute(serde_json::from_str(value.get()).unwrap())),
            provenance: None,
        };
        entry.encode()
    };
    (0..count).map(entry).collect()
}

/// A failure bucket in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryBucket {
    pub(crate) objects: RefCell<HashMap<String, String>>,
    pub(crate) refuses: bool,
    pub(crate) never_answers: bool,
    /// How long each object takes.
    pub(crate) takes: Duration,
    /// Whether the bucket panics when asked for the URL of an omitted value's object.
    pub(crate) panics: bool,
}

impl Bucket for MemoryBucket {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), BucketError> {
        if self.never_answers {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.takes).await;
        if self.refuses {
            return Err(BucketError { code: "AccessDenied".to_owned(), message: "not allowed".to_owned() });
        }
        self.objects.borrow_mut().insert(key.to_owned(), String::from_utf8(body).unwrap());
        Ok(())
    }

    fn url(&self, key: &str) -> String {
        assert!(!self.panics || !key.starts_with("omitted/"), "a secret");
        format!("s3://failures/{key}")
    }
}

/// An invocation with this event, which ends thirty seconds after `now`.
pub(crate) fn invocation(now: DateTime<Utc>, event: &[u8]) -> Invocation<'_> {
    Invocation {
        request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
        function_arn: "arn:aws:lambda:eu-central-1:123456789012:function:config-audit-dev-audit".to_owned(),
        trace: SpanContext::NONE,
        cold_start: false,
        deadline: now + Duration::from_secs(30),
        event,
    }
}

/// The report of an invocation without records, which began at 2024-09-11T09:02:30Z and took five seconds.
pub(crate) fn report() -> Report {
    let started = DateTime::from_timestamp(1_726_045_350, 0).unwrap();
    let mut report = Report::new(Function::Audit, &invocation(started, &[]), Clock::starting_at(started));
    report.interval.ended += Duration::from_secs(5);
    report
}

/// The report of an invocation in which everything happened once: a cold start, each outcome, a record without a time,
/// a request that failed and was retried, an object in the failure bucket, an omitted value, lost spans.
pub(crate) fn report_of_everything() -> Report {
    let mut report = report();
    let start = report.interval.started;
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    let record = |number: usize, outcome: Outcome| Record {
        sequence_number: Some(format!("{number}")),
        event_name: Some(EventName::Insert),
        item_key: Some(format!("KEY_{number}")),
        created: DateTime::from_timestamp(1_726_045_348, 0),
        interval: Interval { started: start, ended: start },
        outcome,
        ..Record::unsettled(start)
    };
    let cause = |reason| Cause::new(reason, "why");
    report.cold_start = true;
    report.received = 5;
    report.audits_written = 4;
    report.spans_lost = 7;
    report.records = vec![
        Record {
            event_name: Some(EventName::Modify),
            audits_written: 3,
            attributes_changed: 3,
            values_omitted: 1,
            ..record(1, Outcome::Audited)
        },
        Record { event_name: Some(EventName::Modify), is_canary: true, ..record(2, Outcome::Unchanged) },
        Record {
            event_name: None,
            item_key: None,
            created: None,
            ..record(3, Outcome::Quarantined(cause(Reason::NoKey)))
        },
        Record { attributes_changed: 2, values_omitted: 2, ..record(4, Outcome::Failed(cause(Reason::Timeout))) },
        Record { event_name: Some(EventName::Remove), created: None, audits_written: 1, ..record(5, Outcome::Audited) },
    ];
    let error = StoreError {
        failure: Failure::Unavailable,
        code: "timeout".to_owned(),
        message: "DynamoDB did not answer in time".to_owned(),
        request_id: None,
    };
    let request = |started, ended, retries, result| Request {
        interval: Interval { started: after(started), ended: after(ended) },
        entries: 5,
        retries,
        result,
    };
    report.requests = vec![request(0, 20, 0, Err(error)), request(30, 70, 1, Ok(Put::default()))];
    report.objects = vec![Object {
        record: 2,
        interval: Interval { started: after(1), ended: after(9) },
        url: "s3://failures/quarantined/Configuration/1.json".to_owned(),
        error: None,
    }];
    report
}
