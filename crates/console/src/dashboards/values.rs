//! What the widgets of a dashboard show at a time, before it is drawn.

use chrono::{DateTime, TimeDelta, Utc};
use config_audit_cloudwatch::alarms::State;
use config_audit_cloudwatch::dashboard::{Content, Dashboard, Line};
use config_audit_cloudwatch::insights::{LogEvent, Query, QueryError, Table};
use config_audit_cloudwatch::metrics::Metrics;
use serde::{Serialize, Serializer};

use super::chart::Points;

/// What a dashboard is drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// The time at which it is viewed.
    pub now: DateTime<Utc>,
    /// The time before which there is no data.
    pub first: DateTime<Utc>,
    /// The metrics.
    pub metrics: &'a Metrics,
    /// The alarms' names and states.
    pub alarms: &'a [(String, State)],
    /// The names of the alarms that are not deployed, so the deployed dashboards do not have them.
    pub left_out: &'a [String],
    /// The lines of the log group; `None` if there is none, and queries cannot be run.
    pub log: Option<&'a [LogEvent]>,
}

/// What a widget shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Values {
    /// Markdown.
    Text {
        /// The text.
        markdown: String,
    },
    /// Alarms. Those in ALARM come first.
    Alarms {
        /// The heading.
        title: String,
        /// The alarms.
        alarms: Vec<AlarmState>,
    },
    /// The result of a query.
    Log {
        /// The heading.
        title: String,
        /// The query.
        query: String,
        /// The result; `None` if there is no log.
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<LogResult>,
    },
    /// Lines over time.
    Graph {
        /// The heading.
        title: String,
        /// The beginning of the time shown.
        from: DateTime<Utc>,
        /// The end of the time shown.
        to: DateTime<Utc>,
        /// The lines.
        lines: Vec<LineValues>,
    },
    /// Numbers.
    Numbers {
        /// The heading.
        title: String,
        /// The numbers.
        numbers: Vec<Number>,
    },
}

/// An alarm of a widget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlarmState {
    /// Its name.
    pub name: String,
    /// Its state; `None` if there is no such alarm.
    #[serde(serialize_with = "state_name")]
    pub state: Option<State>,
}

/// The result of a query, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LogResult {
    /// The result.
    Table(#[serde(serialize_with = "records")] Table),
    /// The query cannot be run here.
    Unsupported(#[serde(serialize_with = "message")] QueryError),
}

/// A line of a graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LineValues {
    /// Its label.
    pub label: String,
    /// The beginning of each period, and its value.
    pub points: Points,
}

/// A number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Number {
    /// Its label.
    pub label: String,
    /// The number; `None` if there is no data.
    pub value: Option<f64>,
    /// The values over the time shown.
    pub points: Points,
}

#[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn state_name<S: Serializer>(state: &Option<State>, serializer: S) -> Result<S::Ok, S::Error> {
    match state {
        Some(state) => serializer.collect_str(state),
        None => serializer.serialize_none(),
    }
}

/// Each row as an object.
fn records<S: Serializer>(table: &Table, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(table.rows.iter().map(|row| {
        let members = table.columns.iter().zip(row);
        members.collect::<std::collections::BTreeMap<_, _>>()
    }))
}

fn message<S: Serializer>(error: &QueryError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

/// What each widget shows, in the order of the dashboard.
#[must_use]
pub fn values(dashboard: &Dashboard, data: &Data<'_>) -> Vec<Values> {
    dashboard.widgets.iter().map(|widget| of(&widget.content, dashboard.start, data)).collect()
}

fn of(content: &Content, start: TimeDelta, data: &Data<'_>) -> Values {
    let to = data.now;
    let from = |own: Option<TimeDelta>| (to - own.unwrap_or(start)).max(data.first);
    match content {
        Content::Text(markdown) => Values::Text { markdown: markdown.clone() },
        Content::Alarms { title, names } => Values::Alarms { title: title.clone(), alarms: alarms(names, data) },
        Content::Log { title, query } => {
            let result = data.log.map(|events| match Query::parse(query) {
                Ok(query) => {
                    let since = from(None);
                    let events: Vec<LogEvent> = events.iter().filter(|event| event.at() >= since).cloned().collect();
                    LogResult::Table(query.run(&events))
                }
                Err(error) => LogResult::Unsupported(error),
            });
            Values::Log { title: title.clone(), query: query.clone(), result }
        }
        Content::Graph(graph) => {
            let from = from(graph.start);
            let values =
                |line: &Line| LineValues { label: line.label.clone(), points: line.points(data.metrics, from, to) };
            Values::Graph { title: graph.title.clone(), from, to, lines: graph.lines.iter().map(values).collect() }
        }
        Content::Numbers(numbers) => {
            let from = from(numbers.start);
            let number = |line: &Line| {
                let points = line.points(data.metrics, from, to);
                let value = if numbers.is_of_whole_time {
                    line.over(data.metrics, from, to)
                } else {
                    points.iter().rev().find_map(|(_, value)| *value)
                };
                Number { label: line.label.clone(), value, points }
            };
            Values::Numbers { title: numbers.title.clone(), numbers: numbers.lines.iter().map(number).collect() }
        }
    }
}

/// Alarms in ALARM come first, as with `sortBy: stateUpdatedTimestamp`.
fn alarms(names: &[String], data: &Data<'_>) -> Vec<AlarmState> {
    let state = |name: &String| data.alarms.iter().find(|(other, _)| other == name).map(|(_, state)| *state);
    let names = names.iter().filter(|name| !data.left_out.contains(name));
    let mut alarms: Vec<_> = names.map(|name| AlarmState { name: name.clone(), state: state(name) }).collect();
    alarms.sort_by_key(|alarm| match alarm.state {
        Some(State::Alarm) => 0,
        Some(State::Ok) => 2,
        _ => 1,
    });
    alarms
}
