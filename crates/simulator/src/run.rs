//! One run in progress: its clock, its randomness, its tasks, and the ledger of what happens. All parts of a run share
//! it.

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use config_audit::clock::Clock;
use fastrand::Rng;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::observed::{Datum, Metric, Observer};
use crate::scenario::{EPOCH, Millis, Scenario};
use crate::table::SentItems;

/// What a run records besides its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Nothing else.
    Nothing,
    /// The timeline.
    Timeline,
    /// What CloudWatch gets.
    Observed,
}

/// A run in progress.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) scenario: Scenario,
    pub(crate) ledger: Ledger,
    pub(crate) sent_items: SentItems,
    pub(crate) observer: Option<Observer>,
    /// DynamoDB's time at the start.
    epoch: DateTime<Utc>,
    start: Instant,
    rng: RefCell<Rng>,
    has_timeline: bool,
    active: Cell<usize>,
    all_done: Notify,
}

impl Run {
    /// `None` if the function cannot be set up.
    pub(crate) fn start(scenario: Scenario, capture: Capture) -> Option<Rc<Self>> {
        let rng = Rng::with_seed(scenario.seed ^ 0x5eed);
        let ledger = Ledger::default();
        let surroundings = [
            (Fault::ClockAhead, scenario.clock_ahead > 0),
            (Fault::ClockBehind, scenario.clock_ahead < 0),
            (Fault::NoFailureBucket, !scenario.has_bucket),
            (Fault::WrongViewType, scenario.wrong_view_type),
        ];
        for (fault, _) in surroundings.into_iter().filter(|(_, is_so)| *is_so) {
            ledger.count_fault(fault);
        }
        Some(Rc::new(Self {
            epoch: DateTime::from_timestamp(EPOCH, 0)? + Duration::from_millis(scenario.seed % 1_000),
            start: Clock::System.instant(),
            rng: RefCell::new(rng),
            ledger,
            sent_items: SentItems::default(),
            observer: if capture == Capture::Observed { Some(Observer::start()?) } else { None },
            has_timeline: capture == Capture::Timeline,
            active: Cell::new(0),
            all_done: Notify::new(),
            scenario,
        }))
    }

    // ---- time ----------------------------------------------------------------------------------------------------------

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> Millis {
        u64::try_from((Clock::System.instant() - self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// DynamoDB's time.
    pub(crate) fn time(&self) -> DateTime<Utc> {
        self.time_at(self.now())
    }

    /// DynamoDB's time at another moment of the run.
    pub(crate) fn time_at(&self, at: Millis) -> DateTime<Utc> {
        self.epoch + Duration::from_millis(at)
    }

    /// DynamoDB's time, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        self.epoch.timestamp_millis() + i64::try_from(self.now()).unwrap_or(i64::MAX / 2)
    }

    pub(crate) fn instant(&self, at: Millis) -> Instant {
        self.start + Duration::from_millis(at)
    }

    // ---- chance --------------------------------------------------------------------------------------------------------

    /// A random number below this one.
    pub(crate) fn draw(&self, below: u64) -> u64 {
        self.rng.borrow_mut().u64(..below.max(1))
    }

    /// Whether this fault strikes now. If so, it is counted.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let strikes = self.is_due(fault);
        if strikes {
            self.saw(fault);
        }
        strikes
    }

    /// Whether chance makes this fault strike now. It is not counted.
    pub(crate) fn is_due(&self, fault: Fault) -> bool {
        let now = self.now();
        let windows = self.scenario.fault_windows.iter();
        windows
            .filter(|window| window.fault == fault && (window.from..window.to).contains(&now))
            .any(|window| self.rng.borrow_mut().u8(..100) < window.chance)
    }

    /// If the mapping gets no records at this time: until when, and because of which fault.
    pub(crate) fn cut_off_until(&self, at: Millis) -> Option<(Millis, Fault)> {
        let windows = self.scenario.fault_windows.iter().filter(|window| (window.from..window.to).contains(&at));
        let cut_off = windows.filter(|window| matches!(window.fault, Fault::MappingDisabled | Fault::StreamReplaced));
        cut_off.map(|window| (window.to, window.fault)).max()
    }

    // ---- what is recorded ----------------------------------------------------------------------------------------------

    /// Counts a fault that has struck.
    pub(crate) fn saw(&self, fault: Fault) {
        self.ledger.count_fault(fault);
        self.say(|| format!("  fault: {}", fault.words()));
    }

    /// Adds a line to the timeline.
    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        if self.has_timeline {
            self.ledger.add_line(self.now(), line());
        }
    }

    /// Sends CloudWatch a value.
    pub(crate) fn emit(&self, metric: Metric, value: f64) {
        self.emit_at(self.now(), metric, value);
    }

    /// Sends CloudWatch a value for another time.
    pub(crate) fn emit_at(&self, at: Millis, metric: Metric, value: f64) {
        if let Some(observer) = &self.observer {
            observer.add(Datum { at, metric, value });
        }
    }

    /// Records that the failure bucket gets an object.
    pub(crate) fn observe_object(&self, key: &str) {
        if let Some(observer) = &self.observer {
            observer.store(self.now(), key);
        }
    }

    /// Records that the Audit table gets an entry; a redelivery writes one that it has.
    pub(crate) fn observe_entry(&self, is_new: bool) {
        self.emit(Metric::AuditConsumedWriteCapacityUnits, 1.0);
        if let Some(observer) = self.observer.as_ref().filter(|_| is_new) {
            observer.add_entry(self.now());
        }
    }

    /// Records that a law is broken.
    pub(crate) fn violate(&self, what: impl Into<String>) {
        let what = what.into();
        self.say(|| format!("VIOLATION: {what}"));
        self.ledger.add_violation(what);
    }

    /// Records the violations that a law found.
    pub(crate) fn check(&self, violations: Vec<String>) {
        for violation in violations {
            self.violate(violation);
        }
    }

    // ---- tasks ---------------------------------------------------------------------------------------------------------

    /// Runs a task alongside all others; the run ends when none is left.
    pub(crate) fn spawn(self: &Rc<Self>, what: &'static str, task: impl Future<Output = ()> + 'static) {
        self.active.set(self.active.get() + 1);
        let run = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                run.violate(format!("{what} panicked"));
            }
            run.active.set(run.active.get() - 1);
            run.all_done.notify_one();
        });
    }

    /// Waits until no task is left.
    pub(crate) async fn settled(&self) {
        while self.active.get() > 0 {
            self.all_done.notified().await;
        }
    }
}
