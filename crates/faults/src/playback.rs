//! Plays faults, and evaluates the deployed alarms on what CloudWatch receives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use chrono::{DateTime, Utc};
use config_audit_cloudwatch::alarms::{State, Transition};
use config_audit_cloudwatch::metrics::Metrics;
use config_audit_simulator::scenario::{Millis, Scenario};
use config_audit_simulator::world::{self, Capture, Tally, Unaudited};

use super::case::FaultCase;
use super::deployed::DeployedAlarms;
use super::loss::Loss;
use super::month::{self, Month};
use super::received::{Hiccup, received, time};

/// A run, and how the alarms responded.
#[derive(Debug)]
pub struct Playback {
    /// How the alarms' states changed.
    pub transitions: Vec<Transition>,
    /// The metric data in CloudWatch at the end.
    pub metrics: Metrics,
    /// How many changes were audited and lost.
    pub tally: Tally,
    /// The changes that were not audited.
    unaudited: Vec<Unaudited>,
    /// The guarantees that the function violated.
    pub violations: Vec<String>,
    /// The faults that did not occur.
    pub missing: Vec<String>,
}

/// A fault that was played.
#[derive(Debug)]
pub struct PlayedCase {
    /// The fault.
    pub case: FaultCase,
    /// The run.
    pub playback: Playback,
}

/// Plays a scenario, and evaluates the alarms until `end`.
#[must_use]
pub fn play(alarms: &DeployedAlarms, scenario: &Scenario, end: Millis) -> Playback {
    play_with(alarms, scenario, end, &[])
}

fn play_with(alarms: &DeployedAlarms, scenario: &Scenario, end: Millis, hiccups: &[Hiccup]) -> Playback {
    // A run has its own runtime, so it needs its own thread.
    let outcome = std::thread::scope(|scope| finish(scope.spawn(|| world::run(scenario, Capture::Observed))));
    let metrics = received(&outcome.observed, hiccups);
    let transitions = alarms.of(scenario).evaluate(&metrics, time(0), time(end));
    let windows = scenario.fault_windows.iter().map(|window| window.fault);
    let missing = windows.filter(|fault| outcome.faults.of(*fault) == 0);
    let mut missing: Vec<_> = missing.map(|fault| format!("{} did not occur", fault.words())).collect();
    missing.dedup();
    let world::Outcome { tally, unaudited, violations, .. } = outcome;
    Playback { transitions, metrics, tally, unaudited, violations, missing }
}

/// Plays these faults and healthy months, on all processors. The months start first, since they are
/// the longest. Calls `played` after each with the number done and the total.
#[must_use]
pub fn play_all(
    alarms: &DeployedAlarms,
    cases: Vec<FaultCase>,
    months: &[Month],
    played: impl Fn(usize, usize) + Sync,
) -> (Vec<PlayedCase>, Vec<(Month, Playback)>) {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let all = months.len() + cases.len();
    let work = || {
        let mut playbacks = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let playback = match (months.get(index), cases.get(index.wrapping_sub(months.len()))) {
                (Some(month), _) => {
                    let scenario = month.healthy();
                    play_with(alarms, &scenario, scenario.end(), &month::hiccups())
                }
                (None, Some(case)) => play(alarms, &case.scenario, case.scenario.end()),
                (None, None) => return playbacks,
            };
            playbacks.push((index, playback));
            played(done.fetch_add(1, Ordering::Relaxed) + 1, all);
        }
    };
    let mut playbacks: Vec<(usize, Playback)> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(finish).collect()
    });
    playbacks.sort_by_key(|(index, _)| *index);
    let mut playbacks = playbacks.into_iter().map(|(_, playback)| playback);
    let months = months.iter().copied().zip(playbacks.by_ref()).collect();
    (cases.into_iter().zip(playbacks).map(|(case, playback)| PlayedCase { case, playback }).collect(), months)
}

impl Playback {
    /// The state of the alarm with this name at a time.
    #[must_use]
    pub fn state_at(&self, name: &str, now: DateTime<Utc>) -> State {
        let last = self.transitions.iter().rfind(|change| change.alarm == name && change.at <= now);
        last.map_or(State::InsufficientData, |change| change.to)
    }

    /// What is lost by this time.
    #[must_use]
    pub fn loss_at(&self, now: DateTime<Utc>) -> Loss {
        Loss::until(&self.unaudited, now)
    }

    /// What is lost in the end.
    #[must_use]
    pub fn loss(&self) -> Loss {
        self.loss_at(DateTime::<Utc>::MAX_UTC)
    }

    /// When the first change is lost, and when the first record is in the failure bucket.
    #[must_use]
    pub fn first_losses(&self) -> [Option<DateTime<Utc>>; 2] {
        Loss::first(&self.unaudited).map(|first| first.map(time))
    }
}

/// The result of a thread. If it panicked, so does this one.
fn finish<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
