//! A fault, and the alarms that it must trigger.

use config_audit_simulator::change::CANARY;
use config_audit_simulator::scenario::{Millis, Scenario};
use serde::Serialize;

use super::trial::{Rate, Trial};

/// The item of a change that would have been defective, had nobody removed the cause.
const SOUND_KEY: &str = "KEY_0";

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
    /// The alarms that must still be in `ALARM` when the fault or the run ends.
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

    /// When it ends by itself, if it does so before the run ends.
    #[must_use]
    pub fn ends_by_itself(&self) -> Option<Millis> {
        let last = self.scenario.fault_windows.iter().map(|window| window.to).max()?;
        let is_over = last < self.scenario.end() && self.scenario.writes.iter().all(|write| write.defect.is_none());
        is_over.then_some(last)
    }

    /// Whether somebody can remove the cause this long after the fault began: it must not have ended by then, and some faults
    /// cannot be removed during a run.
    #[must_use]
    pub fn can_end_after(&self, delay: Millis) -> bool {
        let Scenario { wrong_view_type, clock_ahead, has_bucket, .. } = self.scenario;
        let has_ended = self.ends_by_itself().is_some_and(|end| end <= self.begins + delay);
        !wrong_view_type && clock_ahead == 0 && has_bucket && !has_ended
    }

    /// The same fault if somebody removes its cause this long after it began; `None` if that is not possible.
    #[must_use]
    pub fn ended_after(&self, delay: Millis) -> Option<Scenario> {
        if !self.can_end_after(delay) {
            return None;
        }
        let (scenario, ends) = (&self.scenario, self.begins + delay);
        let mut ended = scenario.clone();
        ended.fault_windows.retain(|window| window.from < ends);
        for window in &mut ended.fault_windows {
            window.to = window.to.min(ends);
        }
        for write in ended.writes.iter_mut().filter(|write| write.at >= ends) {
            if write.defect.take().is_some() {
                SOUND_KEY.clone_into(&mut write.key);
            }
        }
        let canaries = scenario.writes.iter().filter(|write| write.key == CANARY).map(|write| write.at);
        match canaries.max() {
            // Its schedule had stopped.
            Some(last) if last < self.begins => Some(ended.with_canary(ends..scenario.end())),
            _ => Some(ended),
        }
    }

    pub(super) fn stays_on(self, stay_on: &'static [&'static str]) -> Self {
        Self { stay_on, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{self, HOUR, MINUTE};

    #[test]
    fn nothing_is_wrong_after_somebody_has_removed_the_cause() {
        let mut ended = 0;
        for case in Trial::all().flat_map(catalog::all) {
            let Some(scenario) = case.ended_after(15 * MINUTE) else { continue };
            ended += 1;
            let end = case.begins + 15 * MINUTE;
            assert!(scenario.fault_windows.iter().all(|window| window.to <= end), "{}", case.name);
            let later = || scenario.writes.iter().filter(|write| write.at >= end);
            assert!(later().all(|write| write.defect.is_none()), "{}", case.name);
            let had_canary = scenario.has_canary() && scenario.end() > end + HOUR;
            assert_eq!(later().any(|write| write.key == CANARY), had_canary, "{}", case.name);
            assert_eq!(scenario.end() > end, case.scenario.writes.iter().any(|write| write.at > end), "{}", case.name);
        }
        assert!(ended > 350, "{ended}");
    }
}
