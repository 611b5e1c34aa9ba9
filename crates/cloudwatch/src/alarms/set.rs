//! The alarms of a deployment, which may watch each other.

use chrono::{DateTime, Utc};

use super::definition::{Alarm, Kind};
use super::evaluation::{self, Transition};
use super::parse;
use super::rule::State;
use crate::metrics::Metrics;
use crate::template::{File, Resolve, TemplateError};

/// All alarms of a deployment.
#[derive(Debug, Clone)]
pub struct Alarms {
    /// Each after all alarms that it watches.
    alarms: Vec<Alarm>,
}

/// Alarms that cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlarmsError {
    /// A template is not valid, or uses something that is not supported here.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Two alarms have the same name. CloudWatch would keep one of them.
    #[error("two alarms have the name {0}")]
    DuplicateName(String),
    /// A composite alarm watches an alarm that does not exist, or two watch each other.
    #[error("{alarm} watches {other}, which is not an alarm of these templates or watches {alarm} in turn")]
    Order {
        /// The composite alarm's name.
        alarm: String,
        /// The other alarm's name.
        other: String,
    },
}

impl Alarms {
    /// Reads the alarms of these files, which together are one template. `resolve` gives the values of names in them.
    ///
    /// # Errors
    ///
    /// Says which resource of which file is wrong, or which composite alarm cannot be evaluated.
    pub fn read(files: &[File], resolve: Resolve) -> Result<Self, AlarmsError> {
        let mut waiting = parse::read(files, resolve)?;
        let mut alarms: Vec<Alarm> = Vec::new();
        loop {
            let is_placed = |name: &str| alarms.iter().any(|alarm| alarm.name == name);
            let awaits = |alarm: &Alarm| match &alarm.kind {
                Kind::Metric(_) => None,
                Kind::Composite(rule) => rule.alarms().into_iter().find(|name| !is_placed(name)).map(ToOwned::to_owned),
            };
            let Some(next) = waiting.iter().position(|alarm| awaits(alarm).is_none()) else {
                // The cause is the alarm that watches a missing one, not the alarms that watch it in turn.
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
                return Err(AlarmsError::DuplicateName(next.name));
            }
            alarms.push(next);
        }
    }

    /// The alarms, each after all alarms that it watches.
    #[must_use]
    pub fn all(&self) -> &[Alarm] {
        &self.alarms
    }

    /// How the states change, minute by minute, from `INSUFFICIENT_DATA` at `from`. Metric data from before `from` counts
    /// too; data that arrives late counts from when it arrives.
    #[must_use]
    pub fn evaluate(&self, metrics: &Metrics, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Transition> {
        self.advance(&mut vec![State::InsufficientData; self.alarms.len()], metrics, from, to)
    }

    /// Like [`Self::evaluate`], but from these states, one for each alarm, which become those at `to`. So an evaluation
    /// can continue after older metric data has been dropped.
    #[must_use]
    pub fn advance(
        &self,
        states: &mut [State],
        metrics: &Metrics,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Vec<Transition> {
        evaluation::advance(&self.alarms, states, metrics, from, to)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::alarms::rule::State::{Alarm, InsufficientData, Ok};
    use crate::metrics::Metric;

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

    /// The changes of one alarm, by minute.
    fn changes(alarms: &Alarms, alarm: &str, metrics: &Metrics, last: i64) -> Vec<(i64, State)> {
        let transitions = alarms.evaluate(metrics, at(0), at(last));
        let of_alarm = transitions.into_iter().filter(|transition| transition.alarm == alarm);
        of_alarm.map(|transition| ((transition.at - at(0)).num_minutes(), transition.to)).collect()
    }

    #[test]
    fn an_alarm_is_evaluated_every_minute_on_periods_that_slide() {
        let alarms = alarms(TEMPLATE).unwrap();
        let metrics = metrics("Failed", &[(10, 1.0), (13, 1.0)]);
        // At minute 14 both failures are in periods that have ended. CloudWatch reads five periods, ten minutes; at minute
        // 21 the first failure is older than that.
        assert_eq!(changes(&alarms, "Failures", &metrics, 40), [(0, Ok), (14, Alarm), (21, Ok)]);
    }

    #[test]
    fn data_that_arrives_late_is_evaluated_when_it_has_arrived() {
        let alarms = alarms(TEMPLATE).unwrap();
        let mut metrics = Metrics::default();
        for (minute, arrived) in [(10, 10), (13, 17)] {
            metrics.add(&Metric::new("ConfigAudit", "Failed", &[]), at(minute), at(arrived), 1.0);
        }
        assert_eq!(changes(&alarms, "Failures", &metrics, 40), [(0, Ok), (18, Alarm), (21, Ok)]);
    }

    #[test]
    fn composite_alarms_change_in_the_same_minute() {
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
    fn data_from_before_the_first_minute_counts() {
        let alarms = alarms(TEMPLATE).unwrap();
        let metrics = metrics("Failed", &[(-1, 1.0), (-3, 1.0)]);
        assert_eq!(changes(&alarms, "Failures", &metrics, 0), [(0, Alarm)]);
    }

    #[test]
    fn the_datapoints_behind_a_state_end_now_and_a_period_without_data_has_none() {
        let alarms = alarms(TEMPLATE).unwrap();
        let Kind::Metric(alarm) = &alarms.all()[0].kind else { panic!("not a metric alarm") };
        let metrics = metrics("Failed", &[(9, 2.0), (10, 1.0), (13, 1.0)]);
        let points = alarm.datapoints(&metrics, at(14), 4);
        assert_eq!(points, [(at(8), None), (at(10), Some(2.0)), (at(12), Some(1.0)), (at(14), Some(1.0))]);
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
    fn a_percentile_of_too_few_samples_does_not_change_the_state_with_ignore() {
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
    fn composite_alarms_that_cannot_be_evaluated_are_rejected() {
        let rejected = |change: (&str, &str)| alarms(&TEMPLATE.replace(change.0, change.1)).unwrap_err().to_string();
        let tail = "which is not an alarm of these templates or watches";
        assert_eq!(
            rejected(("ALARM(${Failures})", "ALARM(${Page})")),
            format!("Page watches Ticket, {tail} Page in turn")
        );
        assert_eq!(rejected(("ALARM(${Ticket})", "ALARM(x)")), format!("Page watches x, {tail} Page in turn"));
        assert_eq!(
            rejected((
                "    Properties:\n      Namespace",
                "    Properties:\n      AlarmName: Silence\n      Namespace"
            )),
            "two alarms have the name Silence"
        );
        assert!(rejected(("Period: 120", "Period: x")).starts_with("alarms.yml, Failures: Properties: `x`: "));
    }

    proptest! {
        #[test]
        fn the_same_data_later_changes_the_states_as_much_later(
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
        fn an_evaluation_that_goes_on_ends_as_one_without_a_break(
            samples in prop::collection::vec((0_i64..60, 0_u8..3), 0..30), break_at in 0_i64..59,
        ) {
            let alarms = alarms(TEMPLATE).unwrap();
            let samples: Vec<_> = samples.iter().map(|(at, value)| (*at, f64::from(*value))).collect();
            let metrics = metrics("Failed", &samples);
            let mut states = vec![InsufficientData; alarms.all().len()];
            let mut parts = alarms.advance(&mut states, &metrics, at(0), at(break_at));
            parts.extend(alarms.advance(&mut states, &metrics, at(break_at + 1), at(60)));
            prop_assert_eq!(parts, alarms.evaluate(&metrics, at(0), at(60)));
        }

        #[test]
        fn a_state_does_not_depend_on_when_the_evaluation_began(
            samples in prop::collection::vec((0_i64..60, 0_u8..3), 0..30), from in 0_i64..30,
        ) {
            // With `ignore` it would: that setting keeps the previous state.
            let alarms = alarms(TEMPLATE).unwrap();
            let samples: Vec<_> = samples.iter().map(|(at, value)| (*at, f64::from(*value))).collect();
            let last = |from: i64| {
                let transitions = alarms.evaluate(&metrics("Failed", &samples), at(from), at(60));
                let states: BTreeMap<_, _> = transitions.into_iter().map(|change| (change.alarm, change.to)).collect();
                let state = |alarm: &crate::alarms::Alarm| states.get(&alarm.name).copied().unwrap_or(InsufficientData);
                alarms.all().iter().map(state).collect::<Vec<_>>()
            };
            prop_assert_eq!(last(0), last(from));
        }
    }
}
