//! What may not get worse: counts of the packaged binary, against recorded ones (`make guard`).
//!
//! Counts are nearly the same on each machine, however busy it is. So they can fail a test, and times cannot.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::measure::{Bench, COUNTED, Figures, MeasureError, Plan};
use crate::report::table::Table;
use crate::stats::Samples;
use crate::subjects::SUBJECTS;

/// The subjects that are counted; *silent* is what the instructions of the others are compared with.
const COUNTED_SUBJECTS: [&str; 3] = ["ours", "sampled", "silent"];
/// Invocations whose counts of everything but instructions are taken.
const ROUNDS: usize = 5;

/// What was recorded.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recorded {
    /// By how much a count may be higher than recorded, as a part of it.
    tolerance: f64,
    /// The counts by their names.
    counts: BTreeMap<String, f64>,
}

/// A count beside what was recorded of it.
#[derive(Debug)]
pub(crate) struct Held {
    name: String,
    measured: f64,
    recorded: Option<f64>,
    tolerance: f64,
}

impl Held {
    /// Whether it got worse, or was never recorded.
    fn is_worse(&self) -> bool {
        self.recorded.is_none_or(|recorded| self.measured > recorded * (1.0 + self.tolerance))
    }

    fn verdict(&self) -> &'static str {
        match self.recorded {
            None => "NOT RECORDED",
            Some(_) if self.is_worse() => "WORSE",
            Some(recorded) if self.measured < recorded * (1.0 - self.tolerance) => "better: record it",
            Some(_) => "as recorded",
        }
    }
}

/// Counts, and compares with what was recorded.
///
/// # Errors
/// When a subject does not do what it should, or valgrind is missing.
pub(crate) async fn guard(bench: &Bench, recorded: &Recorded) -> Result<Vec<Held>, MeasureError> {
    let mut plan = Plan::new(true);
    plan.subjects = SUBJECTS.into_iter().filter(|subject| COUNTED_SUBJECTS.contains(&subject.name)).collect();
    (plan.batches, plan.starts, plan.billed) = (vec![(COUNTED, ROUNDS)], 0, 0);
    let figures = bench.run(&plan).await?;
    let mut counts = counts(&figures);
    let mut instructions = BTreeMap::new();
    for subject in &plan.subjects {
        instructions.insert(subject.name, bench.instructions(subject).await? / COUNTED as f64);
    }
    for name in ["ours", "sampled"] {
        counts.push((format!("instructions a record, {name}"), instructions[name]));
        counts.push((format!("instructions, {name} over silent"), instructions[name] / instructions["silent"]));
    }
    let held = |(name, measured): (String, f64)| {
        let recorded_count = recorded.counts.get(&name).copied();
        Held { name, measured, recorded: recorded_count, tolerance: recorded.tolerance }
    };
    Ok(counts.into_iter().map(held).collect())
}

/// What the figures have of a batch of [`COUNTED`] records.
fn counts(figures: &Figures) -> Vec<(String, f64)> {
    let mut counts = Vec::new();
    for name in ["ours", "sampled"] {
        let median = |samples: &Samples| samples.median().unwrap_or_default();
        let allocations = figures.allocations.get(name).map_or(0.0, median);
        counts.push((format!("allocations a record, {name}"), allocations / COUNTED as f64));
        if let Some(batch) = figures.batches.get(&(name, COUNTED)) {
            counts.push((format!("requests to DynamoDB, {name}"), median(&batch.requests)));
            counts.push((format!("datagrams to the X-Ray daemon, {name}"), median(&batch.datagrams)));
            counts.push((format!("bytes of datagrams, {name}"), median(&batch.datagram_bytes)));
            counts.push((format!("bytes logged, {name}"), median(&batch.log_bytes)));
        }
    }
    counts.extend(figures.zips.get("ours").map(|bytes| ("bytes of the zip".to_owned(), *bytes as f64)));
    counts
}

/// All counts, and whether none is worse.
pub(crate) fn report(held: &[Held]) -> (String, bool) {
    let mut table = Table::new(["a batch of 100", "measured", "recorded", "verdict"]);
    for count in held {
        let text = |number: f64| format!("{number:.2}");
        let recorded = count.recorded.map_or_else(|| "-".to_owned(), text);
        table.push([&*count.name, &text(count.measured), &recorded, count.verdict()]);
    }
    (table.terminal(), !held.iter().any(Held::is_worse))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_held_within_its_tolerance() {
        let held = |measured, recorded| Held { name: String::new(), measured, recorded, tolerance: 0.05 };
        for (measured, recorded, verdict) in [
            (100.0, Some(100.0), "as recorded"),
            (104.9, Some(100.0), "as recorded"),
            (105.1, Some(100.0), "WORSE"),
            (94.0, Some(100.0), "better: record it"),
            (0.0, Some(0.0), "as recorded"),
            (1.0, Some(0.0), "WORSE"),
            (1.0, None, "NOT RECORDED"),
        ] {
            let held = held(measured, recorded);
            assert_eq!(held.verdict(), verdict, "{held:?}");
            assert_eq!(report(&[held]).1, !["WORSE", "NOT RECORDED"].contains(&verdict));
        }
    }
}
