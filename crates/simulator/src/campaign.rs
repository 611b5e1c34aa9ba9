//! Campaigns: many runs and their totals.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::fault::{Fault, FaultCounts};
use crate::scenario::Scenario;
use crate::tampering::tampering;
use crate::world::{Capture, Tally, run};

/// Seeds that once exposed a bug; each campaign runs them first.
const KEPT_SEEDS: [u64; 3] = [
    // DynamoDB failed for one record until the deadline. Only then were the entries of another sent, although its full
    // record had been stored long before.
    244_877,
    // DynamoDB did not answer for one record until the deadline. Only then was another put into the failure bucket,
    // although DynamoDB had rejected it long before.
    1_374, // A request that was never sent, because another panicked first, was still reported.
    64_342,
];

/// The results of a campaign.
#[derive(Debug, Default)]
pub struct Summary {
    /// The number of runs.
    pub runs: u64,
    /// The totals of all runs.
    pub tally: Tally,
    /// The faults in all runs.
    pub faults: FaultCounts,
    /// The first failing runs: the seed, and the promises that the run broke.
    pub failures: Vec<(u64, Vec<String>)>,
}

impl Summary {
    /// The kinds of fault that occurred in no run. The campaign proves nothing about these.
    #[must_use]
    pub fn unseen(&self) -> Vec<Fault> {
        Fault::ALL.into_iter().filter(|fault| fault.touches_audits() && self.faults.of(*fault) == 0).collect()
    }

    fn add(&mut self, seed: u64, outcome: crate::world::Outcome) {
        self.runs += 1;
        self.faults.add(&outcome.faults);
        self.tally += outcome.tally;
        if !outcome.violations.is_empty() {
            self.failures.push((seed, outcome.violations));
        }
    }
}

/// Runs the kept seeds, then `runs` seeds starting at `first`, on `threads` threads. It ends early if runs fail.
#[must_use]
pub fn campaign(first: u64, runs: u64, threads: usize) -> Summary {
    let kept = KEPT_SEEDS.len() as u64;
    let summary = Mutex::new(Summary::default());
    let next = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let seed = match KEPT_SEEDS.get(usize::try_from(index).unwrap_or(usize::MAX)) {
                        Some(seed) => *seed,
                        None if index - kept < runs => first + index - kept,
                        None => break,
                    };
                    let mut outcome = run(&Scenario::from_seed(seed), Capture::Nothing);
                    outcome.violations.extend(tampering(seed));
                    let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    summary.add(seed, outcome);
                    is_over.fetch_or(summary.failures.len() >= 5, Ordering::Relaxed);
                }
            });
        }
    });
    summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { changes, deliveries, records, redelivered, entries, awaiting_redrive, dropped, expired, simulated } =
            self.tally;
        let mut line = |name: &str, count: u64| writeln!(formatter, "{name:<44}{count:>14}");
        line("runs", self.runs)?;
        line("simulated hours", simulated / 3_600_000)?;
        line("changes", changes)?;
        line("deliveries (invocations)", deliveries)?;
        line("records delivered", records)?;
        line("records delivered again", redelivered)?;
        line("audit entries", entries)?;
        line("records that wait for a redrive", awaiting_redrive)?;
        line("records dropped without a destination", dropped)?;
        line("records expired while nobody polled", expired)?;
        line("faults", self.faults.total())?;
        for fault in Fault::ALL.into_iter().filter(|fault| fault.touches_audits()) {
            line(&format!("  {}", fault.words()), self.faults.of(fault))?;
        }
        line("violations", self.failures.iter().map(|(_, violations)| violations.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_run() {
        for seed in 0..40 {
            let scenario = Scenario::from_seed(seed);
            let (one, other) = (run(&scenario, Capture::Timeline), run(&scenario, Capture::Timeline));
            assert_eq!(one.timeline, other.timeline, "seed {seed}");
            assert_eq!(one.violations, [""; 0], "seed {seed}");
        }
    }

    #[test]
    fn a_short_campaign_says_what_it_has_not_seen() {
        let summary = campaign(0, 1, 1);
        assert_eq!(summary.runs, 1 + KEPT_SEEDS.len() as u64);
        assert!(summary.unseen().contains(&Fault::DestinationRefuses));
        let page = summary.to_string();
        assert!(page.lines().any(|line| line.starts_with("  destination refuses ") && line.ends_with(" 0")), "{page}");
    }
}
