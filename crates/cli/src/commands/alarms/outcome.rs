//! The outcome of a check, for people and tools.

use std::fmt::Write as _;

use config_audit_cloudwatch::units::{count, duration};
use serde::Serialize;

use crate::terminal::{Text, Tone};
use config_audit_faults::case::Severity;
use config_audit_faults::month::Month;
use config_audit_faults::trial::{Rate, Trial};

/// The outcome of a check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Each fault, at each rate and with each cadence.
    pub faults: Vec<CheckedFault>,
    /// The months without faults; empty if they were not played.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub healthy_months: Vec<HealthyMonth>,
    /// What is wrong; empty if the check passes.
    pub problems: Vec<String>,
}

/// The outcome of one fault.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedFault {
    /// The fault.
    pub fault: String,
    /// How it was played.
    #[serde(flatten)]
    pub trial: Trial,
    /// The alarms that fired, in order.
    pub fired: Vec<FiredAlarm>,
    /// When someone was paged, in minutes after the fault could first be seen.
    pub pages: Vec<i64>,
    /// Why no alarm can see it, if none can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<&'static str>,
    /// What is lost if nobody reacts.
    pub unattended: String,
}

/// An alarm that fired, with the first time.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FiredAlarm {
    /// Its ID.
    pub alarm: String,
    /// Whom it notifies.
    pub severity: Severity,
    /// Minutes after the fault could first be seen.
    pub after_minutes: i64,
    /// Whether it is one of the alarms that watch for this fault.
    pub is_expected: bool,
    /// The time that its runbook promises, in minutes. Only for an expected alarm whose time begins with the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promised_minutes: Option<i64>,
}

/// The alarms that fired in a month without faults, each with the day.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthyMonth {
    /// How often the table changed, and whether there was a canary.
    #[serde(flatten)]
    pub month: Month,
    /// The number of changes, without the canary's.
    pub changes: u64,
    /// The alarms that paged.
    pub pages: Vec<String>,
    /// The alarms of severity notify.
    pub notifications: Vec<String>,
}

impl Outcome {
    /// For people. The last line is the verdict.
    #[must_use]
    pub fn lines(&self) -> Vec<Text> {
        let mut lines = Vec::new();
        for checked in &self.faults {
            lines.push(Tone::Heading.paint(format!("{} ({})", checked.fault, checked.trial.words())));
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
            lines.extend(checked.unseen.map(|why| format!("  no alarm can see it: {why}").into()));
        }
        for HealthyMonth { month, changes, pages, notifications } in &self.healthy_months {
            let changes = count(usize::try_from(*changes).unwrap_or(usize::MAX), "change", "changes");
            let pages = count(pages.len(), "page", "pages");
            let fired = count(notifications.len(), "notification", "notifications");
            lines.push(format!("thirty healthy days, {}: {changes}, {pages}, {fired}", month.words()).into());
            lines.extend(notifications.iter().map(|what| format!("  {what}").into()));
        }
        lines.extend(self.problems.iter().map(|problem| Tone::Bad.paint(problem)));
        lines.push(self.verdict());
        lines
    }

    fn verdict(&self) -> Text {
        let mut names: Vec<_> = self.faults.iter().map(|checked| &checked.fault).collect();
        names.sort_unstable();
        names.dedup();
        let faults =
            format!("{} in {}", count(names.len(), "fault", "faults"), count(self.faults.len(), "run", "runs"));
        match self.problems.len() {
            0 => Tone::Good.paint(format!("The alarms are right for {faults}.")),
            problems => {
                let problems = count(problems, "problem", "problems");
                Tone::Bad.paint(format!("The alarms are not right for {faults}: {problems}, listed above."))
            }
        }
    }

    /// The tables in docs/alarms.md: for each fault, the alarms that watch for it, those that follow, and when it
    /// pages; then when it pages at each rate and with each cadence.
    #[must_use]
    pub fn markdown(&self) -> String {
        let header = "| fault | expected alarms | alarms that follow | paged after | lost if nobody reacts |\n\
                      |---|---|---|---|---|\n";
        let usual = self.faults.iter().filter(|checked| checked.trial == Trial::USUAL);
        let rows = usual.clone().map(|checked| {
            let alarms = |expected: bool| {
                let fired = checked.fired.iter().filter(move |fired| fired.is_expected == expected);
                list(fired.map(|fired| format!("`{}` {}", fired.alarm, fired.after_minutes)))
            };
            let pages = list(checked.pages.iter().map(ToString::to_string));
            let (fault, lost) = (&checked.fault, &checked.unattended);
            format!("| {fault} | {} | {} | {pages} | {lost} |\n", alarms(true), alarms(false))
        });
        let mut tables: String = [header.to_owned()].into_iter().chain(rows).collect();
        let columns = Rate::ALL.map(Rate::words).join(" | ");
        let _ = write!(tables, "\n| fault | {columns} |\n|---|---|---|---|\n");
        for checked in usual {
            let cells = Rate::ALL.map(|rate| {
                let of_rate = self.faults.iter().filter(|it| it.fault == checked.fault && it.trial.rate == rate);
                of_rate.map(CheckedFault::first_message).collect::<Vec<_>>().join(" / ")
            });
            let _ = writeln!(tables, "| {} | {} |", checked.fault, cells.join(" | "));
        }
        tables.trim_end().to_owned()
    }
}

impl CheckedFault {
    /// The minutes until someone was paged or, in brackets, only notified.
    fn first_message(&self) -> String {
        let notified = self.fired.iter().filter(|fired| fired.is_expected).map(|fired| fired.after_minutes).min();
        match (self.pages.first(), notified) {
            (Some(minutes), _) => minutes.to_string(),
            (None, Some(minutes)) => format!("({minutes})"),
            (None, None) => "–".to_owned(),
        }
    }
}

fn minutes(minutes: i64) -> String {
    duration(minutes as f64 * 60_000.0)
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "–".to_owned() } else { items.join(", ") }
}
