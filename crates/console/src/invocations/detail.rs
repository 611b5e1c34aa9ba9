//! One invocation: its trace, its wide line explained, its log lines, and the outcome of its records.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use config_audit::telemetry::catalog;
use config_audit_cloudwatch::line::Line;
use config_audit_cloudwatch::span::spans;
use config_audit_cloudwatch::units::{count, duration, quantity, thousands};
use config_audit_local::event::LogSource;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Map, Value};

use super::waterfall::waterfall;
use super::{Outcome, Row};
use crate::activity::{Change, Invocation, State as Known, StoredEntry};
use crate::address::Address;
use crate::layout::{Page, Section};
use crate::overview::place;
use crate::site::{Refusal, Site};
use crate::text::{Visible, cut};

/// The maximum number of records, entries or lines on the page.
const MAX_SHOWN: usize = 200;

/// The meanings of the wide line's members that are not metrics.
const MEMBERS: &[(&str, &str)] = &[
    ("requestId", "Lambda's ID of the invocation."),
    ("traceId", "The X-Ray trace."),
    ("outcome", "ok; partial if records were reported as failed; error if the whole invocation failed."),
    ("events", "How many records of each event name."),
    ("writes", "Requests to the Audit table."),
    ("durationMs", "How long the invocation took, in milliseconds."),
    ("allowedMs", "How long it was allowed to take, in milliseconds."),
    ("error", "Why the whole invocation failed."),
    ("reasons", "How many records were quarantined or failed, for each reason."),
    ("failedSequenceNumbers", "The records that Lambda will redeliver."),
    ("timestamp", "When the line was printed."),
    ("level", "Always INFO: the function prints the line whatever happened."),
    ("message", "What kind of line this is."),
    ("Service", "A dimension of the metrics."),
    ("Stage", "A dimension of the metrics."),
];

/// What the page shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    #[serde(flatten)]
    row: Row,
    trace_header: String,
    /// Whether lines and documents were dropped to save memory.
    is_trimmed: bool,
    /// The segment documents as the X-Ray daemon received them.
    documents: Vec<Value>,
    lines: Vec<String>,
    changes: Vec<RecordRow>,
    stored: Vec<EntryRow>,
    #[serde(skip)]
    sources: Vec<LogSource>,
    #[serde(skip)]
    known: Vec<Option<Change>>,
}

/// A record and its outcome.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordRow {
    sequence_number: String,
    item_key: Option<String>,
    #[serde(flatten)]
    place: Option<crate::activity::Place>,
}

/// An entry that was stored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryRow {
    id: String,
    item_key: String,
    updated_attribute: String,
}

/// The page.
///
/// # Errors
/// If the invocation is unknown, or was dropped.
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let view = site.activity.read(|known| View::find(known, &request_id)).ok_or(Refusal::NotFound)?;
    Ok(site.frame.respond(&headers, &view, || Page::new("Invocation", Section::Invocations, content(&view))))
}

impl View {
    fn find(known: &Known, request_id: &str) -> Option<Self> {
        let invocation = known.invocations.newest_first().find(|one| one.request_id == request_id)?;
        Some(Self::of(invocation, known))
    }

    fn of(invocation: &Invocation, known: &Known) -> Self {
        let changes: Vec<Option<Change>> =
            invocation.records.iter().map(|number| known.change(number).cloned()).collect();
        let records = invocation.records.iter().zip(&changes).map(|(number, change)| RecordRow {
            sequence_number: number.clone(),
            item_key: change.as_ref().map(|change| change.key.clone()),
            place: change.as_ref().map(|change| change.place.clone()),
        });
        let stored = invocation.entries.iter().map(|StoredEntry { id, key, attribute }| EntryRow {
            id: id.clone(),
            item_key: key.clone(),
            updated_attribute: attribute.clone(),
        });
        Self {
            row: Row::of(invocation, known),
            trace_header: invocation.trace_header.clone(),
            is_trimmed: invocation.is_trimmed,
            documents: invocation.documents.iter().filter_map(|text| serde_json::from_str(text).ok()).collect(),
            lines: invocation.lines.iter().map(|(_, line)| line.clone()).collect(),
            changes: records.collect(),
            stored: stored.collect(),
            sources: invocation.lines.iter().map(|(source, _)| *source).collect(),
            known: changes,
        }
    }
}

fn content(view: &View) -> Markup {
    let row = &view.row;
    html! {
        p { (row.outcome.badge()) " " (count(row.records, "record", "records")) ", " (count(row.entries, "entry", "entries"))
            @if let Some(milliseconds) = row.duration_ms { ", " (duration(milliseconds)) }
            @if row.cold_start { ", cold start" } " · started " time { (row.started.format("%Y-%m-%d %H:%M:%S%.3f")) } " UTC" }
        @if let Outcome::Failed { error } = &row.outcome { p.message.bad { (Visible(error)) } }
        p.quiet { "Request " code { (row.request_id) } @if !view.trace_header.is_empty() { " · trace " code { (view.trace_header) } } }
        @if view.is_trimmed { p.quiet { "Its lines and spans were dropped to save memory, because it is not among the newest." } }
        section aria-labelledby="trace-heading" {
            h2 #trace-heading { "Trace" }
            p.help { "From the X-Ray documents that the function sent. Open a span to see its attributes." }
            (waterfall(&spans(&view.documents)))
        }
        section aria-labelledby="records-heading" { h2 #records-heading { "Records and their outcomes" } (records(view)) }
        section aria-labelledby="entries-heading" { h2 #entries-heading { "Entries written" } (entries(view)) }
        section aria-labelledby="metrics-heading" { h2 #metrics-heading { "What the function measured" } (wide_line(view)) }
        section aria-labelledby="lines-heading" { h2 #lines-heading { "Log lines" } (lines(view)) }
    }
}

fn records(view: &View) -> Markup {
    html! {
        @if view.known.is_empty() { p.empty { "The event had no records of the stream." } } @else {
            table {
                thead { tr { th scope="col" { "Item" } th scope="col" { "What" } th scope="col" { "Where it is now" } } }
                tbody {
                    @for (number, change) in view.changes.iter().zip(&view.known).take(MAX_SHOWN) {
                        tr {
                            @if let Some(change) = change {
                                td.key { a href=(Address::new("/trail/item").with("key", &change.key)) { (Visible(&cut(&change.key, 60))) } }
                                td { (change.verb()) }
                                td { (place(&change.place, change.deliveries)) }
                            } @else {
                                td.key { (number.sequence_number) } td {} td.quiet { "no longer kept here" }
                            }
                        }
                    }
                }
            }
            (more(view.known.len(), "records"))
        }
    }
}

fn entries(view: &View) -> Markup {
    html! {
        @if view.stored.is_empty() { p.quiet { "No new entries." } } @else {
            ul.notices {
                @for entry in view.stored.iter().take(MAX_SHOWN) {
                    li { a href=(Address::below("/trail/entry", &entry.id)) { (Visible(&cut(&entry.item_key, 60)))
                        @if !entry.updated_attribute.is_empty() { " " (Visible(&cut(&entry.updated_attribute, 60))) } } }
                }
            }
            (more(view.stored.len(), "entries"))
        }
    }
}

/// The wide line, member by member; metrics have the catalog's descriptions.
fn wide_line(view: &View) -> Markup {
    let wide: Vec<Map<String, Value>> = view
        .lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok())
        .filter(|line| line.contains_key("_aws"))
        .collect();
    if wide.is_empty() {
        return html! { p.empty { "There is no wide line: the function did not finish, or the console dropped the line." } };
    }
    let meaning = |name: &str| {
        let metric = catalog::ALL.iter().find(|metric| metric.name == name);
        let member = MEMBERS.iter().find(|(member, _)| *member == name);
        metric.map(|metric| metric.meaning).or(member.map(|(_, meaning)| *meaning)).unwrap_or_default()
    };
    let is_metric = |name: &str| catalog::ALL.iter().any(|metric| metric.name == name);
    html! {
        @for line in &wide {
            @for (caption, wants_metrics) in [("Metrics", true), ("Other members of the line", false)] {
                div.scroll tabindex="0" role="region" aria-label=(caption) { table.wide-line {
                    caption { (caption) }
                    thead { tr { th scope="col" { "Name" } th.number scope="col" { "Value" } th scope="col" { "Meaning" } } }
                    tbody {
                        @for (name, value) in line.iter().filter(|(name, _)| *name != "_aws" && is_metric(name) == wants_metrics) {
                            tr {
                                th scope="row" { code { (Visible(name)) } }
                                td.number { (shown(name, value)) }
                                td { (meaning(name)) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// A value of the wide line, with its unit if it is a metric.
fn shown(name: &str, value: &Value) -> Markup {
    let unit = catalog::ALL.iter().find(|metric| metric.name == name).map(|metric| metric.unit.name());
    let number = |value: &Value| match (value.as_f64(), unit) {
        (Some(number), Some(unit)) => quantity(number, unit),
        _ => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    };
    match value {
        Value::Array(values) if values.len() > 5 => {
            html! { (values.iter().take(3).map(number).collect::<Vec<_>>().join(", ")) " and " (thousands(values.len() - 3)) " more" }
        }
        Value::Array(values) => html! { (Visible(&values.iter().map(number).collect::<Vec<_>>().join(", "))) },
        value => html! { (Visible(&cut(&number(value), 200))) },
    }
}

fn lines(view: &View) -> Markup {
    html! {
        @if view.lines.is_empty() { p.quiet { "None." } } @else {
            ol.log {
                @for (line, source) in view.lines.iter().zip(&view.sources).take(MAX_SHOWN) {
                    @let parsed = Line::parse(line);
                    li.failed[parsed.is_trouble()] {
                        @if *source == LogSource::Stderr { span.badge.waiting { "stderr" } " " }
                        @if parsed.metrics().is_empty() { code { (Visible(&cut(&parsed.readable(), 1000))) } }
                        @else { details { summary { "the wide line" } code { (Visible(line)) } } }
                    }
                }
            }
            (more(view.lines.len(), "lines"))
        }
    }
}

fn more(all: usize, what: &str) -> Markup {
    html! {
        @if all > MAX_SHOWN { p.quiet { (thousands(all - MAX_SHOWN)) " more " (what) " are in the JSON of this page." } }
    }
}
