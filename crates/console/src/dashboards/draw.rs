//! Dashboards as HTML, as CloudWatch draws them.

use config_audit_cloudwatch::alarms::State;
use config_audit_cloudwatch::dashboard::{COLUMNS, Content, Dashboard, Graph, Numbers, Widget};
use config_audit_cloudwatch::insights::{Table, Value};
use maud::{Markup, PreEscaped, html};

use super::chart::{self, ChartError, Mark};
use super::values::{AlarmState, LogResult, Number, Values};
use crate::markdown;
use crate::text::Visible;

/// The width in pixels for which graphs are drawn: the smallest screen on which a dashboard is read without scrolling
/// sideways. On smaller ones, widgets are below each other.
const WIDTH: u32 = 1280;
/// The height of a row of the grid in pixels.
const ROW: u32 = 48;
/// The width and height in pixels of a widget's frame and heading.
const FRAME: (u32, u32) = (20, 66);
/// The smallest height in pixels in which a graph can be drawn.
const MIN_HEIGHT: u32 = 60;
/// The width and height in pixels of a number's small graph.
const SPARKLINE: (u32, u32) = (100, 26);

/// The style sheet of a drawn dashboard.
pub const STYLE: &str = include_str!("../../assets/dashboard.css");

/// Where the links of a dashboard lead.
pub trait Links {
    /// The address of the dashboard with this name.
    fn dashboard(&self, name: &str) -> String;
    /// What an alarm is called in short, and the address of its page, if there is one.
    fn alarm<'a>(&self, name: &'a str) -> (&'a str, Option<String>);
}

/// A dashboard as a grid of widgets.
///
/// # Errors
/// If a graph cannot be drawn.
pub fn draw(dashboard: &Dashboard, values: &[Values], marks: &[Mark], links: &dyn Links) -> Result<Markup, ChartError> {
    // The grid is filled in this order. A widget's place is not in its style, which a content security policy may forbid.
    let mut widgets: Vec<(&Widget, &Values)> = dashboard.widgets.iter().zip(values).collect();
    widgets.sort_by_key(|(widget, _)| (widget.y, widget.x));
    let sections = widgets.into_iter().enumerate().map(|(number, (widget, values))| {
        let content = content(widget, values, number, marks, links)?;
        Ok(html! { section class=(format!("w{} h{}", widget.width, widget.height)) { (content) } })
    });
    let sections = sections.collect::<Result<Vec<_>, ChartError>>()?;
    Ok(html! { div.dashboard { @for section in sections { (section) } } })
}

fn content(
    widget: &Widget,
    values: &Values,
    number: usize,
    marks: &[Mark],
    links: &dyn Links,
) -> Result<Markup, ChartError> {
    Ok(match (values, &widget.content) {
        (Values::Text { markdown }, _) => text(markdown, links),
        (Values::Alarms { title, alarms }, _) => draw_alarms(title, alarms, links),
        (Values::Log { title, query, result }, _) => draw_log(title, query, result.as_ref()),
        (Values::Graph { .. }, Content::Graph(graph)) => {
            let (width, height) = (widget.width * WIDTH / COLUMNS, widget.height * ROW);
            let size = (width.saturating_sub(FRAME.0), height.saturating_sub(FRAME.1).max(MIN_HEIGHT));
            draw_graph(graph, values, number, marks, size)?
        }
        (Values::Numbers { title, numbers }, Content::Numbers(of)) => draw_numbers(of, title, numbers),
        // Each kind of value comes from its own kind of widget.
        _ => Markup::default(),
    })
}

fn draw_alarms(title: &str, alarms: &[AlarmState], links: &dyn Links) -> Markup {
    html! {
        h3 { (title) }
        ul.alarm-states {
            @for alarm in alarms {
                @let (class, words) = match alarm.state {
                    Some(State::Alarm) => ("alarm", "ALARM"),
                    Some(State::Ok) => ("ok", "OK"),
                    Some(State::InsufficientData) => ("insufficient-data", "INSUFFICIENT_DATA"),
                    None => ("no-such-alarm", "no such alarm"),
                };
                @let (name, address) = links.alarm(&alarm.name);
                li class=(class) title=(words) {
                    @if let Some(address) = address { a href=(address) { (name) } } @else { (name) }
                }
            }
        }
    }
}

fn draw_log(title: &str, query: &str, result: Option<&LogResult>) -> Markup {
    html! {
        h3 { (title) }
        @match result {
            Some(LogResult::Table(table)) if table.rows.is_empty() => {
                p.quiet { "No line of the log matches in this time range." }
            },
            Some(LogResult::Table(table)) => (draw_table(title, table)),
            Some(LogResult::Unsupported(error)) => p { (error) },
            None => p.quiet { "The log is not simulated." },
        }
        @if matches!(result, None | Some(LogResult::Unsupported(_))) {
            details { summary { "The query" } pre tabindex="0" { (query) } }
        }
    }
}

fn draw_table(title: &str, table: &Table) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(title) {
            table {
                thead { tr { @for column in &table.columns { th scope="col" { (column) } } } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for value in row {
                                @match value {
                                    Value::Missing => td {},
                                    Value::Number(number) => td.number { (chart::figure(*number)) },
                                    Value::Text(text) => td { (Visible(text)) },
                                    Value::Time(time) => td { time title=(value) { (time.format("%d %b %H:%M:%S")) } },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn draw_graph(
    graph: &Graph,
    values: &Values,
    number: usize,
    marks: &[Mark],
    size: (u32, u32),
) -> Result<Markup, ChartError> {
    let Values::Graph { from, to, lines, .. } = values else { return Ok(Markup::default()) };
    let svg = chart::svg(graph, lines, (*from, *to), marks, size)?;
    let has_data = |index: usize| lines[index].points.iter().any(|(_, value)| value.is_some());
    let label = format!("{}. The arrow keys show the values.", graph.title);
    Ok(html! {
        h3 { (graph.title) }
        // A group that is an image with its values beside it.
        div.graph id=(format!("graph-{number}")) tabindex="0" role="group" aria-label=(label) {
            (PreEscaped(svg))
            p.legend {
                @for (index, line) in graph.lines.iter().enumerate() {
                    span.quiet[!has_data(index)] title=[(!has_data(index)).then_some("no data")] {
                        (swatch(&line.color)) (line.label)
                    }
                }
            }
            p.values role="status" {}
        }
    })
}

/// A line's colour in the legend.
fn swatch(color: &str) -> Markup {
    html! { svg.swatch width="8" height="8" aria-hidden="true" { rect width="8" height="8" fill=(color) {} } " " }
}

/// Numbers are side by side, each above its label. As in CloudWatch, `--` means no data.
fn draw_numbers(of: &Numbers, title: &str, numbers: &[Number]) -> Markup {
    html! {
        h3 { (title) }
        div.numbers {
            @for (number, line) in numbers.iter().zip(&of.lines) {
                p {
                    b { @match number.value { Some(value) => (chart::figure(value)), None => "--" } }
                    span { (number.label) }
                    @if of.has_sparkline { (PreEscaped(chart::sparkline(&number.points, &line.color, SPARKLINE))) }
                }
            }
        }
    }
}

/// As in CloudWatch, HTML is text.
fn text(text: &str, links: &dyn Links) -> Markup {
    markdown::render(text, &|url| address(url, links))
}

/// Links lead to the web, to a runbook or to another dashboard: a page may be opened from disk, where a script could read other
/// files.
fn address(url: &str, links: &dyn Links) -> Option<String> {
    match url.strip_prefix("#dashboards:name=") {
        Some(name) => Some(links.dashboard(name)),
        None => {
            ["https://", "http://", "/runbooks/"].iter().any(|allowed| url.starts_with(allowed)).then(|| url.to_owned())
        }
    }
}
