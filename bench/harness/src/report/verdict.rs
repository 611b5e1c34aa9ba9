//! Whether the figures are good enough: each limit is a ratio within one run, or a size.

use serde::Deserialize;

use super::table::{Table, number};
use crate::measure::{BatchFigures, COUNTED, Figures, StartMode};
use crate::stats::Samples;

/// A limit, and the measured value.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    /// What the limit applies to.
    pub(crate) what: String,
    /// The limit.
    pub(crate) limit: Limit,
    /// The measured value; `None` if this run did not measure it.
    pub(crate) measured: Option<f64>,
    /// The quartiles of the measurements.
    quartiles: Option<(f64, f64)>,
    unit: &'static str,
}

/// The value that must be reached, and the one to aim for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// An upper limit, and the aim.
    AtMost(f64, f64),
    /// A lower limit, and the aim.
    AtLeast(f64, f64),
}

impl Limit {
    fn is_met(self, value: f64) -> (bool, bool) {
        match self {
            Self::AtMost(must, aim) => (value <= must, value <= aim),
            Self::AtLeast(must, aim) => (value >= must, value >= aim),
        }
    }

    fn texts(self, unit: &str) -> (String, String) {
        let text = |sign, value: f64| format!("{sign} {value}{unit}");
        match self {
            Self::AtMost(must, aim) => (text("≤", must), text("≤", aim)),
            Self::AtLeast(must, aim) => (text("≥", must), text("≥", aim)),
        }
    }
}

impl Verdict {
    /// Whether the limit was missed.
    pub(crate) fn is_missed(&self) -> bool {
        self.measured.is_some_and(|value| !self.limit.is_met(value).0)
    }

    /// Whether there is a measured value.
    pub(crate) fn is_measured(&self) -> bool {
        self.measured.is_some()
    }

    /// The measured value and the limit, in one line.
    pub(crate) fn sentence(&self) -> String {
        let measured = self.measured.map_or_else(|| "not measured".to_owned(), |value| number(value) + self.unit);
        format!("{}: {measured}, must be {}", self.what, self.limit.texts(self.unit).0)
    }

    /// The verdict in a word or two.
    fn word(&self) -> &'static str {
        match self.measured.map(|value| self.limit.is_met(value)) {
            None => "not measured",
            Some((_, true)) => "aim met",
            Some((true, false)) => "met",
            Some((false, false)) => "MISSED",
        }
    }
}

/// What the local world's own command measured: the last line that `crates/local/examples/rate.rs` prints.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LocalWorld {
    /// How many changes were made.
    changes: u64,
    changes_per_second: Rates,
    lag_ms: Lags,
    /// Whether each change has its entry, and there are no other entries.
    verified: bool,
}

/// Changes a second in three tenths of a run.
#[derive(Debug, Clone, Deserialize)]
struct Rates {
    first: f64,
    middle: f64,
    last: f64,
}

/// How long a change waits for its entry.
#[derive(Debug, Clone, Deserialize)]
struct Lags {
    p99: f64,
}

impl LocalWorld {
    /// The rate of the slowest tenth; 0 if the run is not verified.
    fn sustained(&self) -> f64 {
        let Rates { first, middle, last } = self.changes_per_second;
        if self.verified { first.min(middle).min(last) } else { 0.0 }
    }
}

/// All verdicts, in the order of the issue.
pub(crate) fn verdicts(figures: &Figures, world: Option<&LocalWorld>) -> Vec<Verdict> {
    let batch = |name, records| figures.batches.get(&(name, records));
    let processor = |one, other, records| Some(ratio(batch(one, records)?, batch(other, records)?, |of| &of.processor));
    let wall = |one, other, records| Some(ratio(batch(one, records)?, batch(other, records)?, |of| &of.wall));
    let start = |one, other, mode| {
        let of = |name| figures.first_answers.get(&(name, mode));
        Some(of(one)?.over(of(other)?))
    };
    let peak = |records| batch("ours", records).map(|of| of.peak_memory as f64 / 1e6);
    let growth = || Some(batch("ours", 10_000)?.wall.median()? / batch("ours", 100)?.wall.median()?);
    let allocations = figures.allocations.get("ours").and_then(|count| Some(count.median()? / COUNTED as f64));
    let changes = number(world.map_or(1e6, |world| world.changes as f64));
    let (most, least) = (Limit::AtMost, Limit::AtLeast);
    vec![
        of_ratio("CPU, batch of 100: ours over bare", most(0.6, 0.45), processor("ours", "bare", 100)),
        of_ratio(
            "CPU, batch of 100: ours over the floor with its work",
            most(4.0, 2.5),
            processor("ours", "work", 100),
        ),
        of_ratio(
            "CPU, batch of 100: all telemetry over none, unsampled",
            most(1.15, 1.08),
            processor("ours", "silent", 100),
        ),
        of_ratio(
            "CPU, batch of 100: all telemetry over none, sampled",
            most(1.35, 1.2),
            processor("sampled", "silent", 100),
        ),
        of_ratio("wall, batch of 100: ours over the floor", most(1.25, 1.15), wall("ours", "floor", 100)),
        of_ratio("wall, batch of 100: sampled over unsampled", most(1.1, 1.03), wall("sampled", "ours", 100)),
        of_ratio("wall, batch of 1,000: node over ours", least(2.0, 2.5), wall("node", "ours", 1_000)),
        of_ratio("CPU, batch of 100: node over ours", least(6.0, 9.0), processor("node", "ours", 100)),
        of_ratio("CPU, batch of 100: python over ours", least(10.0, 15.0), processor("python", "ours", 100)),
        of_ratio("CPU, batch of 100: item over ours", least(75.0, 110.0), processor("item", "ours", 100)),
        of_ratio("first answer, plain HTTP: ours over bare", most(1.0, 0.95), start("ours", "bare", StartMode::Plain)),
        of_ratio(
            "first answer, TLS, init at full speed, then the CPU of 256 MB: bare over ours",
            least(8.0, 10.0),
            start("bare", "ours", StartMode::Throttled),
        ),
        of_value("allocations a record", most(50.0, 30.0), allocations, ""),
        of_value("peak memory, batches of 100", most(12.0, 10.0), peak(100), " MB"),
        of_value("peak memory, batches of 10,000", most(48.0, 36.0), peak(10_000), " MB"),
        of_value("time for 10,000 over time for 100", most(60.0, 30.0), growth(), ""),
        of_value("zip", most(3.5, 3.0), figures.zips.get("ours").map(|bytes| *bytes as f64 / 1e6), " MB"),
        of_value(
            &format!("local world: changes a second, sustained for {changes}"),
            least(1_000.0, 3_000.0),
            world.map(LocalWorld::sustained),
            "",
        ),
        of_value("local world: lag, p99", most(1.0, 0.5), world.map(|world| world.lag_ms.p99 / 1e3), " s"),
    ]
}

fn ratio(one: &BatchFigures, other: &BatchFigures, of: impl Fn(&BatchFigures) -> &Samples) -> Samples {
    of(one).over(of(other))
}

fn of_ratio(what: &str, limit: Limit, samples: Option<Samples>) -> Verdict {
    let spread = samples.and_then(|samples| samples.spread());
    Verdict {
        what: what.to_owned(),
        limit,
        measured: spread.map(|spread| spread.median),
        quartiles: spread.map(|spread| (spread.low, spread.high)),
        unit: "",
    }
}

fn of_value(what: &str, limit: Limit, measured: Option<f64>, unit: &'static str) -> Verdict {
    Verdict { what: what.to_owned(), limit, measured, quartiles: None, unit }
}

/// The verdicts as a table.
pub(crate) fn table(verdicts: &[Verdict]) -> Table {
    let mut table = Table::new(["", "must", "aim", "measured", "quartiles", "verdict"]);
    for verdict in verdicts {
        let (must, aim) = verdict.limit.texts(verdict.unit);
        let measured = verdict.measured.map_or_else(String::new, |value| number(value) + verdict.unit);
        let quartiles =
            verdict.quartiles.map_or_else(String::new, |(low, high)| format!("{}–{}", number(low), number(high)));
        table.push([verdict.what.clone(), must, aim, measured, quartiles, verdict.word().to_owned()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_world_counts_with_its_slowest_tenth() {
        let text = r#"{"changes":1000,"changesPerSecond":{"first":3,"middle":1,"last":2,"all":2},"lagMs":{"p50":1,"p99":9},"verified":true}"#;
        let mut world: LocalWorld = serde_json::from_str(text).unwrap();
        assert!((world.sustained() - 1.0).abs() < f64::EPSILON);
        world.verified = false;
        assert!(world.sustained().abs() < f64::EPSILON);
    }

    #[test]
    fn a_limit_is_met_at_its_value() {
        for (limit, value, missed, word) in [
            (Limit::AtMost(0.6, 0.45), 0.61, true, "MISSED"),
            (Limit::AtMost(0.6, 0.45), 0.6, false, "met"),
            (Limit::AtMost(0.6, 0.45), 0.45, false, "aim met"),
            (Limit::AtLeast(2.0, 2.5), 1.9, true, "MISSED"),
            (Limit::AtLeast(2.0, 2.5), 2.5, false, "aim met"),
        ] {
            let verdict = of_value("x", limit, Some(value), "");
            assert_eq!((verdict.is_missed(), verdict.word()), (missed, word), "{limit:?} {value}");
        }
        assert!(!of_value("x", Limit::AtMost(1.0, 1.0), None, "").is_missed());
    }
}
