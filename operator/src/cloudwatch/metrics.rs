//! Metric data as CloudWatch keeps it, by the minute, and its statistics.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};

/// What CloudWatch tells metrics apart by. One more dimension is another metric.
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
    /// A metric, its dimensions in any order.
    #[must_use]
    pub fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Self {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dimensions: Vec<_> = self.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
        write!(f, "{} {} [{}]", self.namespace, self.name, dimensions.join(", "))
    }
}

/// How the samples of a period become one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stat {
    /// How many there are.
    SampleCount,
    /// Their sum.
    Sum,
    /// Their mean.
    Average,
    /// The least.
    Minimum,
    /// The greatest.
    Maximum,
    /// `p99.9`: the least sample that is not below so many per cent of them. CloudWatch does not say how it interpolates;
    /// this takes a sample that was there.
    Percentile(f64),
    /// `PR(above:to)`: how many per cent of the samples lie above the one bound and not above the other. A bound that is
    /// left out is infinite.
    PercentileRank {
        /// The lower bound, which is not in the range itself.
        above: f64,
        /// The upper bound, which is.
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
                let rank = || {
                    let (above, to) = text.strip_prefix("PR(")?.strip_suffix(')')?.split_once(':')?;
                    let bound = |text: &str, left_out| if text.is_empty() { Some(left_out) } else { text.parse().ok() };
                    let (above, to) = (bound(above, f64::NEG_INFINITY)?, bound(to, f64::INFINITY)?);
                    Some(Self::PercentileRank { above, to })
                };
                percentile().or_else(rank).ok_or(
                    "expected SampleCount, Sum, Average, Minimum, Maximum, a percentile such as p99.9, or a percentile \
                     rank such as PR(:300)",
                )?
            }
        })
    }
}

impl Stat {
    fn of(self, samples: &[Sample]) -> Option<f64> {
        if samples.is_empty() {
            return None;
        }
        let count = samples.len() as f64;
        let values = || samples.iter().map(|sample| sample.value);
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
            Self::PercentileRank { above, to } => {
                Some(100.0 * values().filter(|value| *value > above && *value <= to).count() as f64 / count)
            }
        }
    }
}

/// Metric data.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// In the order of their minutes.
    samples: BTreeMap<Metric, Vec<Sample>>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    /// CloudWatch keeps no finer time.
    minute: i64,
    value: f64,
}

impl Metrics {
    /// Adds a sample. The order does not matter, though the order of time is quickest. What is no finite number is left
    /// out, for CloudWatch refuses it.
    pub fn add(&mut self, metric: &Metric, at: DateTime<Utc>, value: f64) {
        if !value.is_finite() {
            return;
        }
        let sample = Sample { minute: minute(at), value };
        match self.samples.get_mut(metric) {
            Some(samples) => {
                let index = samples.partition_point(|other| other.minute <= sample.minute);
                samples.insert(index, sample);
            }
            None => drop(self.samples.insert(metric.clone(), vec![sample])),
        }
    }

    /// The metrics that have samples.
    pub fn known(&self) -> impl Iterator<Item = &Metric> {
        self.samples.keys()
    }

    /// The statistic of each whole period between the two times, oldest first; none where a period has no sample. Times
    /// and period count in whole minutes, and a period has one at least.
    #[must_use]
    pub fn series(
        &self,
        metric: &Metric,
        stat: Stat,
        period: TimeDelta,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Vec<Option<f64>> {
        let minutes = period.num_minutes().max(1);
        let ends = (1..).map(|number| minute(from) + number * minutes).take_while(|end| *end <= minute(to));
        self.at_each(metric, stat, minutes, ends)
    }

    /// The statistic of the period that ends with each of these minutes, which is not in the period itself.
    pub(super) fn at_each(
        &self,
        metric: &Metric,
        stat: Stat,
        minutes: i64,
        ends: impl Iterator<Item = i64>,
    ) -> Vec<Option<f64>> {
        let samples = self.samples.get(metric).map_or(&[][..], Vec::as_slice);
        let before = |minute| samples.partition_point(|sample| sample.minute < minute);
        ends.map(|end| stat.of(&samples[before(end - minutes)..before(end)])).collect()
    }
}

/// The minute in which this is, counted from 1970.
pub(super) fn minute(at: DateTime<Utc>) -> i64 {
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
            metrics.add(&metric(), at(59), *value);
        }
        metrics.series(&metric(), stat.parse().unwrap(), TimeDelta::minutes(1), at(0), at(60))[0]
    }

    #[test]
    fn each_statistic_is_what_cloudwatch_says_it_is() {
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
        ];
        for (stat, value) in expected {
            assert_eq!(one_minute(stat, &values), Some(value), "{stat}");
            assert_eq!(one_minute(stat, &[]), None, "{stat}");
        }
    }

    #[test]
    fn other_statistics_are_refused() {
        for text in ["", "sum", "p", "p101", "p-1", "px", "tm99", "PR", "PR()", "PR(1)", "PR(a:b)", "IQM"] {
            assert!(text.parse::<Stat>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_sample_counts_in_the_period_that_it_falls_into() {
        let mut metrics = Metrics::default();
        for (second, value) in [(600, 7.0), (-1, 1.0), (0, 2.0), (299, 3.0), (300, 4.0), (0, f64::NAN)] {
            metrics.add(&metric(), at(second), value);
        }
        let sums = metrics.series(&metric(), Stat::Sum, TimeDelta::minutes(5), at(-300), at(899));
        assert_eq!(sums, [Some(1.0), Some(5.0), Some(4.0)], "the period that is not over is left out");
        let other = Metric::new("ConfigAudit", "AuditLag", &[("Stage", "dev")]);
        assert_eq!(metrics.series(&other, Stat::Sum, TimeDelta::minutes(5), at(0), at(300)), [None]);
        assert_eq!(metrics.known().collect::<Vec<_>>(), [&metric()]);
        assert_eq!(metric().to_string(), "ConfigAudit AuditLag [Service=config-audit, Stage=dev]");
    }

    proptest! {
        #[test]
        fn the_order_in_which_samples_come_does_not_matter(
            samples in prop::collection::vec((0_i64..600, 0_u8..9), 0..30),
            percent in 0.0..=100.0,
        ) {
            let (mut ordered, mut reversed) = (Metrics::default(), Metrics::default());
            for ((second, value), (second_of_last, last)) in samples.iter().zip(samples.iter().rev()) {
                ordered.add(&metric(), at(*second), f64::from(*value));
                reversed.add(&metric(), at(*second_of_last), f64::from(*last));
            }
            let rank = Stat::PercentileRank { above: 2.0, to: 5.0 };
            for stat in [Stat::SampleCount, Stat::Sum, Stat::Average, Stat::Minimum, Stat::Percentile(percent), rank] {
                let read = |metrics: &Metrics| metrics.series(&metric(), stat, TimeDelta::minutes(2), at(0), at(600));
                prop_assert_eq!(read(&ordered), read(&reversed));
            }
        }

        #[test]
        fn a_percentile_lies_between_the_extremes(
            values in prop::collection::vec(-1e6..1e6, 1..50), percent in 0.0..=100.0,
        ) {
            let percentile = one_minute(&format!("p{percent}"), &values);
            prop_assert!(one_minute("Minimum", &values) <= percentile && percentile <= one_minute("Maximum", &values));
        }
    }
}
