//! What came of a check, for people and tools.

use std::fmt::Write as _;

use config_audit_cloudwatch::units::{count, duration};
use serde::Serialize;

use crate::faults::case::Severity;
use crate::terminal::{Text, Tone};

/// What came of a check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Each fault.
    pub faults: Vec<CheckedFault>,
    /// The month without faults; none if it was not played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy_month: Option<HealthyMonth>,
    /// What is wrong; empty if the check passes.
    pub problems: Vec<String>,
}

/// What came of one fault.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedFault {
    /// The fault.
    pub fault: String,
    /// The alarms that fired, in order.
    pub fired: Vec<FiredAlarm>,
    /// When somebody was paged, in minutes after the fault began.
    pub pages: Vec<i64>,
    /// What is lost if nobody reacts.
    pub unattended: String,
}

/// An alarm that fired, with the first time that it did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FiredAlarm {
    /// Its ID.
    pub alarm: String,
    /// Whom it notifies.
    pub severity: Severity,
    /// Minutes after the fault began.
    pub after_minutes: i64,
    /// Whether it is one of the alarms that watch for this fault.
    pub is_expected: bool,
    /// The time that its runbook promises, in minutes. Only for an expected alarm whose time begins with the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promised_minutes: Option<i64>,
}

/// The alarms that fired in the month without faults, each with the day.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthyMonth {
    /// Those that paged.
    pub pages: Vec<String>,
    /// Those of severity notify.
    pub notifications: Vec<String>,
}

impl Outcome {
    /// For people. The last line is the verdict.
    #[must_use]
    pub fn lines(&self) -> Vec<Text> {
        let mut lines = Vec::new();
        for checked in &self.faults {
            lines.push(Tone::Heading.paint(&checked.fault));
            for FiredAlarm { alarm, severity, after_minutes, is_expected, promised_minutes } in &checked.fired {
                let promise = promised_minutes.map(|promised| format!("; its runbook promises {}", minutes(promised)));
                let line = format!(
                    "  {:>7}  {:<6}  {alarm}{}",
                    minutes(*after_minutes),
                    severity.as_str(),
                    promise.unwrap_or_default()
                );
                let tone = if *is_expected { Tone::Good } else { Tone::Quiet };
                lines.push(tone.paint(line));
            }
            lines.push(format!("  paged after: {}", list(checked.pages.iter().copied().map(minutes))).into());
            lines.push(format!("  lost if nobody reacts: {}", checked.unattended).into());
        }
        if let Some(HealthyMonth { pages, notifications }) = &self.healthy_month {
            let pages = count(pages.len(), "page", "pages");
            let notifications = count(notifications.len(), "notification", "notifications");
            lines.push(Text::default());
            lines.push(format!("thirty healthy days: {pages}, {notifications}").into());
        }
        lines.extend(self.problems.iter().map(|problem| Tone::Bad.paint(problem)));
        lines.push(self.verdict());
        lines
    }

    fn verdict(&self) -> Text {
        let faults = count(self.faults.len(), "fault", "faults");
        match self.problems.len() {
            0 => Tone::Good.paint(format!("The alarms are right for {faults}.")),
            problems => {
                let problems = count(problems, "problem", "problems");
                Tone::Bad.paint(format!("The alarms are not right for {faults}: {problems}, listed above."))
            }
        }
    }

    /// The table in docs/alarms.md: for each fault the alarms that watch for it, those that follow, and when somebody is paged.
    #[must_use]
    pub fn markdown(&self) -> String {
        // Writing to a string does not fail.
        let mut table = "| fault | expected alarms | alarms that follow | paged after | lost if nobody reacts |\n\
                         |---|---|---|---|---|\n"
            .to_owned();
        for checked in &self.faults {
            let alarms = |expected: bool| {
                let fired = checked.fired.iter().filter(move |fired| fired.is_expected == expected);
                list(fired.map(|fired| format!("`{}` {}", fired.alarm, fired.after_minutes)))
            };
            let pages = list(checked.pages.iter().map(ToString::to_string));
            let (fault, lost) = (&checked.fault, &checked.unattended);
            let _ = writeln!(table, "| {fault} | {} | {} | {pages} | {lost} |", alarms(true), alarms(false));
        }
        table.trim_end().to_owned()
    }
}

fn minutes(minutes: i64) -> String {
    duration(minutes as f64 * 60_000.0)
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "–".to_owned() } else { items.join(", ") }
}
