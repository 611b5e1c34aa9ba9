//! `config-audit alarms check`: the alarms that are deployed, tried on every fault that they are there for, and on a month in
//! which nothing is wrong.
//!
//! [`trials`] has the faults. The simulator plays each through the real handler, so the metrics are those that the function
//! would send; the alarms are read from the files that are deployed, and [`crate::cloudwatch`] says when they go off.

pub mod trials;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand, ValueEnum};
use config_audit::telemetry::catalog;
use config_audit_simulator::observed::{self, Datum, Sent};
use config_audit_simulator::scenario::{Millis, Scenario};
use config_audit_simulator::world::{self, Tally, Tell};
use serde::Serialize;

use self::trials::{Meant, Since, Trial};
use crate::cloudwatch::alarm::State;
use crate::cloudwatch::metrics::{Metric, Metrics};
use crate::cloudwatch::{Alarms, AlarmsError, Kind, Transition};
use crate::terminal::{Terminal, Tone};

/// The service and the stage of the simulated deployment.
const SERVICE: &str = "config-audit";
const STAGE: &str = "simulated";
/// The composite alarm that pages.
const INCIDENT: &str = "Incident";
/// What a page goes to.
const PAGE_TOPIC: &str = "PageTopic";

/// What to do with the alarms.
#[derive(Debug, Args)]
pub struct AlarmsArguments {
    #[command(subcommand)]
    command: AlarmsCommand,
}

#[derive(Debug, Subcommand)]
enum AlarmsCommand {
    /// Try the alarms on every fault in the catalogue, and on thirty days in which nothing is wrong
    ///
    /// Exit code 0: each fault fires the alarms that are there for it, within the time that their runbooks state, and the
    /// healthy month pages nobody. 1: not so. 2: the files can't be read.
    Check(CheckArguments),
}

/// Where the alarms are, and how to tell of them.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The directory with the alarms' templates
    #[arg(long, value_name = "DIR", default_value = "alarms")]
    alarms: PathBuf,
    /// The directory with the runbooks
    #[arg(long, value_name = "DIR", default_value = "docs/runbooks")]
    runbooks: PathBuf,
    /// How to print the outcome; `markdown` is the README's table
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Markdown,
}

/// Why the alarms can't be tried.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file or directory.
    #[error("{} can't be read; run this in the repository, or name the directories", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The alarms.
    #[error(transparent)]
    Alarms(#[from] AlarmsError),
    /// The outcome can't be written.
    #[error("the outcome can't be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// The alarms, and how long each may take by its runbook.
#[derive(Debug)]
pub struct Deployed {
    alarms: Alarms,
    /// By alarm's ID, in minutes; `None` where the runbook does not say, or there is none.
    within: BTreeMap<String, Option<i64>>,
    /// The IDs of the alarms that page.
    paging: Vec<String>,
}

/// What was played, before it is judged.
struct Played {
    trials: Vec<(Trial, Run)>,
    /// How the alarms change in the healthy month.
    month: Vec<Transition>,
}

/// The run of one trial.
struct Run {
    transitions: Vec<Transition>,
    /// From when the time of each alarm that is meant counts, in minutes; `None` where that did not come.
    since: Vec<Option<i64>>,
    tally: Tally,
    violations: Vec<String>,
}

/// What came of all trials.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Each fault.
    pub trials: Vec<Tried>,
    /// How often somebody was paged in the healthy month, and by what.
    pub pages_in_a_healthy_month: Vec<String>,
    /// How often an alarm of severity notify went off in it.
    pub notifications_in_a_healthy_month: Vec<String>,
    /// What is wrong with all that; nothing where the check passes.
    pub problems: Vec<String>,
}

/// What came of one fault.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// The fault.
    pub fault: String,
    /// The alarms that went off, in the order in which they did.
    pub fired: Vec<Fired>,
    /// What a day without anybody looking costs.
    pub unattended: String,
}

/// An alarm that went off.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fired {
    /// Its ID.
    pub alarm: String,
    /// `page` or `notify`.
    pub severity: &'static str,
    /// Minutes after the fault began.
    pub after_minutes: i64,
    /// Whether it is there for this fault.
    pub is_meant: bool,
}

impl Deployed {
    /// Reads the alarms' templates and their runbooks.
    ///
    /// # Errors
    /// When a file can't be read, or an alarm can't be understood.
    pub fn read(alarms: &Path, runbooks: &Path) -> Result<Self, CheckError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            |source| CheckError::File { path, source }
        };
        let mut texts = BTreeMap::new();
        for file in std::fs::read_dir(alarms).map_err(unreadable(alarms))? {
            let path = file.map_err(unreadable(alarms))?.path();
            if path.extension().is_some_and(|extension| extension == "yml") {
                let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
                texts.insert(path.display().to_string(), text);
            }
        }
        let files: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let alarms = Alarms::read(&files, &|name| Some(named(name)))?;
        let within = alarms.all().iter().map(|alarm| {
            let file = runbooks.join(format!("{}.md", kebab_case(&alarm.id)));
            // A test holds runbooks and alarms to each other; here one that is missing states no time.
            let runbook = std::fs::read_to_string(file).unwrap_or_default();
            let stated = runbook.lines().find_map(|line| line.strip_prefix("Fires within: ")?.split(' ').next());
            (alarm.id.clone(), stated.and_then(|minutes| minutes.parse().ok()))
        });
        let within = within.collect();
        let incident = alarms.all().iter().find(|alarm| alarm.id == INCIDENT);
        let named = match incident.map(|alarm| &alarm.kind) {
            Some(Kind::Composite(rule)) => rule.alarms(),
            _ => Vec::new(),
        };
        let paging = alarms.all().iter().filter(|alarm| named.contains(&alarm.name.as_str()));
        let paging = paging.map(|alarm| alarm.id.clone()).collect();
        Ok(Self { alarms, within, paging })
    }

    /// The same without one alarm, as if nobody had written it.
    #[cfg(test)]
    fn without(mut self, id: &str) -> Self {
        self.within.remove(id);
        self
    }

    /// Tries all alarms on all faults.
    #[must_use]
    pub fn check(&self) -> Checked {
        self.judge(&self.play_all())
    }

    /// Plays every trial, and the healthy month, on all processors.
    fn play_all(&self) -> Played {
        let trials = trials::all();
        // A run has a runtime of its own, which needs a thread of its own too.
        let next = AtomicUsize::new(0);
        let work = || {
            let mut played = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(trial) = trials.get(index) else { return played };
                played.push((index, self.play_trial(trial)));
            }
        };
        let (mut runs, month) = std::thread::scope(|scope| {
            let month = scope.spawn(|| self.play(&trials::healthy_month()).0);
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let runs: Vec<(usize, Run)> = workers.into_iter().flat_map(finish).collect();
            (runs, finish(month))
        });
        runs.sort_by_key(|(index, _)| *index);
        Played { trials: trials.into_iter().zip(runs.into_iter().map(|(_, run)| run)).collect(), month }
    }

    fn play_trial(&self, trial: &Trial) -> Run {
        let (transitions, outcome) = self.play(&trial.scenario);
        let since = trial.meant.iter().map(|meant| match meant.since {
            Since::Fault => Some(minutes(trial.begin)),
            Since::First(metric, least) => first(&outcome.data, metric, least),
        });
        Run { since: since.collect(), transitions, tally: outcome.tally, violations: outcome.violations }
    }

    fn judge(&self, played: &Played) -> Checked {
        let mut problems = Vec::new();
        let trials = played.trials.iter().map(|(trial, run)| self.judge_trial(trial, run, &mut problems)).collect();
        let (mut pages, mut notifications) = (Vec::new(), Vec::new());
        for (id, at) in self.fired(&played.month) {
            let what = format!("{id}, day {}", at / (24 * 60) + 1);
            if self.pages(id) {
                problems.push(format!("the healthy month pages: {what}"));
                pages.push(what);
            } else {
                notifications.push(what);
            }
        }
        for id in self.within.keys() {
            // The windows of a burn rate are a part of its alarm, and the incident is the sum of the others.
            let is_part = id.starts_with("Freshness") && id.ends_with(['h', 'm']) || id == INCIDENT;
            if !is_part && !played.trials.iter().any(|(trial, _)| trial.meant.iter().any(|meant| meant.alarm == id)) {
                problems.push(format!("{id} is there for no fault in the catalogue"));
            }
        }
        Checked { trials, pages_in_a_healthy_month: pages, notifications_in_a_healthy_month: notifications, problems }
    }

    fn judge_trial(&self, trial: &Trial, run: &Run, problems: &mut Vec<String>) -> Tried {
        let fault = trial.fault;
        let begin = minutes(trial.begin);
        let mut fired: Vec<Fired> = Vec::new();
        for (id, at) in self.fired(&run.transitions) {
            if at >= begin && !fired.iter().any(|fired| fired.alarm == id) {
                let is_meant = trial.meant.iter().any(|meant| meant.alarm == id);
                let severity = if self.pages(id) { "page" } else { "notify" };
                fired.push(Fired { alarm: id.to_owned(), severity, after_minutes: at - begin, is_meant });
            }
        }
        for (Meant { alarm, .. }, since) in trial.meant.iter().zip(&run.since) {
            let found = fired.iter().find(|fired| fired.alarm == *alarm);
            match (self.within.get(*alarm), since, found) {
                (None, ..) => problems.push(format!("{fault}: {alarm} is meant to fire, and there is no such alarm")),
                (Some(None), ..) => problems.push(format!("{alarm} has no runbook that states a time")),
                (_, None, _) => problems.push(format!("{fault}: what {alarm} is there for did not happen")),
                (_, _, None) => problems.push(format!("{fault}: {alarm} does not fire")),
                (Some(Some(within)), Some(since), Some(fired)) => {
                    let took = begin + fired.after_minutes - since;
                    if took > *within {
                        problems
                            .push(format!("{fault}: {alarm} fires after {took} minutes, and is to within {within}"));
                    }
                }
            }
            if self.pages(alarm) && !fired.iter().any(|fired| fired.alarm == INCIDENT) {
                problems.push(format!("{fault}: nobody is paged"));
            }
        }
        problems.extend(run.violations.iter().map(|violation| format!("{fault}: {violation}")));
        Tried { fault: fault.to_owned(), fired, unattended: unattended(&run.tally) }
    }

    /// Plays a scenario, and says how the alarms change in it.
    fn play(&self, scenario: &Scenario) -> (Vec<Transition>, world::Outcome) {
        let outcome = world::run(scenario, Tell::Data);
        let end = scenario.end();
        let mut metrics = Metrics::default();
        for Datum { at, metric, value } in outcome.data.iter().copied().chain(observed::polls(scenario, end)) {
            metrics.add(&sent_as(metric), time(at), value);
        }
        (self.alarms.evaluate(&metrics, time(0), time(end)), outcome)
    }

    /// The alarms that go off, with the minute in which they do.
    fn fired<'a>(&'a self, transitions: &'a [Transition]) -> impl Iterator<Item = (&'a str, i64)> {
        transitions.iter().filter(|transition| transition.to == State::Alarm).filter_map(|transition| {
            let alarm = self.alarms.all().iter().find(|alarm| alarm.name == transition.alarm)?;
            let is_there = self.within.contains_key(&alarm.id) && !alarm.actions.alarm.is_empty();
            is_there.then_some((alarm.id.as_str(), (transition.at - time(0)).num_minutes()))
        })
    }

    fn pages(&self, id: &str) -> bool {
        let acts_on_page = |alarm: &&crate::cloudwatch::Alarm| {
            alarm.id == id && alarm.actions.alarm.iter().any(|topic| topic == PAGE_TOPIC)
        };
        self.paging.iter().any(|paging| paging == id) || self.alarms.all().iter().any(|alarm| acts_on_page(&alarm))
    }
}

/// What a thread came to; its panic is ours.
fn finish<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// When a metric first had a value of at least so much, in minutes.
fn first(data: &[Datum], metric: Sent, least: f64) -> Option<i64> {
    data.iter().find(|datum| datum.metric == metric && datum.value >= least).map(|datum| minutes(datum.at))
}

fn minutes(at: Millis) -> i64 {
    i64::try_from(at / 60_000).unwrap_or(i64::MAX)
}

/// What a day with nobody looking costs.
fn unattended(tally: &Tally) -> String {
    let lost = tally.dropped + tally.expired;
    match (lost, tally.kept) {
        (0, 0) => "nothing".to_owned(),
        (0, kept) => format!("nothing; {kept} records wait in the failure bucket"),
        (lost, 0) => format!("{lost} changes"),
        (lost, kept) => format!("{lost} changes; {kept} records wait in the failure bucket"),
    }
}

/// Any day will do.
fn time(at: Millis) -> DateTime<Utc> {
    let at = TimeDelta::milliseconds(i64::try_from(at).unwrap_or(i64::MAX));
    DateTime::from_timestamp(1_772_500_000 / 86_400 * 86_400, 0).unwrap_or_default() + at
}

/// What a resource or parameter of the template is called in the simulated deployment.
fn named(name: &str) -> String {
    let value = match name {
        "Service" => SERVICE,
        "Stage" => STAGE,
        "RunbookUrl" => "docs/runbooks",
        "PageEmail" | "NotifyEmail" => "",
        // Each other is called as it is called in the template.
        other => other,
    };
    value.to_owned()
}

/// The metric in CloudWatch, as the alarms name it.
fn sent_as(sent: Sent) -> Metric {
    let function = &[("FunctionName", "AuditLambdaFunction")];
    let mapping = &[("EventSourceMappingUUID", "ConfigurationStreamMapping")];
    match sent {
        Sent::Own(name) => {
            let dimensions: Vec<_> = catalog::DIMENSIONS.into_iter().zip([SERVICE, STAGE]).collect();
            Metric::new("ConfigAudit", name, &dimensions)
        }
        Sent::Invocations => Metric::new("AWS/Lambda", "Invocations", function),
        Sent::Errors => Metric::new("AWS/Lambda", "Errors", function),
        Sent::Throttles => Metric::new("AWS/Lambda", "Throttles", function),
        Sent::Duration => Metric::new("AWS/Lambda", "Duration", function),
        Sent::IteratorAge => Metric::new("AWS/Lambda", "IteratorAge", function),
        Sent::DestinationDeliveryFailures => Metric::new("AWS/Lambda", "DestinationDeliveryFailures", function),
        Sent::PolledEventCount => Metric::new("AWS/Lambda", "PolledEventCount", mapping),
        Sent::DroppedEventCount => Metric::new("AWS/Lambda", "DroppedEventCount", mapping),
        Sent::OnFailureDestinationDelivered => {
            Metric::new("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", mapping)
        }
        Sent::ConfigurationWrites => {
            let table = &[("TableName", "ConfigurationTableName")];
            Metric::new("AWS/DynamoDB", "ConsumedWriteCapacityUnits", table)
        }
        Sent::AuditTableThrottled => {
            Metric::new("AWS/DynamoDB", "WriteThrottleEvents", &[("TableName", "AuditTableName")])
        }
        Sent::EmfParsingErrors => Metric::new("AWS/Logs", "EMFParsingErrors", &[("LogGroupName", "AuditLogGroup")]),
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

/// Runs the command; returns its exit code.
///
/// # Errors
/// When the alarms can't be read.
pub fn run(arguments: AlarmsArguments, terminal: Terminal) -> Result<u8, CheckError> {
    let AlarmsCommand::Check(arguments) = arguments.command;
    let checked = Deployed::read(&arguments.alarms, &arguments.runbooks)?.check();
    terminal.result(&match arguments.output {
        Output::Text => checked.text(terminal),
        Output::Json => serde_json::to_string_pretty(&checked)?,
        Output::Markdown => checked.markdown(),
    });
    Ok(u8::from(!checked.problems.is_empty()))
}

impl Checked {
    fn text(&self, terminal: Terminal) -> String {
        let mut text = String::new();
        // Writing to a string does not fail, here and below.
        for tried in &self.trials {
            let _ = writeln!(text, "{}", terminal.paint(Tone::Heading, &tried.fault));
            for Fired { alarm, severity, after_minutes, is_meant } in &tried.fired {
                let line = format!("  {after_minutes:>5} min  {severity:<6}  {alarm}");
                let tone = if *is_meant { Tone::Good } else { Tone::Quiet };
                let _ = writeln!(text, "{}", terminal.paint(tone, &line));
            }
            let _ = writeln!(text, "  lost in a day with nobody looking: {}", tried.unattended);
        }
        let pages = self.pages_in_a_healthy_month.len();
        let notifications = self.notifications_in_a_healthy_month.len();
        let _ = writeln!(text, "\nthirty healthy days: {pages} pages, {notifications} notifications");
        for problem in &self.problems {
            let _ = writeln!(text, "{}", terminal.paint(Tone::Bad, problem));
        }
        text.trim_end().to_owned()
    }

    /// The README's table: for each fault the alarms that are there for it, and what pages first.
    fn markdown(&self) -> String {
        let mut table =
            "| fault | alarm, minutes after the fault began | lost in a day with nobody looking |\n|---|---|---|\n"
                .to_owned();
        for tried in &self.trials {
            let meant = tried.fired.iter().filter(|fired| fired.is_meant);
            let meant = meant.map(|fired| format!("`{}` {} ({})", fired.alarm, fired.after_minutes, fired.severity));
            let _ = writeln!(
                table,
                "| {} | {} | {} |",
                tried.fault,
                meant.collect::<Vec<_>>().join(", "),
                tried.unattended
            );
        }
        table.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployed() -> Deployed {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        Deployed::read(&repository.join("alarms"), &repository.join("docs/runbooks")).unwrap()
    }

    #[test]
    fn every_fault_fires_its_alarm_in_time_a_healthy_month_pages_nobody_and_no_alarm_can_be_left_out() {
        let deployed = deployed();
        let played = deployed.play_all();
        let checked = deployed.judge(&played);
        assert_eq!(checked.problems, [""; 0]);
        assert!(checked.trials.len() >= 20);
        let readme = include_str!("../../../README.md");
        assert!(readme.contains(&checked.markdown()), "the README is to have this table:\n{}", checked.markdown());
        let alarms: Vec<String> = deployed.within.keys().cloned().collect();
        for id in alarms.iter().filter(|id| !id.ends_with(['h', 'm'])) {
            let without = self::deployed().without(id);
            assert_ne!(without.judge(&played).problems, [""; 0], "nothing is missed without {id}");
        }
    }
}
