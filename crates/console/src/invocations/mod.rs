//! The invocations: a list, and a page for each with everything that the function reported about it.

mod detail;
mod waterfall;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use chrono::{DateTime, Utc};
use config_audit_cloudwatch::units::{count, duration, thousands};
use futures_util::Stream;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::activity::{Invocation, MAX_INVOCATIONS, State as Known};
use crate::address::Address;
use crate::layout::{Page, Section};
use crate::live;
use crate::site::Site;
use crate::text::{Visible, cut, time};

pub(crate) use detail::page as detail;

/// The number of invocations on a page.
const PAGE: usize = 50;

/// What the address asks for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// `failed` selects only failed ones.
    outcome: String,
    /// The request ID of the last invocation on the previous page.
    after: String,
}

/// What the list shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    matching: usize,
    dropped: usize,
    invocations: Vec<Row>,
    older: Option<String>,
}

/// An invocation in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    request_id: String,
    started: DateTime<Utc>,
    #[serde(flatten)]
    outcome: Outcome,
    records: usize,
    entries: usize,
    cold_start: bool,
    /// The number of redelivered records.
    redelivered: usize,
    duration_ms: Option<f64>,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
enum Outcome {
    /// It is running.
    Running,
    /// All records are done.
    Ok,
    /// Lambda will redeliver some records.
    Partial {
        /// How many.
        failed: usize,
    },
    /// It failed as a whole.
    Failed {
        /// Why.
        error: String,
    },
}

impl Outcome {
    fn of(invocation: &Invocation) -> Self {
        match invocation.ended.as_ref().map(|ended| &ended.outcome) {
            None => Self::Running,
            Some(Err(error)) => Self::Failed { error: error.clone() },
            Some(Ok(failed)) if failed.is_empty() => Self::Ok,
            Some(Ok(failed)) => Self::Partial { failed: failed.len() },
        }
    }

    fn badge(&self) -> Markup {
        let (class, sign, text) = match self {
            Self::Running => ("busy", "…", "running".to_owned()),
            Self::Ok => ("good", "✓", "ok".to_owned()),
            Self::Partial { failed } => {
                ("waiting", "!", format!("{} reported as failed", count(*failed, "record", "records")))
            }
            Self::Failed { .. } => ("bad", "✗", "failed".to_owned()),
        };
        html! { span class=(format!("badge {class}")) { span aria-hidden="true" { (sign) " " } (text) } }
    }
}

impl Row {
    fn of(invocation: &Invocation, known: &Known) -> Self {
        let deliveries = |number: &String| known.change(number).map_or(0, |change| change.deliveries);
        Self {
            request_id: invocation.request_id.clone(),
            started: invocation.started,
            outcome: Outcome::of(invocation),
            records: invocation.records.len(),
            entries: invocation.entries.len(),
            cold_start: invocation.is_cold,
            redelivered: invocation.records.iter().filter(|number| deliveries(number) > 1).count(),
            duration_ms: invocation.ended.as_ref().map(|ended| ended.duration.as_secs_f64() * 1000.0),
        }
    }
}

impl View {
    fn of(known: &Known, asked: &Asked) -> Self {
        let is_meant = |invocation: &&Invocation| asked.outcome != "failed" || invocation.has_failed();
        let all: Vec<&Invocation> = known.invocations.newest_first().filter(is_meant).collect();
        let start = all.iter().position(|one| one.request_id == asked.after).map_or(0, |position| position + 1);
        let end = all.len().min(start + PAGE);
        let older = (end < all.len()).then(|| asked.address().with("after", &all[end - 1].request_id).to_string());
        Self {
            matching: all.len(),
            dropped: known.invocations.dropped(),
            invocations: all[start..end].iter().map(|invocation| Row::of(invocation, known)).collect(),
            older,
        }
    }
}

impl Asked {
    fn address(&self) -> Address {
        Address::new("/invocations").with("outcome", &self.outcome)
    }
}

/// The list.
pub(crate) async fn page(State(site): State<Arc<Site>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let view = site.activity.read(|known| View::of(known, &asked));
    let live = Address::new("/live/invocations").with("outcome", &asked.outcome).with("after", &asked.after);
    site.frame.respond(&headers, &view, || {
        let content = html! {
            p.help { "Every invocation of the function, newest first, with what it reported about itself." }
            p.toolbar {
                @if asked.outcome == "failed" { "failed only · " a href="/invocations" { "show all" } }
                @else { "all · " a href="/invocations?outcome=failed" { "show failed only" } }
            }
            div.live #invocations { (list(&view)) }
        };
        Page::new("Invocations", Section::Invocations, content).live(live.to_string())
    })
}

/// The live part of the list.
pub(crate) async fn live(
    State(site): State<Arc<Site>>,
    Query(asked): Query<Asked>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    live::stream(site.activity.revision(), move || {
        vec![("invocations", list(&site.activity.read(|known| View::of(known, &asked))))]
    })
}

fn list(view: &View) -> Markup {
    if view.invocations.is_empty() {
        return html! {
            p.empty { "No invocations yet. " a href="/" { "Change an item on the overview" }
                ", and the function is invoked within a second." }
        };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Invocations" {
            table {
                thead {
                    tr { th scope="col" { "Started" } th scope="col" { "Outcome" } th.number scope="col" { "Records" }
                         th.number scope="col" { "Entries" } th.number scope="col" { "Duration" } th scope="col" { "Notes" }
                         th scope="col" { "Request" } }
                }
                tbody {
                    @for row in &view.invocations {
                        tr {
                            td { (time(row.started)) }
                            td { (row.outcome.badge())
                                @if let Outcome::Failed { error } = &row.outcome { span.quiet { " " (Visible(&cut(error, 120))) } } }
                            td.number { (thousands(row.records)) }
                            td.number { (thousands(row.entries)) }
                            td.number { @if let Some(milliseconds) = row.duration_ms { (duration(milliseconds)) } }
                            td { @if row.cold_start { "cold start " }
                                @if row.redelivered > 0 { (count(row.redelivered, "record", "records")) " redelivered" } }
                            td.key { a href=(Address::below("/invocations", &row.request_id)) { (row.request_id[..row.request_id.len().min(8)]) } }
                        }
                    }
                }
            }
        }
        nav.pages aria-label="Pages" {
            @if let Some(older) = &view.older { a href=(older) rel="next" { "Older" } }
            @else { span.quiet { "No older invocations." } }
        }
        @if view.dropped > 0 {
            p.quiet { "The console keeps the last " (thousands(MAX_INVOCATIONS)) " invocations; " (thousands(view.dropped))
                " older ones were dropped." }
        }
    }
}

#[cfg(test)]
mod tests;
