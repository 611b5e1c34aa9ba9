//! Judges the alarms' behaviour during simulated faults.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use config_audit_cloudwatch::alarms::{Alarm, Alarms, Kind, Promise, State, Transition, runbook_name};
use config_audit_cloudwatch::units::count;
use config_audit_faults::case::{Expected, FaultCase, Severity, Since};
use config_audit_faults::catalog::{self, UnknownFault};
use config_audit_faults::month::Month;
use config_audit_faults::trial::{Cadence, Rate, Trial};
use config_audit_faults::{DeployedAlarms, LATE_MINUTES, Loss, Playback, PlayedCase, minute_of, play_all, time};
use config_audit_simulator::scenario::Millis;

use super::outcome::{CheckedFault, FiredAlarm, HealthyMonth, Outcome};
use crate::files::{ReadAlarmsError, read, read_alarms};
use crate::terminal::WriteError;

/// The topic of the alarms that page.
const PAGE_TOPIC: &str = "PageTopic";
/// A record audited later than this is late (alarms/freshness.yml).
const LATE: Duration = Duration::from_mins(LATE_MINUTES);
/// A healthy month must have at least this many changes, or it proves nothing.
fn min_changes_in_a_month(rate: Rate) -> u64 {
    match rate {
        Rate::Quiet => 90,
        Rate::Usual => 25_000,
        Rate::Bulk => 75_000,
    }
}

/// Why the alarms cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The alarms.
    #[error(transparent)]
    Alarms(#[from] ReadAlarmsError),
    /// The fault that was asked for.
    #[error(transparent)]
    Fault(#[from] UnknownFault),
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
}

/// The deployed alarms, and how fast each must fire.
#[derive(Debug)]
pub struct AlarmCheck {
    alarms: DeployedAlarms,
    /// By alarm ID; `None` if there is no runbook, or it does not promise a time.
    promised: BTreeMap<String, Option<Promise>>,
}

/// What was played.
pub struct Played {
    faults: Vec<PlayedCase>,
    /// None if only some faults are played.
    healthy_months: Vec<(Month, Playback)>,
}

impl AlarmCheck {
    /// Reads the alarms' templates and their runbooks.
    ///
    /// # Errors
    /// When a template cannot be read, or an alarm in it is not valid.
    pub fn read(templates: &Path, runbooks: &Path) -> Result<Self, ReadAlarmsError> {
        let alarms = read_alarms(templates)?;
        let promised = alarms.all.all().iter().map(|alarm| {
            let file = runbooks.join(format!("{}.md", runbook_name(&alarm.id)));
            // Another test compares the files with the alarms. A missing runbook makes no promise here.
            let runbook = read(&file).unwrap_or_default();
            (alarm.id.clone(), Promise::read(&runbook))
        });
        let promised = promised.collect();
        Ok(Self { alarms, promised })
    }

    /// The alarms.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.alarms.all
    }

    /// Plays the faults with this name, or all faults and the healthy months; the faults at each rate and with each
    /// cadence. Calls `played` after each with the number done and the total.
    ///
    /// # Errors
    /// When there is no fault with this name.
    pub fn play(&self, fault: Option<&str>, played: impl Fn(usize, usize) + Sync) -> Result<Played, UnknownFault> {
        let (mut cases, mut months) = (Vec::new(), &[][..]);
        for trial in Trial::all() {
            if let Some(name) = fault {
                cases.extend(catalog::named(name, trial)?);
            } else {
                cases.extend(catalog::all(trial));
                months = &Month::ALL;
            }
        }
        let (faults, healthy_months) = play_all(&self.alarms, cases, months, played);
        Ok(Played { faults, healthy_months })
    }

    /// Judges what was played.
    #[must_use]
    pub fn judge(&self, played: &Played) -> Outcome {
        let mut problems = Vec::new();
        let faults = played.faults.iter().map(|played| self.judge_fault(played, &mut problems)).collect();
        let months = played.healthy_months.iter();
        let healthy_months: Vec<_> =
            months.map(|(month, playback)| self.judge_month(*month, playback, &mut problems)).collect();
        if !healthy_months.is_empty() {
            let is_expected = |alarm: &Alarm| {
                let mut expected = played.faults.iter().flat_map(|played| &played.case.expected);
                expected.any(|expected| expected.alarm == alarm.id)
            };
            let own = self.alarms().all().iter().filter(|alarm| !is_for_others(alarm));
            problems
                .extend(own.filter(|alarm| !is_expected(alarm)).map(|alarm| format!("no fault needs {}", alarm.id)));
        }
        Outcome { faults, healthy_months, problems }
    }

    fn judge_month(&self, month: Month, playback: &Playback, problems: &mut Vec<String>) -> HealthyMonth {
        let name = format!("the healthy month, {}", month.words());
        problems.extend(playback.violations.iter().map(|problem| format!("{name}: {problem}")));
        if month.rate != Rate::Quiet {
            problems.extend(playback.missing.iter().map(|problem| format!("{name}: {problem}")));
        }
        let (changes, lost) = (playback.tally.changes, playback.loss());
        if changes < min_changes_in_a_month(month.rate) || lost != Loss::NONE {
            problems.push(format!("{name}, was not healthy: {changes} changes, lost: {lost}"));
        }
        let (mut pages, mut notifications) = (Vec::new(), Vec::new());
        for (alarm, at) in self.fired(&playback.transitions) {
            let what = format!("{}, day {}", alarm.id, at / (24 * 60) + 1);
            match self.severity(alarm) {
                Severity::Page => pages.push(what),
                Severity::Notify => notifications.push(what),
            }
        }
        problems.extend(pages.iter().map(|what| format!("{name}, paged: {what}")));
        HealthyMonth { month, changes, pages, notifications }
    }

    fn judge_fault(&self, PlayedCase { case, playback }: &PlayedCase, problems: &mut Vec<String>) -> CheckedFault {
        let trial = case.trial;
        let mut problem = |what: String| problems.push(format!("{} ({}): {what}", case.name, trial.words()));
        let begins = minutes(case.seen);
        let mut fired: Vec<FiredAlarm> = Vec::new();
        let mut pages: Vec<(&Alarm, i64)> = Vec::new();
        for (alarm, at) in self.fired(&playback.transitions) {
            let (id, after_minutes) = (&alarm.id, at - begins);
            if after_minutes < 0 {
                problem(format!("{id} fired before the fault began"));
                continue;
            }
            if is_paging(alarm) {
                pages.push((alarm, at));
            }
            // Composite alarms only page for other alarms.
            if !is_for_others(alarm) && !fired.iter().any(|fired| fired.alarm == *id) {
                let expected = case.expected.iter().find(|expected| expected.alarm == id);
                let is_expected = expected.is_some();
                if !is_expected && !case.may_follow.contains(&id.as_str()) {
                    problem(format!("{id} fired unexpectedly after {after_minutes} min"));
                }
                let is_immediate = expected.is_some_and(|expected| matches!(expected.since, Since::Fault));
                let promised_minutes = self.promise(id, trial).filter(|_| is_immediate);
                let (alarm, severity) = (id.clone(), self.severity(alarm));
                fired.push(FiredAlarm { alarm, severity, after_minutes, is_expected, promised_minutes });
            }
        }
        for expected in &case.expected {
            let found = fired.iter().find(|fired| fired.alarm == expected.alarm);
            self.judge_expected(expected, found, case, playback).into_iter().for_each(&mut problem);
        }
        for paging in self.alarms().all().iter().filter(|alarm| is_paging(alarm)) {
            let is_cause =
                |fired: &&FiredAlarm| fired.alarm == paging.id || watches(paging, &fired.alarm, self.alarms());
            let causes = fired.iter().filter(is_cause);
            let first_cause = causes.map(|fired| begins + fired.after_minutes).min();
            let times: Vec<i64> = pages.iter().filter(|(alarm, _)| alarm.id == paging.id).map(|(_, at)| *at).collect();
            self.judge_pages(paging, first_cause, &times, case).into_iter().for_each(&mut problem);
        }
        self.judge_end(case, playback).into_iter().for_each(&mut problem);
        let missing = playback.missing.iter().filter(|_| case.unseen.is_none());
        playback.violations.iter().chain(missing).for_each(|what| problem(what.clone()));
        let pages = pages.into_iter().map(|(_, at)| at - begins).collect();
        let (fault, unseen, unattended) = (case.name.to_owned(), case.unseen, playback.loss().to_string());
        CheckedFault { fault, trial, fired, pages, unseen, unattended }
    }

    /// An expected alarm must fire within the time that its runbook promises, with the right severity.
    fn judge_expected(
        &self,
        Expected { alarm, severity, since }: &Expected,
        fired: Option<&FiredAlarm>,
        case: &FaultCase,
        playback: &Playback,
    ) -> Vec<String> {
        let begins = minutes(case.seen);
        let since = match since {
            Since::Fault => Some(begins),
            Since::First(metric, least) => {
                playback.metrics.at_least(metric, *least).first().map(|(at, _)| minute_of(*at))
            }
            Since::ThirdLate => {
                let late = playback.metrics.at_least("AuditLag", LATE.as_secs_f64() * 1e3);
                late.get(2).map(|(at, _)| minute_of(*at))
            }
        };
        match (self.promised.get(*alarm), since, fired) {
            (None, ..) => vec![format!("{alarm} must fire, but there is no such alarm")],
            (Some(None), ..) => vec![no_promise(alarm)],
            (_, None, _) => vec![format!("the condition that {alarm} watches for did not occur")],
            (_, _, None) => vec![format!("{alarm} did not fire")],
            (Some(Some(promised)), Some(since), Some(fired)) => {
                let promised = of_trial(*promised, case.trial);
                let mut problems = Vec::new();
                let took = begins + fired.after_minutes - since;
                if !(0..=promised).contains(&took) {
                    problems.push(format!("{alarm} fired after {took} min; its runbook promises {promised} min"));
                }
                if fired.severity != *severity {
                    let (is, must) = (fired.severity.as_str(), severity.as_str());
                    problems.push(format!("{alarm} has severity {is} instead of {must}"));
                }
                problems
            }
        }
    }

    /// A paging alarm must page once each time the fault occurs, soon after the first alarm that it watches.
    fn judge_pages(&self, paging: &Alarm, first_cause: Option<i64>, times: &[i64], case: &FaultCase) -> Vec<String> {
        let mut problems = Vec::new();
        let (id, paged) = (&paging.id, times.len());
        let expected = match case.pages {
            _ if first_cause.is_none() => Some(0),
            None if paged == 0 => Some(1),
            as_often_as_it_comes => as_often_as_it_comes,
        };
        if let Some(expected) = expected.filter(|expected| paged != *expected) {
            problems.push(format!("{id} paged {} instead of {expected}", count(paged, "time", "times")));
        }
        if let (Some(first_cause), Some(first_page)) = (first_cause, times.first()) {
            let took = first_page - first_cause;
            match self.promise(id, case.trial) {
                // It pages directly.
                _ if took == 0 => {}
                None => problems.push(no_promise(id)),
                Some(promised) if (0..=promised).contains(&took) => {}
                Some(promised) => problems.push(format!(
                    "{id} paged {took} min after the first alarm that it watches; its runbook promises {promised} min"
                )),
            }
        }
        problems
    }

    /// Alarms that must stay in ALARM until the fault ends must still be in ALARM then.
    fn judge_end(&self, case: &FaultCase, playback: &Playback) -> Vec<String> {
        let ends = case.scenario.fault_windows.iter().map(|window| window.to).max();
        let ends = time(ends.unwrap_or_else(|| case.scenario.end()));
        let mut problems = Vec::new();
        for alarm in self.alarms().all().iter().filter(|alarm| case.stay_on.contains(&alarm.id.as_str())) {
            let state = playback.state_at(&alarm.name, ends);
            if state != State::Alarm {
                problems.push(format!("{} was {state} when the fault ended", alarm.id));
            }
        }
        problems
    }

    /// The alarms that fired and notify, with the minute.
    fn fired<'a>(&'a self, transitions: &'a [Transition]) -> impl Iterator<Item = (&'a Alarm, i64)> {
        transitions.iter().filter(|transition| transition.to == State::Alarm).filter_map(|transition| {
            let alarm = self.alarms().all().iter().find(|alarm| alarm.name == transition.alarm)?;
            (!alarm.alarm_actions.is_empty()).then_some((alarm, minute_of(transition.at)))
        })
    }

    /// An alarm wakes someone if it pages, or an alarm that pages watches it.
    fn severity(&self, alarm: &Alarm) -> Severity {
        let mut paging = self.alarms().all().iter().filter(|alarm| is_paging(alarm));
        let pages = paging.any(|paging| paging.id == alarm.id || watches(paging, &alarm.id, self.alarms()));
        if pages { Severity::Page } else { Severity::Notify }
    }

    /// The time in minutes that an alarm's runbook promises.
    fn promise(&self, id: &str, trial: Trial) -> Option<i64> {
        Some(of_trial(self.promised.get(id).copied().flatten()?, trial))
    }
}

/// The promise for a trial, in minutes.
fn of_trial(promise: Promise, trial: Trial) -> i64 {
    if trial.cadence == Cadence::TenMinutes { promise.slow } else { promise.usual }
}

fn is_paging(alarm: &Alarm) -> bool {
    alarm.alarm_actions.iter().any(|topic| topic == PAGE_TOPIC)
}

/// Whether it only pages for other alarms.
fn is_for_others(alarm: &Alarm) -> bool {
    alarm.alarm_actions.iter().all(|topic| topic == PAGE_TOPIC)
}

/// Whether the alarm with this ID can make a composite alarm fire.
fn watches(composite: &Alarm, id: &str, alarms: &Alarms) -> bool {
    let name = alarms.all().iter().find(|alarm| alarm.id == id).map(|alarm| alarm.name.as_str());
    match &composite.kind {
        Kind::Composite(rule) => name.is_some_and(|name| rule.causes().contains(&name)),
        Kind::Metric(_) => false,
    }
}

fn no_promise(alarm: &str) -> String {
    format!("{alarm} has no runbook with a line such as \"Fires within: 5 minutes\"")
}

fn minutes(at: Millis) -> i64 {
    i64::try_from(at / 60_000).unwrap_or(i64::MAX)
}
