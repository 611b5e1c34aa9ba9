//! Plays faults, and evaluates the deployed alarms on what CloudWatch receives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use chrono::{DateTime, Utc};
use config_audit_cloudwatch::alarms::{Alarms, State, Transition};
use config_audit_cloudwatch::metrics::Metrics;
use config_audit_simulator::scenario::Scenario;
use config_audit_simulator::world::{self, Capture, Tally};

use super::case::FaultCase;
use super::received::{received, time};

/// A run, and what the alarms made of it.
pub struct Playback {
    /// How the alarms' states changed.
    pub transitions: Vec<Transition>,
    /// The metric data that CloudWatch has in the end.
    pub metrics: Metrics,
    /// How much was done and lost.
    pub tally: Tally,
    /// The broken promises of the function, and the faults that did not occur.
    pub problems: Vec<String>,
}

/// A fault that was played.
pub struct PlayedCase {
    /// The fault.
    pub case: FaultCase,
    /// What came of it.
    pub playback: Playback,
}

/// Plays a scenario.
#[must_use]
pub fn play(alarms: &Alarms, scenario: &Scenario) -> Playback {
    // A run has its own runtime, and so needs its own thread.
    let outcome = std::thread::scope(|scope| finish(scope.spawn(|| world::run(scenario, Capture::Observed))));
    let metrics = received(&outcome.observed);
    let transitions = alarms.evaluate(&metrics, time(0), time(scenario.end()));
    let mut problems = outcome.violations;
    for window in &scenario.fault_windows {
        if outcome.faults.of(window.fault) == 0 {
            problems.push(format!("{} did not occur", window.fault.words()));
        }
    }
    problems.dedup();
    Playback { transitions, metrics, tally: outcome.tally, problems }
}

/// Plays these faults, and another scenario if there is one, on all processors. The scenario starts first, since it is the
/// longest. Tells `played` after each how many of how many are done.
#[must_use]
pub fn play_all(
    alarms: &Alarms,
    cases: Vec<FaultCase>,
    longest: Option<&Scenario>,
    played: impl Fn(usize, usize) + Sync,
) -> (Vec<PlayedCase>, Option<Playback>) {
    let scenarios: Vec<&Scenario> = longest.into_iter().chain(cases.iter().map(|case| &case.scenario)).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut playbacks = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(index) else { return playbacks };
            playbacks.push((index, play(alarms, scenario)));
            played(done.fetch_add(1, Ordering::Relaxed) + 1, scenarios.len());
        }
    };
    let mut playbacks: Vec<(usize, Playback)> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(finish).collect()
    });
    playbacks.sort_by_key(|(index, _)| *index);
    let mut playbacks = playbacks.into_iter().map(|(_, playback)| playback);
    let longest = longest.and_then(|_| playbacks.next());
    (cases.into_iter().zip(playbacks).map(|(case, playback)| PlayedCase { case, playback }).collect(), longest)
}

impl Playback {
    /// The state of the alarm of this name at a time.
    #[must_use]
    pub fn state_at(&self, name: &str, now: DateTime<Utc>) -> State {
        let last = self.transitions.iter().rfind(|change| change.alarm == name && change.at <= now);
        last.map_or(State::InsufficientData, |change| change.to)
    }
}

/// The result of a thread. If it panicked, so does this one.
fn finish<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
