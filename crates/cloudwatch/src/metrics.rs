//! Metric data as CloudWatch keeps it: by the minute, with its statistics, and with the time at which each sample arrived.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use chrono::{DateTime, Utc};

/// 2^360, the largest value that CloudWatch accepts.
const MAX_VALUE: f64 = 2.348_542_582_773_833_3e108;

/// Whether CloudWatch accepts this value of a metric. It rejects NaN and infinite values.
pub(crate) fn is_value(value: f64) -> bool {
    value.abs() <= MAX_VALUE
}

/// What identifies a metric. With an additional dimension, it is a different metric.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// The namespace.
    pub namespace: String,
    /// The metric's name.
    pub name: String,
    /// The dimensions' values, by name.
    pub dimensions: BTreeMap<String, String>,
}

impl Metric {
    /// A metric with these dimensions, in any order.
    #[must_use]
    pub fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Self {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }
}

/// How the samples of a period become one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stat {
    /// The number of samples.
    SampleCount,
    /// Their sum.
    Sum,
    /// Their mean.
    Average,
    /// The smallest sample.
    Minimum,
    /// The largest sample.
    Maximum,
    /// `p99.9`: the smallest sample that is not below this percentage of the samples. CloudWatch does not document how it
    /// interpolates; here the result is one of the samples.
    Percentile(f64),
    /// `PR(above:to)`: the percentage of the samples that are above the lower bound and not above the upper one. An omitted
    /// bound is infinite.
    PercentileRank {
        /// The lower bound, exclusive.
        above: f64,
        /// The upper bound, inclusive.
        to: f64,
    },
    /// `TC(above:to)`: the number of samples in that range.
    TrimmedCount {
        /// The lower bound, exclusive.
        above: f64,
        /// The upper bound, inclusive.
        to: f64,
    },
}

impl FromStr for Stat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "SampleCount" => Self::SampleCount,
            "Sum" => Self::Sum,
            "Average" => Self::Average,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            _ => {
                let percentile = || {
                    let percent = text.strip_prefix('p')?.parse().ok()?;
                    (0.0..=100.0).contains(&percent).then_some(Self::Percentile(percent))
                };
                let range = |prefix| {
                    let (above, to) = text.strip_prefix(prefix)?.strip_suffix(')')?.split_once(':')?;
                    let bound = |text: &str, left_out| if text.is_empty() { Some(left_out) } else { text.parse().ok() };
                    Some((bound(above, f64::NEG_INFINITY)?, bound(to, f64::INFINITY)?))
                };
                let rank = || range("PR(").map(|(above, to)| Self::PercentileRank { above, to });
                let count = || range("TC(").map(|(above, to)| Self::TrimmedCount { above, to });
                percentile().or_else(rank).or_else(count).ok_or(
                    "expected SampleCount, Sum, Average, Minimum, Maximum, a percentile such as p99.9, a percentile rank \
                     such as PR(:300), or a count such as TC(300:)",
                )?
            }
        })
    }
}

impl Stat {
    fn of(self, values: &[f64]) -> Option<f64> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        let values = || values.iter().copied();
        let within = |above, to| values().filter(|value| *value > above && *value <= to).count() as f64;
        match self {
            Self::SampleCount => Some(count),
            Self::Sum => Some(values().sum()),
            Self::Average => Some(values().sum::<f64>() / count),
            Self::Minimum => values().reduce(f64::min),
            Self::Maximum => values().reduce(f64::max),
            Self::Percentile(percent) => {
                let mut sorted: Vec<f64> = values().collect();
                sorted.sort_unstable_by(f64::total_cmp);
                let mut ranked = (1..).zip(sorted);
                ranked.find(|(rank, _)| f64::from(*rank) * 100.0 >= percent * count).map(|(_, value)| value)
            }
            Self::PercentileRank { above, to } => Some(100.0 * within(above, to) / count),
            Self::TrimmedCount { above, to } => Some(within(above, to)),
        }
    }
}

/// Metric data.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Each metric's samples in the order of their minutes.
    samples: BTreeMap<Metric, Vec<Sample>>,
    /// The longest time that a sample took to arrive, in minutes.
    longest_delay: i64,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    /// When it was measured. CloudWatch keeps no finer resolution.
    minute: i64,
    /// When it arrived.
    arrived: i64,
    value: f64,
}

impl Metrics {
    /// Adds a sample of the time `at` that arrived at `arrived`. The order does not matter, but chronological order is
    /// fastest. A value that is not a finite number is left out, because CloudWatch rejects it.
    pub fn add(&mut self, metric: &Metric, at: DateTime<Utc>, arrived: DateTime<Utc>, value: f64) {
        if !value.is_finite() {
            return;
        }
        let sample = Sample { minute: minute(at), arrived: minute(arrived), value };
        self.longest_delay = self.longest_delay.max(sample.arrived - sample.minute);
        match self.samples.get_mut(metric) {
            Some(samples) => {
                let index = samples.partition_point(|other| other.minute <= sample.minute);
                samples.insert(index, sample);
            }
            None => drop(self.samples.insert(metric.clone(), vec![sample])),
        }
    }

    /// The number of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples.values().map(Vec::len).sum()
    }

    /// Drops the samples from before this time.
    pub fn forget_before(&mut self, time: DateTime<Utc>) {
        let first = minute(time);
        self.samples.retain(|_, samples| {
            samples.drain(..samples.partition_point(|sample| sample.minute < first));
            !samples.is_empty()
        });
    }

    /// The times and values of all samples of at least `minimum` in metrics with this name, oldest first.
    #[must_use]
    pub fn at_least(&self, name: &str, minimum: f64) -> Vec<(DateTime<Utc>, f64)> {
        let samples = self.samples.iter().filter(|(metric, _)| metric.name == name).flat_map(|(_, samples)| samples);
        let mut samples: Vec<_> = samples.filter(|sample| sample.value >= minimum).collect();
        samples.sort_by_key(|sample| sample.minute);
        let time = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap_or_default();
        samples.into_iter().map(|sample| (time(sample.minute), sample.value)).collect()
    }

    /// The age in minutes, counted from its end, at which a period no longer changes.
    pub(crate) fn settles_after(&self) -> i64 {
        self.longest_delay
    }

    /// The statistic of a period as known in the minute `now`; `None` if no sample has arrived by then.
    pub(crate) fn known_at(&self, metric: &Metric, stat: Stat, period: Range<i64>, now: i64) -> Option<f64> {
        self.at_each(metric, stat, period.end - period.start, now - period.end, std::iter::once(period.end))[0]
    }

    /// The statistic of the period before each of these minutes, as known `age` minutes after the period's end; `None`
    /// if no sample has arrived by then. A period is at least one minute long. The ends are in ascending order.
    pub(crate) fn at_each(
        &self,
        metric: &Metric,
        stat: Stat,
        minutes: i64,
        age: i64,
        ends: impl Iterator<Item = i64>,
    ) -> Vec<Option<f64>> {
        let samples = self.samples.get(metric).map_or(&[][..], Vec::as_slice);
        let mut ends = ends.peekable();
        let first = ends.peek().map_or(0, |end| samples.partition_point(|sample| sample.minute < end - minutes));
        // The period's samples are a window that only moves forward.
        let (mut from, mut to) = (first, first);
        let mut values = Vec::new();
        ends.map(|end| {
            while samples.get(to).is_some_and(|sample| sample.minute < end) {
                to += 1;
            }
            while from < to && samples[from].minute < end - minutes {
                from += 1;
            }
            values.clear();
            let arrived = samples[from..to].iter().filter(|sample| sample.arrived < end + age);
            values.extend(arrived.map(|sample| sample.value));
            stat.of(&values)
        })
        .collect()
    }
}

/// The minute of a time, counted from 1970.
pub(crate) fn minute(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn metric() -> Metric {
        Metric::new("ConfigAudit", "AuditLag", &[("Stage", "dev"), ("Service", "config-audit")])
    }

    fn one_minute(stat: &str, values: &[f64]) -> Option<f64> {
        let mut metrics = Metrics::default();
        for value in values {
            metrics.add(&metric(), at(59), at(59), *value);
        }
        metrics.at_each(&metric(), stat.parse().unwrap(), 1, 0, 1..=1)[0]
    }

    #[test]
    fn each_statistic_is_what_cloudwatch_documents() {
        let values = [40.0, 10.0, 30.0, 20.0];
        let expected = [
            ("SampleCount", 4.0),
            ("Sum", 100.0),
            ("Average", 25.0),
            ("Minimum", 10.0),
            ("Maximum", 40.0),
            ("p0", 10.0),
            ("p50", 20.0),
            ("p50.1", 30.0),
            ("p99.9", 40.0),
            ("p100", 40.0),
            ("PR(:20)", 50.0),
            ("PR(20:)", 50.0),
            ("PR(10:30)", 50.0),
            ("PR(:)", 100.0),
            ("TC(20:)", 2.0),
            ("TC(40:)", 0.0),
        ];
        for (stat, value) in expected {
            assert_eq!(one_minute(stat, &values), Some(value), "{stat}");
            assert_eq!(one_minute(stat, &[]), None, "{stat}");
        }
    }

    #[test]
    fn other_statistics_are_rejected() {
        for text in ["", "sum", "p", "p101", "p-1", "px", "tm99", "PR", "PR()", "PR(1)", "PR(a:b)", "TC(1)", "IQM"] {
            assert!(text.parse::<Stat>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_sample_counts_in_the_period_of_its_time() {
        let mut metrics = Metrics::default();
        for (second, value) in [(600, 7.0), (-1, 1.0), (0, 2.0), (299, 3.0), (300, 4.0), (0, f64::NAN)] {
            metrics.add(&metric(), at(second), at(second), value);
        }
        let sums = metrics.at_each(&metric(), Stat::Sum, 5, 0, [0, 5, 10, 15, 20].into_iter());
        assert_eq!(sums, [Some(1.0), Some(5.0), Some(4.0), Some(7.0), None]);
        let other = Metric::new("ConfigAudit", "AuditLag", &[("Stage", "dev")]);
        assert_eq!(metrics.at_each(&other, Stat::Sum, 5, 0, 5..=5), [None]);
        assert_eq!(metrics.at_least("AuditLag", 3.5), [(at(300), 4.0), (at(600), 7.0)]);
    }

    #[test]
    fn old_samples_are_forgotten() {
        let mut metrics = Metrics::default();
        for second in [0, 60, 120] {
            metrics.add(&metric(), at(second), at(second), 1.0);
        }
        metrics.forget_before(at(60));
        assert_eq!((metrics.samples(), metrics.at_least("AuditLag", 0.0)[0].0), (2, at(60)));
        metrics.forget_before(at(600));
        assert_eq!(metrics.samples(), 0);
    }

    #[test]
    fn a_sample_that_arrives_late_is_missing_until_it_arrives() {
        let mut metrics = Metrics::default();
        for (second, delay, value) in [(0, 0, 1.0), (30, 180, 2.0), (50, -3600, 4.0)] {
            metrics.add(&metric(), at(second), at(second + delay), value);
        }
        let seen = |age| metrics.at_each(&metric(), Stat::Sum, 1, age, 1..=1)[0];
        assert_eq!([0, 1, 2, 3, 4].map(seen), [Some(5.0), Some(5.0), Some(5.0), Some(7.0), Some(7.0)]);
        assert_eq!(metrics.settles_after(), 3);
    }

    proptest! {
        #[test]
        fn the_order_of_the_samples_does_not_matter(
            samples in prop::collection::vec((0_i64..600, 0_u8..9), 0..30),
            percent in 0.0..=100.0,
        ) {
            let (mut ordered, mut reversed) = (Metrics::default(), Metrics::default());
            for ((second, value), (second_of_last, last)) in samples.iter().zip(samples.iter().rev()) {
                ordered.add(&metric(), at(*second), at(*second), f64::from(*value));
                reversed.add(&metric(), at(*second_of_last), at(*second_of_last), f64::from(*last));
            }
            let rank = Stat::PercentileRank { above: 2.0, to: 5.0 };
            for stat in [Stat::SampleCount, Stat::Sum, Stat::Average, Stat::Minimum, Stat::Percentile(percent), rank] {
                let read = |metrics: &Metrics| metrics.at_each(&metric(), stat, 2, 0, (2..=10).step_by(2));
                prop_assert_eq!(read(&ordered), read(&reversed));
            }
        }

        #[test]
        fn many_periods_are_read_as_each_one_alone(
            samples in prop::collection::vec((0_i64..40, 0_i64..5, 0_u8..9), 0..30),
            minutes in 1_i64..9, age in 0_i64..6, step in 1_usize..5,
        ) {
            let mut metrics = Metrics::default();
            for (minute, delay, value) in samples {
                metrics.add(&metric(), at(minute * 60), at((minute + delay) * 60), f64::from(value));
            }
            let ends = || (0_i64..50).step_by(step);
            let alone = ends().map(|end| metrics.known_at(&metric(), Stat::Sum, end - minutes..end, end + age));
            prop_assert_eq!(metrics.at_each(&metric(), Stat::Sum, minutes, age, ends()), alone.collect::<Vec<_>>());
        }

        #[test]
        fn a_percentile_is_between_the_smallest_and_the_largest_sample(
            values in prop::collection::vec(-1e6..1e6, 1..50), percent in 0.0..=100.0,
        ) {
            let percentile = one_minute(&format!("p{percent}"), &values);
            prop_assert!(one_minute("Minimum", &values) <= percentile && percentile <= one_minute("Maximum", &values));
        }
    }
}
