//! One run: the Configuration table and its stream, the event source mapping, the function with the real handler, the
//! Audit table and the failure bucket, all on one thread and one virtual clock.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};
use config_audit::clock::Clock;
use config_audit::handler::Handler;
use config_audit::invocation::Invocation;
use config_audit::report::Report;
use fastrand::Rng;
use futures_util::FutureExt;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use serde_dynamo::AttributeValue;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use uuid::Uuid;

use crate::change::{Change, Expected, Item, Oddity, STREAM_ARN, Value, content, note};
use crate::fault::{Fault, Seen};
use crate::laws;
use crate::log::InvocationLog;
use crate::observed::{Datum, Metric, Observed, Watcher};
use crate::parts::{Bucket, Table};
use crate::scenario::{Millis, Scenario, What};
use config_audit_mapping::destination::GivenUp;
use config_audit_mapping::shard::{Answer, Effect};
use config_audit_mapping::{Condition, SequenceNumber, ShardState, Step, StreamRecord, event};

/// DynamoDB's time at the start of a run, in seconds since 1970; part of a second later by the seed.
pub const EPOCH: i64 = 1_772_496_000; // 2026-03-03T00:00:00Z
/// How long a stream keeps a record (Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB Streams").
const RETENTION: i64 = 24 * 3_600_000;
/// Lambda polls a shard four times a second.
const POLL: u64 = 250;
/// A run that needs more than this does not settle.
const MOST_INVOCATIONS: u64 = 50_000;
/// From 21 digits to 22 soon: as text, the later ones come first.
const FIRST_NUMBER: u128 = 999_999_999_999_999_999_990;
/// The function, as Lambda names it.
const FUNCTION_ARN: &str = "arn:aws:lambda:eu-central-1:000000000000:function:config-audit-audit";

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The promises that were broken; none in a good run.
    pub violations: Vec<String>,
    /// The faults that struck.
    pub seen: Seen,
    /// What was done.
    pub tally: Tally,
    /// What happened, line by line; empty where nobody asked.
    pub timeline: Vec<String>,
    /// What CloudWatch got; nothing where nobody asked.
    pub observed: Observed,
}

/// How much was done.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Changes of items.
    pub changes: u64,
    /// Invocations of the function.
    pub deliveries: u64,
    /// Records delivered in them.
    pub records: u64,
    /// Records that had been delivered before.
    pub redelivered: u64,
    /// Entries in the Audit table at the end.
    pub entries: u64,
    /// Changes whose record is in the failure bucket at the end, put there by the function or by Lambda.
    pub kept: u64,
    /// Changes that Lambda gave up, and whose destination refused them or was none.
    pub dropped: u64,
    /// Changes that left the stream unread, while nobody polled.
    pub expired: u64,
    /// Simulated time, in milliseconds.
    pub simulated: u64,
}

/// A change, and what the run knows of it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) change: Change,
    /// The record as it stands in the event.
    pub(crate) record: String,
    pub(crate) expected: Vec<Expected>,
    pub(crate) deliveries: Cell<u64>,
    pub(crate) expired: Cell<bool>,
    /// Lambda gave it up, and its destination has it.
    pub(crate) given_up: Cell<bool>,
    /// Lambda gave it up, and it went nowhere.
    pub(crate) dropped: Cell<bool>,
}

impl Made {
    /// Why no retry can mend its record, if none can.
    pub(crate) fn poison(&self) -> Option<&'static str> {
        let nothing_to_reject = self.change.oddity == Some(Oddity::Rejected) && self.expected.is_empty();
        self.change.oddity.and_then(Oddity::quarantine_reason).filter(|_| !nothing_to_reject)
    }
}

/// What the failure bucket has of a record.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) key: String,
    pub(crate) reason: String,
}

/// A line of the timeline. The same again is counted.
#[derive(Debug)]
struct Told {
    at: Millis,
    line: String,
    times: usize,
}

impl std::fmt::Display for Told {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:>10} ms  {}", self.at, self.line)?;
        if self.times > 1 { write!(formatter, " ({} times)", self.times) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Shard {
    /// The part of the keys' hashes that is in it: from the first to before the second.
    range: (u64, u64),
    parent: Option<usize>,
    records: Vec<usize>,
    is_closed: bool,
    /// Lanes that still work on it.
    lanes: u64,
    /// Wakes the lanes, and the children that wait for their parent.
    news: Rc<Notify>,
}

/// A run under way. All parts of it have a handle to it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    /// DynamoDB's time at the start.
    epoch: DateTime<Utc>,
    start: Instant,
    rng: RefCell<Rng>,
    seen: RefCell<Seen>,
    shards: RefCell<Vec<Shard>>,
    pub(crate) made: RefCell<Vec<Rc<Made>>>,
    /// Each entry of the Audit table, by its ID, but for what a redelivery may change in it.
    table: RefCell<HashMap<Uuid, Stored>>,
    /// How many entries there are of each content.
    pub(crate) contents: RefCell<HashMap<String, usize>>,
    /// The hashes of all values that are too large for an entry.
    pub(crate) omitted: RefCell<HashSet<String>>,
    /// The failure bucket, by the text of the record.
    pub(crate) kept: RefCell<HashMap<String, Vec<Kept>>>,
    tally: RefCell<Tally>,
    violations: RefCell<Vec<String>>,
    timeline: Option<RefCell<Vec<Told>>>,
    watcher: Option<Watcher>,
    /// Whether a process of the function is there to be invoked again.
    is_warm: Cell<bool>,
    active: Cell<usize>,
    all_done: Notify,
}

/// What is to be told of a run, beside what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// No more.
    Nothing,
    /// The timeline.
    Timeline,
    /// What CloudWatch got.
    Observed,
}

/// Runs a scenario.
#[must_use]
pub fn run(scenario: &Scenario, tell: Tell) -> Outcome {
    // The handler's own draws, for its waits, are a part of the run.
    fastrand::seed(scenario.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else {
        return Outcome { violations: vec!["no runtime can be made".to_owned()], ..Outcome::default() };
    };
    LocalSet::new().block_on(&runtime, async {
        let Some(world) = World::new(scenario.clone(), tell) else {
            return Outcome { violations: vec!["no metrics can be made".to_owned()], ..Outcome::default() };
        };
        World::run(&world).await;
        world.outcome()
    })
}

impl World {
    fn new(scenario: Scenario, tell: Tell) -> Option<Rc<Self>> {
        let rng = Rng::with_seed(scenario.seed ^ 0x5eed);
        let mut seen = Seen::default();
        let surroundings = [
            (Fault::ClockAhead, scenario.clock_ahead > 0),
            (Fault::ClockBehind, scenario.clock_ahead < 0),
            (Fault::NoFailureBucket, !scenario.has_bucket),
            (Fault::WrongViewType, scenario.wrong_view_type),
        ];
        for (fault, _) in surroundings.into_iter().filter(|(_, is_so)| *is_so) {
            seen.count(fault);
        }
        let whole = u64::MAX / scenario.shards as u64;
        let shards = (0..scenario.shards as u64)
            .map(|index| Shard::new((index * whole, (index + 1) * whole), None, scenario.parallelization_factor));
        Some(Rc::new(Self {
            epoch: DateTime::from_timestamp(EPOCH, 0)? + Duration::from_millis(scenario.seed % 1_000),
            start: Clock::System.instant(),
            rng: RefCell::new(rng),
            seen: RefCell::new(seen),
            shards: RefCell::new(shards.collect()),
            made: RefCell::default(),
            table: RefCell::default(),
            contents: RefCell::default(),
            omitted: RefCell::default(),
            kept: RefCell::default(),
            tally: RefCell::default(),
            violations: RefCell::default(),
            timeline: (tell == Tell::Timeline).then(RefCell::default),
            watcher: if tell == Tell::Observed { Some(Watcher::new()?) } else { None },
            is_warm: Cell::new(false),
            active: Cell::new(0),
            all_done: Notify::new(),
            scenario,
        }))
    }

    async fn run(self: &Rc<Self>) {
        for shard in 0..self.scenario.shards {
            self.start_shard(shard);
        }
        self.spawn("writers", Self::write_all(Rc::clone(self)));
        while self.active.get() > 0 {
            self.all_done.notified().await;
        }
        laws::at_the_end(self);
    }

    fn outcome(&self) -> Outcome {
        let mut tally = *self.tally.borrow();
        let made = self.made.borrow();
        tally.changes = made.len() as u64;
        tally.entries = self.table.borrow().len() as u64;
        let kept = self.kept.borrow();
        tally.kept = made.iter().filter(|made| made.given_up.get() || kept.contains_key(&made.record)).count() as u64;
        tally.dropped = made.iter().filter(|made| made.dropped.get()).count() as u64;
        tally.expired = made.iter().filter(|made| made.expired.get()).count() as u64;
        tally.simulated = self.now();
        Outcome {
            violations: self.violations.take(),
            seen: self.seen.borrow().clone(),
            tally,
            timeline: self.timeline.iter().flat_map(RefCell::take).map(|told| told.to_string()).collect(),
            observed: self.watcher.as_ref().map(Watcher::take).unwrap_or_default(),
        }
    }

    // ---- time, chance, and what is told ------------------------------------------------------------------------------

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> Millis {
        u64::try_from((Clock::System.instant() - self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// DynamoDB's time, in milliseconds since 1970.
    fn now_ms(&self) -> i64 {
        self.epoch.timestamp_millis() + i64::try_from(self.now()).unwrap_or(i64::MAX / 2)
    }

    fn instant(&self, at: Millis) -> Instant {
        self.start + Duration::from_millis(at)
    }

    /// A number below this one.
    pub(crate) fn draw(&self, below: u64) -> u64 {
        self.rng.borrow_mut().u64(..below.max(1))
    }

    /// Whether this fault strikes here and now.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let now = self.now();
        let rages = |chance: u8| self.rng.borrow_mut().u8(..100) < chance;
        let weather = self.scenario.weather.iter();
        let strikes = weather
            .filter(|weather| weather.fault == fault && (weather.from..weather.to).contains(&now))
            .any(|weather| rages(weather.chance));
        if strikes {
            self.saw(fault);
        }
        strikes
    }

    /// Counts a fault that has struck.
    pub(crate) fn saw(&self, fault: Fault) {
        self.seen.borrow_mut().count(fault);
        self.say(|| format!("  fault: {}", fault.words()));
    }

    /// Adds a line to the timeline.
    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        let Some(timeline) = &self.timeline else { return };
        let (at, line, mut timeline) = (self.now(), line(), timeline.borrow_mut());
        match timeline.last_mut() {
            Some(last) if last.line == line => last.times += 1,
            _ => timeline.push(Told { at, line, times: 1 }),
        }
    }

    /// CloudWatch is sent a value.
    pub(crate) fn emit(&self, metric: Metric, value: f64) {
        if let Some(watcher) = &self.watcher {
            watcher.add(Datum { at: self.now(), metric, value });
        }
    }

    /// A lane waited for records from one time to now, and polled in vain.
    fn emit_empty_polls(&self, since: Millis) {
        let Some(watcher) = &self.watcher else { return };
        for at in (since..self.now()).step_by(60_000).filter(|at| self.disabled_until(*at).is_none()) {
            watcher.add(Datum { at, metric: Metric::PolledEventCount, value: 0.0 });
        }
    }

    /// A promise is broken.
    pub(crate) fn violate(&self, what: impl Into<String>) {
        let what = what.into();
        self.say(|| format!("VIOLATION: {what}"));
        let mut violations = self.violations.borrow_mut();
        // One broken promise often breaks a hundred times.
        if violations.len() < 5 {
            violations.push(what);
        }
    }

    /// Runs beside everything else; the run ends when nothing does.
    pub(crate) fn spawn(self: &Rc<Self>, what: &'static str, work: impl Future<Output = ()> + 'static) {
        self.active.set(self.active.get() + 1);
        let world = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                world.violate(format!("{what} panicked"));
            }
            world.active.set(world.active.get() - 1);
            world.all_done.notify_one();
        });
    }

    // ---- the Configuration table and its stream ------------------------------------------------------------------------

    async fn write_all(self: Rc<Self>) {
        let mut items: HashMap<String, Item> = HashMap::new();
        let mut splits = self.scenario.splits.iter().peekable();
        for write in &self.scenario.writes {
            while let Some(at) = splits.next_if(|at| **at <= write.at) {
                sleep_until(self.instant(*at)).await;
                self.split();
            }
            sleep_until(self.instant(write.at)).await;
            let old = items.get(&write.key).cloned();
            let Ok(new) = apply(old.as_ref(), &write.what) else { continue };
            match &new {
                Some(item) => items.insert(write.key.clone(), item.clone()),
                None => items.remove(&write.key),
            };
            self.emit(Metric::ConsumedWriteCapacityUnits, 1.0);
            self.put_into_stream(&write.key, old, new, write.oddity);
        }
        for at in splits {
            sleep_until(self.instant(*at)).await;
            self.split();
        }
        // The mapping may still be disabled, and records may still grow old.
        sleep_until(self.instant(self.scenario.end())).await;
        for shard in self.shards.borrow_mut().iter_mut() {
            shard.is_closed = true;
            shard.news.notify_waiters();
        }
    }

    fn put_into_stream(&self, key: &str, old: Option<Item>, new: Option<Item>, oddity: Option<Oddity>) {
        let index = self.made.borrow().len();
        let at = self.epoch + Duration::from_millis(self.now());
        let sequence_number = (FIRST_NUMBER + index as u128).to_string();
        let change = Change {
            index,
            key: key.to_owned(),
            old,
            new,
            at,
            sequence_number,
            oddity,
            wrong_view_type: self.scenario.wrong_view_type,
        };
        let fault = match oddity {
            Some(Oddity::Undecodable) => Some(Fault::RecordUndecodable),
            Some(Oddity::NoKey) => Some(Fault::RecordWithoutKey),
            Some(Oddity::UnknownEvent) => Some(Fault::RecordOfUnknownEvent),
            Some(Oddity::InvalidValue) => Some(Fault::RecordWithInvalidValue),
            Some(Oddity::Rejected) => Some(Fault::RecordRejected),
            Some(Oddity::NoSequenceNumber) => Some(Fault::RecordWithoutSequenceNumber),
            Some(Oddity::NoTime) => Some(Fault::RecordWithoutTime),
            None => None,
        };
        let (record, expected) = (change.record(), change.entries());
        self.say(|| format!("#{index} {} {key}", change.event_name()));
        if let Some(fault) = fault {
            self.saw(fault);
        }
        if expected.is_empty() {
            self.saw(Fault::RecordUnchanged);
        }
        if expected.iter().any(|entry| entry.omitted().next().is_some()) {
            self.saw(Fault::RecordTooLarge);
            self.omitted.borrow_mut().extend(expected.iter().flat_map(Expected::omitted));
        }
        let made = Made {
            change,
            record,
            expected,
            deliveries: Cell::new(0),
            expired: Cell::new(false),
            given_up: Cell::new(false),
            dropped: Cell::new(false),
        };
        self.made.borrow_mut().push(Rc::new(made));
        let hash = hash(key);
        let mut shards = self.shards.borrow_mut();
        let shard = shards.iter_mut().find(|shard| !shard.is_closed && shard.range.0 <= hash && hash < shard.range.1);
        match shard {
            Some(shard) => {
                shard.records.push(index);
                shard.news.notify_waiters();
            }
            None => self.violate("the simulator has no shard for a key"),
        }
    }

    fn split(self: &Rc<Self>) {
        let children = {
            let mut shards = self.shards.borrow_mut();
            let open: Vec<usize> = (0..shards.len()).filter(|shard| !shards[*shard].is_closed).collect();
            let parent = open[usize::try_from(self.draw(open.len() as u64)).unwrap_or_default()];
            let (from, to) = shards[parent].range;
            shards[parent].is_closed = true;
            shards[parent].news.notify_waiters();
            let middle = from + (to - from) / 2;
            for range in [(from, middle), (middle, to)] {
                shards.push(Shard::new(range, Some(parent), self.scenario.parallelization_factor));
            }
            [shards.len() - 2, shards.len() - 1]
        };
        self.saw(Fault::ShardSplits);
        for child in children {
            self.start_shard(child);
        }
    }

    // ---- the event source mapping --------------------------------------------------------------------------------------

    fn start_shard(self: &Rc<Self>, shard: usize) {
        for lane in 0..self.scenario.parallelization_factor {
            self.spawn("the mapping", Self::poll(Rc::clone(self), shard, lane));
        }
    }

    /// Takes the records of one shard, of those keys that fall to this lane, to the function.
    async fn poll(self: Rc<Self>, shard: usize, lane: u64) {
        let parent = self.shards.borrow()[shard].parent;
        if let Some(parent) = parent {
            loop {
                let news = Rc::clone(&self.shards.borrow()[parent].news);
                let notified = news.notified();
                if self.shards.borrow()[parent].lanes == 0 {
                    break;
                }
                notified.await;
            }
        }
        let mut state = ShardState::new(self.scenario.mapping.clone());
        // Where to read on, and where to begin again after the mapping was disabled.
        let (mut cursor, mut checkpoint) = (0, 0);
        let mut last: Option<(String, bool)> = None;
        loop {
            if let Some(until) = self.disabled_until(self.now()) {
                self.saw(Fault::MappingDisabled);
                sleep_until(self.instant(until)).await;
                state = ShardState::new(self.scenario.mapping.clone());
                cursor = checkpoint;
                continue;
            }
            let news = Rc::clone(&self.shards.borrow()[shard].news);
            let notified = news.notified();
            let mut polled = 0_u32;
            while state.room() > 0
                && let Some(made) = self.read(shard, lane, &mut cursor)
            {
                state.push(
                    StreamRecord {
                        sequence_number: SequenceNumber::new(made.change.sequence_number.clone()),
                        created_ms: made.change.at.timestamp() * 1_000,
                        event_name: made.change.event_name().to_owned(),
                        json: made.record.clone(),
                    },
                    self.now_ms(),
                );
                polled += 1;
            }
            if polled > 0 {
                self.emit(Metric::PolledEventCount, f64::from(polled));
            }
            match state.next(self.now_ms()) {
                Step::Wait(Some(until)) => {
                    let wait = Duration::from_millis(u64::try_from(until - self.now_ms()).unwrap_or_default());
                    let _ = tokio::time::timeout(wait, notified).await;
                }
                Step::Wait(None) => {
                    if self.shards.borrow()[shard].is_closed && state.is_idle() {
                        break;
                    }
                    let since = self.now();
                    notified.await;
                    self.emit_empty_polls(since);
                    sleep(Duration::from_millis(self.draw(POLL))).await;
                }
                Step::Invoke(records) => {
                    let effects = self.deliver(&mut state, records, &mut last).await;
                    self.advance(shard, effects, &mut checkpoint);
                }
                Step::GiveUp { records, condition, invocations } => {
                    self.give_up(&records, condition, invocations, last.clone().unwrap_or_default()).await;
                    let effects = state.gave_up();
                    self.advance(shard, effects, &mut checkpoint);
                }
            }
        }
        let mut shards = self.shards.borrow_mut();
        shards[shard].lanes -= 1;
        shards[shard].news.notify_waiters();
    }

    /// Puts records that were given up into the on-failure destination, or nowhere. `last` is the last invocation that had
    /// them, and whether it failed.
    async fn give_up(
        &self,
        records: &[Arc<StreamRecord>],
        condition: Condition,
        invocations: u32,
        (request_id, function_error): (String, bool),
    ) {
        let id = Uuid::from_u64_pair(self.draw(u64::MAX), self.draw(u64::MAX));
        let given_up = GivenUp {
            mapping: Uuid::nil(),
            stream_arn: STREAM_ARN,
            shard_id: "shardId-00000001",
            function_arn: FUNCTION_ARN,
            records,
            condition,
            invocations,
            request_id: &request_id,
            function_error,
        };
        let now = DateTime::from_timestamp_millis(self.now_ms()).unwrap_or_default();
        sleep(Duration::from_millis(self.draw(200))).await;
        self.saw(match condition {
            Condition::RetryAttemptsExhausted => Fault::RetriesExhausted,
            Condition::RecordAgeExceeded => Fault::RecordsTooOld,
        });
        let is_missing = self.strikes(Fault::DestinationMissing);
        if is_missing || self.strikes(Fault::DestinationRefuses) {
            if is_missing {
                self.emit(Metric::DroppedEventCount, records.len() as f64);
            } else {
                self.emit(Metric::DestinationDeliveryFailures, 1.0);
            }
            for record in records {
                self.made.borrow()[index_of(&record.sequence_number)].dropped.set(true);
            }
        } else {
            self.say(|| format!("given up, {}: {}", condition.as_str(), given_up.key(now, id)));
            self.emit(Metric::OnFailureDestinationDeliveredEventCount, records.len() as f64);
            laws::of_the_destination(self, records, given_up.body(now));
        }
    }

    /// The next record of a lane that is still in the stream.
    fn read(&self, shard: usize, lane: u64, cursor: &mut usize) -> Option<Rc<Made>> {
        loop {
            let index = *self.shards.borrow()[shard].records.get(*cursor)?;
            *cursor += 1;
            let made = Rc::clone(&self.made.borrow()[index]);
            if (hash(&made.change.key) / 7) % self.scenario.parallelization_factor != lane {
                continue;
            }
            if self.now_ms() - made.change.at.timestamp_millis() <= RETENTION {
                return Some(made);
            }
            // Delivered and stored, perhaps, and only the checkpoint was behind.
            made.expired.set(true);
            self.saw(Fault::RecordsExpired);
            laws::of_an_expiry(self, &made);
        }
    }

    fn advance(&self, shard: usize, effects: Vec<Effect>, checkpoint: &mut usize) {
        for effect in effects {
            self.say(|| format!("mapping: {effect:?}"));
            if let Effect::CheckpointAdvanced(to) = effect {
                let shards = self.shards.borrow();
                *checkpoint = shards[shard].records.partition_point(|index| *index <= index_of(&to));
            }
        }
    }

    fn disabled_until(&self, now: Millis) -> Option<Millis> {
        let disabled = self.scenario.weather.iter().filter(|weather| weather.fault == Fault::MappingDisabled);
        disabled.filter(|weather| (weather.from..weather.to).contains(&now)).map(|weather| weather.to).max()
    }

    async fn deliver(
        self: &Rc<Self>,
        state: &mut ShardState,
        records: Vec<Arc<StreamRecord>>,
        last: &mut Option<(String, bool)>,
    ) -> Vec<Effect> {
        if self.tally.borrow().deliveries > MOST_INVOCATIONS {
            self.violate(format!("not settled after {MOST_INVOCATIONS} invocations"));
            state.answered(&Ok(Vec::new()), self.now_ms());
            return Vec::new();
        }
        if self.strikes(Fault::FunctionThrottled) {
            self.emit(Metric::Throttles, 1.0);
            state.postpone(self.now_ms());
            return Vec::new();
        }
        let mut answer = self.invoke(&records).await;
        if answer.is_ok() && self.strikes(Fault::RedeliveredAfterSuccess) {
            // The answer got lost on Lambda's side: what is done is done again, and the second answer counts.
            answer = self.invoke(&records).await;
        }
        *last = Some((format!("request-{}", self.tally.borrow().deliveries), answer.is_err()));
        if answer.is_ok() && self.strikes(Fault::StaleRedelivery) {
            let world = Rc::clone(self);
            let wait = Duration::from_millis(self.draw(120_000));
            self.spawn("a stale redelivery", async move {
                sleep(wait).await;
                let _ = world.invoke(&records).await;
            });
        }
        state.answered(&answer, self.now_ms())
    }

    // ---- the function --------------------------------------------------------------------------------------------------

    /// An invocation, as Lambda's own metrics see it.
    async fn invoke(self: &Rc<Self>, records: &[Arc<StreamRecord>]) -> Answer {
        let started = self.now();
        self.emit(Metric::Invocations, 1.0);
        self.emit(Metric::InvokedEventCount, records.len() as f64);
        let answer = self.serve(records).await;
        if answer.is_err() {
            self.emit(Metric::FailedInvokeEventCount, records.len() as f64);
        }
        self.emit(Metric::Errors, f64::from(u8::from(answer.is_err())));
        self.emit(Metric::Duration, (self.now() - started) as f64);
        if let Some(last) = records.last() {
            self.emit(Metric::IteratorAge, (self.now_ms() - last.created_ms).max(0) as f64);
        }
        answer
    }

    async fn serve(self: &Rc<Self>, records: &[Arc<StreamRecord>]) -> Answer {
        let number = {
            let mut tally = self.tally.borrow_mut();
            tally.deliveries += 1;
            tally.deliveries
        };
        let batch = self.batch(records);
        self.say(|| {
            let indices: Vec<String> = batch.iter().map(|made| format!("#{}", made.change.index)).collect();
            format!("invocation {number}: {}", indices.join(" "))
        });
        if self.strikes(Fault::FunctionDoesNotStart) {
            return self.crash("the function did not start");
        }
        if self.strikes(Fault::FunctionHangs) {
            sleep(self.scenario.timeout).await;
            return self.crash("the function timed out");
        }
        let log = Rc::new(InvocationLog::new(self.now()));
        // The function's clock and its deadline are of one machine; DynamoDB's clock is another.
        let time =
            self.epoch + Duration::from_millis(self.now()) + chrono::TimeDelta::milliseconds(self.scenario.clock_ahead);
        let deadline = Clock::System.instant() + self.scenario.timeout;
        let handler = Handler {
            store: Table { world: Rc::clone(self), log: Rc::clone(&log) },
            quarantine: self.scenario.has_bucket.then(|| Bucket { world: Rc::clone(self), log: Rc::clone(&log) }),
            clock: Clock::starting_at(time),
            key_attribute: "key".to_owned(),
            provenance: self.scenario.provenance,
        };
        let event = event(records);
        let invocation = Invocation {
            request_id: format!("request-{number}"),
            function_arn: FUNCTION_ARN.to_owned(),
            trace: self.trace(),
            cold_start: !self.is_warm.replace(true) || self.strikes(Fault::FunctionReplaced),
            deadline: time + self.scenario.timeout,
            event: event.as_bytes(),
        };
        // A kill may come at any point where the handler waits, so it comes at one of its polls.
        let polls = if self.kills() { self.draw(1 << self.draw(10)) } else { u64::MAX };
        let work = Killable { work: pin!(handler.handle(&invocation)), polls };
        let report = match timeout_at(deadline, work).await {
            Err(_) => {
                self.violate("the handler had no answer at the function's time-out");
                return Err("the function timed out".to_owned());
            }
            Ok(None) => {
                self.saw(Fault::FunctionKilled);
                return self.crash("the function's process was killed");
            }
            Ok(Some(_)) if polls < u64::MAX => {
                // It was done before the kill came, and its answer was not.
                self.saw(Fault::FunctionKilled);
                return self.crash("the function's process was killed");
            }
            Ok(Some(report)) => report,
        };
        laws::of_an_invocation(self, &batch, &log, &report, deadline - Clock::System.instant());
        self.answer(number, &batch, report)
    }

    /// What the function logs of an invocation, and answers.
    fn answer(&self, number: u64, batch: &[Rc<Made>], report: Report) -> Answer {
        let answer = report
            .answer()
            .map_err(|error| error.to_string())
            .and_then(|answer| serde_json::to_vec(&answer).map_err(|error| error.to_string()));
        self.say(|| match &answer {
            Ok(answer) => format!("answer {number}: {}", String::from_utf8_lossy(answer)),
            Err(error) => format!("error {number}: {error}"),
        });
        let is_lost = self.strikes(Fault::AnswerLost);
        if !is_lost {
            laws::of_an_answer(self, batch, &report, &answer);
        }
        if let Some(watcher) = &self.watcher {
            watcher.log(self, report);
        }
        if is_lost { self.crash("the function's process ended") } else { answer }
    }

    /// The process is gone, and the next invocation is the first of another.
    fn crash(&self, why: &str) -> Answer {
        self.is_warm.set(false);
        Err(why.to_owned())
    }

    /// Each invocation is a trace of its own.
    fn trace(&self) -> SpanContext {
        let trace_id = TraceId::from(u128::from(1 + self.draw(u64::MAX - 1)) << 64 | 1);
        SpanContext::new(trace_id, SpanId::from(1), TraceFlags::default(), true, TraceState::default())
    }

    /// Whether a kill is on its way. It counts when it comes.
    fn kills(&self) -> bool {
        let now = self.now();
        let weather = self.scenario.weather.iter();
        weather
            .filter(|weather| weather.fault == Fault::FunctionKilled && (weather.from..weather.to).contains(&now))
            .any(|weather| self.rng.borrow_mut().u8(..100) < weather.chance)
    }

    fn batch(&self, records: &[Arc<StreamRecord>]) -> Vec<Rc<Made>> {
        let made = self.made.borrow();
        let of = |record: &Arc<StreamRecord>| Rc::clone(&made[index_of(&record.sequence_number)]);
        let batch: Vec<Rc<Made>> = records.iter().map(of).collect();
        let mut tally = self.tally.borrow_mut();
        tally.records += batch.len() as u64;
        for made in &batch {
            tally.redelivered += u64::from(made.deliveries.get() > 0);
            made.deliveries.set(made.deliveries.get() + 1);
        }
        batch
    }

    /// Writes an entry into the Audit table.
    pub(crate) fn store(&self, id: Uuid, item: &serde_dynamo::Item) {
        let timeless = matches!(item.get("itemKey"), Some(AttributeValue::S(key)) if key == "TIMELESS");
        laws::of_an_entry(self, id, item);
        let content = content(item, timeless);
        let notes = ["oldValue", "newValue"].into_iter().filter_map(|name| item.get(name).and_then(note));
        let stored = Stored { content, notes: notes.cloned().collect() };
        match self.table.borrow_mut().entry(id) {
            Place::Occupied(place) => {
                if *place.get() != stored {
                    self.violate(format!("an entry that was {:?} is now {stored:?}", place.get()));
                }
            }
            Place::Vacant(place) => {
                *self.contents.borrow_mut().entry(stored.content.clone()).or_default() += 1;
                place.insert(stored);
            }
        }
    }
}

/// An entry of the Audit table.
#[derive(Debug, PartialEq)]
struct Stored {
    content: String,
    /// What stands in it for values that are too large.
    notes: Vec<HashMap<String, AttributeValue>>,
}

impl Shard {
    fn new(range: (u64, u64), parent: Option<usize>, lanes: u64) -> Self {
        Self { range, parent, records: Vec::new(), is_closed: false, lanes, news: Rc::new(Notify::new()) }
    }
}

/// What the table makes of a write that changes nothing: no stream record.
struct NoChange;

/// What a write makes of an item; `None` is no item.
fn apply(old: Option<&Item>, what: &What) -> Result<Option<Item>, NoChange> {
    match what {
        What::Delete => old.map(|_| None).ok_or(NoChange),
        What::Rewrite => {
            let mut new = old.ok_or(NoChange)?.clone();
            for value in new.values_mut() {
                match value {
                    Value::Number(_, zeros) => *zeros = (*zeros + 1) % 3,
                    Value::Set(members) => members.reverse(),
                    Value::Text(_) | Value::Large(_) => {}
                }
            }
            Ok(Some(new))
        }
        What::Set(values) => {
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

/// Which change a sequence number is of.
pub(crate) fn index_of(number: &SequenceNumber) -> usize {
    let number = number.as_str().parse::<u128>().unwrap_or_default();
    usize::try_from(number.saturating_sub(FIRST_NUMBER)).unwrap_or_default()
}

/// FNV-1a: the same in each run, on each machine.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A future that is dropped, as a killed process is, when it has been polled this many times.
struct Killable<'a, F> {
    work: Pin<&'a mut F>,
    polls: u64,
}

impl<F: Future> Future for Killable<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.work.as_mut().poll(context).map(Some)
    }
}
