//! `config-audit alarms check`: the alarms that are deployed, tried on every fault that they are there for, and on a month in
//! which nothing is wrong.
//!
//! [`trials`] has the faults. The simulator plays each through the real handler, and what CloudWatch gets is what it would
//! get: the lines that the function logs, minutes late, and AWS's own metrics. The alarms are read from the files that are
//! deployed, and [`config_audit_cloudwatch`] says when they go off.

pub mod trials;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand, ValueEnum};
use config_audit_simulator::observed::{self, Observed};
use config_audit_simulator::scenario::{Millis, Scenario};
use config_audit_simulator::world::{self, Capture, EPOCH, Tally};
use serde::Serialize;

use self::trials::{Meant, Severity, Since, Trial};
use crate::files::{Unreadable, read_all};
use crate::terminal::{Terminal, Tone};
use config_audit_cloudwatch::alarm::State;
use config_audit_cloudwatch::logs::Line;
use config_audit_cloudwatch::metrics::{Metric, Metrics};
use config_audit_cloudwatch::{Alarm, Alarms, AlarmsError, Kind, Transition};

/// What a page goes to.
const PAGE_TOPIC: &str = "PageTopic";
/// AWS's own metrics come so many minutes late.
const DELAY_OF_METRICS: i64 = 1;
/// Metrics that are made from log lines come later, by one or the other of these minutes.
const DELAYS_OF_LOGS: [i64; 3] = [1, 2, 3];
/// A record that is audited later than this is late (alarms/freshness.yml).
const LATE: Duration = Duration::from_mins(5);
/// What a healthy month must have seen, or it shows nothing.
const LEAST_IN_A_MONTH: u64 = 25_000;

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
    /// Exit code 0: each fault fires the alarms that are there for it, within the time that their runbooks state, and no
    /// others but those that follow; it pages as often as it comes; the healthy month pages nobody. 1: not so. 2: the files can't be read.
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
    #[error(transparent)]
    File(#[from] Unreadable),
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
}

/// What was played, before it is judged.
struct Played {
    trials: Vec<(Trial, Run)>,
    month: Run,
}

/// A run, and what the alarms made of it.
pub(crate) struct Run {
    transitions: Vec<Transition>,
    /// What CloudWatch has in the end.
    pub(crate) metrics: Metrics,
    tally: Tally,
    /// The faults that were to come and did not, and the promises that were broken.
    problems: Vec<String>,
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
    /// When somebody was paged: minutes after the fault began.
    pub pages: Vec<i64>,
    /// What it costs when nobody looks.
    pub unattended: String,
}

/// An alarm that went off, for the first time.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fired {
    /// Its ID.
    pub alarm: String,
    /// Whom it tells.
    pub severity: Severity,
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
    pub fn read(templates: &Path, runbooks: &Path) -> Result<Self, CheckError> {
        Ok(Self::new(read(templates)?, runbooks))
    }

    fn new(alarms: Alarms, runbooks: &Path) -> Self {
        let within = alarms.all().iter().map(|alarm| {
            let file = runbooks.join(format!("{}.md", kebab_case(&alarm.id)));
            // A test holds runbooks and alarms to each other; here one that is missing states no time.
            let runbook = std::fs::read_to_string(file).unwrap_or_default();
            let stated = runbook.lines().find_map(|line| line.strip_prefix("Fires within: ")?.split(' ').next());
            (alarm.id.clone(), stated.and_then(|minutes| minutes.parse().ok()))
        });
        let within = within.collect();
        Self { alarms, within }
    }

    /// Tries all alarms on all faults.
    #[must_use]
    pub fn check(&self) -> Checked {
        self.judge(&self.play_all())
    }

    /// Plays every trial, and the healthy month, on all processors.
    fn play_all(&self) -> Played {
        let trials = trials::all();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut played = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(trial) = trials.get(index) else { return played };
                played.push((index, play(&self.alarms, &trial.scenario)));
            }
        };
        let (mut runs, month) = std::thread::scope(|scope| {
            let month = scope.spawn(|| play(&self.alarms, &trials::healthy_month()));
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let runs: Vec<(usize, Run)> = workers.into_iter().flat_map(finish).collect();
            (runs, finish(month))
        });
        runs.sort_by_key(|(index, _)| *index);
        Played { trials: trials.into_iter().zip(runs.into_iter().map(|(_, run)| run)).collect(), month }
    }

    fn judge(&self, played: &Played) -> Checked {
        let mut problems = Vec::new();
        let trials = played.trials.iter().map(|(trial, run)| self.judge_trial(trial, run, &mut problems)).collect();

        let (mut pages, mut notifications) = (Vec::new(), Vec::new());
        let month = &played.month;
        problems.extend(month.problems.iter().map(|problem| format!("the healthy month: {problem}")));
        if month.tally.changes < LEAST_IN_A_MONTH || month.tally.dropped + month.tally.expired + month.tally.kept > 0 {
            problems.push(format!("the healthy month is none: {:?}", month.tally));
        }
        for (alarm, at) in self.fired(&month.transitions) {
            let what = format!("{}, day {}", alarm.id, at / (24 * 60) + 1);
            match self.severity(alarm) {
                Severity::Page => pages.push(what),
                Severity::Notify => notifications.push(what),
            }
        }
        problems.extend(pages.iter().map(|what| format!("the healthy month pages: {what}")));

        for alarm in self.alarms.all().iter().filter(|alarm| !alarm.alarm_actions.is_empty() && !is_page(alarm)) {
            if !played.trials.iter().any(|(trial, _)| trial.meant.iter().any(|meant| meant.alarm == alarm.id)) {
                problems.push(format!("{} is there for no fault in the catalogue", alarm.id));
            }
        }
        Checked { trials, pages_in_a_healthy_month: pages, notifications_in_a_healthy_month: notifications, problems }
    }

    fn judge_trial(&self, trial: &Trial, run: &Run, problems: &mut Vec<String>) -> Tried {
        let mut problem = |what: String| problems.push(format!("{}: {what}", trial.fault));
        let begin = minutes(trial.begin);
        let mut fired: Vec<Fired> = Vec::new();
        let mut pages: Vec<(&Alarm, i64)> = Vec::new();
        for (alarm, at) in self.fired(&run.transitions) {
            let id = &alarm.id;
            if at < begin {
                problem(format!("{id} fires before anything is wrong"));
            } else if is_page(alarm) {
                pages.push((alarm, at));
            } else if !fired.iter().any(|fired| fired.alarm == *id) {
                let is_meant = trial.meant.iter().any(|meant| meant.alarm == id);
                if !is_meant && !trial.also.contains(&id.as_str()) {
                    problem(format!("{id} fires too, after {} minutes", at - begin));
                }
                let (alarm, severity) = (id.clone(), self.severity(alarm));
                fired.push(Fired { alarm, severity, after_minutes: at - begin, is_meant });
            }
        }
        for Meant { alarm, severity, since } in &trial.meant {
            let since = match since {
                Since::Fault => Some(begin),
                Since::First(metric, least) => run.metrics.at_least(metric, *least).first().map(|(at, _)| minute(*at)),
                Since::ThirdLate => {
                    let late = run.metrics.at_least("AuditLag", LATE.as_secs_f64() * 1e3);
                    late.get(2).map(|(at, _)| minute(*at))
                }
            };
            let found = fired.iter().find(|fired| fired.alarm == *alarm);
            match (self.within.get(*alarm), since, found) {
                (None, ..) => problem(format!("{alarm} is meant to fire, and there is no such alarm")),
                (Some(None), ..) => problem(format!("{alarm} has no runbook that states a time")),
                (_, None, _) => problem(format!("what {alarm} is there for did not happen")),
                (_, _, None) => problem(format!("{alarm} does not fire")),
                (Some(Some(within)), Some(since), Some(fired)) => {
                    let took = begin + fired.after_minutes - since;
                    if !(0..=*within).contains(&took) {
                        problem(format!("{alarm} fires after {took} minutes, and is to within {within}"));
                    }
                    if fired.severity != *severity {
                        problem(format!("{alarm} is of severity {:?}", fired.severity));
                    }
                }
            }
        }
        for page in self.alarms.all().iter().filter(|alarm| is_page(alarm)) {
            let causes = fired.iter().filter(|fired| names(page, &fired.alarm, &self.alarms));
            let first = causes.map(|fired| begin + fired.after_minutes).min();
            let times: Vec<i64> = pages.iter().filter(|(alarm, _)| alarm.id == page.id).map(|(_, at)| *at).collect();
            let expected = if first.is_some() { trial.pages } else { 0 };
            if times.len() != expected {
                problem(format!("{} pages {} times, and is to {expected} times", page.id, times.len()));
            }
            let within = self.within.get(&page.id).copied().flatten();
            if let (Some(first), Some(times)) = (first, times.first())
                && within.is_none_or(|within| !(0..=within).contains(&(times - first)))
            {
                problem(format!(
                    "{} pages {} minutes after its first alarm, and is to within {within:?}",
                    page.id,
                    times - first
                ));
            }
        }
        let fault_ends = trial.scenario.fault_windows.iter().map(|weather| weather.to).max();
        let fault_ends = time(fault_ends.unwrap_or_else(|| trial.scenario.end()));
        for alarm in self.alarms.all().iter().filter(|alarm| trial.stay_on.contains(&alarm.id.as_str())) {
            let state = run.state_at(&alarm.name, fault_ends);
            if state != State::Alarm {
                problem(format!("{} is {state} before the fault is over", alarm.id));
            }
        }
        run.problems.iter().for_each(|what| problem(what.clone()));
        let pages = pages.into_iter().map(|(_, at)| at - begin).collect();
        Tried { fault: trial.fault.to_owned(), fired, pages, unattended: unattended(&run.tally) }
    }

    /// The alarms that tell somebody that they go off, with the minute in which they do.
    fn fired<'a>(&'a self, transitions: &'a [Transition]) -> impl Iterator<Item = (&'a Alarm, i64)> {
        transitions.iter().filter(|transition| transition.to == State::Alarm).filter_map(|transition| {
            let alarm = self.alarms.all().iter().find(|alarm| alarm.name == transition.alarm)?;
            let minute = minute(transition.at);
            (!alarm.alarm_actions.is_empty()).then_some((alarm, minute))
        })
    }

    /// An alarm wakes somebody where one that pages names it.
    fn severity(&self, alarm: &Alarm) -> Severity {
        let pages = self.alarms.all().iter().filter(|page| is_page(page));
        let mut pages = pages.filter(|page| page.id == alarm.id || names(page, &alarm.id, &self.alarms));
        if pages.next().is_some() { Severity::Page } else { Severity::Notify }
    }
}

impl Run {
    /// The state of the alarm of this name at a time.
    pub(crate) fn state_at(&self, name: &str, now: DateTime<Utc>) -> State {
        let last = self.transitions.iter().rfind(|change| change.alarm == name && change.at <= now);
        last.map_or(State::InsufficientData, |change| change.to)
    }
}

/// Reads the alarms' templates.
///
/// # Errors
/// When a file can't be read, or an alarm can't be understood.
pub fn read(templates: &Path) -> Result<Alarms, CheckError> {
    understood(&read_all(templates, "yml")?)
}

fn understood(templates: &BTreeMap<PathBuf, String>) -> Result<Alarms, CheckError> {
    let files: Vec<_> = templates.iter().map(|(path, text)| (path.display().to_string(), text.as_str())).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    Ok(Alarms::read(&files, &|name| Some(named(name)))?)
}

/// Plays a scenario, and evaluates the alarms on what CloudWatch gets of it.
pub(crate) fn play(alarms: &Alarms, scenario: &Scenario) -> Run {
    // A run has a runtime of its own, which needs a thread of its own too.
    let outcome = std::thread::scope(|scope| finish(scope.spawn(|| world::run(scenario, Capture::Observed))));
    let metrics = received(&outcome.observed);
    let transitions = alarms.evaluate(&metrics, time(0), time(scenario.end()));
    let mut problems = outcome.violations;
    for weather in &scenario.fault_windows {
        if outcome.faults.of(weather.fault) == 0 {
            problems.push(format!("{} did not happen", weather.fault.words()));
        }
    }
    problems.dedup();
    Run { transitions, metrics, tally: outcome.tally, problems }
}

fn is_page(alarm: &Alarm) -> bool {
    alarm.alarm_actions.iter().any(|topic| topic == PAGE_TOPIC)
}

/// Whether a composite alarm looks at the alarm with this ID.
fn names(composite: &Alarm, id: &str, alarms: &Alarms) -> bool {
    let name = alarms.all().iter().find(|alarm| alarm.id == id).map(|alarm| alarm.name.as_str());
    match &composite.kind {
        Kind::Composite(rule) => name.is_some_and(|name| rule.alarms().contains(&name)),
        Kind::Metric(_) => false,
    }
}

/// What CloudWatch has in the end, and when it came.
fn received(observed: &Observed) -> Metrics {
    let mut metrics = Metrics::default();
    for datum in &observed.data {
        let at = time(datum.at);
        metrics.add(&metric_of_aws(datum.metric), at, at + TimeDelta::minutes(DELAY_OF_METRICS), datum.value);
    }
    let log_group = |name| Metric::new("AWS/Logs", name, &[("LogGroupName", "AuditLogGroup")]);
    for (written, line) in &observed.lines {
        let now = time(*written);
        // The same for all lines of a minute, and otherwise as good as by chance.
        let delay = DELAYS_OF_LOGS[(written / 60_000 * 7 % 11 % 3) as usize];
        let arrived = now + TimeDelta::minutes(delay);
        match Line::read(line, now) {
            Line::Log => {}
            Line::Metrics(at, samples) => {
                for (metric, value) in samples {
                    metrics.add(&metric, at, arrived, value);
                }
            }
            Line::Unparsed => metrics.add(&log_group("EMFParsingErrors"), now, arrived, 1.0),
            Line::Invalid => metrics.add(&log_group("EMFValidationErrors"), now, arrived, 1.0),
        }
    }
    metrics
}

/// What a thread came to; its panic is ours.
fn finish<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A time of day as minutes of the simulator's time.
fn minute(at: DateTime<Utc>) -> i64 {
    (at - time(0)).num_seconds().div_euclid(60)
}

fn minutes(at: Millis) -> i64 {
    i64::try_from(at / 60_000).unwrap_or(i64::MAX)
}

/// What it costs when nobody looks.
fn unattended(tally: &Tally) -> String {
    let lost = tally.dropped + tally.expired;
    match (lost, tally.kept) {
        (0, 0) => "nothing".to_owned(),
        (0, kept) => format!("nothing; {kept} records wait in the failure bucket"),
        (lost, 0) => format!("{lost} changes"),
        (lost, kept) => format!("{lost} changes; {kept} records wait in the failure bucket"),
    }
}

/// The simulator's time as a time of day.
pub(crate) fn time(at: Millis) -> DateTime<Utc> {
    DateTime::from_timestamp(EPOCH, 0).unwrap_or_default() + Duration::from_millis(at)
}

/// What a resource or parameter of the template is called in the simulated deployment.
pub(crate) fn named(name: &str) -> String {
    let [service, stage] = observed::DIMENSIONS;
    let value = match name {
        "Service" => service,
        "Stage" => stage,
        "RunbookUrl" => "docs/runbooks",
        // Each other is called as it is called in the template.
        other => other,
    };
    value.to_owned()
}

/// A metric of AWS, with the dimensions that the alarms name.
fn metric_of_aws(metric: observed::Metric) -> Metric {
    use observed::Metric::{
        ConsumedWriteCapacityUnits, DestinationDeliveryFailures, DroppedEventCount, Errors, FailedInvokeEventCount,
        IndexWriteThrottleEvents, Invocations, InvokedEventCount, IteratorAge, OnFailureDestinationDeliveredEventCount,
        PolledEventCount, Throttles, WriteThrottleEvents,
    };
    let function = [("FunctionName", "AuditLambdaFunction")];
    let mapping = [("EventSourceMappingUUID", "ConfigurationStreamMapping")];
    let audit = ("TableName", "AuditTableName");
    let name = format!("{metric:?}");
    match metric {
        Invocations | Errors | Throttles | observed::Metric::Duration | IteratorAge | DestinationDeliveryFailures => {
            Metric::new("AWS/Lambda", &name, &function)
        }
        PolledEventCount
        | InvokedEventCount
        | FailedInvokeEventCount
        | DroppedEventCount
        | OnFailureDestinationDeliveredEventCount => Metric::new("AWS/Lambda", &name, &mapping),
        ConsumedWriteCapacityUnits => Metric::new("AWS/DynamoDB", &name, &[("TableName", "ConfigurationTableName")]),
        WriteThrottleEvents => Metric::new("AWS/DynamoDB", &name, &[audit]),
        IndexWriteThrottleEvents => Metric::new(
            "AWS/DynamoDB",
            "WriteThrottleEvents",
            &[audit, ("GlobalSecondaryIndexName", "itemKey-modificationTime-index")],
        ),
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

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Notify => "notify",
        }
    }
}

impl Checked {
    fn text(&self, terminal: Terminal) -> String {
        let mut text = String::new();
        // Writing to a string does not fail, here and below.
        for tried in &self.trials {
            let _ = writeln!(text, "{}", terminal.paint(Tone::Heading, &tried.fault));
            for Fired { alarm, severity, after_minutes, is_meant } in &tried.fired {
                let line = format!("  {after_minutes:>5} min  {:<6}  {alarm}", severity.as_str());
                let tone = if *is_meant { Tone::Good } else { Tone::Quiet };
                let _ = writeln!(text, "{}", terminal.paint(tone, &line));
            }
            let _ = writeln!(text, "  somebody is paged: {}", list(tried.pages.iter().map(|at| format!("{at} min"))));
            let _ = writeln!(text, "  lost while nobody looks: {}", tried.unattended);
        }
        let pages = self.pages_in_a_healthy_month.len();
        let notifications = self.notifications_in_a_healthy_month.len();
        let _ = writeln!(text, "\nthirty healthy days: {pages} pages, {notifications} notifications");
        for problem in &self.problems {
            let _ = writeln!(text, "{}", terminal.paint(Tone::Bad, problem));
        }
        text.trim_end().to_owned()
    }

    /// The README's table: for each fault the alarms that are there for it, those that follow, and when somebody is paged.
    fn markdown(&self) -> String {
        let mut table =
            "| fault | alarms that are there for it | and follow | paged after | lost while nobody looks |\n\
                         |---|---|---|---|---|\n"
                .to_owned();
        for tried in &self.trials {
            let alarms = |meant: bool| {
                let fired = tried.fired.iter().filter(move |fired| fired.is_meant == meant);
                list(fired.map(|fired| format!("`{}` {}", fired.alarm, fired.after_minutes)))
            };
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} | {} |",
                tried.fault,
                alarms(true),
                alarms(false),
                list(tried.pages.iter().map(ToString::to_string)),
                tried.unattended
            );
        }
        table.trim_end().to_owned()
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "–".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// A template without one of its resources, and without what other alarms say of it.
    fn without(template: &str, id: &str) -> String {
        let template = template.replace(&format!("ALARM(\"${{{id}}}\")"), "FALSE");
        let Some(from) = template.find(&format!("\n  {id}:\n")) else { return template };
        let rest = &template[from + 1..];
        let is_next = |line: &str| line.starts_with("  ") && line.as_bytes().get(2).is_some_and(u8::is_ascii_uppercase);
        let length = rest.split_inclusive('\n').skip(1).take_while(|line| !is_next(line)).map(str::len).sum::<usize>();
        let first = rest.find('\n').unwrap_or_default() + 1;
        format!("{}{}", &template[..=from], &rest[first + length..])
    }

    #[test]
    fn every_fault_fires_its_alarm_in_time_a_healthy_month_pages_nobody_and_no_alarm_can_be_left_out() {
        let runbooks = repository().join("docs/runbooks");
        let templates = read_all(&repository().join("alarms"), "yml").unwrap();
        let deployed = Deployed::new(understood(&templates).unwrap(), &runbooks);
        let played = deployed.play_all();
        let checked = deployed.judge(&played);
        assert_eq!(checked.problems, [""; 0]);
        assert!(checked.trials.len() >= 20);
        let readme = include_str!("../../../../../README.md");
        assert!(readme.contains(&checked.markdown()), "the README is to have this table:\n{}", checked.markdown());
        // A part of an alarm acts on nothing by itself: without it that alarm can't be read.
        let (whole, parts): (Vec<_>, Vec<_>) =
            deployed.alarms.all().iter().partition(|alarm| !alarm.alarm_actions.is_empty());
        for Alarm { id, .. } in whole {
            let fewer = templates.iter().map(|(name, text)| (name.clone(), without(text, id))).collect();
            let fewer = Deployed::new(understood(&fewer).unwrap(), &runbooks);
            assert_eq!(fewer.alarms.all().len(), deployed.alarms.all().len() - 1);
            assert_ne!(fewer.judge(&played).problems, [""; 0], "nothing is missed without {id}");
        }
        for Alarm { id, .. } in parts {
            let said = |text: &String| text.replace(&format!("\n  {id}:\n"), "\n  Other:\n");
            let fewer = templates.iter().map(|(name, text)| (name.clone(), said(text))).collect();
            let error = understood(&fewer).unwrap_err().to_string();
            assert!(error.contains(id), "{error}");
        }
    }
}
