//! What an alarm is: whom it notifies, and what it watches.

use chrono::{DateTime, Utc};

use super::composite::CompositeRule;
use super::rule::ThresholdRule;
use crate::math::Expression;
use crate::metrics::{Metric, Metrics, Stat, minute};

/// An alarm, as its template declares it.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// Its logical id.
    pub id: String,
    /// Its name: `AlarmName`, or the logical id by default.
    pub name: String,
    /// Whom it notifies when it goes into `ALARM`: the logical ids of resources in the same templates, or other ARNs; empty
    /// with `ActionsEnabled: false`.
    pub alarm_actions: Vec<String>,
    /// What it watches.
    pub kind: Kind,
}

/// What an alarm watches.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Metrics.
    Metric(Box<MetricAlarm>),
    /// Other alarms.
    Composite(CompositeRule),
}

/// An alarm on a metric, or on an expression over several.
#[derive(Debug, Clone)]
pub struct MetricAlarm {
    /// What is compared to the threshold.
    pub expression: Expression,
    /// The metrics of the expression, which refers to them by their index.
    pub metrics: Vec<(Metric, Stat)>,
    /// The length of a period in minutes.
    pub period_minutes: u32,
    /// With `EvaluateLowSampleCountPercentile: ignore`, the state does not change while the evaluated periods have fewer
    /// samples than this.
    pub samples_needed: Option<f64>,
    /// When it is in `ALARM`.
    pub rule: ThresholdRule,
}

impl MetricAlarm {
    /// The values of the last periods up to `now` from all data that has arrived, oldest first, each with the end of
    /// its period.
    #[must_use]
    pub fn datapoints(&self, metrics: &Metrics, now: DateTime<Utc>, periods: u16) -> Vec<(DateTime<Utc>, Option<f64>)> {
        let length = i64::from(self.period_minutes);
        let ends = || (0..i64::from(periods)).rev().map(|back| minute(now) - back * length);
        let read =
            |(metric, stat): &(Metric, Stat)| metrics.at_each(metric, *stat, length, metrics.settles_after(), ends());
        let of_each: Vec<Vec<Option<f64>>> = self.metrics.iter().map(read).collect();
        let begins: Vec<i64> = ends().map(|end| (end - length) * 60).collect();
        let time = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap_or_default();
        ends().map(time).zip(self.expression.values(&begins, &of_each)).collect()
    }
}
