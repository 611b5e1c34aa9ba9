//! What a dashboard shows.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer};

use crate::math::Expression;
use crate::metrics::{Metric, Metrics, Stat, minute};
use crate::template::Text;

/// A dashboard.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// How much time it shows when opened.
    pub start: TimeDelta,
    /// Its widgets.
    pub widgets: Vec<Widget>,
}

/// A part of a dashboard, in a grid of [`COLUMNS`].
#[derive(Debug, Clone)]
pub struct Widget {
    /// The column of its left side, from 0.
    pub x: u32,
    /// The row of its top, from 0.
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
    /// The results of a Logs Insights query.
    Log {
        /// The heading.
        title: String,
        /// The query.
        query: String,
    },
    /// Metrics over time.
    Graph(Graph),
    /// Metrics as numbers.
    Numbers(Numbers),
}

/// Metrics as numbers.
#[derive(Debug, Clone)]
pub struct Numbers {
    /// The heading.
    pub title: String,
    /// How much time it shows, if that differs from its dashboard.
    pub start: Option<TimeDelta>,
    /// Whether a number covers the whole time shown, instead of the last period with data.
    pub is_of_whole_time: bool,
    /// Whether each number has a small graph of the time shown.
    pub has_sparkline: bool,
    /// The metrics and expressions that the numbers show.
    pub lines: Vec<Line>,
}

/// Metrics over time.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The heading.
    pub title: String,
    /// How much time it shows, if that differs from its dashboard.
    pub start: Option<TimeDelta>,
    /// Whether the lines are stacked.
    pub is_stacked: bool,
    /// The lines.
    pub lines: Vec<Line>,
    /// The left and the right axis.
    pub axes: [Axis; 2],
    /// The horizontal lines to compare with.
    pub thresholds: Vec<Threshold>,
}

/// A metric, or an expression of several metrics.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its label.
    pub label: String,
    /// `#rrggbb`.
    pub color: String,
    /// Whether it belongs to the right axis.
    pub is_right: bool,
    pub(super) period_minutes: i64,
    pub(super) expression: Expression,
    pub(super) metrics: Vec<(Metric, Stat)>,
}

/// An axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    /// What it measures, with the unit.
    pub label: String,
    /// Where it begins; by default at the smallest value.
    pub min: Option<f64>,
    /// Where it ends; by default at the largest value.
    pub max: Option<f64>,
}

/// A value that the lines are compared with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The value, on the left axis. If the file has a placeholder, it is text.
    #[serde(deserialize_with = "number")]
    pub value: f64,
    /// What it means.
    pub label: String,
    /// `#rrggbb`.
    #[serde(default = "red")]
    pub color: String,
}

impl Dashboard {
    /// Draws every line with periods of this length, in minutes.
    pub fn set_period(&mut self, minutes: i64) {
        for widget in &mut self.widgets {
            let lines = match &mut widget.content {
                Content::Graph(graph) => &mut graph.lines,
                Content::Numbers(numbers) => &mut numbers.lines,
                Content::Text(_) | Content::Alarms { .. } | Content::Log { .. } => continue,
            };
            for line in lines {
                line.period_minutes = minutes.max(1);
            }
        }
    }
}

impl Line {
    /// The beginning and the value of each period that begins between the two times, as known at the second time. As in
    /// CloudWatch, periods begin at multiples of their length.
    #[must_use]
    pub fn points(
        &self,
        metrics: &Metrics,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Vec<(DateTime<Utc>, Option<f64>)> {
        let (period, from, now) = (self.period_minutes, minute(from), minute(to));
        let first = from.div_euclid(period) * period;
        let begins = (0..).map(|number| first + number * period).skip_while(|begin| *begin < from);
        let begins: Vec<i64> = begins.take_while(|begin| *begin < now).collect();
        let values = self.values(metrics, &begins, period, now);
        let at = begins.iter().map(|begin| DateTime::from_timestamp(begin * 60, 0).unwrap_or_default());
        at.zip(values).collect()
    }

    /// The value of the whole time between the two times, as known at the second time.
    #[must_use]
    pub fn over(&self, metrics: &Metrics, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<f64> {
        let (from, now) = (minute(from), minute(to));
        self.values(metrics, &[from], (now - from).max(1), now)[0]
    }

    /// The values of the periods of this length that begin in these minutes, as known in the minute `now`.
    fn values(&self, metrics: &Metrics, begins: &[i64], period: i64, now: i64) -> Vec<Option<f64>> {
        let of_each = self.metrics.iter().map(|(metric, stat)| {
            let known = |begin: &i64| metrics.known_at(metric, *stat, *begin..begin + period, now);
            begins.iter().map(known).collect()
        });
        let seconds: Vec<i64> = begins.iter().map(|begin| begin * 60).collect();
        self.expression.values(&seconds, &of_each.collect::<Vec<_>>())
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Text::deserialize(deserializer).map(|Text(value)| value)
}

fn red() -> String {
    "#d62728".to_owned()
}
