//! A dashboard as a page for a browser, as CloudWatch draws it.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use config_audit_cloudwatch::alarms::State;
use config_audit_cloudwatch::dashboard::{COLUMNS, Content, Dashboard, Graph, Numbers, Widget};
use config_audit_cloudwatch::metrics::Metrics;
use pulldown_cmark::{CowStr, Event, Parser, Tag, html};
use pulldown_cmark_escape::escape_html;

use super::chart::{self, ChartError, Mark};

/// The width of a page in pixels: the smallest screen on which a dashboard must be readable.
const WIDTH: u32 = 1280;
/// The height of a row of the grid in pixels.
const ROW: u32 = 48;
/// The width and height in pixels of a widget's frame and heading.
const FRAME: (u32, u32) = (20, 66);
/// The smallest height in pixels in which a graph can be drawn.
const MIN_HEIGHT: u32 = 60;
/// The width and height in pixels of a number's small graph.
const SPARKLINE: (u32, u32) = (100, 26);

const STYLE: &str = include_str!("page.css");

/// What the dashboards show.
pub(super) struct Data<'a> {
    /// One line about the data, above the dashboard.
    pub(super) about: &'a str,
    /// The time at which the dashboard is viewed.
    pub(super) now: DateTime<Utc>,
    /// The time before which there is no data.
    pub(super) first: DateTime<Utc>,
    /// The metrics.
    pub(super) metrics: &'a Metrics,
    /// Whether the alarm of this name is not deployed.
    pub(super) is_left_out: &'a dyn Fn(&str) -> bool,
    /// The state of the alarm of this name, if there is one.
    pub(super) state: &'a dyn Fn(&str) -> Option<State>,
    /// The name of an alarm or a dashboard without the part that all of them share.
    pub(super) in_short: &'a dyn Fn(&str) -> String,
    /// A time to mark on every graph.
    pub(super) mark: Option<Mark>,
}

/// A dashboard as a page.
///
/// # Errors
/// When a graph cannot be drawn.
pub(super) fn page(name: &str, dashboard: &Dashboard, data: &Data<'_>) -> Result<String, ChartError> {
    let mut page = String::new();
    let (name, about, style) = (text(name), text(data.about), STYLE);
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{name}: {about}</title>\n\
         <style>{style}</style>\n<header>{about}</header>\n<main>\n"
    );
    for Widget { x, y, width, height, content } in &dashboard.widgets {
        let (column, row) = (x + 1, y + 1);
        let _ = writeln!(page, "<section style=\"grid-area: {row} / {column} / span {height} / span {width}\">");
        // There is no data from before the simulation.
        let time = |start: Option<TimeDelta>| ((data.now - start.unwrap_or(dashboard.start)).max(data.first), data.now);
        match content {
            Content::Text(markdown) => {
                html::push_html(&mut page, Parser::new(markdown).map(|event| to_page(event, data)));
            }
            Content::Alarms { title, names } => write_alarms(&mut page, title, names, data),
            Content::Log { title, query } => {
                let (title, query) = (text(title), text(query));
                let _ = writeln!(
                    page,
                    "<h3>{title}</h3>\n<p class=\"quiet\">Logs Insights is not simulated. The query:</p>\n<pre>{query}</pre>"
                );
            }
            Content::Graph(graph) => {
                let size = (width * WIDTH / COLUMNS - FRAME.0, (height * ROW).saturating_sub(FRAME.1).max(MIN_HEIGHT));
                write_graph(&mut page, graph, time(graph.start), size, data)?;
            }
            Content::Numbers(numbers) => write_numbers(&mut page, numbers, time(numbers.start), data.metrics),
        }
        page.push_str("</section>\n");
    }
    page.push_str("</main>\n</html>\n");
    Ok(page)
}

/// Alarms in ALARM come first, as with `sortBy: stateUpdatedTimestamp`.
fn write_alarms(page: &mut String, title: &str, names: &[String], data: &Data<'_>) {
    let _ = writeln!(page, "<h3>{}</h3>\n<ul class=\"alarms\">", text(title));
    let names = names.iter().filter(|name| !(data.is_left_out)(name));
    let mut alarms: Vec<_> = names.map(|name| ((data.state)(name), name)).collect();
    alarms.sort_by_key(|(state, _)| match state {
        Some(State::Alarm) => 0,
        Some(State::Ok) => 2,
        _ => 1,
    });
    for (state, name) in alarms {
        let state = state.map_or_else(|| "no such alarm".to_owned(), |state| state.to_string());
        let class = state.to_lowercase().replace(['_', ' '], "-");
        let _ = writeln!(page, "<li class=\"{class}\" title=\"{state}\">{}</li>", text(&(data.in_short)(name)));
    }
    page.push_str("</ul>\n");
}

fn write_graph(
    page: &mut String,
    graph: &Graph,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    size: (u32, u32),
    data: &Data<'_>,
) -> Result<(), ChartError> {
    let points: Vec<_> = graph.lines.iter().map(|line| line.points(data.metrics, from, to)).collect();
    let svg = chart::svg(graph, &points, (from, to), data.mark.as_ref(), size)?;
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

/// Numbers are side by side, each above its label. As in CloudWatch, `--` means no data.
fn write_numbers(page: &mut String, numbers: &Numbers, (from, to): (DateTime<Utc>, DateTime<Utc>), metrics: &Metrics) {
    let _ = writeln!(page, "<h3>{}</h3>\n<div class=\"numbers\">", text(&numbers.title));
    for line in &numbers.lines {
        let points = line.points(metrics, from, to);
        let value = if numbers.is_of_whole_time {
            line.over(metrics, from, to)
        } else {
            points.iter().rev().find_map(|(_, value)| *value)
        };
        let (value, label) = (value.map_or_else(|| "--".to_owned(), chart::figure), text(&line.label));
        let sparkline =
            if numbers.has_sparkline { chart::sparkline(&points, &line.color, SPARKLINE) } else { String::new() };
        let _ = writeln!(page, "<p><b>{value}</b><span>{label}</span>{sparkline}</p>");
    }
    page.push_str("</div>\n");
}

/// Replaces a link to another dashboard with a link to its page. As in CloudWatch, HTML is text, and other links must
/// go to the web, because a page is opened from disk, where a script could read other files.
fn to_page<'a>(event: Event<'a>, data: &Data<'_>) -> Event<'a> {
    match event {
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: link(dest_url, data), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: link(dest_url, data), title, id })
        }
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        other => other,
    }
}

fn link<'a>(url: CowStr<'a>, data: &Data<'_>) -> CowStr<'a> {
    match url.strip_prefix("#dashboards:name=") {
        Some(name) => CowStr::from(format!("{}.html", (data.in_short)(name))),
        None if ["https://", "http://", "#"].iter().any(|allowed| url.starts_with(allowed)) => url,
        None => CowStr::from(""),
    }
}

/// Text as HTML.
fn text(text: &str) -> String {
    let mut escaped = String::new();
    let _ = escape_html(&mut escaped, text);
    escaped
}

#[cfg(test)]
mod tests {
    use config_audit_cloudwatch::metrics::Metric;

    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_496_000 + 60 * minute, 0).unwrap()
    }

    fn drawn(widget: &str, metrics: &Metrics) -> String {
        let body = format!("{{ \"start\": \"-PT1H\", \"widgets\": [{widget}] }}");
        let data = Data {
            about: "a test",
            now: at(60),
            first: at(0),
            metrics,
            is_left_out: &|name| name == "LeftOut",
            state: &|name| match name {
                "Down" => Some(State::Alarm),
                "New" => Some(State::InsufficientData),
                "Up" => Some(State::Ok),
                _ => None,
            },
            in_short: &ToOwned::to_owned,
            mark: None,
        };
        page("test", &Dashboard::read("d.json", &body, &|_| None).unwrap(), &data).unwrap()
    }

    #[test]
    fn html_and_scripts_in_a_text_are_text() {
        let markdown =
            "<script>a</script>\\n\\nb <img src=x onerror=y> [c](javascript:d) ![e](file:///f) [g](https://h)";
        let page = drawn(
            &format!(
                "{{ \"type\": \"text\", \"x\": 0, \"y\": 0, \"width\": 6, \"height\": 1, \"properties\": {{ \"markdown\": \"{markdown}\" }} }}"
            ),
            &Metrics::default(),
        );
        for harmful in ["<script", "<img src=\"x", "<img src=x", "javascript:", "file:"] {
            assert!(!page.contains(harmful), "{page}");
        }
        assert!(page.contains("&lt;script&gt;") && page.contains("<a href=\"https://h\">g</a>"), "{page}");
    }

    #[test]
    fn alarms_in_alarm_come_first() {
        let widget = r#"{ "type": "alarm", "x": 0, "y": 0, "width": 6, "height": 4,
            "properties": { "title": "A", "alarms": ["arn:Up", "arn:New", "arn:Gone", "arn:LeftOut", "arn:Down"] } }"#;
        let page = drawn(widget, &Metrics::default());
        let order: Vec<_> =
            ["Down", "New", "Gone", "Up"].iter().map(|name| page.find(&format!(">{name}</li>"))).collect();
        assert!(order.is_sorted() && order.iter().all(Option::is_some), "{page}");
        assert!(!page.contains("LeftOut"), "{page}");
    }

    #[test]
    fn numbers_cover_the_last_period_with_data_or_the_whole_time_range() {
        let mut metrics = Metrics::default();
        for (minute, value) in [(10, 1_200.0), (20, 34.5)] {
            metrics.add(&Metric::new("N", "A", &[]), at(minute), at(minute), value);
        }
        let tile = |option: &str| {
            let widget = format!(
                r#"{{ "type": "metric", "x": 0, "y": 0, "width": 6, "height": 3, "properties": {{ "title": "T", "region": "r",
                "view": "singleValue", "stat": "Sum", "period": 300{option}, "metrics": [
                ["N", "A", {{ "label": "<a>" }}], ["N", "B", {{ "label": "b" }}]] }} }}"#
            );
            drawn(&widget, &metrics)
        };
        let last = tile("");
        assert!(last.contains("<p><b>34.5</b><span>&lt;a&gt;</span></p>"), "{last}");
        assert!(last.contains("<p><b>--</b><span>b</span></p>"), "{last}");
        let sum = tile(", \"setPeriodToTimeRange\": true, \"sparkline\": true");
        assert!(sum.contains("<b>1,234.5</b>") && sum.contains("<polyline"), "{sum}");
    }
}
