//! Writes entries: in batches, several at once, each retried until settled, and fewer at once while DynamoDB throttles.

mod window;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use smallvec::SmallVec;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::audit::EncodedEntry;
use crate::clock::{Clock, Interval};
use crate::reason::Reason;
use crate::report::{Cause, Request};
use crate::store::{Failure, MAX_BATCH, Put, Store, StoreError};
use window::Window;

/// The longest wait for one answer. If half of the remaining time is less, that is the limit, so that a request that
/// hangs always leaves time for a second attempt. The simulator uses the same (`crates/simulator/src/laws/need.rs`).
const MAX_ATTEMPT: Duration = Duration::from_secs(5);
/// The minimum time in which DynamoDB can be expected to answer; with less than twice that left, nothing is sent.
const MIN_ATTEMPT: Duration = Duration::from_millis(5);
/// Waits between attempts are drawn evenly from zero to this, doubled with each attempt, up to the maximum.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The outcome of a record's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// All are known to be stored.
    Stored,
    /// DynamoDB finds these invalid, and no retry helps; the others are stored.
    Rejected(Vec<Uuid>),
    /// At least one is not known to be stored, and this is why its last request failed.
    Unknown(Cause),
    /// At least one is not known to be stored: none of its requests was answered.
    Unanswered,
}

/// The result of writing a record's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The record's number, as given to [`Writer::add`].
    pub record: usize,
    /// Their outcome.
    pub outcome: WriteOutcome,
    /// How many of them are known to be stored.
    pub stored: usize,
    /// When the last one was stored or given up.
    pub at: Instant,
}

/// Writes the entries of one invocation.
///
/// An entry that several records share, because a record occurs twice in an event, is written once.
pub struct Writer<'a, S> {
    store: &'a S,
    clock: Clock,
    until: Instant,
    /// Every entry, in the order in which they came.
    slots: Vec<Slot>,
    by_id: HashMap<Uuid, usize>,
    /// The records that [`Self::next`] has not returned yet, each at its number.
    records: Vec<Option<Pending>>,
    /// Slots that came while others were being written: these go first.
    urgent: VecDeque<usize>,
    /// Slots that were never sent. They go before retries, so that a throttling table costs no record its first try.
    fresh: VecDeque<usize>,
    /// Batches whose wait for another attempt has ended.
    again: VecDeque<Batch>,
    running: FuturesUnordered<LocalBoxFuture<'a, BatchEvent>>,
    in_flight: usize,
    window: Window,
    /// The records whose entries are all settled, and that [`Self::next`] has not returned yet.
    settled: VecDeque<usize>,
    /// Each request from the moment it is sent: one that was queued and never polled was not sent.
    requests: Rc<RefCell<Vec<Request>>>,
    has_begun: bool,
}

struct Slot {
    entry: Rc<EncodedEntry>,
    state: State,
    /// The records that have this entry: more than one only if a record occurs twice in the event.
    records: SmallVec<[usize; 1]>,
}

impl Slot {
    fn is_rejected_for_other_content(&self, entry: &EncodedEntry) -> bool {
        matches!(self.state, State::Rejected) && *self.entry != *entry
    }
}

/// A record that is being written.
struct Pending {
    /// The slots of its entries.
    places: SmallVec<[usize; 4]>,
    /// How many of them are not settled.
    open: usize,
}

enum State {
    /// Not settled; with the reason why the last request failed, if that says anything about this entry.
    Open(Option<Cause>),
    /// Settled: known to be stored since this time.
    Stored(Instant),
    /// Settled: invalid.
    Rejected,
    /// Settled: refused, so that an immediate retry is useless.
    Refused(Cause),
}

/// Entries that are sent together.
struct Batch {
    slots: Vec<usize>,
    /// How many attempts they have had.
    retries: u32,
}

/// What happened to a batch.
enum BatchEvent {
    /// It may be sent again.
    RetryDue(Batch),
    /// The request with this number was answered, or timed out.
    Answered(Batch, usize, Result<Put, StoreError>),
}

impl<'a, S: Store> Writer<'a, S> {
    /// A writer that sends nothing after `until`.
    #[must_use]
    pub fn new(store: &'a S, clock: Clock, until: Instant) -> Self {
        Self {
            store,
            clock,
            until,
            slots: Vec::new(),
            by_id: HashMap::new(),
            records: Vec::new(),
            urgent: VecDeque::new(),
            fresh: VecDeque::new(),
            again: VecDeque::new(),
            running: FuturesUnordered::new(),
            in_flight: 0,
            window: Window::default(),
            settled: VecDeque::new(),
            requests: Rc::default(),
            has_begun: false,
        }
    }

    /// Adds the entries of a record, at least one. Those that arrive while others are written have already waited for
    /// something else, and go first.
    pub fn add(&mut self, record: usize, entries: Vec<EncodedEntry>) {
        let mut places: SmallVec<[usize; 4]> = SmallVec::with_capacity(entries.len());
        for entry in entries {
            let place = match self.by_id.get(&entry.id) {
                // An entry that was rejected may come again with other content.
                Some(place) if !self.slots[*place].is_rejected_for_other_content(&entry) => *place,
                _ => self.new_slot(entry),
            };
            self.slots[place].records.push(record);
            places.push(place);
        }
        let open = places.iter().filter(|place| matches!(self.slots[**place].state, State::Open(_))).count();
        if self.records.len() <= record {
            self.records.resize_with(record + 1, || None);
        }
        self.records[record] = Some(Pending { places, open });
        if open == 0 {
            self.settled.push_back(record);
        }
    }

    fn new_slot(&mut self, entry: EncodedEntry) -> usize {
        let place = self.slots.len();
        self.by_id.insert(entry.id, place);
        self.slots.push(Slot { entry: Rc::new(entry), state: State::Open(None), records: SmallVec::new() });
        let queue = if self.has_begun { &mut self.urgent } else { &mut self.fresh };
        queue.push_back(place);
        place
    }

    /// Waits until the entries of another record are settled; `None` if all are. Cancel-safe: requests in flight
    /// continue if this is dropped.
    ///
    /// # Errors
    ///
    /// Why nothing can be written at all.
    pub async fn next(&mut self) -> Option<Result<Written, StoreError>> {
        self.has_begun = true;
        loop {
            if let Some(written) = self.settled.pop_front().and_then(|record| self.written(record)) {
                return Some(Ok(written));
            }
            while self.in_flight < self.window.size()
                && let Some(batch) = self.next_batch()
            {
                self.send(batch);
            }
            match self.running.next().await {
                None => return None,
                Some(BatchEvent::RetryDue(batch)) => self.queue(batch),
                Some(BatchEvent::Answered(batch, request, result)) => {
                    if let Err(error) = self.answered(batch, request, result) {
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// Abandons requests in flight: whether their entries were written is unknown. Returns the results of the records
    /// that [`Self::next`] has not returned, and how many entries are known to be stored.
    pub fn finish(mut self) -> Finished {
        // Dropped first, so that no more answers arrive.
        drop(std::mem::take(&mut self.running));
        let now = self.clock.instant();
        let mut requests = self.requests.take();
        for request in &mut requests {
            request.interval.ended = request.interval.ended.min(now);
        }
        let unsettled = (0..self.records.len()).filter_map(|record| self.written(record)).collect();
        let stored = self.slots.iter().filter(|slot| matches!(slot.state, State::Stored(_))).count();
        Finished { unsettled, requests, stored }
    }

    fn next_batch(&mut self) -> Option<Batch> {
        if self.until.saturating_duration_since(self.clock.instant()) < MIN_ATTEMPT * 2 {
            return None;
        }
        let queue = if self.urgent.is_empty() { &mut self.fresh } else { &mut self.urgent };
        if queue.is_empty() {
            return self.again.pop_front();
        }
        let count = queue.len().min(MAX_BATCH);
        Some(Batch { slots: queue.drain(..count).collect(), retries: 0 })
    }

    /// Queues a batch for another attempt. The remainders of several batches are combined if they fit.
    fn queue(&mut self, batch: Batch) {
        match self.again.back_mut() {
            Some(last) if last.slots.len() + batch.slots.len() <= MAX_BATCH => {
                last.retries = last.retries.max(batch.retries);
                last.slots.extend(batch.slots);
            }
            _ => self.again.push_back(batch),
        }
    }

    /// Sends a request. It is recorded from its first poll on.
    fn send(&mut self, batch: Batch) {
        let started = self.clock.instant();
        let limit = MAX_ATTEMPT.min(self.until.saturating_duration_since(started) / 2);
        let request = Request {
            interval: Interval { started, ended: self.until },
            entries: batch.slots.len(),
            retries: batch.retries,
            result: Err(unanswered(&Reason::Deadline, "the request was given up before it was answered")),
        };
        let requests = Rc::clone(&self.requests);
        self.in_flight += 1;
        let store = self.store;
        let entries: Vec<Rc<EncodedEntry>> =
            batch.slots.iter().map(|place| Rc::clone(&self.slots[*place].entry)).collect();
        self.running.push(Box::pin(async move {
            let number = requests.borrow().len();
            requests.borrow_mut().push(request);
            let entries: Vec<&EncodedEntry> = entries.iter().map(|entry| &**entry).collect();
            let result = timeout(limit, store.put(&entries)).await;
            let result =
                result.unwrap_or_else(|_| Err(unanswered(&Reason::Timeout, "DynamoDB did not answer in time")));
            BatchEvent::Answered(batch, number, result)
        }));
    }

    fn answered(&mut self, batch: Batch, request: usize, result: Result<Put, StoreError>) -> Result<(), StoreError> {
        self.in_flight -= 1;
        let now = self.clock.instant();
        let sent = {
            let request = &mut self.requests.borrow_mut()[request];
            request.interval.ended = now;
            request.result.clone_from(&result);
            request.interval.started
        };
        match result {
            Ok(Put { unprocessed, .. }) => {
                if unprocessed.is_empty() {
                    self.window.grow(sent);
                } else {
                    self.window.shrink(sent, now);
                }
                let (mut left, mut stored) = (Vec::new(), Vec::new());
                for (index, place) in batch.slots.iter().enumerate() {
                    if unprocessed.contains(&index) { left.push(*place) } else { stored.push(*place) }
                }
                self.settle(&stored, || State::Stored(now));
                if !left.is_empty() {
                    let message = "DynamoDB returned them unprocessed";
                    self.retry(Batch { slots: left, ..batch }, &Cause::new(Reason::Unprocessed, message));
                }
            }
            Err(error) => {
                let cause = Cause::new(Reason::of_store_error(&error), error.message.clone());
                match error.failure {
                    Failure::Throttled => {
                        self.window.shrink(sent, now);
                        self.retry(batch, &cause);
                    }
                    Failure::Unavailable => self.retry(batch, &cause),
                    // One bad entry fails the whole request: halve it until that one is alone.
                    Failure::Rejected if batch.slots.len() > 1 => {
                        let (one, other) = batch.slots.split_at(batch.slots.len() / 2);
                        let halves = [one, other].map(|half| Batch { slots: half.to_vec(), retries: batch.retries });
                        self.again.extend(halves);
                    }
                    Failure::Rejected => self.settle(&batch.slots, || State::Rejected),
                    Failure::Refused => self.settle(&batch.slots, || State::Refused(cause.clone())),
                    Failure::Misconfigured => {
                        self.note(&batch.slots, None);
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends a batch again after a wait, which does not count as a request in flight.
    fn retry(&mut self, batch: Batch, cause: &Cause) {
        self.note(&batch.slots, Some(cause));
        let upper_bound = FIRST_WAIT.saturating_mul(1 << batch.retries.min(10)).min(MAX_WAIT);
        let batch = Batch { retries: batch.retries + 1, ..batch };
        let wait = sleep(upper_bound.mul_f64(fastrand::f64()));
        self.running.push(Box::pin(async move {
            wait.await;
            BatchEvent::RetryDue(batch)
        }));
    }

    /// Notes why the last request failed.
    fn note(&mut self, places: &[usize], cause: Option<&Cause>) {
        for place in places {
            self.slots[*place].state = State::Open(cause.cloned());
        }
    }

    fn settle(&mut self, places: &[usize], state: impl Fn() -> State) {
        for place in places {
            let slot = &mut self.slots[*place];
            slot.state = state();
            for record in &slot.records {
                let Some(Some(pending)) = self.records.get_mut(*record) else { continue };
                pending.open -= 1;
                if pending.open == 0 {
                    self.settled.push_back(*record);
                }
            }
        }
    }

    /// The result of a record, once.
    fn written(&mut self, record: usize) -> Option<Written> {
        let Pending { places, .. } = self.records.get_mut(record)?.take()?;
        let now = self.clock.instant();
        let (mut rejected, mut open, mut stored, mut last) = (Vec::new(), None, 0, None);
        for place in places {
            let slot = &self.slots[place];
            match &slot.state {
                State::Stored(at) => {
                    stored += 1;
                    last = last.max(Some(*at));
                }
                State::Rejected => rejected.push(slot.entry.id),
                State::Refused(cause) | State::Open(Some(cause)) => open = Some(WriteOutcome::Unknown(cause.clone())),
                State::Open(None) => open = open.or(Some(WriteOutcome::Unanswered)),
            }
        }
        let outcome = match open {
            // The record is redelivered, and what is rejected now is rejected again then.
            Some(unknown) => unknown,
            None if rejected.is_empty() => WriteOutcome::Stored,
            None => WriteOutcome::Rejected(rejected),
        };
        let at = last.filter(|_| matches!(outcome, WriteOutcome::Stored | WriteOutcome::Rejected(_))).unwrap_or(now);
        Some(Written { record, outcome, stored, at })
    }
}

/// What remains when nothing more is written.
#[derive(Debug)]
pub struct Finished {
    /// The records that [`Writer::next`] has not returned.
    pub unsettled: Vec<Written>,
    /// All requests, in the order in which they were sent.
    pub requests: Vec<Request>,
    /// How many entries are known to be stored.
    pub stored: usize,
}

fn unanswered(reason: &Reason, message: &str) -> StoreError {
    let (code, message) = (reason.code().to_owned(), message.to_owned());
    StoreError { failure: Failure::Unavailable, code, message, request_id: None }
}

#[cfg(test)]
mod tests;
