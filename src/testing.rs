//! Parts that tests share: a store in memory that fails as it is told.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use chrono::DateTime;
use proptest::prelude::*;
use serde_dynamo::{AttributeValue, Item};
use uuid::Uuid;

use crate::audit::{Entry, entry_id};
use crate::quarantine::{Quarantine, QuarantineError};
use crate::store::{Failure, MAX_BATCH, Put, Store, StoreError};

/// A record of this key makes the handler panic.
pub(crate) const PANIC: &str = "PANIC-please";

pub(crate) fn panic_if_asked(key: &str) {
    assert_ne!(key, PANIC, "a secret");
}

/// How a store answers one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    Ok,
    Slow(Duration),
    Never,
    /// Gives back this many entries, or all that there are.
    Unprocessed(usize),
    Fail(Failure),
    /// Writes the entries, and says that it failed.
    StoredButUnavailable,
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

    fn keep<'a>(&self, entries: impl IntoIterator<Item = &'a &'a Entry>) {
        self.items.borrow_mut().extend(entries.into_iter().map(|entry| (entry.id, entry.item())));
    }
}

fn error(failure: Failure) -> StoreError {
    let message = "as the test told it to".to_owned();
    StoreError { failure, code: format!("{failure:?}"), message, request_id: None }
}

impl Store for MemoryStore {
    async fn put(&self, entries: &[&Entry]) -> Result<Put, StoreError> {
        let ids: HashSet<Uuid> = entries.iter().map(|entry| entry.id).collect();
        assert!((1..=MAX_BATCH).contains(&entries.len()), "DynamoDB refuses a batch of {}", entries.len());
        assert_eq!(ids.len(), entries.len(), "DynamoDB refuses a batch that has a key twice");
        let reply = self.replies.borrow_mut().pop_front().unwrap_or(Reply::Ok);
        match reply {
            Reply::Never => std::future::pending::<()>().await,
            Reply::Slow(time) => tokio::time::sleep(time).await,
            Reply::Fail(failure) => return Err(error(failure)),
            Reply::StoredButUnavailable => {
                self.keep(entries);
                return Err(error(Failure::Unavailable));
            }
            Reply::Ok | Reply::Unprocessed(_) => {}
        }
        if !ids.is_disjoint(&self.rejected) {
            return Err(error(Failure::Rejected));
        }
        let back = if let Reply::Unprocessed(count) = reply { count.min(entries.len()) } else { 0 };
        self.keep(&entries[back..]);
        Ok(Put { unprocessed: (0..back).collect(), ..Put::default() })
    }
}

/// As many different entries as asked for; the same ones each time.
pub(crate) fn entries(count: usize) -> Vec<Entry> {
    let entry = |index: usize| Entry {
        id: entry_id(None, &format!("event-{index}"), None),
        item_key: format!("KEY_{index}"),
        modification_time: DateTime::UNIX_EPOCH,
        updated_attribute: None,
        old_value: None,
        new_value: Some(AttributeValue::N(index.to_string())),
        provenance: None,
    };
    (0..count).map(entry).collect()
}

/// A failure bucket in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryQuarantine {
    pub(crate) objects: RefCell<HashMap<String, String>>,
    pub(crate) refuses: bool,
    pub(crate) never_answers: bool,
}

impl Quarantine for MemoryQuarantine {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), QuarantineError> {
        if self.never_answers {
            std::future::pending::<()>().await;
        }
        if self.refuses {
            return Err(QuarantineError { code: "AccessDenied".to_owned(), message: "not allowed".to_owned() });
        }
        self.objects.borrow_mut().insert(key.to_owned(), String::from_utf8(body).unwrap());
        Ok(())
    }

    fn url(&self, key: &str) -> String {
        format!("s3://failures/{key}")
    }
}
