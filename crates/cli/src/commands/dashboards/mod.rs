//! `config-audit dashboards`: the dashboards as they would look during a fault, before anything is deployed.
//!
//! The files are those that are deployed, and the data is what CloudWatch would receive during a simulated fault
//! ([`crate::faults`]). Each dashboard becomes one page for a browser.

pub mod chart;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use config_audit_simulator::observed;
use pulldown_cmark::{CowStr, Event, Parser, Tag, html};
use pulldown_cmark_escape::escape_html;

use crate::faults::case::FaultCase;
use crate::faults::catalog::{self, UnknownFault};
use crate::faults::trial::Trial;
use crate::faults::{DeployedAlarms, REGION, ReadAlarmsError, play, resolve, time};
use crate::files::{Unreadable, read_all};
use crate::terminal::{Terminal, WriteError};
use config_audit_cloudwatch::alarms::State;
use config_audit_cloudwatch::dashboard::{COLUMNS, Content, Dashboard, DashboardError, Graph, Widget};
use config_audit_cloudwatch::metrics::Metrics;

/// The width of a page in pixels: the smallest screen on which a dashboard must be readable.
const WIDTH: u32 = 1280;
/// The height of a row of the grid in pixels.
const ROW: u32 = 48;
/// The width and height in pixels of a widget's frame and heading.
const FRAME: (u32, u32) = (18, 62);
/// The smallest height in pixels in which a graph can be drawn.
const MIN_HEIGHT: u32 = 60;

/// Which dashboards to draw, with which fault, and where to.
#[derive(Debug, Args)]
pub struct DashboardsArguments {
    /// The name of a fault that `config-audit alarms check` lists, or a part of it [default: nothing is wrong]
    #[arg(long, value_name = "NAME")]
    fault: Option<String>,
    /// Minutes after the fault began, up to a day
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=1440))]
    after: u32,
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
    /// There are several.
    #[error("{} faults have {wanted:?} in their names; choose one of those above", matching.len())]
    AmbiguousFault {
        /// What was asked for.
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
        /// The system's reason.
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
    Chart(#[from] chart::ChartError),
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
    /// The fault, in words.
    fault: &'static str,
    /// How long after it began, in words; empty without a fault.
    when: String,
    now: DateTime<Utc>,
    metrics: Metrics,
    /// Each alarm's name and state.
    alarms: Vec<(String, State)>,
}

/// Runs the command; returns its exit code.
///
/// # Errors
/// When a file cannot be read, understood or written, there is no such fault, or standard output cannot be written.
pub fn run(arguments: &DashboardsArguments, terminal: Terminal) -> Result<u8, DashboardsError> {
    let scene = Scene::play(&arguments.alarms, arguments.fault.as_deref(), arguments.after)
        .inspect_err(|error| error.choices().iter().for_each(|fault| terminal.note(*fault)))?;
    for (path, text) in read_all(&arguments.dashboards, "json")? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let dashboard = Dashboard::read(&path.display().to_string(), &text, &|name| Some(resolve(name)))?;
        let page = page(&name, &dashboard, &scene)?;
        let path = arguments.to.join(format!("{name}.html"));
        let written = std::fs::create_dir_all(&arguments.to).and_then(|()| std::fs::write(&path, page));
        written.map_err(|source| DashboardsError::Unwritable { path: path.clone(), source })?;
        terminal.line(path.display().to_string())?;
    }
    Ok(0)
}

impl Scene {
    fn play(alarms: &Path, fault: Option<&str>, after: u32) -> Result<Self, DashboardsError> {
        let (fault, begins, scenario, when) = match fault.map(find).transpose()? {
            Some(FaultCase { name, begins, scenario, .. }) => {
                (name, begins, scenario, format!(", {after} minutes after it began"))
            }
            None => ("nothing is wrong", catalog::BEGIN, catalog::healthy(), String::new()),
        };
        let alarms = DeployedAlarms::read(alarms)?;
        let playback = play(&alarms, &scenario);
        let now = time(begins) + TimeDelta::minutes(after.into());
        let states =
            alarms.of(&scenario).all().iter().map(|alarm| (alarm.name.clone(), playback.state_at(&alarm.name, now)));
        let alarms = states.collect();
        Ok(Self { fault, when, now, metrics: playback.metrics, alarms })
    }
}

/// The fault with this name, or the only one whose name contains it.
fn find(wanted: &str) -> Result<FaultCase, DashboardsError> {
    let mut cases = catalog::named(wanted, Trial::USUAL)?;
    match cases.pop() {
        Some(case) if cases.is_empty() => Ok(case),
        last => {
            let matching = cases.iter().chain(&last).map(|case| case.name).collect();
            Err(DashboardsError::AmbiguousFault { wanted: wanted.to_owned(), matching })
        }
    }
}

const STYLE: &str = include_str!("page.css");

/// A dashboard as a page.
fn page(name: &str, dashboard: &Dashboard, scene: &Scene) -> Result<String, DashboardsError> {
    let mut page = String::new();
    let (name, fault, when, style) = (text(name), text(scene.fault), &scene.when, STYLE);
    let now = scene.now.format("%Y-%m-%d %H:%M");
    // Writing to a string does not fail, here and below.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{name}: {fault}</title>\n\
         <style>{style}</style>\n<header>simulated: <b>{fault}</b>{when}; {now} UTC</header>\n<main>\n"
    );
    for Widget { x, y, width, height, content } in &dashboard.widgets {
        let (column, row) = (x + 1, y + 1);
        let _ = writeln!(page, "<section style=\"grid-area: {row} / {column} / span {height} / span {width}\">");
        match content {
            Content::Text(markdown) => html::push_html(&mut page, Parser::new(markdown).map(to_page)),
            Content::Alarms { title, names } => write_alarms(&mut page, title, names, scene),
            Content::Log { title, query } => {
                let (title, query) = (text(title), text(query));
                let _ = writeln!(
                    page,
                    "<h3>{title}</h3>\n<p class=\"quiet\">Logs Insights is not simulated. The query:</p>\n<pre>{query}</pre>"
                );
            }
            Content::Graph(graph) => {
                let size = (width * WIDTH / COLUMNS - FRAME.0, (height * ROW).saturating_sub(FRAME.1).max(MIN_HEIGHT));
                // There is no data from before the simulation.
                let from = (scene.now - dashboard.start).max(time(0));
                write_graph(&mut page, graph, (from, scene.now), size, scene)?;
            }
        }
        page.push_str("</section>\n");
    }
    page.push_str("</main>\n</html>\n");
    Ok(page)
}

fn write_alarms(page: &mut String, title: &str, names: &[String], scene: &Scene) {
    let _ = writeln!(page, "<h3>{}</h3>\n<ul class=\"alarms\">", text(title));
    for name in names {
        let state = scene.alarms.iter().find(|(alarm, _)| alarm == name).map(|(_, state)| state.to_string());
        let state = state.unwrap_or_else(|| "no such alarm".to_owned());
        let class = state.to_lowercase().replace(['_', ' '], "-");
        let _ = writeln!(page, "<li class=\"{class}\" title=\"{state}\">{}</li>", text(in_short(name)));
    }
    page.push_str("</ul>\n");
}

fn write_graph(
    page: &mut String,
    graph: &Graph,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    size: (u32, u32),
    scene: &Scene,
) -> Result<(), DashboardsError> {
    let points: Vec<_> = graph.lines.iter().map(|line| line.points(&scene.metrics, from, to)).collect();
    let svg = chart::svg(graph, &points, (from, to), size)?;
    let _ = writeln!(page, "<h3>{}</h3>\n{svg}<p class=\"legend\">", text(&graph.title));
    for (line, points) in graph.lines.iter().zip(&points) {
        let has_data = points.iter().any(|(_, value)| value.is_some());
        let (color, label) = (text(&line.color), text(&line.label));
        let class = if has_data { "" } else { " class=\"quiet\" title=\"no data\"" };
        let _ = writeln!(page, "<span{class}><i style=\"background: {color}\"></i>{label}</span>");
    }
    page.push_str("</p>\n");
    Ok(())
}

/// Replaces a link to another dashboard with a link to its page. As in CloudWatch, HTML is text, and other links lead to the
/// web: a page is opened from the disk, where a script could read other files.
fn to_page(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: link(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: link(dest_url), title, id })
        }
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        other => other,
    }
}

fn link(url: CowStr<'_>) -> CowStr<'_> {
    match url.strip_prefix("#dashboards:name=") {
        Some(name) => CowStr::from(format!("{}.html", without_region(in_short(name)))),
        None if ["https://", "http://", "#"].iter().any(|allowed| url.starts_with(allowed)) => url,
        None => CowStr::from(""),
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

/// Text as HTML.
fn text(text: &str) -> String {
    let mut escaped = String::new();
    let _ = escape_html(&mut escaped, text);
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn pages(fault: Option<&str>) -> Vec<(String, Dashboard, String)> {
        let scene = Scene::play(&repository().join("alarms"), fault, 60).unwrap();
        let files = read_all(&repository().join("dashboards"), "json").unwrap();
        let pages = files.into_iter().map(|(path, body)| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let dashboard = Dashboard::read(&name, &body, &|name| Some(resolve(name))).unwrap();
            let page = page(&name, &dashboard, &scene).unwrap();
            (name, dashboard, page)
        });
        pages.collect()
    }

    #[test]
    fn each_dashboard_is_drawn_as_it_would_look_during_an_outage() {
        let pages = pages(Some("the Audit table throttles every write"));
        let names: Vec<_> = pages.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["deep-dive", "operations"]);
        for (name, dashboard, page) in &pages {
            let graphs = dashboard.widgets.iter().filter(|widget| matches!(widget.content, Content::Graph(_))).count();
            assert_eq!((page.matches("<svg").count(), page.contains("${")), (graphs, false), "{name}");
        }
        let operations = &pages[1].2;
        for (alarm, state) in [("Incident", "alarm"), ("RecordsFailing", "alarm"), ("LossImminent", "ok")] {
            let chip = format!("<li class=\"{state}\" title=\"{}\">{alarm}</li>", state.to_uppercase());
            assert!(operations.contains(&chip), "{chip}\n{operations}");
        }
        assert!(operations.contains("<a href=\"deep-dive.html\">"), "{operations}");
        assert!(!operations.contains("no such alarm"), "{operations}");
    }

    #[test]
    fn without_a_fault_no_alarm_is_on() {
        for (name, _, page) in pages(None) {
            assert!(page.contains("nothing is wrong") && !page.contains("class=\"alarm\""), "{name}");
        }
    }

    #[test]
    fn html_and_scripts_in_a_text_are_text() {
        let markdown = "<script>a</script>\n\nb <img src=x onerror=y> [c](javascript:d) ![e](file:///f) [g](https://h)";
        let mut page = String::new();
        html::push_html(&mut page, Parser::new(markdown).map(to_page));
        for harmful in ["<script", "<img src=\"x", "<img src=x", "javascript:", "file:"] {
            assert!(!page.contains(harmful), "{page}");
        }
        assert!(page.contains("&lt;script&gt;") && page.contains("<a href=\"https://h\">g</a>"), "{page}");
    }

    #[test]
    fn a_part_of_its_name_finds_a_fault_and_the_error_lists_the_names_otherwise() {
        assert_eq!(find("clock is two hours").unwrap().name, "the function's clock is two hours behind");
        let none = find("hour behind or not").unwrap_err();
        assert!(none.to_string().starts_with("no fault has \"hour behind or not\" in its name"), "{none}");
        assert_eq!(none.choices().len(), catalog::all(Trial::USUAL).len());
        let several = find("'s clock is ").unwrap_err();
        assert!(several.to_string().starts_with("2 faults") && several.choices().len() == 2, "{several}");
    }
}
