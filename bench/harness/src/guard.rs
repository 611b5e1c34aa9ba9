//! Compares counts of the packaged binary with recorded ones, so that none gets worse (`make guard`).
//!
//! Counts are nearly the same on every machine, however busy, so a test can check them. It cannot check times.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::measure::{Bench, COUNTED, Figures, MeasureError, Plan};
use crate::report::table::Table;
use crate::stats::Samples;
use crate::subjects::SUBJECTS;

/// The subjects that are counted. The instructions of the others are compared with those of *silent*.
const COUNTED_SUBJECTS: [&str; 3] = ["ours", "sampled", "silent"];
/// The number of invocations in which everything except instructions is counted.
const ROUNDS: usize = 5;

/// The recorded counts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recorded {
    /// The fraction by which a count may exceed the recorded one.
    tolerance: f64,
    /// The counts by name.
    counts: BTreeMap<String, f64>,
}

/// A count and its recorded value. One of the two may be missing.
#[derive(Debug)]
pub(crate) struct Held {
    name: String,
    measured: Option<f64>,
    recorded: Option<f64>,
    tolerance: f64,
}

impl Held {
    /// Whether it exceeds the recorded count, or is missing or unexpectedly 0, because something no longer works or is
    /// no longer counted.
    fn is_wrong(&self) -> bool {
        match (self.measured, self.recorded) {
            (Some(measured), Some(recorded)) => {
                measured > recorded * (1.0 + self.tolerance) || (measured == 0.0 && recorded > 0.0)
            }
            _ => true,
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.measured, self.recorded) {
            (None, _) => "NOT MEASURED",
            (_, None) => "NOT RECORDED",
            _ if self.is_wrong() => "WRONG",
            (Some(measured), Some(recorded)) if measured < recorded * (1.0 - self.tolerance) => "better: record it",
            _ => "as recorded",
        }
    }
}

/// Takes the counts, and compares them with the recorded ones.
///
/// # Errors
/// When a subject misbehaves, or valgrind is missing.
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
    let measured: BTreeMap<String, f64> = counts.into_iter().collect();
    let names: BTreeSet<&String> = measured.keys().chain(recorded.counts.keys()).collect();
    let held = |name: &String| Held {
        name: name.clone(),
        measured: measured.get(name).copied(),
        recorded: recorded.counts.get(name).copied(),
        tolerance: recorded.tolerance,
    };
    Ok(names.into_iter().map(held).collect())
}

/// The counts of a batch of [`COUNTED`] records.
fn counts(figures: &Figures) -> Vec<(String, f64)> {
    let mut counts = Vec::new();
    for name in ["ours", "sampled"] {
        let median = |samples: &Samples| samples.median().unwrap_or_default();
        if let Some(allocations) = figures.allocations.get(name) {
            counts.push((format!("allocations a record, {name}"), median(allocations) / COUNTED as f64));
        }
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

/// All counts, and whether all are as recorded or better.
pub(crate) fn report(held: &[Held]) -> (String, bool) {
    let mut table = Table::new(["a batch of 100", "measured", "recorded", "verdict"]);
    for count in held {
        let text = |number: f64| format!("{number:.2}");
        let text = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), text);
        table.push([&*count.name, &text(count.measured), &text(count.recorded), count.verdict()]);
    }
    (table.terminal(), !held.iter().any(Held::is_wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_held_within_its_tolerance() {
        let held = |measured, recorded| Held { name: String::new(), measured, recorded, tolerance: 0.05 };
        for (measured, recorded, verdict, is_wrong) in [
            (Some(100.0), Some(100.0), "as recorded", false),
            (Some(104.9), Some(100.0), "as recorded", false),
            (Some(105.1), Some(100.0), "WRONG", true),
            (Some(94.0), Some(100.0), "better: record it", false),
            (Some(0.0), Some(0.0), "as recorded", false),
            (Some(1.0), Some(0.0), "WRONG", true),
            (Some(0.0), Some(1.0), "WRONG", true),
            (Some(1.0), None, "NOT RECORDED", true),
            (None, Some(1.0), "NOT MEASURED", true),
        ] {
            let held = held(measured, recorded);
            assert_eq!((held.verdict(), held.is_wrong()), (verdict, is_wrong), "{held:?}");
            assert_eq!(report(&[held]).1, !is_wrong);
        }
    }
}
