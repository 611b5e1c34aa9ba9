//! What the Audit table and the failure bucket saw of one invocation.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use crate::fault::Fault;
use crate::scenario::Millis;

/// A log that is being written.
pub(crate) type OpenLog = Rc<RefCell<InvocationLog>>;

/// Every request to the Audit table and every object for the failure bucket, in the order they were sent.
#[derive(Debug)]
pub(crate) struct InvocationLog {
    /// When the invocation started.
    pub(crate) started: Millis,
    /// When the function must stop working on the records.
    deadline: Millis,
    pub(crate) requests: Vec<LoggedRequest>,
    pub(crate) objects: Vec<LoggedObject>,
}

/// An entry in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SentEntry {
    pub(crate) id: Uuid,
    /// Whether it has a value of the item, not only notes in place of values.
    pub(crate) has_values: bool,
}

/// One request to the Audit table.
#[derive(Debug)]
pub(crate) struct LoggedRequest {
    pub(crate) entries: Vec<SentEntry>,
    pub(crate) faults: Vec<Fault>,
    /// When it was answered, and how.
    pub(crate) answer: Option<(Millis, RequestAnswer)>,
    /// When the function gave up on it, if it was not answered.
    pub(crate) given_up: Option<Millis>,
}

/// How the Audit table answered a request.
#[derive(Debug)]
pub(crate) enum RequestAnswer {
    /// These entries are stored; the others are returned as unprocessed.
    Stored(HashSet<Uuid>),
    /// One of the entries is invalid.
    Rejected,
    /// It failed with this code.
    Failed(&'static str),
}

/// One object for the failure bucket.
#[derive(Debug)]
pub(crate) struct LoggedObject {
    pub(crate) key: String,
    /// The record in it, byte for byte.
    pub(crate) record: String,
    pub(crate) faults: Vec<Fault>,
    /// Whether the bucket refused it.
    pub(crate) is_refused: bool,
    /// When the bucket confirmed that it has the object.
    pub(crate) stored: Option<Millis>,
}

impl InvocationLog {
    /// The log of an invocation that starts now and may take up to `timeout`.
    pub(crate) fn open(started: Millis, timeout: Duration) -> OpenLog {
        // The function stops a tenth of its timeout before the end, or one second if that is less.
        let allowed = timeout.saturating_sub((timeout / 10).min(Duration::from_secs(1)));
        let deadline = started + u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX / 2);
        Rc::new(RefCell::new(Self { started, deadline, requests: Vec::new(), objects: Vec::new() }))
    }

    /// Adds a request that is sent now, and returns its index.
    pub(crate) fn add_request(&mut self, entries: Vec<SentEntry>) -> usize {
        self.requests.push(LoggedRequest { entries, faults: Vec::new(), answer: None, given_up: None });
        self.requests.len() - 1
    }

    /// Adds an object that is sent now, and returns its index.
    pub(crate) fn add_object(&mut self, key: &str, record: &str) -> usize {
        let (key, record) = (key.to_owned(), record.to_owned());
        self.objects.push(LoggedObject { key, record, faults: Vec::new(), is_refused: false, stored: None });
        self.objects.len() - 1
    }

    // ---- time ----------------------------------------------------------------------------------------------------------

    /// How much working time was left at this time.
    pub(crate) fn left_at(&self, at: Millis) -> Millis {
        self.deadline.saturating_sub(at)
    }

    /// Whether the function worked until its deadline. In its last moments it sends nothing, because no answer would
    /// arrive.
    pub(crate) fn reached_deadline(&self, ended: Millis) -> bool {
        self.left_at(ended) <= 20
    }

    // ---- faults --------------------------------------------------------------------------------------------------------

    /// Whether the Audit table had any fault.
    pub(crate) fn table_had_faults(&self) -> bool {
        self.requests.iter().any(|request| !request.faults.is_empty())
    }

    /// Whether the failure bucket had any fault.
    pub(crate) fn bucket_had_faults(&self) -> bool {
        self.objects.iter().any(|object| !object.faults.is_empty())
    }

    /// Whether a fault occurred that may fail the invocation as a whole.
    pub(crate) fn may_fail(&self) -> bool {
        self.requests.iter().any(LoggedRequest::may_fail_the_invocation)
    }

    // ---- entries -------------------------------------------------------------------------------------------------------

    /// The requests that contained this entry.
    pub(crate) fn requests_of(&self, id: Uuid) -> impl Iterator<Item = &LoggedRequest> {
        self.requests.iter().filter(move |request| request.entries.iter().any(|entry| entry.id == id))
    }

    /// When the table first confirmed this entry.
    pub(crate) fn stored(&self, id: Uuid) -> Option<Millis> {
        self.requests_of(id).find_map(|request| request.stored(id))
    }

    /// When the table rejected this entry, sent with or without values as given.
    pub(crate) fn rejected(&self, id: Uuid, has_values: bool) -> Option<Millis> {
        let alone = [SentEntry { id, has_values }];
        self.requests.iter().filter(|request| request.entries == alone).find_map(LoggedRequest::rejected)
    }

    /// How many entries the Audit table confirmed.
    pub(crate) fn entries_stored(&self) -> usize {
        let stored = self.requests.iter().filter_map(|request| match &request.answer {
            Some((_, RequestAnswer::Stored(stored))) => Some(stored),
            _ => None,
        });
        stored.flatten().collect::<HashSet<_>>().len()
    }

    /// The indices of the requests that contained an entry again. The halves of a rejected request do not count.
    pub(crate) fn repeats(&self) -> Vec<usize> {
        let mut sent: HashSet<SentEntry> = HashSet::new();
        let mut repeats = Vec::new();
        for (place, request) in self.requests.iter().enumerate() {
            if request.entries.iter().any(|entry| sent.contains(entry)) {
                repeats.push(place);
            }
            if request.rejected().is_none() {
                sent.extend(&request.entries);
            }
        }
        repeats
    }

    // ---- objects -------------------------------------------------------------------------------------------------------

    /// The objects for this record whose key has this prefix.
    pub(crate) fn objects_of(&self, record: &str, prefix: &str) -> impl Iterator<Item = &LoggedObject> {
        self.objects.iter().filter(move |object| object.record == record && object.key.starts_with(prefix))
    }

    /// When the bucket confirmed, at this time or later, that it has this object for a record.
    pub(crate) fn object_stored(&self, record: &str, prefix: &str, since: Millis) -> Option<Millis> {
        self.objects_of(record, prefix).filter_map(|object| object.stored).find(|at| *at >= since)
    }
}

impl LoggedRequest {
    /// When the table confirmed this entry.
    pub(crate) fn stored(&self, id: Uuid) -> Option<Millis> {
        match &self.answer {
            Some((at, RequestAnswer::Stored(stored))) if stored.contains(&id) => Some(*at),
            _ => None,
        }
    }

    /// When the table said that one of the entries is invalid.
    pub(crate) fn rejected(&self) -> Option<Millis> {
        match self.answer {
            Some((at, RequestAnswer::Rejected)) => Some(at),
            _ => None,
        }
    }

    /// Whether it met a fault that may fail the invocation as a whole.
    pub(crate) fn may_fail_the_invocation(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault, Fault::StoreIsMisconfigured | Fault::StorePanics))
    }
}
