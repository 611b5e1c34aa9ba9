//! How the states of alarms change with the metric data.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::composite::CompositeRule;
use super::definition::{Alarm, Kind, MetricAlarm};
use super::rule::State;
use crate::metrics::{Metrics, Stat, minute};

/// An alarm that looks back further than this is evaluated once an hour, and every other alarm every minute.
const DAY_IN_MINUTES: usize = 24 * 60;

/// A change of an alarm's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// When it changed.
    pub at: DateTime<Utc>,
    /// The alarm's name.
    pub alarm: String,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
}

/// How many minutes are evaluated at once: more would need more memory; fewer would read the same metrics more often.
const MINUTES_AT_ONCE: u16 = 4 * 24 * 60;

/// How the states change, minute by minute, from those at `from`. Each alarm comes after all alarms that it watches,
/// and its state has the same index.
pub(super) fn advance(
    alarms: &[Alarm],
    states: &mut [State],
    metrics: &Metrics,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Vec<Transition> {
    let last = minute(to);
    let index: BTreeMap<&str, usize> = alarms.iter().map(|alarm| alarm.name.as_str()).zip(0..).collect();
    let (mut transitions, mut datapoints) = (Vec::new(), Vec::new());
    for first in (minute(from)..=last).step_by(MINUTES_AT_ONCE.into()) {
        let minutes = first..=last.min(first + i64::from(MINUTES_AT_ONCE) - 1);
        let watches: Vec<_> = alarms.iter().map(|alarm| Watch::new(alarm, metrics, first, *minutes.end())).collect();
        for (step, minute) in minutes.enumerate() {
            for (number, watch) in watches.iter().enumerate() {
                let from = states[number];
                let to = match watch {
                    Watch::Metric(watch) => watch.next(from, step, minute, &mut datapoints),
                    Watch::Composite(rule) if rule.holds(&|name| states[index[name]]) => State::Alarm,
                    Watch::Composite(_) => State::Ok,
                };
                if from != to {
                    let at = DateTime::from_timestamp(minute * 60, 0).unwrap_or_default();
                    transitions.push(Transition { at, alarm: alarms[number].name.clone(), from, to });
                    states[number] = to;
                }
            }
        }
    }
    transitions
}

/// What an alarm watches, with its values for the evaluated time.
enum Watch<'a> {
    Metric(MetricWatch<'a>),
    Composite(&'a CompositeRule),
}

/// A metric alarm and the values of all periods that it may evaluate. Periods start every minute, because CloudWatch evaluates
/// an alarm every minute on the periods that end then.
struct MetricWatch<'a> {
    alarm: &'a MetricAlarm,
    /// The values that are compared to the threshold.
    values: Readings,
    /// The number of samples of the first metric, if the alarm needs a minimum.
    counts: Option<Readings>,
    /// The length of a period in minutes.
    period: usize,
}

/// The values of all periods as they were known when they were read. More data may arrive after a period has ended, so
/// a period is read once for each age at which it is evaluated.
struct Readings {
    /// By age in periods. Each age has one value for each minute at which a period may end, beginning with the oldest
    /// period. At the last age, a period no longer changes.
    by_age: Vec<Vec<Option<f64>>>,
}

impl Readings {
    /// Reads all periods at the ages that an alarm needs: 0, and each multiple of the period until no more data can arrive.
    fn new(period: usize, range: usize, final_age: usize, read: impl Fn(i64) -> Vec<Option<f64>>) -> Self {
        let ages = (0..range).take(final_age.div_ceil(period) + 1).map(|periods| periods * period);
        Self { by_age: ages.map(|age| read(i64::try_from(age).unwrap_or(i64::MAX))).collect() }
    }

    /// The value of the period with this end, when it was `age` periods old.
    fn at(&self, end: usize, age: usize) -> Option<f64> {
        self.by_age.get(age).or(self.by_age.last()).and_then(|values| values[end])
    }
}

impl<'a> Watch<'a> {
    fn new(alarm: &'a Alarm, metrics: &Metrics, first: i64, last: i64) -> Self {
        let alarm = match &alarm.kind {
            Kind::Composite(rule) => return Self::Composite(rule),
            Kind::Metric(alarm) => &**alarm,
        };
        let (minutes, range) = (i64::from(alarm.period_minutes), alarm.rule.evaluation_range());
        let oldest = (1..range).fold(first, |oldest, _| oldest - minutes);
        let read = |metric, stat, age| metrics.at_each(metric, stat, minutes, age, oldest..=last);
        let period = alarm.period_minutes as usize;
        let final_age = usize::try_from(metrics.settles_after()).unwrap_or_default();
        let values = Readings::new(period, range, final_age, |age| {
            let of_each: Vec<_> = alarm.metrics.iter().map(|(metric, stat)| read(metric, *stat, age)).collect();
            let begins: Vec<_> = (oldest..=last).map(|end| (end - minutes) * 60).collect();
            alarm.expression.values(&begins, &of_each)
        });
        let counted = alarm.metrics.first().filter(|_| alarm.samples_needed.is_some());
        let counts = counted
            .map(|(metric, _)| Readings::new(period, range, final_age, |age| read(metric, Stat::SampleCount, age)));
        Self::Metric(MetricWatch { alarm, values, counts, period })
    }
}

impl MetricWatch<'_> {
    /// The state at a minute, the `step`th that is evaluated. `datapoints` is a buffer to reuse.
    fn next(&self, state: State, step: usize, minute: i64, datapoints: &mut Vec<Option<f64>>) -> State {
        let MetricAlarm { rule, samples_needed, .. } = self.alarm;
        let is_long = self.period * rule.evaluation_periods > DAY_IN_MINUTES;
        if is_long && minute % 60 != 0 {
            return state;
        }
        let range = rule.evaluation_range();
        // The oldest period of the range has index `step`, each later one is a period further on; the newest ends now.
        let read = |readings: &Readings, period: usize| readings.at(step + period * self.period, range - 1 - period);
        if let (Some(needed), Some(counts)) = (samples_needed, &self.counts) {
            let counts = (range - rule.evaluation_periods..range).filter_map(|period| read(counts, period));
            if counts.sum::<f64>() < *needed {
                return state;
            }
        }
        datapoints.clear();
        datapoints.extend((0..range).map(|period| read(&self.values, period)));
        rule.next(state, datapoints)
    }
}
