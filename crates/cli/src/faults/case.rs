//! A fault, and what it must set off.

use config_audit_simulator::scenario::{Millis, Scenario};
use serde::Serialize;

/// A fault, and what it must set off.
#[derive(Debug)]
pub struct FaultCase {
    /// The fault, in words.
    pub name: &'static str,
    /// When it begins.
    pub begins: Millis,
    /// The alarms that must fire.
    pub expected: Vec<Expected>,
    /// The alarms that may also fire, because of what the fault leads to. No other alarm may fire.
    pub may_follow: Vec<&'static str>,
    /// How often each paging alarm fires: once for each time the fault comes.
    pub pages: usize,
    /// The alarms that must still be in `ALARM` when the fault ends, or the run does.
    pub stay_on: &'static [&'static str],
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
    /// When the time begins in which it must fire.
    pub since: Since,
}

/// Whom an alarm notifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// It wakes somebody.
    Page,
    /// It is read in working hours.
    Notify,
}

impl Severity {
    /// As the alarms' files write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Notify => "notify",
        }
    }
}

/// When the time begins in which an alarm must fire.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// With the fault.
    Fault,
    /// With the first value of this metric that is at least this large, for alarms on what a fault leads to.
    First(&'static str, f64),
    /// With the third record that is audited late: the alarms in alarms/freshness.yml ignore fewer.
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

    pub(super) fn pages(self, pages: usize) -> Self {
        Self { pages, ..self }
    }

    pub(super) fn stays_on(self, stay_on: &'static [&'static str]) -> Self {
        Self { stay_on, ..self }
    }
}
