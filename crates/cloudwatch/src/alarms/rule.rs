//! The state of a metric alarm, from its previous state and the newest datapoints.
//!
//! CloudWatch reads more periods than `EvaluationPeriods`, so that late or missing datapoints matter less. AWS documents the
//! number for one example only: five for three. The assumption here is that it is always two more than `EvaluationPeriods`.
//!
//! The tables that AWS publishes today leave out one case: all datapoints that exist breach, but they are too new
//! (`- - - - X` where three of three must breach). The text beside the tables says that this is not an `ALARM` yet. An
//! earlier edition had a row for it, which is what is implemented here: with `missing` the state is `INSUFFICIENT_DATA`,
//! and `ignore` keeps the state.

use std::fmt;
use std::str::FromStr;

/// The state of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Within the threshold.
    Ok,
    /// Outside the threshold.
    Alarm,
    /// There is too little data. Every alarm starts in this state.
    InsufficientData,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        })
    }
}

/// `TreatMissingData`: what a missing datapoint counts as when there are too few real ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingData {
    /// It does not count; if all are missing, the state is `INSUFFICIENT_DATA`.
    Missing,
    /// It does not count; if all are missing, the state does not change.
    Ignore,
    /// It counts as breaching.
    Breaching,
    /// It counts as not breaching.
    NotBreaching,
}

impl FromStr for MissingData {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "missing" => Self::Missing,
            "ignore" => Self::Ignore,
            "breaching" => Self::Breaching,
            "notBreaching" => Self::NotBreaching,
            _ => return Err("expected missing, ignore, breaching or notBreaching"),
        })
    }
}

/// `ComparisonOperator`: which values breach the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Those above it.
    GreaterThan,
    /// Those above it, and those equal to it.
    GreaterThanOrEqualTo,
    /// Those below it.
    LessThan,
    /// Those below it, and those equal to it.
    LessThanOrEqualTo,
}

impl FromStr for Comparison {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "GreaterThanThreshold" => Self::GreaterThan,
            "GreaterThanOrEqualToThreshold" => Self::GreaterThanOrEqualTo,
            "LessThanThreshold" => Self::LessThan,
            "LessThanOrEqualToThreshold" => Self::LessThanOrEqualTo,
            _ => {
                return Err("expected GreaterThanThreshold, GreaterThanOrEqualToThreshold, LessThanThreshold or \
                            LessThanOrEqualToThreshold (anomaly detection is not supported)");
            }
        })
    }
}

/// When a metric alarm is in `ALARM`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThresholdRule {
    /// `EvaluationPeriods`, N: how many datapoints are evaluated.
    pub evaluation_periods: usize,
    /// `DatapointsToAlarm`, M: how many of them must breach; from one to N.
    pub datapoints_to_alarm: usize,
    /// `ComparisonOperator`.
    pub comparison: Comparison,
    /// `Threshold`.
    pub threshold: f64,
    /// `TreatMissingData`.
    pub missing_data: MissingData,
}

impl ThresholdRule {
    /// How many periods CloudWatch reads to find enough datapoints to evaluate.
    #[must_use]
    pub fn evaluation_range(&self) -> usize {
        self.evaluation_periods + 2
    }

    /// The state that follows `state`, given the datapoints of the evaluation range, oldest first.
    #[must_use]
    pub fn next(&self, state: State, datapoints: &[Option<f64>]) -> State {
        let needed = self.datapoints_to_alarm;
        // Newest first, each with the number of periods since it began.
        let real = (1..).zip(datapoints.iter().rev()).filter_map(|(age, value)| Some((age, self.breaches((*value)?))));
        let (mut judged, mut breaching, mut oldest) = (0, 0, 0);
        for (age, breaches) in real.take(self.evaluation_periods) {
            judged += 1;
            breaching += usize::from(breaches);
            oldest = age;
        }
        let shortfall = self.evaluation_periods - judged;
        let judge = |breaching: usize| if breaching >= needed { State::Alarm } else { State::Ok };
        match self.missing_data {
            MissingData::NotBreaching => judge(breaching),
            MissingData::Breaching => judge(breaching + shortfall),
            // The missing datapoints could not change the result, or a datapoint that does not breach settles it.
            _ if shortfall == 0 || breaching >= needed || breaching < judged => judge(breaching),
            MissingData::Ignore => state,
            // All datapoints breach, and the oldest is old enough that AWS no longer considers the alarm premature.
            MissingData::Missing if judged > 0 && oldest >= needed => State::Alarm,
            MissingData::Missing => State::InsufficientData,
        }
    }

    fn breaches(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::GreaterThan => value > self.threshold,
            Comparison::GreaterThanOrEqualTo => value >= self.threshold,
            Comparison::LessThan => value < self.threshold,
            Comparison::LessThanOrEqualTo => value <= self.threshold,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::State::{Alarm, InsufficientData, Ok};
    use super::*;

    const STATES: [State; 3] = [Ok, Alarm, InsufficientData];
    const MISSING_DATA: [MissingData; 4] =
        [MissingData::Missing, MissingData::Ignore, MissingData::Breaching, MissingData::NotBreaching];

    fn rule(needed: usize, periods: usize, missing_data: MissingData) -> ThresholdRule {
        ThresholdRule {
            evaluation_periods: periods,
            datapoints_to_alarm: needed,
            comparison: Comparison::GreaterThan,
            threshold: 0.0,
            missing_data,
        }
    }

    /// In AWS's notation: `X` breaches, `0` does not, `-` is missing; oldest first.
    fn datapoints(text: &str) -> Vec<Option<f64>> {
        let point = |symbol: &str| match symbol {
            "X" => Some(1.0),
            "0" => Some(0.0),
            _ => None,
        };
        text.split(' ').map(point).collect()
    }

    /// `RETAIN` stands for the previous state.
    fn state(text: &str, before: State) -> State {
        [Ok, Alarm, InsufficientData, before]
            .into_iter()
            .find(|state| state.to_string() == text)
            .unwrap_or_else(|| if text == "RETAIN" { before } else { panic!("{text} is not a state") })
    }

    fn check(table: &str) -> usize {
        let mut cells = 0;
        for row in table.trim().lines() {
            let columns: Vec<&str> = row.split('|').map(str::trim).collect();
            let needed = columns[0].parse().unwrap();
            for (missing_data, expected) in MISSING_DATA.into_iter().zip(&columns[2..]) {
                cells += 1;
                for before in STATES {
                    let next = rule(needed, 3, missing_data).next(before, &datapoints(columns[1]));
                    assert_eq!(next, state(expected, before), "{missing_data:?}, {before} before: {row}");
                }
            }
        }
        cells
    }

    /// The two tables of "Configuring how CloudWatch alarms treat missing data", for three evaluation periods. Columns:
    /// datapoints to alarm, the datapoints, and the state for missing, ignore, breaching and notBreaching.
    #[test]
    fn every_cell_of_the_published_tables_holds() {
        let table = "
            3 | 0 - X - X | OK                | OK     | OK    | OK
            3 | 0 - - - - | OK                | OK     | OK    | OK
            3 | - - - - - | INSUFFICIENT_DATA | RETAIN | ALARM | OK
            3 | 0 X X - X | ALARM             | ALARM  | ALARM | ALARM
            3 | - - X - - | ALARM             | RETAIN | ALARM | OK
            2 | 0 - X - X | ALARM             | ALARM  | ALARM | ALARM
            2 | 0 0 X 0 X | ALARM             | ALARM  | ALARM | ALARM
            2 | 0 - X - - | OK                | OK     | ALARM | OK
            2 | - - - - 0 | OK                | OK     | ALARM | OK
            2 | - - - X - | ALARM             | RETAIN | ALARM | OK";
        assert_eq!(check(table), 40);
    }

    /// The rows of an earlier edition, for cases that today's edition leaves out.
    #[test]
    fn a_breach_is_not_an_alarm_while_it_is_too_new() {
        let table = "
            3 | - - - - X | INSUFFICIENT_DATA | RETAIN | ALARM | OK
            2 | - - - - X | INSUFFICIENT_DATA | RETAIN | ALARM | OK
            3 | - - - X - | INSUFFICIENT_DATA | RETAIN | ALARM | OK
            3 | X - - - - | ALARM             | RETAIN | ALARM | OK";
        check(table);
    }

    /// The missing datapoint cannot change that two of three breach, so `ignore` must not hide them.
    #[test]
    fn enough_breaching_datapoints_are_an_alarm_however_new_they_are() {
        check("2 | - - - X X | ALARM | ALARM | ALARM | ALARM");
    }

    #[test]
    fn each_comparison_operator_breaches_on_its_own_side() {
        let breaching = |operator: &str| {
            let rule = ThresholdRule { comparison: operator.parse().unwrap(), ..rule(1, 1, MissingData::Missing) };
            [-1.0, 0.0, 1.0].map(|value| rule.next(Ok, &[Some(value)]) == Alarm)
        };
        assert_eq!(breaching("GreaterThanThreshold"), [false, false, true]);
        assert_eq!(breaching("GreaterThanOrEqualToThreshold"), [false, true, true]);
        assert_eq!(breaching("LessThanThreshold"), [true, false, false]);
        assert_eq!(breaching("LessThanOrEqualToThreshold"), [true, true, false]);
        assert!("GreaterThanUpperThreshold".parse::<Comparison>().is_err());
        assert!("MISSING".parse::<MissingData>().is_err());
    }

    fn any_state() -> impl Strategy<Value = State> {
        prop::sample::select(STATES.to_vec())
    }

    fn any_missing_data() -> impl Strategy<Value = MissingData> {
        prop::sample::select(MISSING_DATA.to_vec())
    }

    /// M, N, and the datapoints of the evaluation range.
    fn any_case() -> impl Strategy<Value = (usize, usize, Vec<Option<f64>>)> {
        let point = prop_oneof![Just(None), Just(Some(0.0)), Just(Some(1.0))];
        (1_usize..6).prop_flat_map(move |periods| {
            (1..=periods, Just(periods), prop::collection::vec(point.clone(), periods + 2))
        })
    }

    proptest! {
        #[test]
        fn with_enough_real_datapoints_missing_ones_and_the_past_play_no_part(
            (needed, periods, points) in any_case(), before in any_state(), missing_data in any_missing_data(),
        ) {
            prop_assume!(points.iter().flatten().count() >= periods);
            let newest: Vec<f64> = points.iter().rev().flatten().take(periods).copied().collect();
            let breaching = newest.iter().filter(|value| **value > 0.0).count();
            let expected = if breaching >= needed { Alarm } else { Ok };
            prop_assert_eq!(rule(needed, periods, missing_data).next(before, &points), expected);
        }

        #[test]
        fn with_no_datapoint_the_setting_alone_decides(needed in 1_usize..6, more in 0_usize..5, before in any_state()) {
            let next = |missing| rule(needed, needed + more, missing).next(before, &vec![None; needed + more + 2]);
            prop_assert_eq!(MISSING_DATA.map(next), [InsufficientData, before, Alarm, Ok]);
        }

        #[test]
        fn not_breaching_alarms_on_real_datapoints_alone((needed, periods, points) in any_case(), before in any_state()) {
            if rule(needed, periods, MissingData::NotBreaching).next(before, &points) == Alarm {
                prop_assert!(points.iter().flatten().filter(|value| **value > 0.0).count() >= needed);
            }
        }

        #[test]
        fn one_more_breaching_datapoint_never_ends_an_alarm(
            (needed, periods, points) in any_case(), index in 0_usize..8, before in any_state(),
            missing_data in any_missing_data(),
        ) {
            let rule = rule(needed, periods, missing_data);
            let mut more = points.clone();
            let index = index % more.len();
            more[index] = Some(1.0);
            prop_assert!(rule.next(before, &points) != Alarm || rule.next(before, &more) == Alarm);
        }

        #[test]
        fn what_alarms_when_more_must_breach_alarms_when_fewer_must(
            (needed, periods, points) in any_case(), before in any_state(), missing_data in any_missing_data(),
        ) {
            prop_assume!(needed > 1);
            let next = |needed| rule(needed, periods, missing_data).next(before, &points);
            prop_assert!(next(needed) != Alarm || next(needed - 1) == Alarm);
        }

        #[test]
        fn breaching_is_the_strictest_setting_and_not_breaching_the_mildest(
            (needed, periods, points) in any_case(), before in prop::sample::select(vec![Ok, InsufficientData]),
        ) {
            let alarms = MISSING_DATA.map(|missing| rule(needed, periods, missing).next(before, &points) == Alarm);
            let [missing, ignore, breaching, not_breaching] = alarms;
            prop_assert!(not_breaching <= ignore && ignore <= missing && missing <= breaching, "{:?}", alarms);
        }

        #[test]
        fn only_ignore_looks_at_the_state_before(
            (needed, periods, points) in any_case(), missing_data in any_missing_data(),
        ) {
            let nexts = STATES.map(|before| rule(needed, periods, missing_data).next(before, &points));
            let same = nexts.iter().all(|next| *next == nexts[0]);
            prop_assert!(same || (missing_data == MissingData::Ignore && nexts == STATES));
        }
    }
}
