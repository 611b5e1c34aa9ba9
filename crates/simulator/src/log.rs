//! What the Audit table and the failure bucket saw of one invocation.

use std::cell::RefCell;
use std::collections::HashSet;

use uuid::Uuid;

use crate::fault::Fault;
use crate::scenario::Millis;

/// Every request to the Audit table and every object for the failure bucket, in the order in which they were sent.
#[derive(Debug)]
pub(crate) struct InvocationLog {
    /// When the invocation started.
    pub(crate) started: Millis,
    pub(crate) requests: RefCell<Vec<LoggedRequest>>,
    pub(crate) objects: RefCell<Vec<LoggedObject>>,
}

/// One request to the Audit table.
#[derive(Debug)]
pub(crate) struct LoggedRequest {
    /// The IDs of its entries.
    pub(crate) entries: Vec<Uuid>,
    pub(crate) faults: Vec<Fault>,
    /// When it was answered, and how; `None` where the function gave it up before.
    pub(crate) answer: Option<(Millis, RequestAnswer)>,
}

/// How the Audit table answered a request.
#[derive(Debug)]
pub(crate) enum RequestAnswer {
    /// These entries are stored.
    Stored(HashSet<Uuid>),
    /// One of the entries is invalid.
    Rejected,
    /// It failed otherwise.
    Failed,
}

/// One object for the failure bucket.
#[derive(Debug)]
pub(crate) struct LoggedObject {
    pub(crate) key: String,
    /// The record in it, to the letter.
    pub(crate) record: String,
    pub(crate) faults: Vec<Fault>,
    /// When the bucket said that it has the object; `None` where it did not.
    pub(crate) stored: Option<Millis>,
}

impl InvocationLog {
    pub(crate) fn new(started: Millis) -> Self {
        Self { started, requests: RefCell::default(), objects: RefCell::default() }
    }

    /// Adds a request that is sent now, and returns its place.
    pub(crate) fn send_request(&self, entries: Vec<Uuid>) -> usize {
        let mut requests = self.requests.borrow_mut();
        requests.push(LoggedRequest { entries, faults: Vec::new(), answer: None });
        requests.len() - 1
    }

    /// Adds an object that is sent now, and returns its place.
    pub(crate) fn send_object(&self, key: &str, record: &str) -> usize {
        let mut objects = self.objects.borrow_mut();
        objects.push(LoggedObject { key: key.to_owned(), record: record.to_owned(), faults: Vec::new(), stored: None });
        objects.len() - 1
    }

    /// Whether the Audit table had any fault.
    pub(crate) fn store_faulted(&self) -> bool {
        self.requests.borrow().iter().any(|request| !request.faults.is_empty())
    }

    /// Whether the failure bucket had any fault.
    pub(crate) fn bucket_faulted(&self) -> bool {
        self.objects.borrow().iter().any(|object| !object.faults.is_empty())
    }

    /// Whether a fault struck that may fail the invocation as a whole.
    pub(crate) fn may_fail(&self) -> bool {
        let fails = |fault: &Fault| matches!(fault, Fault::StoreIsMisconfigured | Fault::StorePanics);
        self.requests.borrow().iter().any(|request| request.faults.iter().any(fails))
    }

    /// How many entries the Audit table said that it has.
    pub(crate) fn stored(&self) -> usize {
        let requests = self.requests.borrow();
        let stored = requests.iter().filter_map(|request| match &request.answer {
            Some((_, RequestAnswer::Stored(stored))) => Some(stored),
            _ => None,
        });
        stored.flatten().collect::<HashSet<_>>().len()
    }

    /// How many requests had an entry that had been sent before.
    pub(crate) fn repeats(&self) -> usize {
        let mut sent = HashSet::new();
        // Every entry is added, also after the first that is known.
        let is_repeat = |request: &&LoggedRequest| request.entries.iter().filter(|id| !sent.insert(**id)).count() > 0;
        self.requests.borrow().iter().filter(is_repeat).count()
    }
}
