//! Reads a dashboard from its file.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::body::{AxisProperties, Body, GraphProperties, Options, Part, Placed, Shown, Side, View};
use super::model::{Axis, COLUMNS, Content, Dashboard, Graph, Line, Numbers, Widget};
use crate::math::{Expression, Query};
use crate::metrics::{Metric, Stat, is_value};
use crate::template::{Resolve, substitute};

/// The most rows that a widget may have. CloudWatch documents no limit for its first row, so the same limit is used.
const MAX_ROWS: u32 = 1000;

/// The colors of lines that do not specify one, in order. CloudWatch does not document its own; these are easy to
/// distinguish.
const COLORS: [&str; 7] = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2"];

/// A dashboard that is not valid, or uses something that is not supported here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {problem}", widget.as_ref().map(|title| format!(", {title:?}")).unwrap_or_default())]
pub struct DashboardError {
    /// The file, as the caller named it.
    pub file: String,
    /// The widget's title, if the problem is in one.
    pub widget: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl Dashboard {
    /// Reads a file; `resolve` gives the values of its placeholders.
    ///
    /// # Errors
    ///
    /// Says which widget is wrong, and why.
    pub fn read(file: &str, text: &str, resolve: Resolve) -> Result<Self, DashboardError> {
        let error = |widget: Option<&str>| {
            let (file, widget) = (file.to_owned(), widget.map(ToOwned::to_owned));
            move |problem: String| DashboardError { file, widget, problem }
        };
        let text = substitute(text, resolve).map_err(error(None))?;
        let body: Body = serde_json::from_str(&text).map_err(|reason| error(None)(reason.to_string()))?;
        let start = start(&body.start).map_err(error(None))?;
        let widgets = body.widgets.into_iter().map(|Placed { x, y, width, height, shown }| {
            let is_within = x.checked_add(width).is_some_and(|right| right <= COLUMNS) && y <= MAX_ROWS;
            if !is_within || width == 0 || !(1..=MAX_ROWS).contains(&height) {
                return Err(error(None)(format!("the widget at {x}, {y} does not fit into {COLUMNS} columns")));
            }
            let content = match shown {
                Shown::Text { markdown } => Content::Text(markdown),
                Shown::Alarm { title, alarms, .. } => {
                    let name = |arn: String| arn.rsplit(':').next().unwrap_or_default().to_owned();
                    Content::Alarms { title, names: alarms.into_iter().map(name).collect() }
                }
                Shown::Log { title, query } => Content::Log { title, query },
                Shown::Metric(properties) => {
                    let title = properties.title.clone();
                    metric(*properties).map_err(error(Some(&title)))?
                }
            };
            Ok(Widget { x, y, width, height, content })
        });
        Ok(Self { start, widgets: widgets.collect::<Result<_, _>>()? })
    }
}

fn metric(properties: GraphProperties) -> Result<Content, String> {
    let GraphProperties { title, view, start: from, stat, period, metrics: entries, y_axis, annotations, .. } =
        properties;
    let from = from.map(|from| start(&from)).transpose()?;
    let mut metrics = Vec::new();
    let mut named = BTreeMap::new();
    let mut drawn = Vec::new();
    for (number, entry) in entries.into_iter().enumerate() {
        let mut entry = Entry::read(entry)?;
        let id = entry.options.id.take().unwrap_or_else(|| format!("line{number}"));
        let period = entry.options.period.unwrap_or(period);
        if period == 0 || period % 60 != 0 {
            return Err(format!("a period is {period} seconds, but must be whole minutes"));
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
            return Err(format!("the id {id} is used twice"));
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
    let lines = lines.collect::<Result<_, _>>()?;
    if view == View::SingleValue {
        let (is_of_whole_time, has_sparkline) = (properties.set_period_to_time_range, properties.sparkline);
        return Ok(Content::Numbers(Numbers { title, start: from, is_of_whole_time, has_sparkline, lines }));
    }
    if properties.set_period_to_time_range || properties.sparkline {
        return Err("setPeriodToTimeRange and sparkline are of the view singleValue".to_owned());
    }
    let axes = [y_axis.left, y_axis.right].map(|axis| {
        let AxisProperties { label, min, max, .. } = axis.unwrap_or_default();
        Axis { label, min, max }
    });
    let bounds = axes.iter().flat_map(|axis| [axis.min, axis.max]).flatten();
    let mut values = bounds.chain(annotations.horizontal.iter().map(|threshold| threshold.value));
    if let Some(value) = values.find(|value| !is_value(*value)) {
        return Err(format!("no metric can have the value {value:e} of an axis or annotation"));
    }
    let thresholds = annotations.horizontal;
    Ok(Content::Graph(Graph { title, start: from, is_stacked: properties.stacked, lines, axes, thresholds }))
}

fn start(text: &str) -> Result<TimeDelta, String> {
    duration(text).ok_or_else(|| format!("start is {text:?}, but must be a duration such as -PT3H"))
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
                    return Err(format!("{text:?}, which repeats the value above it, is not supported"));
                }
                Part::Text(text) => texts.push(text),
                Part::Options(those) if index == last => options = *those,
                Part::Options(_) => return Err("a line's options must come last".to_owned()),
            }
        }
        let metric = match &texts[..] {
            [] => None,
            [namespace, name, dimensions @ ..] if dimensions.len() % 2 == 0 => {
                let pairs: Vec<_> = dimensions.chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
                Some(Metric::new(namespace, name, &pairs))
            }
            _ => return Err(format!("{texts:?} is not a metric with dimensions")),
        };
        Ok(Self { metric, options })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::metrics::Metrics;

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
          "annotations": { "horizontal": [{ "value": "1", "label": "page", "color": "#d62728" }] } } }
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
    fn a_line_has_a_point_for_each_period_with_the_data_that_has_arrived() {
        let at = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap();
        let metric = |name| Metric::new("ConfigAudit", name, &[("Service", "config-audit")]);
        let mut metrics = Metrics::default();
        metrics.add(&metric("Written"), at(1), at(1), 100.0);
        metrics.add(&metric("Written"), at(6), at(6), 4.0);
        metrics.add(&metric("Failed"), at(7), at(9), 1.0);
        let [written, share] = &graph().lines[..] else { panic!() };
        // The time before the first whole period is left out, and the last period has not ended.
        let points = |line: &Line, from, to| line.points(&metrics, at(from), at(to));
        assert_eq!(points(written, 1, 8), [(at(5), Some(4.0))]);
        assert_eq!(points(share, 0, 12), [(at(0), Some(0.0)), (at(5), Some(25.0)), (at(10), None)]);
        assert_eq!(points(share, 5, 8), [(at(5), Some(0.0))], "the failure arrives two minutes late");
    }

    #[test]
    fn a_number_is_of_the_last_period_or_of_the_whole_time_shown() {
        let at = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap();
        let tile = BODY.replace("timeSeries\"", "singleValue\", \"start\": \"-P30D\", \"setPeriodToTimeRange\": true");
        let content = read(&tile).unwrap().widgets.remove(3).content;
        let Content::Numbers(numbers) = content else { panic!("{content:?}") };
        assert_eq!((numbers.title.as_str(), numbers.start), ("Share", Some(TimeDelta::days(30))));
        assert!(numbers.is_of_whole_time && !numbers.has_sparkline);
        let metric = |name| Metric::new("ConfigAudit", name, &[("Service", "config-audit")]);
        let mut metrics = Metrics::default();
        for minute in 0..10 {
            metrics.add(&metric("Written"), at(minute), at(minute), 10.0);
        }
        metrics.add(&metric("Failed"), at(3), at(3), 5.0);
        let values: Vec<_> = numbers.lines.iter().map(|line| line.over(&metrics, at(1), at(11))).collect();
        assert_eq!(values, [Some(90.0), Some(500.0 / 90.0)], "the first minute is before the time shown");
        assert_eq!(numbers.lines[0].over(&Metrics::default(), at(1), at(11)), None);
    }

    #[test]
    fn an_error_names_the_file_the_widget_and_the_problem() {
        let rejected = |from: &str, to: &str| read(&BODY.replace(from, to)).unwrap_err().to_string();
        let share = "operations.json, \"Share\": ";
        assert_eq!(rejected("-PT3H", "3h"), "operations.json: start is \"3h\", but must be a duration such as -PT3H");
        assert_eq!(rejected("${Service}", "${Stage}"), "operations.json: Stage is not defined");
        assert_eq!(
            rejected("\"x\": 12", "\"x\": 13"),
            "operations.json: the widget at 13, 1 does not fit into 24 columns"
        );
        assert_eq!(
            rejected("failed / written", "failed / sent"),
            format!("{share}the expression `100 * failed / sent`: no metric or expression has the Id sent")
        );
        assert_eq!(
            rejected("\"ConfigAudit\", \"Written\", \"Service\"", "\".\", \"Written\", \"Service\""),
            format!("{share}\".\", which repeats the value above it, is not supported")
        );
        assert_eq!(
            rejected("\"id\": \"written\"", "\"id\": \"failed\""),
            format!("{share}the id failed is used twice")
        );
        assert_eq!(
            rejected("\"period\": 300", "\"period\": 10"),
            format!("{share}a period is 10 seconds, but must be whole minutes")
        );
        assert!(
            rejected("\"stat\": \"Sum\"", "\"stat\": \"tm99\"")
                .starts_with(&format!("{share}tm99: expected SampleCount"))
        );
        assert_eq!(
            rejected("\"min\": 0", "\"min\": -1.7e308"),
            format!("{share}no metric can have the value -1.7e308 of an axis or annotation")
        );
        assert!(rejected("timeSeries", "pie").contains("unknown variant `pie`"));
        assert_eq!(
            rejected("\"annotations\"", "\"sparkline\": true, \"annotations\""),
            format!("{share}setPeriodToTimeRange and sparkline are of the view singleValue")
        );
        assert!(rejected("\"annotations\"", "\"table\": {}, \"annotations\"").contains("unknown field `table`"));
        assert!(rejected("\"type\": \"log\"", "\"type\": \"explorer\"").contains("unknown variant `explorer`"));
    }

    #[test]
    fn a_body_without_a_word_or_its_end_is_read_or_rejected() {
        let gaps: Vec<usize> = BODY.match_indices([' ', ',', '\n']).map(|(gap, _)| gap).collect();
        for gap in gaps.windows(2) {
            let _ = read(&[&BODY[..gap[0]], &BODY[gap[1]..]].concat());
            let _ = read(&BODY[..gap[0]]);
        }
    }

    #[test]
    fn durations_have_the_form_that_cloudwatch_takes() {
        assert_eq!(duration("-PT45M"), Some(TimeDelta::minutes(45)));
        assert_eq!(duration("-P3D"), Some(TimeDelta::days(3)));
        assert_eq!(duration("-P1W"), Some(TimeDelta::weeks(1)));
        for text in ["", "-P", "-PT", "PT3H", "-P3H", "-PT0H", "-PT99999H", "-PTxH"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
