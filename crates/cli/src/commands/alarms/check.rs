//! Judges what the alarms did while faults were played.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use config_audit_cloudwatch::alarms::{Alarm, Alarms, Kind, State, Transition};
use config_audit_cloudwatch::units::count;
use config_audit_simulator::scenario::Millis;
use config_audit_simulator::world::Tally;

use super::outcome::{CheckedFault, FiredAlarm, HealthyMonth, Outcome};
use crate::faults::case::{Expected, FaultCase, Severity, Since};
use crate::faults::catalog::{self, UnknownFault};
use crate::faults::{LATE_MINUTES, Playback, PlayedCase, ReadAlarmsError, minute_of, play_all, read_alarms, time};
use crate::files::read;
use crate::terminal::WriteError;

/// The topic of the alarms that page.
const PAGE_TOPIC: &str = "PageTopic";
/// A record that is audited later than this is late (alarms/freshness.yml).
const LATE: Duration = Duration::from_mins(LATE_MINUTES);
/// The healthy month must have at least this many changes, or it proves nothing.
const MIN_CHANGES_IN_A_MONTH: u64 = 25_000;

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
    alarms: Alarms,
    /// By the alarm's ID, in minutes; `None` if there is no runbook, or it does not say.
    promised: BTreeMap<String, Option<i64>>,
}

/// What was played.
pub struct Played {
    faults: Vec<PlayedCase>,
    /// Not played if only some faults are.
    healthy_month: Option<Playback>,
}

impl AlarmCheck {
    /// Reads the alarms' templates and their runbooks.
    ///
    /// # Errors
    /// When a template cannot be read, or an alarm in it is not valid.
    pub fn read(templates: &Path, runbooks: &Path) -> Result<Self, ReadAlarmsError> {
        let alarms = read_alarms(templates)?;
        let promised = alarms.all().iter().map(|alarm| {
            let file = runbooks.join(format!("{}.md", kebab_case(&alarm.id)));
            // Another test compares the files with the alarms. A missing runbook promises nothing here.
            let runbook = read(&file).unwrap_or_default();
            let promise = runbook.lines().find_map(|line| line.strip_prefix("Fires within: ")?.split(' ').next());
            (alarm.id.clone(), promise.and_then(|minutes| minutes.parse().ok()))
        });
        let promised = promised.collect();
        Ok(Self { alarms, promised })
    }

    /// The alarms.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Plays the faults with this name, or all faults and the healthy month. Tells `played` after each how many of how many are
    /// done.
    ///
    /// # Errors
    /// When there is no fault with this name.
    pub fn play(&self, fault: Option<&str>, played: impl Fn(usize, usize) + Sync) -> Result<Played, UnknownFault> {
        let (cases, month) = match fault {
            Some(name) => (catalog::named(name)?, None),
            None => (catalog::all(), Some(catalog::healthy_month())),
        };
        let (faults, healthy_month) = play_all(&self.alarms, cases, month.as_ref(), played);
        Ok(Played { faults, healthy_month })
    }

    /// Judges what was played.
    #[must_use]
    pub fn judge(&self, played: &Played) -> Outcome {
        let mut problems = Vec::new();
        let faults = played.faults.iter().map(|played| self.judge_fault(played, &mut problems)).collect();
        let healthy_month = played.healthy_month.as_ref().map(|month| self.judge_month(month, &mut problems));
        if healthy_month.is_some() {
            let is_expected = |alarm: &Alarm| {
                let mut expected = played.faults.iter().flat_map(|played| &played.case.expected);
                expected.any(|expected| expected.alarm == alarm.id)
            };
            let own = self.alarms.all().iter().filter(|alarm| !alarm.alarm_actions.is_empty() && !is_paging(alarm));
            problems
                .extend(own.filter(|alarm| !is_expected(alarm)).map(|alarm| format!("no fault needs {}", alarm.id)));
        }
        Outcome { faults, healthy_month, problems }
    }

    fn judge_month(&self, month: &Playback, problems: &mut Vec<String>) -> HealthyMonth {
        problems.extend(month.problems.iter().map(|problem| format!("the healthy month: {problem}")));
        let (changes, lost) = (month.tally.changes, unattended(&month.tally));
        if changes < MIN_CHANGES_IN_A_MONTH || lost != NOTHING {
            problems.push(format!("the healthy month was not healthy: {changes} changes, lost: {lost}"));
        }
        let (mut pages, mut notifications) = (Vec::new(), Vec::new());
        for (alarm, at) in self.fired(&month.transitions) {
            let what = format!("{}, day {}", alarm.id, at / (24 * 60) + 1);
            match self.severity(alarm) {
                Severity::Page => pages.push(what),
                Severity::Notify => notifications.push(what),
            }
        }
        problems.extend(pages.iter().map(|what| format!("the healthy month paged: {what}")));
        HealthyMonth { pages, notifications }
    }

    fn judge_fault(&self, PlayedCase { case, playback }: &PlayedCase, problems: &mut Vec<String>) -> CheckedFault {
        let mut problem = |what: String| problems.push(format!("{}: {what}", case.name));
        let begins = minutes(case.begins);
        let mut fired: Vec<FiredAlarm> = Vec::new();
        let mut pages: Vec<(&Alarm, i64)> = Vec::new();
        for (alarm, at) in self.fired(&playback.transitions) {
            let (id, after_minutes) = (&alarm.id, at - begins);
            if after_minutes < 0 {
                problem(format!("{id} fired before the fault began"));
            } else if is_paging(alarm) {
                pages.push((alarm, at));
            } else if !fired.iter().any(|fired| fired.alarm == *id) {
                let expected = case.expected.iter().find(|expected| expected.alarm == id);
                let is_expected = expected.is_some();
                if !is_expected && !case.may_follow.contains(&id.as_str()) {
                    problem(format!("{id} fired unexpectedly after {after_minutes} min"));
                }
                let is_immediate = expected.is_some_and(|expected| matches!(expected.since, Since::Fault));
                let promised_minutes = self.promise(id).filter(|_| is_immediate);
                let (alarm, severity) = (id.clone(), self.severity(alarm));
                fired.push(FiredAlarm { alarm, severity, after_minutes, is_expected, promised_minutes });
            }
        }
        for expected in &case.expected {
            let found = fired.iter().find(|fired| fired.alarm == expected.alarm);
            self.judge_expected(expected, found, begins, playback).into_iter().for_each(&mut problem);
        }
        for paging in self.alarms.all().iter().filter(|alarm| is_paging(alarm)) {
            let causes = fired.iter().filter(|fired| watches(paging, &fired.alarm, &self.alarms));
            let first_cause = causes.map(|fired| begins + fired.after_minutes).min();
            let times: Vec<i64> = pages.iter().filter(|(alarm, _)| alarm.id == paging.id).map(|(_, at)| *at).collect();
            self.judge_pages(paging, first_cause, &times, case.pages).into_iter().for_each(&mut problem);
        }
        self.judge_end(case, playback).into_iter().for_each(&mut problem);
        playback.problems.iter().for_each(|what| problem(what.clone()));
        let pages = pages.into_iter().map(|(_, at)| at - begins).collect();
        CheckedFault { fault: case.name.to_owned(), fired, pages, unattended: unattended(&playback.tally) }
    }

    /// An expected alarm must fire in the time that its runbook promises, and notify whom it must.
    fn judge_expected(
        &self,
        Expected { alarm, severity, since }: &Expected,
        fired: Option<&FiredAlarm>,
        begins: i64,
        playback: &Playback,
    ) -> Vec<String> {
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
            (_, None, _) => vec![format!("what {alarm} watches for did not happen")],
            (_, _, None) => vec![format!("{alarm} did not fire")],
            (Some(Some(promised)), Some(since), Some(fired)) => {
                let mut problems = Vec::new();
                let took = begins + fired.after_minutes - since;
                if !(0..=*promised).contains(&took) {
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

    /// A paging alarm must page once each time the fault comes, soon after the first alarm that it watches.
    fn judge_pages(&self, paging: &Alarm, first_cause: Option<i64>, times: &[i64], each_time: usize) -> Vec<String> {
        let mut problems = Vec::new();
        let (id, paged) = (&paging.id, times.len());
        let expected = if first_cause.is_some() { each_time } else { 0 };
        if paged != expected {
            problems.push(format!("{id} paged {} instead of {expected}", count(paged, "time", "times")));
        }
        if let (Some(first_cause), Some(first_page)) = (first_cause, times.first()) {
            let took = first_page - first_cause;
            match self.promise(id) {
                None => problems.push(no_promise(id)),
                Some(promised) if (0..=promised).contains(&took) => {}
                Some(promised) => problems.push(format!(
                    "{id} paged {took} min after the first alarm that it watches; its runbook promises {promised} min"
                )),
            }
        }
        problems
    }

    /// Alarms that must stay on until the fault ends are still on then.
    fn judge_end(&self, case: &FaultCase, playback: &Playback) -> Vec<String> {
        let ends = case.scenario.fault_windows.iter().map(|window| window.to).max();
        let ends = time(ends.unwrap_or_else(|| case.scenario.end()));
        let mut problems = Vec::new();
        for alarm in self.alarms.all().iter().filter(|alarm| case.stay_on.contains(&alarm.id.as_str())) {
            let state = playback.state_at(&alarm.name, ends);
            if state != State::Alarm {
                problems.push(format!("{} was {state} when the fault ended", alarm.id));
            }
        }
        problems
    }

    /// The alarms that fired and notify somebody, with the minute.
    fn fired<'a>(&'a self, transitions: &'a [Transition]) -> impl Iterator<Item = (&'a Alarm, i64)> {
        transitions.iter().filter(|transition| transition.to == State::Alarm).filter_map(|transition| {
            let alarm = self.alarms.all().iter().find(|alarm| alarm.name == transition.alarm)?;
            (!alarm.alarm_actions.is_empty()).then_some((alarm, minute_of(transition.at)))
        })
    }

    /// An alarm wakes somebody if it pages, or an alarm that pages watches it.
    fn severity(&self, alarm: &Alarm) -> Severity {
        let mut paging = self.alarms.all().iter().filter(|alarm| is_paging(alarm));
        let pages = paging.any(|paging| paging.id == alarm.id || watches(paging, &alarm.id, &self.alarms));
        if pages { Severity::Page } else { Severity::Notify }
    }

    /// The time in minutes that an alarm's runbook promises.
    fn promise(&self, id: &str) -> Option<i64> {
        self.promised.get(id).copied().flatten()
    }
}

fn is_paging(alarm: &Alarm) -> bool {
    alarm.alarm_actions.iter().any(|topic| topic == PAGE_TOPIC)
}

/// Whether a composite alarm watches the alarm with this ID.
fn watches(composite: &Alarm, id: &str, alarms: &Alarms) -> bool {
    let name = alarms.all().iter().find(|alarm| alarm.id == id).map(|alarm| alarm.name.as_str());
    match &composite.kind {
        Kind::Composite(rule) => name.is_some_and(|name| rule.alarms().contains(&name)),
        Kind::Metric(_) => false,
    }
}

fn no_promise(alarm: &str) -> String {
    format!("{alarm} has no runbook with a line such as \"Fires within: 5 minutes\"")
}

fn minutes(at: Millis) -> i64 {
    i64::try_from(at / 60_000).unwrap_or(i64::MAX)
}

/// What is lost where nothing is.
const NOTHING: &str = "nothing";

/// What is lost if nobody reacts.
fn unattended(tally: &Tally) -> String {
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let lost = match number(tally.dropped + tally.expired) {
        0 => NOTHING.to_owned(),
        lost => count(lost, "change", "changes"),
    };
    match number(tally.awaiting_redrive) {
        0 => lost,
        waiting => format!("{lost}; {} in the failure bucket", count(waiting, "record waits", "records wait")),
    }
}

/// `RecordsFailing` is `records-failing`.
fn kebab_case(id: &str) -> String {
    let mut name = String::new();
    for letter in id.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
