//! `config-audit dashboards`: the dashboards as they would look during a fault, before anything is deployed.
//!
//! The files are the deployed ones, and the data is what CloudWatch would receive during a simulated fault
//! ([`config_audit_faults`]). Each dashboard becomes one page for a browser.

mod page;

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use config_audit_cloudwatch::alarms::{Alarm, State};
use config_audit_cloudwatch::dashboard::{Dashboard, DashboardError};
use config_audit_cloudwatch::metrics::Metrics;
use config_audit_console::dashboards::{ChartError, Data, Links, Mark, values};
use config_audit_faults::case::FaultCase;
use config_audit_faults::catalog::{self, UnknownFault};
use config_audit_faults::trial::{Cadence, DAY, Rate, Trial};
use config_audit_faults::{REGION, play, resolve, time};
use config_audit_simulator::observed;

use self::page::page;
use crate::files::{ReadAlarmsError, Unreadable, read_alarms, read_all};
use crate::terminal::{Terminal, WriteError};

/// Which dashboards to draw, with which fault, and where.
#[derive(Debug, Args)]
pub struct DashboardsArguments {
    /// The name of a fault that `config-audit alarms check` lists, or a part of it [default: no fault]
    #[arg(long, value_name = "NAME")]
    fault: Option<String>,
    /// Minutes after the fault began, up to a day
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=1440))]
    after: u32,
    /// How often the table changes
    #[arg(long, value_enum, default_value_t = Rate::Usual)]
    rate: Rate,
    /// Hide the fault's name on the pages, for practice
    #[arg(long)]
    hide_fault: bool,
    /// The directory with the dashboards
    #[arg(long, value_name = "DIR", default_value = "dashboards")]
    dashboards: PathBuf,
    /// The directory with the alarms' templates
    #[arg(long, value_name = "DIR", default_value = "alarms")]
    alarms: PathBuf,
    /// The directory for the pages
    #[arg(long, value_name = "DIR", default_value = "target/dashboards")]
    to: PathBuf,
}

/// Why the dashboards cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum DashboardsError {
    /// There is no such fault.
    #[error(transparent)]
    UnknownFault(#[from] UnknownFault),
    /// Several faults match.
    #[error("{} faults have {wanted:?} in their names; choose one of those above", matching.len())]
    AmbiguousFault {
        /// The requested name.
        wanted: String,
        /// The faults with that in their names. The command lists them above the error.
        matching: Vec<&'static str>,
    },
    /// A file of the dashboards.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// A page.
    #[error("{} cannot be written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The alarms.
    #[error(transparent)]
    Alarms(#[from] ReadAlarmsError),
    /// A dashboard.
    #[error(transparent)]
    Dashboard(#[from] DashboardError),
    /// A graph.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
}

impl DashboardsError {
    /// The faults to choose from.
    fn choices(&self) -> &[&'static str] {
        match self {
            Self::UnknownFault(UnknownFault { known, .. }) => known,
            Self::AmbiguousFault { matching, .. } => matching,
            _ => &[],
        }
    }
}

/// What the pages show.
struct Scene {
    /// What is simulated, in words.
    about: String,
    /// When the fault began, if there is one.
    began: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    metrics: Metrics,
    /// Each alarm's name and state.
    alarms: Vec<(String, State)>,
    /// The names of the alarms that are not deployed, so the deployed dashboards do not have them.
    left_out: Vec<String>,
}

/// Runs the command; returns its exit code.
///
/// # Errors
/// If a file cannot be read, parsed or written, there is no such fault, or standard output cannot be written.
pub fn run(arguments: &DashboardsArguments, terminal: Terminal) -> Result<u8, DashboardsError> {
    let scene =
        Scene::play(arguments).inspect_err(|error| error.choices().iter().for_each(|fault| terminal.note(*fault)))?;
    for (path, text) in read_all(&arguments.dashboards, "json")? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let dashboard = Dashboard::read(&path.display().to_string(), &text, &|name| Some(resolve(name)))?;
        let page = scene.page(&name, &dashboard)?;
        let path = arguments.to.join(format!("{name}.html"));
        let written = std::fs::create_dir_all(&arguments.to).and_then(|()| std::fs::write(&path, page));
        written.map_err(|source| DashboardsError::Unwritable { path: path.clone(), source })?;
        terminal.line(path.display().to_string())?;
    }
    Ok(0)
}

impl Scene {
    fn play(arguments: &DashboardsArguments) -> Result<Self, DashboardsError> {
        let DashboardsArguments { fault, after, rate, hide_fault, alarms, .. } = arguments;
        // Use the usual retry cadence, which the alarms' documentation and the runbooks use.
        let trial = Trial { rate: *rate, cadence: Cadence::TwoMinutes };
        let case = fault.as_deref().map(|fault| find(fault, trial)).transpose()?;
        let mut about = match &case {
            Some(FaultCase { name, .. }) if !hide_fault => format!("simulated: {name}, {after} minutes after it began"),
            None if !hide_fault => "simulated: nothing is wrong".to_owned(),
            _ => "simulated".to_owned(),
        };
        let began = case.as_ref().map(|case| case.begins);
        let (begins, scenario) =
            case.map_or_else(|| (catalog::BEGIN, catalog::healthy(trial)), |case| (case.begins, case.scenario));
        // A fault from the start has no day before it.
        let shift = if begins == 0 { 0 } else { DAY };
        let scenario = if shift > 0 { trial.after_a_healthy_day(scenario) } else { scenario };
        let alarms = read_alarms(alarms)?;
        let playback = play(&alarms, &scenario, scenario.end());
        let now = time(begins + shift) + TimeDelta::minutes((*after).into());
        about.push_str(&now.format("; %Y-%m-%d %H:%M UTC").to_string());
        let states =
            alarms.of(&scenario).all().iter().map(|alarm| (alarm.name.clone(), playback.state_at(&alarm.name, now)));
        let states: Vec<_> = states.collect();
        let is_left_out = |alarm: &&Alarm| !states.iter().any(|(name, _)| *name == alarm.name);
        let left_out = alarms.all.all().iter().filter(is_left_out).map(|alarm| alarm.name.clone()).collect();
        let (alarms, began) = (states, began.map(|began| time(began + shift)));
        Ok(Self { about, began, now, metrics: playback.metrics, alarms, left_out })
    }

    fn page(&self, name: &str, dashboard: &Dashboard) -> Result<String, ChartError> {
        // Logs Insights is not simulated: there is no log.
        let data = Data {
            now: self.now,
            first: time(0),
            metrics: &self.metrics,
            alarms: &self.alarms,
            left_out: &self.left_out,
            log: None,
        };
        let marks: Vec<_> = self.began.map(|at| Mark { at, label: "the fault begins" }).into_iter().collect();
        page(name, &self.about, dashboard, &values(dashboard, &data), &marks, &Files)
    }
}

/// Each dashboard is a file beside the others, and alarms have no page.
struct Files;

impl Links for Files {
    fn dashboard(&self, name: &str) -> String {
        format!("{}.html", without_region(in_short(name)))
    }

    fn alarm<'a>(&self, name: &'a str) -> (&'a str, Option<String>) {
        (in_short(name), None)
    }
}

/// The fault with this name, or the only one whose name contains it.
fn find(wanted: &str, trial: Trial) -> Result<FaultCase, DashboardsError> {
    let mut cases = catalog::named(wanted, trial)?;
    match cases.pop() {
        Some(case) if cases.is_empty() => Ok(case),
        last => {
            let matching = cases.iter().chain(&last).map(|case| case.name).collect();
            Err(DashboardsError::AmbiguousFault { wanted: wanted.to_owned(), matching })
        }
    }
}

/// The name of an alarm or a dashboard without the service and the stage.
fn in_short(name: &str) -> &str {
    let [service, stage] = observed::DIMENSIONS;
    let short = || name.strip_prefix(service)?.strip_prefix('-')?.strip_prefix(stage)?.strip_prefix('-');
    short().unwrap_or(name)
}

/// The file of a dashboard: its name in CloudWatch contains the region, because dashboards belong to the whole account.
fn without_region(name: &str) -> &str {
    name.strip_prefix(REGION).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use config_audit_cloudwatch::dashboard::Content;

    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn pages(fault: Option<&str>, rate: Rate, hide_fault: bool) -> Vec<(String, Dashboard, String)> {
        let [dashboards, alarms] = ["dashboards", "alarms"].map(|directory| repository().join(directory));
        let fault = fault.map(ToOwned::to_owned);
        let arguments =
            DashboardsArguments { fault, after: 60, rate, hide_fault, dashboards, alarms, to: PathBuf::new() };
        let scene = Scene::play(&arguments).unwrap();
        let files = read_all(&arguments.dashboards, "json").unwrap();
        let pages = files.into_iter().map(|(path, body)| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let dashboard = Dashboard::read(&name, &body, &|name| Some(resolve(name))).unwrap();
            let page = scene.page(&name, &dashboard).unwrap();
            (name, dashboard, page)
        });
        pages.collect()
    }

    #[test]
    fn each_dashboard_is_drawn_as_it_would_look_during_an_outage() {
        let fault = "the Audit table throttles every write";
        let pages = pages(Some(fault), Rate::Usual, false);
        let names: Vec<_> = pages.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["deep-dive", "operations"]);
        for (name, dashboard, page) in &pages {
            let graphs = dashboard.widgets.iter().filter(|widget| matches!(widget.content, Content::Graph(_))).count();
            assert_eq!((page.matches("class=\"legend\"").count(), page.contains("${")), (graphs, false), "{name}");
            assert!(page.contains(fault) && page.contains("the fault begins"), "{name}");
        }
        let operations = &pages[1].2;
        for (alarm, state) in [("Incident", "alarm"), ("RecordsFailing", "alarm"), ("LossImminent", "ok")] {
            let chip = format!("<li class=\"{state}\" title=\"{}\">{alarm}</li>", state.to_uppercase());
            assert!(operations.contains(&chip), "{chip}\n{operations}");
        }
        assert!(operations.contains("<a href=\"deep-dive.html\">"), "{operations}");
        assert!(!operations.contains("no such alarm") && !operations.contains("CanaryMissing"), "{operations}");
    }

    #[test]
    fn the_canarys_alarm_is_on_the_dashboard_where_there_is_a_canary() {
        let (_, _, operations) = &pages(Some("the canary's schedule stops"), Rate::Usual, false)[1];
        assert!(operations.contains(">CanaryMissing</li>"), "{operations}");
    }

    #[test]
    fn without_a_fault_no_alarm_fires_however_often_the_table_changes() {
        for rate in [Rate::Quiet, Rate::Usual] {
            for (name, _, page) in pages(None, rate, false) {
                assert!(page.contains("nothing is wrong") && !page.contains("class=\"alarm\""), "{name}");
                assert!(!page.contains("the fault begins"), "{name}");
            }
        }
    }

    #[test]
    fn the_fault_can_be_hidden() {
        for (name, _, page) in pages(Some("DynamoDB answers 500"), Rate::Quiet, true) {
            assert!(!page.contains("DynamoDB answers 500") && page.contains("<header>simulated; 2026-"), "{name}");
        }
    }

    #[test]
    fn a_fault_is_found_by_a_part_of_its_name_or_the_error_lists_all_names() {
        assert_eq!(find("clock is two hours", Trial::USUAL).unwrap().name, "the function's clock is two hours behind");
        let none = find("hour behind or not", Trial::USUAL).unwrap_err();
        assert!(none.to_string().starts_with("no fault has \"hour behind or not\" in its name"), "{none}");
        assert_eq!(none.choices().len(), catalog::all(Trial::USUAL).len());
        let several = find("'s clock is ", Trial::USUAL).unwrap_err();
        assert!(several.to_string().starts_with("2 faults") && several.choices().len() == 2, "{several}");
    }
}
