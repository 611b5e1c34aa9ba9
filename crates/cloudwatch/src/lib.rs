//! What CloudWatch and X-Ray make of what a function prints and traces, and of the alarms and dashboards that are deployed.
//!
//! Pure: no I/O, no clock, no SDK, and no other package of this workspace.
//!
//! [`line`] parses what a function prints, and says which lines become metrics and which CloudWatch rejects. [`span`] reads
//! segment documents, and [`units`] writes values for people.
//! [`dashboard`] reads a dashboard's body. [`alarm`], [`composite`], [`math`] and [`metrics`] evaluate alarms:
//! [`Alarms::read`] takes the templates, [`metrics::Metrics`] the metric data, and [`Alarms::evaluate`] says how the
//! alarms' states change. [`alarm`] has the rules for one alarm, and says what of them is AWS's and what was chosen.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use alarm::State;
use math::Expression;
use metrics::{Metric, Metrics, Stat, minute};
use template::{File, Resolve, TemplateError};

pub mod alarm;
pub mod composite;
pub mod dashboard;
pub mod line;
pub mod math;
pub mod metrics;
pub mod span;
pub mod template;
pub mod units;

/// So many minutes are a day. An alarm that looks back further is evaluated once an hour, and others every minute.
const DAY: usize = 24 * 60;

/// An alarm, as its template has it.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// Its logical id.
    pub id: String,
    /// Its name: `AlarmName`, or the logical id where there is none.
    pub name: String,
    /// Whom it tells when it goes into `ALARM`: the logical ids of resources of the same templates, or what else the
    /// template says; nobody with `ActionsEnabled: false`.
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
    Composite(composite::Rule),
}

/// An alarm on a metric, or on an expression of several.
#[derive(Debug, Clone)]
pub struct MetricAlarm {
    /// What is compared to the threshold.
    pub expression: Expression,
    /// The metrics that it is made of, in the order of the expression's numbers.
    pub metrics: Vec<(Metric, Stat)>,
    /// The length of a period in minutes.
    pub period_minutes: u32,
    /// With `EvaluateLowSampleCountPercentile: ignore`, the state stays while the judged periods have fewer samples.
    pub samples_needed: Option<f64>,
    /// When it is in `ALARM`.
    pub rule: alarm::Rule,
}

/// A change of an alarm's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: DateTime<Utc>,
    /// The alarm's name.
    pub alarm: String,
    /// The state before.
    pub from: State,
    /// The state since.
    pub to: State,
}

/// All alarms of a template.
#[derive(Debug, Clone)]
pub struct Alarms {
    /// Each after all that it looks at.
    alarms: Vec<Alarm>,
}

/// Alarms that cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlarmsError {
    /// A template cannot be understood.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Two alarms have the same name, of which CloudWatch would keep one.
    #[error("two alarms are called {0}")]
    Twice(String),
    /// A composite alarm looks at an alarm that is not there, or that looks at it in turn.
    #[error("{alarm} looks at {other}, which is no alarm of these templates, or looks at {alarm} in turn")]
    Order {
        /// The composite alarm's name.
        alarm: String,
        /// The other alarm's.
        other: String,
    },
}

impl Alarms {
    /// The alarms of these files, which are one template together. `resolve` says what the names in them stand for.
    ///
    /// # Errors
    ///
    /// Says which file and resource cannot be understood, or which composite alarm looks at what it cannot.
    pub fn read(files: &[File], resolve: Resolve) -> Result<Self, AlarmsError> {
        let mut waiting = template::read(files, resolve)?;
        let mut alarms: Vec<Alarm> = Vec::new();
        loop {
            let is_placed = |name: &str| alarms.iter().any(|alarm| alarm.name == name);
            let awaits = |alarm: &Alarm| match &alarm.kind {
                Kind::Metric(_) => None,
                Kind::Composite(rule) => rule.alarms().into_iter().find(|name| !is_placed(name)).map(ToOwned::to_owned),
            };
            let Some(next) = waiting.iter().position(|alarm| awaits(alarm).is_none()) else {
                // One that waits for what is nowhere is to blame, and not those that wait for it.
                let mut stuck: Vec<_> =
                    waiting.iter().filter_map(|alarm| Some((alarm.name.clone(), awaits(alarm)?))).collect();
                stuck.sort_by_key(|(_, other)| waiting.iter().any(|alarm| alarm.name == *other));
                return match stuck.into_iter().next() {
                    Some((alarm, other)) => Err(AlarmsError::Order { alarm, other }),
                    None => Ok(Self { alarms }),
                };
            };
            let next = waiting.remove(next);
            if is_placed(&next.name) {
                return Err(AlarmsError::Twice(next.name));
            }
            alarms.push(next);
        }
    }

    /// The alarms, each after all that it looks at.
    #[must_use]
    pub fn all(&self) -> &[Alarm] {
        &self.alarms
    }

    /// How the states change, minute by minute, from `INSUFFICIENT_DATA` at `from`. Metric data of before counts too; what
    /// comes late counts from then on.
    #[must_use]
    pub fn evaluate(&self, metrics: &Metrics, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Transition> {
        let minutes = minute(from)..=minute(to);
        let index: BTreeMap<&str, usize> = self.alarms.iter().map(|alarm| alarm.name.as_str()).zip(0..).collect();
        let watches: Vec<_> =
            self.alarms.iter().map(|alarm| Watch::new(alarm, metrics, *minutes.start(), *minutes.end())).collect();
        let mut states = vec![State::InsufficientData; watches.len()];
        let mut transitions = Vec::new();
        for (step, minute) in minutes.enumerate() {
            for (number, watch) in watches.iter().enumerate() {
                let from = states[number];
                let to = match watch {
                    Watch::Metric(watch) => watch.next(from, step, minute),
                    Watch::Composite(rule) if rule.holds(&|name| states[index[name]]) => State::Alarm,
                    Watch::Composite(_) => State::Ok,
                };
                if from != to {
                    let at = DateTime::from_timestamp(minute * 60, 0).unwrap_or_default();
                    transitions.push(Transition { at, alarm: self.alarms[number].name.clone(), from, to });
                    states[number] = to;
                }
            }
        }
        transitions
    }
}

/// An alarm, and what it watches in a stretch of time.
enum Watch<'a> {
    Metric(MetricWatch<'a>),
    Composite(&'a composite::Rule),
}

/// A period's values are read once for each minute that it can end with, since a window of periods slides by the minute;
/// and for each minute in which more data may still come.
struct MetricWatch<'a> {
    alarm: &'a MetricAlarm,
    /// What is compared to the threshold.
    values: Seen,
    /// How many samples the first metric's periods have; read only where it matters.
    counts: Option<Seen>,
    /// A period, in minutes.
    period: usize,
}

/// A value, by how many minutes after a period's end it is looked at, then by the minute that the period ends with.
/// The first of those is of the oldest period in the evaluation range. What is older than the oldest age changes no more.
struct Seen(Vec<Vec<Option<f64>>>);

impl Seen {
    fn at(&self, end: usize, age: usize) -> Option<f64> {
        self.0[age.min(self.0.len() - 1)][end]
    }
}

impl<'a> Watch<'a> {
    fn new(alarm: &'a Alarm, metrics: &Metrics, first: i64, last: i64) -> Self {
        let alarm = match &alarm.kind {
            Kind::Composite(rule) => return Self::Composite(rule),
            Kind::Metric(alarm) => &**alarm,
        };
        let minutes = i64::from(alarm.period_minutes);
        let older = (1..alarm.rule.evaluation_range()).fold(first, |oldest, _| oldest - minutes);
        let ages = || 0..=metrics.settles_after();
        let read = |metric, stat, age| metrics.at_each(metric, stat, minutes, age, older..=last);
        let values = ages().map(|age| {
            let of_each: Vec<_> = alarm.metrics.iter().map(|(metric, stat)| read(metric, *stat, age)).collect();
            let ends = 0..usize::try_from(last - older + 1).unwrap_or_default();
            ends.map(|end| alarm.expression.value(&|metric| of_each[metric][end])).collect()
        });
        let values = Seen(values.collect());
        let counted = alarm.metrics.first().filter(|_| alarm.samples_needed.is_some());
        let counts = counted.map(|(metric, _)| Seen(ages().map(|age| read(metric, Stat::SampleCount, age)).collect()));
        Self::Metric(MetricWatch { alarm, values, counts, period: alarm.period_minutes as usize })
    }
}

impl MetricWatch<'_> {
    /// The state at a minute, the `step`th of the stretch.
    fn next(&self, state: State, step: usize, minute: i64) -> State {
        let MetricAlarm { rule, samples_needed, .. } = self.alarm;
        let is_long = self.period * rule.evaluation_periods > DAY;
        if is_long && minute % 60 != 0 {
            return state;
        }
        let range = rule.evaluation_range();
        // The first period of the range ends with the minute `step` of the values, and each later one a period later; the
        // last one ends now.
        let seen =
            |values: &Seen, period: usize| values.at(step + period * self.period, (range - 1 - period) * self.period);
        if let (Some(needed), Some(counts)) = (samples_needed, &self.counts) {
            let counts = (range - rule.evaluation_periods..range).filter_map(|period| seen(counts, period));
            if counts.sum::<f64>() < *needed {
                return state;
            }
        }
        let datapoints: Vec<_> = (0..range).map(|period| seen(&self.values, period)).collect();
        rule.next(state, &datapoints)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::State::{Alarm, InsufficientData, Ok};
    use super::*;

    const TEMPLATE: &str = r#"
Resources:
  Failures:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: ConfigAudit
      MetricName: Failed
      Statistic: Sum
      Period: 120
      EvaluationPeriods: 3
      DatapointsToAlarm: 2
      Threshold: 0
      ComparisonOperator: GreaterThanThreshold
      TreatMissingData: notBreaching
  Silence:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Metrics:
        - { Id: work, Expression: "written + FILL(failed, 0)" }
        - Id: written
          ReturnData: false
          MetricStat: { Metric: { Namespace: ConfigAudit, MetricName: Written }, Period: 60, Stat: SampleCount }
        - Id: failed
          ReturnData: false
          MetricStat: { Metric: { Namespace: ConfigAudit, MetricName: Failed }, Period: 60, Stat: Sum }
      EvaluationPeriods: 2
      Threshold: 1
      ComparisonOperator: LessThanThreshold
  Page:
    Type: AWS::CloudWatch::CompositeAlarm
    Properties: { AlarmRule: !Sub "ALARM(${Ticket}) AND NOT OK(${Silence})" }
  Ticket:
    Type: AWS::CloudWatch::CompositeAlarm
    Properties: { AlarmRule: !Sub "ALARM(${Failures}) OR ALARM(${Silence})" }
"#;

    fn alarms(text: &str) -> Result<Alarms, AlarmsError> {
        Alarms::read(&[("alarms.yml", text)], &|_| None)
    }

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_040 + minute * 60, 0).unwrap()
    }

    fn metrics(name: &str, samples: &[(i64, f64)]) -> Metrics {
        let mut metrics = Metrics::default();
        for (minute, value) in samples {
            metrics.add(&Metric::new("ConfigAudit", name, &[]), at(*minute), at(*minute), *value);
        }
        metrics
    }

    /// Of one alarm, with the minutes.
    fn changes(alarms: &Alarms, alarm: &str, metrics: &Metrics, last: i64) -> Vec<(i64, State)> {
        let transitions = alarms.evaluate(metrics, at(0), at(last));
        let of_alarm = transitions.into_iter().filter(|transition| transition.alarm == alarm);
        of_alarm.map(|transition| ((transition.at - at(0)).num_minutes(), transition.to)).collect()
    }

    #[test]
    fn an_alarm_is_evaluated_every_minute_on_periods_that_slide() {
        let alarms = alarms(TEMPLATE).unwrap();
        let metrics = metrics("Failed", &[(10, 1.0), (13, 1.0)]);
        // With 14 both failures are in periods that are over. The five periods that are read go back ten minutes, and
        // with 21 the first failure is older.
        assert_eq!(changes(&alarms, "Failures", &metrics, 40), [(0, Ok), (14, Alarm), (21, Ok)]);
    }

    #[test]
    fn what_comes_late_is_judged_when_it_has_come() {
        let alarms = alarms(TEMPLATE).unwrap();
        let mut metrics = Metrics::default();
        for (minute, arrived) in [(10, 10), (13, 17)] {
            metrics.add(&Metric::new("ConfigAudit", "Failed", &[]), at(minute), at(arrived), 1.0);
        }
        assert_eq!(changes(&alarms, "Failures", &metrics, 40), [(0, Ok), (18, Alarm), (21, Ok)]);
    }

    #[test]
    fn composite_alarms_follow_in_the_same_minute() {
        let alarms = alarms(TEMPLATE).unwrap();
        let names: Vec<_> = alarms.all().iter().map(|alarm| alarm.name.as_str()).collect();
        assert_eq!(names, ["Failures", "Silence", "Ticket", "Page"]);
        let metrics = metrics("Failed", &[(10, 1.0), (13, 1.0)]);
        let silence = [(0, Alarm), (11, Ok), (13, Alarm), (14, Ok), (16, Alarm)];
        assert_eq!(changes(&alarms, "Silence", &metrics, 40), silence);
        // Failures is in ALARM from 14 to 20.
        assert_eq!(changes(&alarms, "Ticket", &metrics, 40), [(0, Alarm), (11, Ok), (13, Alarm)]);
        assert_eq!(changes(&alarms, "Page", &metrics, 40), [(0, Alarm), (11, Ok), (13, Alarm), (14, Ok), (16, Alarm)]);
    }

    #[test]
    fn data_of_before_the_first_minute_counts() {
        let alarms = alarms(TEMPLATE).unwrap();
        let metrics = metrics("Failed", &[(-1, 1.0), (-3, 1.0)]);
        assert_eq!(changes(&alarms, "Failures", &metrics, 0), [(0, Alarm)]);
    }

    #[test]
    fn an_alarm_over_more_than_a_day_is_evaluated_on_the_hour() {
        let text =
            TEMPLATE.replace("Period: 120", "Period: 43200").replace("DatapointsToAlarm: 2", "DatapointsToAlarm: 1");
        let metrics = metrics("Failed", &[(100, 1.0)]);
        let changes = changes(&alarms(&text).unwrap(), "Failures", &metrics, 300);
        assert_eq!(changes.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [Ok, Alarm]);
        for (minute, _) in changes {
            assert_eq!(at(minute).timestamp() % 3600, 0);
        }
    }

    #[test]
    fn a_percentile_of_too_few_samples_changes_nothing_if_it_shall_not() {
        let text = |low| {
            let stat = format!("ExtendedStatistic: p90\n      EvaluateLowSampleCountPercentile: {low}");
            TEMPLATE.replace("Statistic: Sum", &stat)
        };
        let mut samples = vec![(5, 1.0); 20];
        samples.extend([(7, 1.0); 79]);
        let few = metrics("Failed", &samples);
        samples.push((8, 1.0));
        let enough = metrics("Failed", &samples);
        assert_eq!(changes(&alarms(&text("evaluate")).unwrap(), "Failures", &few, 9), [(0, Ok), (8, Alarm)]);
        assert_eq!(changes(&alarms(&text("ignore")).unwrap(), "Failures", &few, 9), []);
        assert_eq!(changes(&alarms(&text("ignore")).unwrap(), "Failures", &enough, 9), [(9, Alarm)]);
    }

    #[test]
    fn composite_alarms_that_cannot_be_settled_are_refused() {
        let refused = |change: (&str, &str)| alarms(&TEMPLATE.replace(change.0, change.1)).unwrap_err().to_string();
        let tail = "which is no alarm of these templates, or looks at";
        assert_eq!(
            refused(("ALARM(${Failures})", "ALARM(${Page})")),
            format!("Page looks at Ticket, {tail} Page in turn")
        );
        assert_eq!(refused(("ALARM(${Ticket})", "ALARM(x)")), format!("Page looks at x, {tail} Page in turn"));
        assert_eq!(
            refused(("    Properties:\n      Namespace", "    Properties:\n      AlarmName: Silence\n      Namespace")),
            "two alarms are called Silence"
        );
        assert!(refused(("Period: 120", "Period: x")).starts_with("alarms.yml, Failures: Properties: `x`: "));
    }

    proptest! {
        #[test]
        fn data_that_comes_later_by_any_minutes_changes_states_later_by_as_many(
            samples in prop::collection::vec((0_i64..30, 0_u8..3), 0..30), later in 0_i64..100,
        ) {
            let alarms = alarms(TEMPLATE).unwrap();
            let evaluate = |later: i64| {
                let samples: Vec<_> = samples.iter().map(|(at, value)| (at + later, f64::from(*value))).collect();
                let transitions = alarms.evaluate(&metrics("Failed", &samples), at(later), at(later + 40));
                let relative = |transition: Transition| (transition.at - at(later), transition.alarm, transition.to);
                transitions.into_iter().map(relative).collect::<Vec<_>>()
            };
            prop_assert_eq!(evaluate(0), evaluate(later));
        }

        #[test]
        fn an_alarm_in_a_minute_is_the_same_however_long_before_it_was_evaluated(
            samples in prop::collection::vec((0_i64..60, 0_u8..3), 0..30), from in 0_i64..30,
        ) {
            // Not so with ignore, the one setting that remembers.
            let alarms = alarms(TEMPLATE).unwrap();
            let samples: Vec<_> = samples.iter().map(|(at, value)| (*at, f64::from(*value))).collect();
            let last = |from: i64| {
                let transitions = alarms.evaluate(&metrics("Failed", &samples), at(from), at(60));
                let states: BTreeMap<_, _> = transitions.into_iter().map(|change| (change.alarm, change.to)).collect();
                let state = |alarm: &super::Alarm| states.get(&alarm.name).copied().unwrap_or(InsufficientData);
                alarms.all().iter().map(state).collect::<Vec<_>>()
            };
            prop_assert_eq!(last(0), last(from));
        }
    }
}
