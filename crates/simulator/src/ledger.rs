//! What happened in a run, as far as the laws need to know.

use std::cell::{Cell, Ref, RefCell};
use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::AddAssign;
use std::rc::Rc;

use config_audit_mapping::SequenceNumber;
use serde_dynamo::AttributeValue;
use uuid::Uuid;

use crate::change::{Change, RecordDefect};
use crate::expected::{Expected, content};
use crate::fault::{Fault, FaultCounts};
use crate::scenario::Millis;

/// The numbers soon grow from 21 digits to 22, so that as text, later ones sort first.
const FIRST_NUMBER: u128 = 999_999_999_999_999_999_990;
/// One law is often broken a hundred times.
const MAX_VIOLATIONS: usize = 5;

/// The prefix of a key in the failure bucket, for a record that no retry can fix.
pub(crate) const QUARANTINED: &str = "quarantined/";
/// The prefix for the full record of omitted values.
pub(crate) const OMITTED: &str = "omitted/";

/// Totals of what was done.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Changes to items, except those to the canary.
    pub changes: u64,
    /// Invocations of the function.
    pub deliveries: u64,
    /// Records delivered in them.
    pub records: u64,
    /// The number of redelivered records.
    pub redelivered: u64,
    /// Entries in the Audit table at the end.
    pub entries: u64,
    /// Changes whose record is in the failure bucket at the end, waiting for a redrive.
    pub awaiting_redrive: u64,
    /// Changes that Lambda gave up on, and that had no destination, or one that refused them.
    pub dropped: u64,
    /// Changes that left the stream unread while nothing polled it.
    pub expired: u64,
    /// Simulated time, in milliseconds.
    pub simulated: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        // A new field does not compile until it is added here.
        let Self { changes, deliveries, records, redelivered, entries, awaiting_redrive, dropped, expired, simulated } =
            other;
        self.changes += changes;
        self.deliveries += deliveries;
        self.records += records;
        self.redelivered += redelivered;
        self.entries += entries;
        self.awaiting_redrive += awaiting_redrive;
        self.dropped += dropped;
        self.expired += expired;
        self.simulated += simulated;
    }
}

/// A change that Lambda gave up on, or that left the stream unread. It may still have its entries, if only the answer
/// to its last write was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unaudited {
    /// When this happened, in milliseconds since the start of the run.
    pub since: Millis,
    /// What became of it.
    pub fate: Fate,
}

/// What becomes of such a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its record is in the failure bucket, waiting for a redrive.
    AwaitsRedrive,
    /// It no longer exists anywhere.
    Lost,
}

/// A change, and what became of it.
#[derive(Debug)]
pub(crate) struct TrackedChange {
    pub(crate) change: Change,
    /// The record as it appears in the event.
    pub(crate) record: String,
    pub(crate) expected: Vec<Expected>,
    pub(crate) deliveries: Cell<u64>,
    /// When it left the stream unread.
    pub(crate) expired: Cell<Option<Millis>>,
    /// When Lambda gave up on it, and its destination got it.
    pub(crate) given_up: Cell<Option<Millis>>,
    /// When Lambda gave up on it, and no destination got it.
    pub(crate) dropped: Cell<Option<Millis>>,
}

impl TrackedChange {
    pub(crate) fn new(change: Change) -> Self {
        Self {
            record: change.record(),
            expected: change.entries(),
            change,
            deliveries: Cell::new(0),
            expired: Cell::new(None),
            given_up: Cell::new(None),
            dropped: Cell::new(None),
        }
    }

    /// Why no retry can fix its record, if none can.
    pub(crate) fn poison(&self) -> Option<&'static str> {
        let nothing_to_reject = self.change.defect == Some(RecordDefect::Rejected) && self.expected.is_empty();
        self.change.defect.and_then(RecordDefect::quarantine_reason).filter(|_| !nothing_to_reject)
    }

    /// Whether one of its entries would exceed DynamoDB's limits with its values.
    pub(crate) fn is_over_limits(&self) -> bool {
        self.expected.iter().any(Expected::is_over_limits)
    }
}

/// An object in the failure bucket.
#[derive(Debug, Clone)]
pub(crate) struct StoredObject {
    pub(crate) at: Millis,
    pub(crate) key: String,
    pub(crate) reason: String,
}

impl StoredObject {
    /// Whether it is a record that no retry can fix.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.key.starts_with(QUARANTINED)
    }
}

/// A line of the timeline. Repetitions are counted.
#[derive(Debug)]
struct Line {
    at: Millis,
    text: String,
    times: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>10} ms  {}", self.at, self.text)?;
        if self.times > 1 { write!(formatter, " ({} times)", self.times) } else { Ok(()) }
    }
}

/// The ledger of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    changes: RefCell<Vec<Rc<TrackedChange>>>,
    /// The IDs of the entries that the changes require. A month has so many that searching all changes would take
    /// minutes.
    asked_for: RefCell<HashSet<Uuid>>,
    /// The content of each entry, except what a redelivery may change.
    table: RefCell<HashMap<Uuid, String>>,
    /// How many entries have each content.
    contents: RefCell<HashMap<String, usize>>,
    /// The failure bucket, by the text of the record.
    objects: RefCell<HashMap<String, Vec<StoredObject>>>,
    faults: RefCell<FaultCounts>,
    tally: RefCell<Tally>,
    violations: RefCell<Vec<String>>,
    timeline: RefCell<Vec<Line>>,
}

impl Ledger {
    // ---- changes -------------------------------------------------------------------------------------------------------

    /// The index and the sequence number of the next change.
    pub(crate) fn next_change(&self) -> (usize, String) {
        let index = self.changes.borrow().len();
        (index, (FIRST_NUMBER + index as u128).to_string())
    }

    pub(crate) fn add_change(&self, change: TrackedChange) {
        self.asked_for.borrow_mut().extend(change.expected.iter().map(|entry| entry.id));
        self.changes.borrow_mut().push(Rc::new(change));
    }

    /// Whether a change requires the entry with this ID.
    pub(crate) fn asks_for(&self, id: Uuid) -> bool {
        self.asked_for.borrow().contains(&id)
    }

    pub(crate) fn changes(&self) -> Ref<'_, Vec<Rc<TrackedChange>>> {
        self.changes.borrow()
    }

    /// The change with this sequence number.
    pub(crate) fn change_of(&self, number: &SequenceNumber) -> Rc<TrackedChange> {
        Rc::clone(&self.changes.borrow()[index_of(number)])
    }

    /// Counts the delivery of a batch, and returns its changes.
    pub(crate) fn deliver<'a>(&self, numbers: impl Iterator<Item = &'a SequenceNumber>) -> Vec<Rc<TrackedChange>> {
        let batch: Vec<Rc<TrackedChange>> = numbers.map(|number| self.change_of(number)).collect();
        let mut tally = self.tally.borrow_mut();
        tally.records += batch.len() as u64;
        for tracked in &batch {
            tally.redelivered += u64::from(tracked.deliveries.get() > 0);
            tracked.deliveries.set(tracked.deliveries.get() + 1);
        }
        batch
    }

    /// Counts an invocation, and returns how many there have been.
    pub(crate) fn count_invocation(&self) -> u64 {
        let mut tally = self.tally.borrow_mut();
        tally.deliveries += 1;
        tally.deliveries
    }

    pub(crate) fn invocations(&self) -> u64 {
        self.tally.borrow().deliveries
    }

    // ---- the Audit table and the failure bucket ------------------------------------------------------------------------

    /// Records that an entry is written, and returns whether the table did not have it.
    ///
    /// # Errors
    ///
    /// The old and the new content, if the entry was different before.
    pub(crate) fn store_entry(&self, id: Uuid, item: &serde_dynamo::Item) -> Result<bool, String> {
        let content = content(item, has_defect(item, RecordDefect::NoTime));
        match self.table.borrow_mut().entry(id) {
            Place::Occupied(place) if *place.get() != content => {
                Err(format!("an entry that was {} is now {content}", place.get()))
            }
            Place::Occupied(_) => Ok(false),
            Place::Vacant(place) => {
                *self.contents.borrow_mut().entry(content.clone()).or_default() += 1;
                place.insert(content);
                Ok(true)
            }
        }
    }

    /// How many entries in the table have each content.
    pub(crate) fn contents(&self) -> Ref<'_, HashMap<String, usize>> {
        self.contents.borrow()
    }

    /// Records that an object is stored; it replaces one with the same key.
    pub(crate) fn store_object(&self, record: &str, object: StoredObject) {
        let mut objects = self.objects.borrow_mut();
        let of_the_record = objects.entry(record.to_owned()).or_default();
        of_the_record.retain(|other| other.key != object.key);
        of_the_record.push(object);
    }

    /// The failure bucket's objects, by the text of their record.
    pub(crate) fn objects(&self) -> Ref<'_, HashMap<String, Vec<StoredObject>>> {
        self.objects.borrow()
    }

    // ---- faults, violations, the timeline ------------------------------------------------------------------------------

    pub(crate) fn count_fault(&self, fault: Fault) {
        self.faults.borrow_mut().count(fault);
    }

    pub(crate) fn add_violation(&self, violation: String) {
        let mut violations = self.violations.borrow_mut();
        if violations.len() < MAX_VIOLATIONS {
            violations.push(violation);
        }
    }

    pub(crate) fn add_line(&self, at: Millis, text: String) {
        let mut timeline = self.timeline.borrow_mut();
        match timeline.last_mut() {
            Some(last) if last.text == text => last.times += 1,
            _ => timeline.push(Line { at, text, times: 1 }),
        }
    }

    /// The faults that occurred.
    pub(crate) fn faults(&self) -> FaultCounts {
        self.faults.borrow().clone()
    }

    pub(crate) fn take_violations(&self) -> Vec<String> {
        self.violations.take()
    }

    pub(crate) fn take_timeline(&self) -> Vec<String> {
        self.timeline.take().iter().map(ToString::to_string).collect()
    }

    /// The changes that were not audited, except those to the canary, in order of time.
    pub(crate) fn unaudited(&self) -> Vec<Unaudited> {
        let objects = self.objects.borrow();
        let of = |tracked: &Rc<TrackedChange>| {
            let lost = tracked.dropped.get().or(tracked.expired.get());
            let quarantined = || {
                let objects = objects.get(&tracked.record)?;
                objects.iter().find(|object| object.is_quarantined()).map(|object| object.at)
            };
            let waits = || tracked.given_up.get().or_else(quarantined);
            let lost = lost.map(|since| Unaudited { since, fate: Fate::Lost });
            lost.or_else(|| Some(Unaudited { since: waits()?, fate: Fate::AwaitsRedrive }))
        };
        let changes = self.changes.borrow();
        let mut unaudited: Vec<_> =
            changes.iter().filter(|tracked| !tracked.change.is_of_canary()).filter_map(of).collect();
        unaudited.sort_by_key(|unaudited| unaudited.since);
        unaudited
    }

    /// The totals after this much simulated time.
    pub(crate) fn tally(&self, simulated: Millis) -> Tally {
        let changes = self.changes.borrow();
        let objects = self.objects.borrow();
        let count =
            |is_it: &dyn Fn(&TrackedChange) -> bool| changes.iter().filter(|tracked| is_it(tracked)).count() as u64;
        Tally {
            changes: count(&|tracked| !tracked.change.is_of_canary()),
            entries: self.table.borrow().len() as u64,
            awaiting_redrive: count(&|tracked| {
                let objects = objects.get(&tracked.record).map_or(&[][..], Vec::as_slice);
                tracked.given_up.get().is_some() || objects.iter().any(StoredObject::is_quarantined)
            }),
            dropped: count(&|tracked| tracked.dropped.get().is_some() && !tracked.change.is_of_canary()),
            expired: count(&|tracked| tracked.expired.get().is_some() && !tracked.change.is_of_canary()),
            simulated,
            ..*self.tally.borrow()
        }
    }
}

/// Whether an entry belongs to an item whose records all have this defect.
pub(crate) fn has_defect(entry: &serde_dynamo::Item, defect: RecordDefect) -> bool {
    matches!(entry.get("itemKey"), Some(AttributeValue::S(key)) if Some(key.as_str()) == defect.item_key())
}

/// The index, among all changes, of the change with this sequence number.
pub(crate) fn index_of(number: &SequenceNumber) -> usize {
    let number = number.as_str().parse::<u128>().unwrap_or_default();
    usize::try_from(number.saturating_sub(FIRST_NUMBER)).unwrap_or_default()
}
