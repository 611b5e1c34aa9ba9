//! Logs Insights queries: the part of the language that the dashboards use
//! (Amazon CloudWatch Logs User Guide, "CloudWatch Logs Insights language query syntax").
//!
//! A query is a pipe of commands: `filter`, `fields` and `stats` make rows, `sort` and `limit` choose among them. A command
//! or function that is not supported here is an error, so a result is never quietly wrong.

mod expression;
mod parse;
mod value;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use expression::{Expression, Group, Row};

pub use value::Value;

/// The most rows of a result without `limit`.
const MAX_ROWS: usize = 10_000;

/// A line of a log group.
#[derive(Debug, Clone)]
pub struct LogEvent {
    at: DateTime<Utc>,
    message: String,
    /// `Null` if the line is not JSON: such a line has no fields of its own.
    document: serde_json::Value,
}

impl LogEvent {
    /// A line that was logged at this time.
    #[must_use]
    pub fn new(at: DateTime<Utc>, message: String) -> Self {
        let document = serde_json::from_str(&message).unwrap_or_default();
        Self { at, message, document }
    }

    /// A line that a function printed. Lambda logs a JSON line at the time in its `timestamp` (AWS Lambda Developer
    /// Guide, "Log formats"); a line without one was logged at `otherwise`.
    #[must_use]
    pub fn of_function(message: String, otherwise: DateTime<Utc>) -> Self {
        let mut event = Self::new(otherwise, message);
        if let Some(at) = event.document["timestamp"].as_str().and_then(|text| text.parse().ok()) {
            event.at = at;
        }
        event
    }

    /// When it was logged.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

/// A query.
#[derive(Debug, Clone)]
pub struct Query {
    commands: Vec<Command>,
}

/// A query that is not valid, or uses something that is not supported here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query is not supported from {rest:?} on: {problem}")]
pub struct QueryError {
    /// What is wrong.
    pub problem: String,
    /// The query from the problem on.
    pub rest: String,
}

/// The result of a query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with a value for every column.
    pub rows: Vec<Vec<Value>>,
}

#[derive(Debug, Clone)]
enum Command {
    Fields(Vec<Column>),
    Filter(Expression),
    Stats { columns: Vec<Column>, by: Vec<Column> },
    Sort { by: Expression, is_descending: bool },
    Limit(usize),
}

/// An expression with its name in the result.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    expression: Expression,
}

impl Query {
    /// Parses a query. A leading `SOURCE` is ignored: the caller chooses the log group.
    ///
    /// # Errors
    /// Says from which point the query is not supported, and why.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse::query(text)
    }

    /// The result of this query on these lines.
    #[must_use]
    pub fn run(&self, events: &[LogEvent]) -> Table {
        let mut rows: Vec<Row<'_>> = events.iter().map(Row::of).collect();
        // Newest first, as Logs Insights shows unsorted lines.
        rows.sort_by_key(|row| std::cmp::Reverse(row.event.map(|event| event.at)));
        let mut columns: Vec<String> = ["@timestamp", "@message"].map(str::to_owned).into();
        let mut limit = MAX_ROWS;
        for command in &self.commands {
            match command {
                Command::Fields(fields) => {
                    for row in &mut rows {
                        for Column { name, expression } in fields {
                            let value = expression.of_row(row);
                            row.values.insert(name.clone(), value);
                        }
                    }
                    columns = names(fields);
                }
                Command::Filter(condition) => rows.retain(|row| condition.of_row(row).is_true()),
                Command::Stats { columns: aggregates, by } => {
                    rows = stats(&rows, aggregates, by);
                    columns = names(by).into_iter().chain(names(aggregates)).collect();
                }
                Command::Sort { by, is_descending } => rows.sort_by(|one, other| {
                    let order = by.of_row(one).compare(&by.of_row(other));
                    if *is_descending { order.reverse() } else { order }
                }),
                Command::Limit(rows) => limit = *rows,
            }
        }
        let cells = |row: &Row<'_>| columns.iter().map(|column| row.field(column)).collect();
        let rows = rows.iter().take(limit).map(cells).collect();
        Table { columns, rows }
    }
}

fn names(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| column.name.clone()).collect()
}

/// One row for each group. Without `by`, all rows are one group, even if there are none.
fn stats(rows: &[Row<'_>], aggregates: &[Column], by: &[Column]) -> Vec<Row<'static>> {
    let mut groups: BTreeMap<Vec<String>, (Vec<Value>, Group<'_, '_>)> = BTreeMap::new();
    if by.is_empty() {
        groups.insert(Vec::new(), Default::default());
    }
    for row in rows {
        let values: Vec<Value> = by.iter().map(|column| column.expression.of_row(row)).collect();
        let key = values.iter().map(ToString::to_string).collect();
        groups.entry(key).or_insert_with(|| (values, Group::new())).1.push(row);
    }
    let row = |(values, group): (Vec<Value>, Group<'_, '_>)| {
        let by = by.iter().map(|column| column.name.clone()).zip(values);
        let aggregates = aggregates.iter().map(|column| (column.name.clone(), column.expression.of_group(&group)));
        Row { event: None, values: by.chain(aggregates).collect() }
    };
    groups.into_values().map(row).collect()
}

#[cfg(test)]
mod tests;
