//! The Configuration table, its writers and its stream.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::change::{CANARY, Change, RecordDefect};
use crate::fault::Fault;
use crate::ledger::TrackedChange;
use crate::observed::Metric;
use crate::run::Run;
use crate::scenario::{Millis, WriteKind};
use crate::value::{Item, Value};

/// How long a stream keeps a record (Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB Streams").
const RETENTION: i64 = 24 * 3_600_000;

/// The stream of a run.
#[derive(Debug)]
pub(crate) struct Stream {
    run: Rc<Run>,
    shards: RefCell<Vec<Shard>>,
}

#[derive(Debug)]
struct Shard {
    /// The range of key hashes in it, excluding the end.
    range: (u64, u64),
    parent: Option<usize>,
    /// Its records, each as the index of its change among all changes.
    records: Vec<usize>,
    is_closed: bool,
    /// The number of lanes that still work on it.
    lanes: u64,
    /// Wakes the lanes, and the children that wait for their parent.
    news: Rc<Notify>,
}

/// A record that was read.
pub(crate) enum Read {
    /// It is in the stream.
    Record(Rc<TrackedChange>),
    /// It left the stream at this time.
    Expired(Rc<TrackedChange>, Millis),
}

impl Stream {
    pub(crate) fn new(run: Rc<Run>) -> Self {
        let scenario = &run.scenario;
        let whole = u64::MAX / scenario.shards as u64;
        let shards = (0..scenario.shards as u64)
            .map(|index| Shard::new((index * whole, (index + 1) * whole), None, scenario.parallelization_factor));
        let shards = RefCell::new(shards.collect());
        Self { run, shards }
    }

    // ---- the writers ---------------------------------------------------------------------------------------------------

    /// Performs all writes and splits, each at its time, and then closes the stream. Calls `start_shard` with each new
    /// shard.
    pub(crate) async fn write_all(self: Rc<Self>, start_shard: impl Fn(usize)) {
        let mut items: HashMap<String, Item> = HashMap::new();
        let mut splits = self.run.scenario.splits.iter().peekable();
        for write in &self.run.scenario.writes {
            while let Some(at) = splits.next_if(|at| **at <= write.at) {
                sleep_until(self.run.instant(*at)).await;
                self.split().into_iter().for_each(&start_shard);
            }
            sleep_until(self.run.instant(write.at)).await;
            let old = items.get(&write.key).cloned();
            let Ok(new) = apply(old.as_ref(), &write.kind) else { continue };
            match &new {
                Some(item) => items.insert(write.key.clone(), item.clone()),
                None => items.remove(&write.key),
            };
            self.run.emit(Metric::ConsumedWriteCapacityUnits, 1.0);
            self.put_into_stream(&write.key, old, new, write.defect);
        }
        for at in splits {
            sleep_until(self.run.instant(*at)).await;
            self.split().into_iter().for_each(&start_shard);
        }
        // The mapping may still be disabled, and records may still grow old.
        sleep_until(self.run.instant(self.run.scenario.end())).await;
        for shard in self.shards.borrow_mut().iter_mut() {
            shard.is_closed = true;
            shard.news.notify_waiters();
        }
    }

    fn put_into_stream(&self, key: &str, old: Option<Item>, new: Option<Item>, defect: Option<RecordDefect>) {
        let (index, sequence_number) = self.run.ledger.next_change();
        let at = self.run.time();
        let change = Change {
            index,
            key: key.to_owned(),
            old,
            new,
            at,
            sequence_number,
            defect,
            wrong_view_type: self.run.scenario.wrong_view_type,
        };
        let fault = match defect {
            Some(RecordDefect::Undecodable) => Some(Fault::RecordUndecodable),
            Some(RecordDefect::NoKey) => Some(Fault::RecordWithoutKey),
            Some(RecordDefect::UnknownEvent) => Some(Fault::RecordOfUnknownEvent),
            Some(RecordDefect::InvalidValue) => Some(Fault::RecordWithInvalidValue),
            Some(RecordDefect::InvalidTime) => Some(Fault::RecordWithInvalidTime),
            Some(RecordDefect::Rejected) => Some(Fault::RecordRejected),
            Some(RecordDefect::ValuesRejected) => Some(Fault::RecordWithRejectedValues),
            Some(RecordDefect::NoSequenceNumber) => Some(Fault::RecordWithoutSequenceNumber),
            Some(RecordDefect::NoTime) => Some(Fault::RecordWithoutTime),
            None => None,
        };
        let tracked = TrackedChange::new(change);
        self.run.say(|| format!("#{index} {} {key}", tracked.change.event_name()));
        let has = |is_it: &dyn Fn(&Value) -> bool| tracked.change.new.iter().flat_map(Item::values).any(is_it);
        let others = [
            (Fault::RecordUnchanged, tracked.expected.is_empty() && !tracked.change.is_of_canary()),
            (Fault::RecordOfCanary, tracked.change.is_of_canary()),
            (Fault::RecordOfFalseCanary, key == CANARY && !tracked.change.is_of_canary()),
            (Fault::RecordOverLimits, tracked.is_over_limits()),
            (Fault::RecordNearSizeLimit, has(&|value| matches!(value, Value::Padded(_)))),
            (Fault::RecordNearDepthLimit, has(&|value| matches!(value, Value::Nested(..)))),
        ];
        let others = others.into_iter().filter_map(|(fault, is_so)| is_so.then_some(fault));
        fault.into_iter().chain(others).for_each(|fault| self.run.saw(fault));
        self.run.ledger.add_change(tracked);
        let hash = hash(key);
        let mut shards = self.shards.borrow_mut();
        let shard = shards.iter_mut().find(|shard| !shard.is_closed && shard.range.0 <= hash && hash < shard.range.1);
        match shard {
            Some(shard) => {
                shard.records.push(index);
                shard.news.notify_waiters();
            }
            None => self.run.violate("the simulator has no shard for a key"),
        }
    }

    /// Splits a shard, and returns its children.
    fn split(&self) -> [usize; 2] {
        let children = {
            let mut shards = self.shards.borrow_mut();
            let open: Vec<usize> = (0..shards.len()).filter(|shard| !shards[*shard].is_closed).collect();
            let parent = open[usize::try_from(self.run.draw(open.len() as u64)).unwrap_or_default()];
            let (from, to) = shards[parent].range;
            shards[parent].is_closed = true;
            shards[parent].news.notify_waiters();
            let middle = from + (to - from) / 2;
            for range in [(from, middle), (middle, to)] {
                shards.push(Shard::new(range, Some(parent), self.run.scenario.parallelization_factor));
            }
            [shards.len() - 2, shards.len() - 1]
        };
        self.run.saw(Fault::ShardSplits);
        children
    }

    // ---- the readers ---------------------------------------------------------------------------------------------------

    /// The shard that this one was split from.
    pub(crate) fn parent(&self, shard: usize) -> Option<usize> {
        self.shards.borrow()[shard].parent
    }

    /// What is notified when a shard changes.
    pub(crate) fn news(&self, shard: usize) -> Rc<Notify> {
        Rc::clone(&self.shards.borrow()[shard].news)
    }

    /// Whether a shard gets no more records.
    pub(crate) fn is_closed(&self, shard: usize) -> bool {
        self.shards.borrow()[shard].is_closed
    }

    /// Whether all lanes of a shard have ended.
    pub(crate) fn is_done(&self, shard: usize) -> bool {
        self.shards.borrow()[shard].lanes == 0
    }

    /// Marks a lane of a shard as ended.
    pub(crate) fn end_lane(&self, shard: usize) {
        let mut shards = self.shards.borrow_mut();
        shards[shard].lanes -= 1;
        shards[shard].news.notify_waiters();
    }

    /// The next record of a lane.
    pub(crate) fn read(&self, shard: usize, lane: u64, cursor: &mut usize) -> Option<Read> {
        loop {
            let index = *self.shards.borrow()[shard].records.get(*cursor)?;
            *cursor += 1;
            let tracked = Rc::clone(&self.run.ledger.changes()[index]);
            if (hash(&tracked.change.key) / 7) % self.run.scenario.parallelization_factor != lane {
                continue;
            }
            let age = self.run.now_ms() - tracked.change.at.timestamp_millis();
            return Some(match u64::try_from(age - RETENTION) {
                Ok(since @ 1..) => Read::Expired(tracked, self.run.now().saturating_sub(since)),
                _ => Read::Record(tracked),
            });
        }
    }

    /// The number of a shard's records up to and including this change.
    pub(crate) fn position_after(&self, shard: usize, change: usize) -> usize {
        self.shards.borrow()[shard].records.partition_point(|index| *index <= change)
    }
}

impl Shard {
    fn new(range: (u64, u64), parent: Option<usize>, lanes: u64) -> Self {
        Self { range, parent, records: Vec::new(), is_closed: false, lanes, news: Rc::new(Notify::new()) }
    }
}

/// A write that changes nothing, which makes no stream record.
struct NoChange;

/// The item after a write; `None` if it is gone.
fn apply(old: Option<&Item>, kind: &WriteKind) -> Result<Option<Item>, NoChange> {
    match kind {
        WriteKind::Delete => old.map(|_| None).ok_or(NoChange),
        WriteKind::Rewrite => {
            let mut new = old.ok_or(NoChange)?.clone();
            new.values_mut().for_each(Value::rewrite);
            Ok(Some(new))
        }
        WriteKind::Set(values) => {
            let mut new = old.cloned().unwrap_or_default();
            for (name, value) in values {
                match value {
                    Some(value) => new.insert(name, value.clone()),
                    None => new.remove(name),
                };
            }
            if old == Some(&new) { Err(NoChange) } else { Ok(Some(new)) }
        }
    }
}

/// FNV-1a: the same in every run, on every machine.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
