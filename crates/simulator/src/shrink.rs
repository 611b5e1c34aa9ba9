//! Makes a failing run smaller: it has fewer writes and fewer faults, and still fails.

use std::time::Duration;

use crate::scenario::Scenario;
use crate::world::{Capture, run};

/// The maximum number of runs spent on this.
const MAX_RUNS: usize = 3_000;

/// The smallest scenario found that still breaks a promise.
#[must_use]
pub fn shrink(scenario: &Scenario) -> Scenario {
    let mut smallest = scenario.clone();
    let mut runs = 0;
    loop {
        let found = smaller(&smallest).into_iter().find_map(|candidate| {
            // A smaller scenario draws different random numbers, so a few seeds are tried.
            (0..4).find_map(|offset| {
                runs += 1;
                let candidate = Scenario { seed: candidate.seed.wrapping_add(offset), ..candidate.clone() };
                (runs <= MAX_RUNS && !run(&candidate, Capture::Nothing).violations.is_empty()).then_some(candidate)
            })
        });
        match found {
            Some(found) => smallest = found,
            None => return smallest,
        }
    }
}

/// Scenarios that are smaller in one respect, the most promising first.
fn smaller(of: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    let mut length = of.writes.len();
    while length > 1 {
        length /= 2;
        for from in (0..of.writes.len()).step_by(length) {
            let mut candidate = of.clone();
            candidate.writes.drain(from..of.writes.len().min(from + length));
            candidates.push(candidate);
        }
    }
    for index in 0..of.fault_windows.len() {
        let mut candidate = of.clone();
        candidate.fault_windows.remove(index);
        candidates.push(candidate);
    }
    for (index, window) in of.fault_windows.iter().enumerate().filter(|(_, window)| window.to - window.from > 1_000) {
        let half = (window.to - window.from) / 2;
        for (from, to) in [(window.from, window.to - half), (window.from + half, window.to)] {
            let mut candidate = of.clone();
            (candidate.fault_windows[index].from, candidate.fault_windows[index].to) = (from, to);
            candidates.push(candidate);
        }
    }
    let mut simpler = |change: &dyn Fn(&mut Scenario), is_simple: bool| {
        if !is_simple {
            let mut candidate = of.clone();
            change(&mut candidate);
            candidates.push(candidate);
        }
    };
    simpler(&|scenario| scenario.splits.clear(), of.splits.is_empty());
    simpler(&|scenario| scenario.shards = 1, of.shards == 1);
    simpler(&|scenario| scenario.parallelization_factor = 1, of.parallelization_factor == 1);
    simpler(&|scenario| scenario.clock_ahead = 0, of.clock_ahead == 0);
    simpler(&|scenario| scenario.mapping.batching_window = Duration::ZERO, of.mapping.batching_window.is_zero());
    simpler(&|scenario| scenario.has_bucket = true, of.has_bucket);
    simpler(&|scenario| scenario.mapping.maximum_retry_attempts = None, of.mapping.maximum_retry_attempts.is_none());
    candidates
}
