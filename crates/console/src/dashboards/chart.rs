//! A graph of a dashboard as SVG: lines, thresholds and axes, as CloudWatch draws them.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use config_audit_cloudwatch::dashboard::{Axis, Graph};
use maud::html;

use super::values::LineValues;

/// The values of a line by time; empty if there is no data.
pub type Points = Vec<(DateTime<Utc>, Option<f64>)>;

/// A graph cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a graph cannot be drawn: {0}")]
pub struct ChartError(String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for ChartError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

/// A time that is marked on a graph.
#[derive(Debug, Clone)]
pub struct Mark {
    /// When.
    pub at: DateTime<Utc>,
    /// What it is.
    pub label: &'static str,
}

/// Draws a graph between two times. For each time with a value, a column shows all values of that time when you point
/// at it.
///
/// # Errors
/// If the size is too small.
pub(super) fn svg(
    graph: &Graph,
    lines: &[LineValues],
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    marks: &[Mark],
    size: (u32, u32),
) -> Result<String, ChartError> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let mut columns = String::new();
    if lines.iter().flat_map(|line| &line.points).all(|(_, value)| value.is_none()) {
        let style = ("sans-serif", 13).into_font().color(&GRAY).pos(Pos::new(HPos::Center, VPos::Center));
        let center = (i32::try_from(size.0 / 2).unwrap_or(0), i32::try_from(size.1 / 2).unwrap_or(0));
        area.draw(&Text::new("No data in this time range", center, style))?;
    } else {
        let points: Vec<Points> = lines.iter().map(|line| line.points.clone()).collect();
        let plot = draw(&area, graph, &points, (from, to), marks)?;
        columns = self::columns(lines, (from, to), &plot);
    }
    drop(area);
    let end = svg.rfind("</svg>").unwrap_or(svg.len());
    svg.insert_str(end, &columns);
    Ok(svg)
}

/// The pixels of the lines, without the axes: from left to right, and from top to bottom.
type Plot = (Range<i32>, Range<i32>);

/// A transparent column for each time with a value. A browser shows its title when you point at it.
fn columns(lines: &[LineValues], (from, to): (DateTime<Utc>, DateTime<Utc>), (x, y): &Plot) -> String {
    let mut values: BTreeMap<DateTime<Utc>, Vec<String>> = BTreeMap::new();
    for LineValues { label, points } in lines {
        for (at, value) in points {
            if let Some(value) = value {
                values.entry(*at).or_default().push(format!("{label}: {}", figure(*value)));
            }
        }
    }
    let length = (to - from).num_milliseconds().max(1) as f64;
    let place = |at: &DateTime<Utc>| {
        f64::from(x.start) + f64::from(x.end - x.start) * (*at - from).num_milliseconds() as f64 / length
    };
    // From one time to the next it is half way.
    let places: Vec<f64> = values.keys().map(place).collect();
    let columns = values.iter().enumerate().map(|(index, (at, values))| {
        let here = places[index];
        let half = |other: Option<&f64>| other.map_or(MAX_HALF, |other| ((here - other).abs() / 2.0).min(MAX_HALF));
        let left = here - half(index.checked_sub(1).and_then(|before| places.get(before)));
        let right = here + half(places.get(index + 1));
        (left, right - left, format!("{}: {}", at.format("%d %b %H:%M"), values.join("; ")))
    });
    let columns = html! {
        @for (left, width, title) in columns {
            rect.at x=(format!("{left:.1}")) y=(y.start) width=(format!("{width:.1}")) height=(y.end - y.start) fill="none" pointer-events="all" {
                title { (title) }
            }
        }
    };
    columns.into_string()
}

/// The maximum distance that a column extends to either side, in pixels.
const MAX_HALF: f64 = 12.0;

/// The shape of a line without axes. A gap is left out.
#[must_use]
pub(super) fn sparkline(points: &[(DateTime<Utc>, Option<f64>)], color: &str, (width, height): (u32, u32)) -> String {
    let values: Vec<f64> = points.iter().filter_map(|(_, value)| *value).collect();
    let top = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bottom = values.iter().copied().fold(0.0, f64::min);
    let (width, height) = (f64::from(width), f64::from(height));
    let place = |(index, value): (usize, &f64)| {
        let x = width * index as f64 / (values.len().max(2) - 1) as f64;
        format!("{x:.1},{:.1}", 1.0 + (height - 2.0) * (1.0 - (value - bottom) / (top - bottom)))
    };
    let line: Vec<_> = values.iter().enumerate().map(place).collect();
    let RGBColor(red, green, blue) = self::color(color);
    format!(
        "<svg class=\"sparkline\" width=\"{width}\" height=\"{height}\"><polyline fill=\"none\" \
         stroke=\"rgb({red},{green},{blue})\" points=\"{}\"/></svg>",
        line.join(" ")
    )
}

/// A number with all its digits before the point, and at most two after it: 12,345 or 99.87.
#[must_use]
pub(super) fn figure(value: f64) -> String {
    let text = format!("{:.2}", value.abs());
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let mut figure = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            figure.push(',');
        }
        figure.push(digit);
    }
    let decimals = decimals.trim_end_matches('0');
    if decimals.is_empty() { figure } else { format!("{figure}.{decimals}") }
}

fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    graph: &Graph,
    points: &[Points],
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    marks: &[Mark],
) -> Result<Plot, ChartError> {
    let points = if graph.is_stacked { stacked(points) } else { points.to_vec() };
    let values = |right: bool| {
        let lines = graph.lines.iter().zip(&points).filter(move |(line, _)| line.is_right == right);
        lines.flat_map(|(_, points)| points.iter().filter_map(|(_, value)| *value))
    };
    let [left, right] = &graph.axes;
    let thresholds = graph.thresholds.iter().map(|threshold| threshold.value);
    let (left_range, right_range) = (range(left, values(false).chain(thresholds)), range(right, values(true)));
    let has_right = graph.lines.iter().any(|line| line.is_right);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .right_y_label_area_size(if has_right { 56 } else { 8 })
        .build_cartesian_2d(from..to, left_range.clone())?
        .set_secondary_coord(from..to, right_range.clone());
    let is_long = to - from > TimeDelta::days(1);
    let time = |at: &DateTime<Utc>| at.format(if is_long { "%d %b %H:%M" } else { "%H:%M" }).to_string();
    let text = || ("sans-serif", 11).into_font().color(&GRAY);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRAY.mix(0.2))
        .axis_style(GRAY.mix(0.5))
        .x_labels(if is_long { 4 } else { 6 })
        .y_labels(5)
        .x_label_formatter(&time)
        .y_label_formatter(&short)
        .y_desc(&left.label)
        .label_style(text())
        .axis_desc_style(text())
        .draw()?;
    if has_right {
        chart
            .configure_secondary_axes()
            .y_labels(5)
            .y_label_formatter(&short)
            .y_desc(&right.label)
            .axis_style(GRAY.mix(0.5))
            .label_style(text())
            .axis_desc_style(text())
            .draw()?;
    }
    // The top line of a stack is the largest, so it is drawn first and the lines below cover it.
    for (line, points) in graph.lines.iter().zip(&points).rev() {
        let color = color(&line.color);
        // A value outside the axis is drawn at its end.
        let Range { start, end } = if line.is_right { right_range.clone() } else { left_range.clone() };
        let points = points.iter().map(|(at, value)| (*at, value.map(|value| value.clamp(start, end))));
        if graph.is_stacked {
            let points = points.map(|(at, value)| (at, value.unwrap_or(start)));
            chart.draw_series(AreaSeries::new(points, start, color.mix(0.9)).border_style(color))?;
            continue;
        }
        let points: Points = points.collect();
        for run in points.split(|(_, value)| value.is_none()).filter(|run| !run.is_empty()) {
            let points = || run.iter().filter_map(|(at, value)| Some((*at, (*value)?)));
            let dots = points().filter(|_| run.len() == 1).map(|point| Circle::new(point, 3, color.filled()));
            let lines = LineSeries::new(points().filter(|_| run.len() > 1), color.stroke_width(2));
            if line.is_right {
                chart.draw_secondary_series(lines)?;
                chart.draw_secondary_series(dots)?;
            } else {
                chart.draw_series(lines)?;
                chart.draw_series(dots)?;
            }
        }
    }
    for threshold in &graph.thresholds {
        let color = color(&threshold.color);
        let value = threshold.value.clamp(left_range.start, left_range.end);
        let ends = [(from, value), (to, value)];
        chart.draw_series(LineSeries::new(ends, color.mix(0.7).stroke_width(1)))?;
        let style = ("sans-serif", 11).into_font().color(&color);
        let label = Text::new(threshold.label.clone(), (4, -13), style);
        chart.draw_series([EmptyElement::at((from, value)) + label])?;
    }
    for Mark { at, label } in marks.iter().filter(|mark| (from..to).contains(&mark.at)) {
        let ends = [(*at, left_range.start), (*at, left_range.end)];
        chart.draw_series(DashedLineSeries::new(ends, 4, 3, MARK.stroke_width(1)))?;
        // The label is on the side with more room.
        let is_late = *at - from > (to - from) / 2;
        let (side, x) = if is_late { (HPos::Right, -4) } else { (HPos::Left, 4) };
        let style = ("sans-serif", 11).into_font().color(&MARK).pos(Pos::new(side, VPos::Top));
        chart.draw_series([EmptyElement::at((*at, left_range.end)) + Text::new(*label, (x, 0), style)])?;
    }
    Ok(chart.plotting_area().get_pixel_range())
}

/// Each line on top of the lines before it. Missing data counts as 0.
fn stacked(lines: &[Points]) -> Vec<Points> {
    let mut sums: Points = Vec::new();
    let mut stack = Vec::new();
    for points in lines {
        let below = |at: &DateTime<Utc>| sums.iter().find(|(other, _)| other == at).and_then(|(_, sum)| *sum);
        let on_top = |(at, value): &(DateTime<Utc>, Option<f64>)| {
            (*at, Some(value.unwrap_or_default() + below(at).unwrap_or_default()))
        };
        sums = points.iter().map(on_top).collect();
        stack.push(sums.clone());
    }
    stack
}

/// The range of an axis.
fn range(axis: &Axis, values: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut minimum, mut maximum) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        (minimum, maximum) = (minimum.min(value), maximum.max(value));
    }
    if minimum > maximum {
        (minimum, maximum) = (0.0, 1.0);
    }
    let from = axis.min.unwrap_or(minimum).min(maximum);
    // Without this room a line at the very top would be cut off.
    let room = if maximum > from { (maximum - from) * 0.1 } else { 1.0 };
    from..axis.max.unwrap_or(maximum + room).max(from + f64::EPSILON.max(from.abs() * 1e-9))
}

/// `#rrggbb`, or gray.
fn color(text: &str) -> RGBColor {
    let part = |from: usize| u8::from_str_radix(text.get(from..from + 2)?, 16).ok();
    match (part(1), part(3), part(5)) {
        (Some(red), Some(green), Some(blue)) if text.len() == 7 => RGBColor(red, green, blue),
        _ => RGBColor(127, 127, 127),
    }
}

const GRAY: RGBColor = RGBColor(90, 90, 90);
/// Visible on white and on black.
const MARK: RGBColor = RGBColor(138, 106, 210);

/// A number in a few characters: 1.5M, 300k, 42, 0.25.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "a formatter of plotters")]
fn short(value: &f64) -> String {
    let (value, unit) = match value.abs() {
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (*value, ""),
    };
    let decimals = if value.abs() < 0.1 { 4 } else { 2 };
    let text = format!("{value:.decimals$}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use config_audit_cloudwatch::dashboard::{Content, Dashboard};

    fn graph(stacked: bool) -> Graph {
        let body = r##"{ "start": "-PT1H", "widgets": [{ "type": "metric", "x": 0, "y": 0, "width": 8, "height": 6, "properties": {
          "title": "T", "region": "r", "view": "timeSeries", "stacked": STACKED, "stat": "Sum", "period": 60,
          "metrics": [["N", "A", { "color": "#d62728" }], ["N", "B", { "color": "#1f77b4", "yAxis": "SIDE" }]],
          "yAxis": { "left": { "label": "records <a minute>", "min": 0 }, "right": { "label": "ms" } },
          "annotations": { "horizontal": [{ "value": 5, "label": "page & <notify>", "color": "#d62728" }] } } }] }"##;
        let body =
            body.replace("STACKED", &stacked.to_string()).replace("SIDE", if stacked { "left" } else { "right" });
        match Dashboard::read("d.json", &body, &|_| None).unwrap().widgets.remove(0).content {
            Content::Graph(graph) => graph,
            other => panic!("{other:?}"),
        }
    }

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_496_000 + 60 * minute, 0).unwrap()
    }

    fn points(values: &[Option<f64>]) -> Points {
        (0..).zip(values).map(|(minute, value)| (at(minute), *value)).collect()
    }

    fn lines(points: [Points; 2]) -> [LineValues; 2] {
        let [one, other] = points;
        [("A <&", one), ("B", other)].map(|(label, points)| LineValues { label: label.to_owned(), points })
    }

    #[test]
    fn a_line_has_gaps_where_data_is_missing_and_a_single_value_is_a_dot() {
        let lines = lines([points(&[Some(1.0), Some(2.0), None, Some(3.0), None]), points(&[None; 5])]);
        let mark = Mark { at: at(2), label: "it begins" };
        let svg = svg(&graph(false), &lines, (at(0), at(60)), &[mark], (400, 240)).unwrap();
        let thick = |color: &str| svg.matches(&format!("stroke=\"{color}\" stroke-width=\"2\"")).count();
        assert_eq!((thick("#D62728"), svg.matches("<circle").count()), (1, 1), "{svg}");
        assert!(svg.contains("page &amp; &lt;notify&gt;") && svg.contains("records &lt;a minute&gt;"), "{svg}");
        assert!(svg.contains("it begins"), "{svg}");
    }

    #[test]
    fn a_graph_without_data_says_so_and_has_no_axes() {
        let svg =
            svg(&graph(false), &lines([points(&[None; 5]), Points::new()]), (at(0), at(60)), &[], (400, 240)).unwrap();
        assert!(svg.contains("No data in this time range") && !svg.contains("page &amp;"), "{svg}");
    }

    #[test]
    fn each_time_with_a_value_has_a_column_with_all_its_values() {
        let lines = lines([points(&[Some(1.0), None, Some(1_234.5)]), points(&[Some(2.0), None, None])]);
        let svg = svg(&graph(false), &lines, (at(0), at(60)), &[], (400, 240)).unwrap();
        let titles: Vec<_> = svg.split("<title>").skip(1).map(|rest| rest.split("</title>").next().unwrap()).collect();
        assert_eq!(titles, ["03 Mar 00:00: A &lt;&amp;: 1; B: 2", "03 Mar 00:02: A &lt;&amp;: 1,234.5"]);
        assert!(svg.ends_with("</svg>\n"), "{svg}");
    }

    #[test]
    fn a_sparkline_begins_at_zero_and_leaves_out_gaps() {
        let svg = sparkline(&points(&[Some(0.0), None, Some(1.0), Some(2.0)]), "#d62728", (100, 22));
        assert!(svg.contains("rgb(214,39,40)") && svg.contains("points=\"0.0,21.0 50.0,11.0 100.0,1.0\""), "{svg}");
        assert!(sparkline(&[], "#d62728", (100, 22)).contains("points=\"\""));
    }

    #[test]
    fn a_figure_is_shown_with_all_digits() {
        let figures: Vec<_> = [0.0, 7.0, 99.87, 0.125, 1_234.5, 12_345_678.0, -1_000.0].map(figure).into();
        assert_eq!(figures, ["0", "7", "99.87", "0.12", "1,234.5", "12,345,678", "-1,000"]);
    }

    #[test]
    fn stacked_lines_are_added_up() {
        let stack = stacked(&[points(&[Some(1.0), None]), points(&[Some(2.0), Some(4.0)])]);
        assert_eq!(stack, [points(&[Some(1.0), Some(0.0)]), points(&[Some(3.0), Some(4.0)])]);
    }

    #[test]
    fn numbers_are_short() {
        let short: Vec<_> = [0.0, 0.25, 0.005, 42.0, 1_500.0, 300_000.0, 7_200_000.0, -2e9].iter().map(short).collect();
        assert_eq!(short, ["0", "0.25", "0.005", "42", "1.5k", "300k", "7.2M", "-2G"]);
    }

    proptest! {
        #[test]
        fn any_data_can_be_drawn(
            one in prop::collection::vec(prop::option::of(-1e12..1e12), 0..20),
            other in prop::collection::vec(prop::option::of(prop_oneof![Just(0.0), Just(5.0), -1.0..1.0]), 0..20),
            is_stacked in any::<bool>(),
        ) {
            let drawn = svg(&graph(is_stacked), &lines([points(&one), points(&other)]), (at(0), at(60)), &[], (400, 240));
            prop_assert!(drawn.unwrap().ends_with("</svg>\n"));
        }
    }
}
