//! A fault, and the alarms that it must trigger.

use config_audit_simulator::scenario::{Millis, Scenario};
use serde::Serialize;

use super::trial::{Rate, Trial};

/// A fault, and the alarms that it must trigger.
#[derive(Debug)]
pub struct FaultCase {
    /// The fault, in words.
    pub name: &'static str,
    /// How it is played.
    pub trial: Trial,
    /// When it begins.
    pub begins: Millis,
    /// When it can first be seen: with the first change after it began, unless it stops something.
    pub seen: Millis,
    /// The alarms that must fire.
    pub expected: Vec<Expected>,
    /// The alarms that may also fire because of the fault's consequences. No other alarm may fire.
    pub may_follow: Vec<&'static str>,
    /// How often each paging alarm pages. `None`: repeatedly, as the fault recurs.
    pub pages: Option<usize>,
    /// The alarms that must still be in `ALARM` when the fault ends, or the run does.
    pub stay_on: &'static [&'static str],
    /// Whether it pages for each change if changes are hours apart.
    pub(super) is_separate_when_quiet: bool,
    /// Why no alarm can see it, if none can.
    pub unseen: Option<&'static str>,
    /// What the simulator plays.
    pub scenario: Scenario,
}

/// An alarm that must fire.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Its logical ID.
    pub alarm: &'static str,
    /// Whom it must notify.
    pub severity: Severity,
    /// When its time limit to fire begins.
    pub since: Since,
}

/// Whom an alarm notifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// It wakes someone.
    Page,
    /// It is read in working hours.
    Notify,
}

impl Severity {
    /// As written in the alarms' files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Notify => "notify",
        }
    }
}

/// When an alarm's time limit to fire begins.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// When the fault can first be seen.
    Fault,
    /// With the first value of this metric that is at least this large, for alarms on a fault's consequences.
    First(&'static str, f64),
    /// With the third late record: the alarms in alarms/freshness.yml ignore fewer.
    ThirdLate,
}

pub(super) const fn page(alarm: &'static str) -> Expected {
    Expected { alarm, severity: Severity::Page, since: Since::Fault }
}

pub(super) const fn notify(alarm: &'static str) -> Expected {
    Expected { alarm, severity: Severity::Notify, since: Since::Fault }
}

impl Expected {
    pub(super) const fn after(self, metric: &'static str, least: f64) -> Self {
        Self { since: Since::First(metric, least), ..self }
    }

    pub(super) const fn after_three_late_records(self) -> Self {
        Self { since: Since::ThirdLate, ..self }
    }
}

impl FaultCase {
    pub(super) fn may_follow(mut self, alarm: &'static str) -> Self {
        self.may_follow.push(alarm);
        self
    }

    /// At three changes a day, each change is lost or given up on separately.
    pub(super) fn pages_for_each_change_when_quiet(self) -> Self {
        Self { is_separate_when_quiet: true, ..self }
    }

    pub(super) fn in_trial(self, trial: Trial) -> Self {
        let pages = self.pages.filter(|_| !(self.is_separate_when_quiet && trial.rate == Rate::Quiet));
        Self { trial, pages, ..self }
    }

    pub(super) fn pages_again(self) -> Self {
        Self { pages: None, ..self }
    }

    /// It can be seen even if nothing changes.
    pub(super) fn seen_at_once(self) -> Self {
        Self { seen: self.begins, ..self }
    }

    /// At three changes a day, no alarm can see it, for this reason.
    pub(super) fn unseen_when_quiet(mut self, trial: Trial, why: &'static str) -> Self {
        if trial.rate == Rate::Quiet {
            let expected = std::mem::take(&mut self.expected);
            self.may_follow.extend(expected.iter().map(|expected| expected.alarm));
            self.unseen = Some(why);
        }
        self
    }

    pub(super) fn stays_on(self, stay_on: &'static [&'static str]) -> Self {
        Self { stay_on, ..self }
    }
}
