//! Dashboards, from the very files that are deployed (Amazon CloudWatch API Reference, "Dashboard Body Structure and
//! Syntax"): what each widget draws, and of which data. Pure. It knows what the bundled dashboards use, and says what it
//! does not know.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::math::{Expression, Query};
use super::metrics::{Metric, Metrics, Stat, minute};
use super::template::{Resolve, substitute};

/// A dashboard.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// How far back it shows when it is opened.
    pub start: TimeDelta,
    /// What is on it.
    pub widgets: Vec<Widget>,
}

/// A part of a dashboard, in a grid of [`COLUMNS`].
#[derive(Debug, Clone)]
pub struct Widget {
    /// The column at its left, from 0.
    pub x: u32,
    /// The row at its top, from 0.
    pub y: u32,
    /// In columns.
    pub width: u32,
    /// In rows.
    pub height: u32,
    /// What it shows.
    pub content: Content,
}

/// The grid's columns.
pub const COLUMNS: u32 = 24;

/// The most rows that a widget may have; CloudWatch says no number for where it may begin.
const ROWS: u32 = 1000;

/// What lines are drawn in that name no color, by their order. Which colors CloudWatch takes is documented nowhere; these
/// can be told apart.
const COLORS: [&str; 7] = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2"];

/// What a widget shows.
#[derive(Debug, Clone)]
pub enum Content {
    /// Markdown.
    Text(String),
    /// The states of alarms.
    Alarms {
        /// The heading.
        title: String,
        /// The alarms' names.
        names: Vec<String>,
    },
    /// What a query of Logs Insights finds.
    Log {
        /// The heading.
        title: String,
        /// The query.
        query: String,
    },
    /// Metrics over time.
    Graph(Graph),
}

/// Metrics over time.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The heading.
    pub title: String,
    /// Whether the lines stand on each other.
    pub is_stacked: bool,
    /// What is drawn.
    pub lines: Vec<Line>,
    /// The axis at the left, and that at the right.
    pub axes: [Axis; 2],
    /// What is drawn across, to compare with.
    pub thresholds: Vec<Threshold>,
}

/// A metric, or an expression of several.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it is called.
    pub label: String,
    /// `#rrggbb`.
    pub color: String,
    /// Whether the axis at the right is its own.
    pub is_right: bool,
    period_minutes: i64,
    expression: Expression,
    metrics: Vec<(Metric, Stat)>,
}

/// An axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    /// What it measures, and in which unit.
    pub label: String,
    /// Where it begins; left out: at the least value.
    pub min: Option<f64>,
    /// Where it ends; left out: at the greatest value.
    pub max: Option<f64>,
}

/// A value that matters.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The value, on the axis at the left.
    pub value: f64,
    /// What it means.
    pub label: String,
    /// `#rrggbb`.
    #[serde(default = "red")]
    pub color: String,
}

/// A dashboard that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {problem}", widget.as_ref().map(|title| format!(", {title:?}")).unwrap_or_default())]
pub struct DashboardError {
    /// The file, as the caller named it.
    pub file: String,
    /// The widget's title, where it is about one.
    pub widget: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl Dashboard {
    /// Reads a file; `resolve` says what the placeholders in it stand for.
    ///
    /// # Errors
    ///
    /// Says which widget cannot be understood, and why.
    pub fn read(file: &str, text: &str, resolve: Resolve) -> Result<Self, DashboardError> {
        let error = |widget: Option<&str>| {
            let (file, widget) = (file.to_owned(), widget.map(ToOwned::to_owned));
            move |problem: String| DashboardError { file, widget, problem }
        };
        let text = substitute(text, resolve).map_err(error(None))?;
        let body: Body = serde_json::from_str(&text).map_err(|reason| error(None)(reason.to_string()))?;
        let start = duration(&body.start).ok_or_else(|| error(None)(format!("start is {:?}", body.start)))?;
        let widgets = body.widgets.into_iter().map(|Placed { x, y, width, height, shown }| {
            let is_within = x.checked_add(width).is_some_and(|right| right <= COLUMNS) && y <= ROWS;
            if !is_within || width == 0 || !(1..=ROWS).contains(&height) {
                return Err(error(None)(format!("a widget at {x}, {y} is not within {COLUMNS} columns")));
            }
            let content = match shown {
                Shown::Text { markdown } => Content::Text(markdown),
                Shown::Alarm { title, alarms } => {
                    let name = |arn: String| arn.rsplit(':').next().unwrap_or_default().to_owned();
                    Content::Alarms { title, names: alarms.into_iter().map(name).collect() }
                }
                Shown::Log { title, query } => Content::Log { title, query },
                Shown::Metric(properties) => {
                    let title = properties.title.clone();
                    Content::Graph(graph(*properties).map_err(error(Some(&title)))?)
                }
            };
            Ok(Widget { x, y, width, height, content })
        });
        Ok(Self { start, widgets: widgets.collect::<Result<_, _>>()? })
    }
}

impl Line {
    /// The value of each period that begins between the two times, with when it begins, as it is known at the second time.
    /// Periods are CloudWatch's, which begin with the clock's.
    #[must_use]
    pub fn points(
        &self,
        metrics: &Metrics,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Vec<(DateTime<Utc>, Option<f64>)> {
        let (period, now) = (self.period_minutes, minute(to));
        let first = minute(from).div_euclid(period) * period;
        let mut begins = (0..).map(|number| first + number * period).skip_while(|begin| *begin < minute(from));
        let mut points = Vec::new();
        while let Some(begin) = begins.next().filter(|begin| *begin < now) {
            let value = |number: usize| {
                let (metric, stat) = self.metrics.get(number)?;
                metrics.known_at(metric, *stat, begin..begin + period, now)
            };
            let at = DateTime::from_timestamp(begin * 60, 0).unwrap_or_default();
            points.push((at, self.expression.value(&value)));
        }
        points
    }
}

fn graph(properties: GraphProperties) -> Result<Graph, String> {
    let GraphProperties { title, stacked, stat, period, metrics: entries, y_axis, annotations, .. } = properties;
    let mut metrics = Vec::new();
    let mut named = BTreeMap::new();
    let mut drawn = Vec::new();
    for (number, entry) in entries.into_iter().enumerate() {
        let mut entry = Entry::read(entry)?;
        let id = entry.options.id.take().unwrap_or_else(|| format!("line{number}"));
        let period = entry.options.period.unwrap_or(period);
        if period == 0 || period % 60 != 0 {
            return Err(format!("a period is {period}, and must be whole minutes"));
        }
        let source = match (entry.metric, entry.options.expression.take()) {
            (Some(metric), None) => {
                let stat = entry.options.stat.as_ref().unwrap_or(&stat);
                metrics.push((metric, stat.parse::<Stat>().map_err(|problem| format!("{stat}: {problem}"))?));
                Source::Metric(metrics.len() - 1)
            }
            (None, Some(expression)) => Source::Expression(expression),
            _ => return Err(format!("line {number} must be either a metric or an expression")),
        };
        if named.insert(id.clone(), source).is_some() {
            return Err(format!("the id {id} is there twice"));
        }
        drawn.push((id, i64::from(period / 60), entry.options));
    }
    let queries = named.iter().map(|(id, source)| match source {
        Source::Metric(number) => (id.as_str(), Query::Metric(*number)),
        Source::Expression(text) => (id.as_str(), Query::Expression(text)),
    });
    let queries = queries.collect();
    let lines = drawn.into_iter().filter(|(.., options)| options.visible.unwrap_or(true));
    let lines = lines.zip(COLORS.into_iter().cycle()).map(|((id, period_minutes, options), color)| {
        let expression = Expression::new(&id, &queries).map_err(|error| error.to_string())?;
        let (label, color) = (options.label.unwrap_or(id), options.color.unwrap_or_else(|| color.to_owned()));
        let is_right = options.y_axis.is_some_and(|side| side == Side::Right);
        Ok::<_, String>(Line { label, color, is_right, period_minutes, expression, metrics: metrics.clone() })
    });
    let axes = [y_axis.left, y_axis.right].map(|axis| {
        let AxisProperties { label, min, max, .. } = axis.unwrap_or_default();
        Axis { label, min, max }
    });
    let lines = lines.collect::<Result<_, _>>()?;
    Ok(Graph { title, is_stacked: stacked, lines, axes, thresholds: annotations.horizontal })
}

/// An ISO 8601 duration such as `-PT3H` or `-P3D`.
fn duration(text: &str) -> Option<TimeDelta> {
    let text = text.strip_prefix("-P")?;
    let (text, units): (_, &[(char, i64)]) = match text.strip_prefix('T') {
        Some(text) => (text, &[('M', 1), ('H', 60)]),
        None => (text, &[('D', 24 * 60), ('W', 7 * 24 * 60)]),
    };
    let (unit, minutes) = units.iter().find(|(unit, _)| text.ends_with(*unit))?;
    let count: i64 = text.strip_suffix(*unit)?.parse().ok().filter(|count| (1..10_000).contains(count))?;
    TimeDelta::try_minutes(count * minutes)
}

fn red() -> String {
    "#d62728".to_owned()
}

enum Source {
    Metric(usize),
    Expression(String),
}

/// An entry of `metrics`: namespace, name, the dimensions' names and values, then options.
struct Entry {
    metric: Option<Metric>,
    options: Options,
}

impl Entry {
    fn read(parts: Vec<Part>) -> Result<Self, String> {
        let (mut texts, mut options) = (Vec::new(), Options::default());
        let last = parts.len().saturating_sub(1);
        for (index, part) in parts.into_iter().enumerate() {
            match part {
                Part::Text(text) if text.chars().all(|c| c == '.') => {
                    return Err(format!("{text:?}, which repeats what stands above, is not known here"));
                }
                Part::Text(text) => texts.push(text),
                Part::Options(those) if index == last => options = *those,
                Part::Options(_) => return Err("a line's options must stand last".to_owned()),
            }
        }
        let metric = match &texts[..] {
            [] => None,
            [namespace, name, dimensions @ ..] if dimensions.len() % 2 == 0 => {
                let pairs: Vec<_> = dimensions.chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
                Some(Metric::new(namespace, name, &pairs))
            }
            _ => return Err(format!("{texts:?} is no metric with dimensions")),
        };
        Ok(Self { metric, options })
    }
}

// What is not here may change what is drawn, so these deny what they do not know.

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    start: String,
    #[serde(rename = "periodOverride")]
    _period_override: Option<PeriodOverride>,
    widgets: Vec<Placed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum PeriodOverride {
    Inherit,
}

#[derive(Deserialize)]
struct Placed {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    #[serde(flatten)]
    shown: Shown,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "properties", rename_all = "camelCase")]
enum Shown {
    Text { markdown: String },
    Alarm { title: String, alarms: Vec<String> },
    Log { title: String, query: String },
    Metric(Box<GraphProperties>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GraphProperties {
    title: String,
    #[serde(rename = "region")]
    _region: String,
    #[serde(rename = "view")]
    _view: View,
    #[serde(default)]
    stacked: bool,
    stat: String,
    period: u32,
    metrics: Vec<Vec<Part>>,
    y_axis: Axes,
    #[serde(rename = "legend")]
    _legend: Option<Legend>,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum View {
    TimeSeries,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Legend {
    #[serde(rename = "position")]
    _position: Position,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Position {
    Bottom,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotations {
    #[serde(default)]
    horizontal: Vec<Threshold>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Axes {
    left: Option<AxisProperties>,
    right: Option<AxisProperties>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AxisProperties {
    #[serde(default)]
    label: String,
    min: Option<f64>,
    max: Option<f64>,
    #[serde(rename = "showUnits")]
    _show_units: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    Options(Box<Options>),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    id: Option<String>,
    expression: Option<String>,
    stat: Option<String>,
    period: Option<u32>,
    label: Option<String>,
    color: Option<String>,
    y_axis: Option<Side>,
    visible: Option<bool>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum Side {
    Left,
    Right,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r##"{
      "start": "-PT3H",
      "periodOverride": "inherit",
      "widgets": [
        { "type": "text", "x": 0, "y": 0, "width": 24, "height": 1, "properties": { "markdown": "# ${Service}" } },
        { "type": "alarm", "x": 0, "y": 1, "width": 6, "height": 4,
          "properties": { "title": "Pages", "alarms": ["arn:aws:cloudwatch:eu-west-1:1:alarm:${Service}-Lag"] } },
        { "type": "log", "x": 6, "y": 1, "width": 6, "height": 4,
          "properties": { "title": "Failures", "region": "eu-west-1", "view": "table", "query": "SOURCE 'x' | limit 1" } },
        { "type": "metric", "x": 12, "y": 1, "width": 12, "height": 4, "properties": {
          "title": "Share", "region": "eu-west-1", "view": "timeSeries", "stat": "Sum", "period": 300,
          "metrics": [
            ["ConfigAudit", "Failed", "Service", "${Service}", { "id": "failed", "visible": false }],
            ["ConfigAudit", "Written", "Service", "${Service}", { "id": "written", "label": "written", "yAxis": "right" }],
            [{ "expression": "100 * failed / written", "id": "share", "label": "failed", "color": "#d62728" }]
          ],
          "yAxis": { "left": { "label": "per cent", "min": 0, "showUnits": false }, "right": { "label": "records" } },
          "legend": { "position": "bottom" },
          "annotations": { "horizontal": [{ "value": 1, "label": "page", "color": "#d62728" }] } } }
      ]
    }"##;

    fn read(text: &str) -> Result<Dashboard, DashboardError> {
        Dashboard::read("operations.json", text, &|name| (name == "Service").then(|| "config-audit".to_owned()))
    }

    fn graph() -> Graph {
        match read(BODY).unwrap().widgets.remove(3).content {
            Content::Graph(graph) => graph,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_of_widget_is_read() {
        let dashboard = read(BODY).unwrap();
        assert_eq!(dashboard.start, TimeDelta::hours(3));
        assert!(matches!(&dashboard.widgets[0].content, Content::Text(text) if text == "# config-audit"));
        let Content::Alarms { names, .. } = &dashboard.widgets[1].content else { panic!("{dashboard:?}") };
        assert_eq!(names, &["config-audit-Lag"]);
        assert!(matches!(&dashboard.widgets[2].content, Content::Log { query, .. } if query == "SOURCE 'x' | limit 1"));
        let Graph { lines, axes, thresholds, .. } = graph();
        let labels: Vec<_> =
            lines.iter().map(|line| (line.label.as_str(), line.color.as_str(), line.is_right)).collect();
        assert_eq!(labels, [("written", "#1f77b4", true), ("failed", "#d62728", false)]);
        assert_eq!(axes[0], Axis { label: "per cent".to_owned(), min: Some(0.0), max: None });
        assert_eq!((thresholds[0].value, axes[1].label.as_str()), (1.0, "records"));
    }

    #[test]
    fn a_line_has_a_point_for_each_period_of_the_clock_with_what_is_known_by_then() {
        let at = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap();
        let metric = |name| Metric::new("ConfigAudit", name, &[("Service", "config-audit")]);
        let mut metrics = Metrics::default();
        metrics.add(&metric("Written"), at(1), at(1), 100.0);
        metrics.add(&metric("Written"), at(6), at(6), 4.0);
        metrics.add(&metric("Failed"), at(7), at(9), 1.0);
        let [written, share] = &graph().lines[..] else { panic!() };
        // What is before the first whole period is left out, and the last one is under way.
        let points = |line: &Line, from, to| line.points(&metrics, at(from), at(to));
        assert_eq!(points(written, 1, 8), [(at(5), Some(4.0))]);
        assert_eq!(points(share, 0, 12), [(at(0), Some(0.0)), (at(5), Some(25.0)), (at(10), None)]);
        assert_eq!(points(share, 5, 8), [(at(5), Some(0.0))], "the failure comes two minutes late");
    }

    #[test]
    fn what_is_not_understood_is_said_with_its_place() {
        let refused = |from: &str, to: &str| read(&BODY.replace(from, to)).unwrap_err().to_string();
        let share = "operations.json, \"Share\": ";
        assert_eq!(refused("-PT3H", "3h"), "operations.json: start is \"3h\"");
        assert_eq!(refused("${Service}", "${Stage}"), "operations.json: nothing says what Stage is");
        assert_eq!(refused("\"x\": 12", "\"x\": 13"), "operations.json: a widget at 13, 1 is not within 24 columns");
        assert_eq!(
            refused("failed / written", "failed / sent"),
            format!("{share}the expression `100 * failed / sent`: nothing has the Id sent")
        );
        assert_eq!(
            refused("\"ConfigAudit\", \"Written\", \"Service\"", "\".\", \"Written\", \"Service\""),
            format!("{share}\".\", which repeats what stands above, is not known here")
        );
        assert_eq!(
            refused("\"id\": \"written\"", "\"id\": \"failed\""),
            format!("{share}the id failed is there twice")
        );
        assert_eq!(
            refused("\"period\": 300", "\"period\": 10"),
            format!("{share}a period is 10, and must be whole minutes")
        );
        assert!(
            refused("\"stat\": \"Sum\"", "\"stat\": \"tm99\"")
                .starts_with(&format!("{share}tm99: expected SampleCount"))
        );
        assert!(refused("timeSeries", "pie").contains("unknown variant `pie`"));
        assert!(
            refused("\"annotations\"", "\"sparkline\": true, \"annotations\"").contains("unknown field `sparkline`")
        );
        assert!(refused("\"type\": \"log\"", "\"type\": \"explorer\"").contains("unknown variant `explorer`"));
    }

    #[test]
    fn a_body_that_lost_a_word_or_its_end_is_read_or_refused() {
        let gaps: Vec<usize> = BODY.match_indices([' ', ',', '\n']).map(|(gap, _)| gap).collect();
        for gap in gaps.windows(2) {
            let _ = read(&[&BODY[..gap[0]], &BODY[gap[1]..]].concat());
            let _ = read(&BODY[..gap[0]]);
        }
    }

    #[test]
    fn durations_are_those_of_cloudwatch() {
        assert_eq!(duration("-PT45M"), Some(TimeDelta::minutes(45)));
        assert_eq!(duration("-P3D"), Some(TimeDelta::days(3)));
        assert_eq!(duration("-P1W"), Some(TimeDelta::weeks(1)));
        for text in ["", "-P", "-PT", "PT3H", "-P3H", "-PT0H", "-PT99999H", "-PTxH"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
