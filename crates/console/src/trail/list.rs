//! The list of entries, newest first.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use config_audit_cloudwatch::units::{count, thousands};
use futures_util::Stream;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::Trail;
use super::filter::Filter;
use super::index::Kind;
use super::reading::Reading;
use super::row::Row;
use crate::address::Address;
use crate::layout::{Page, Section};
use crate::live;
use crate::site::Refusal;
use crate::text::is_printable;

/// The number of entries on a page.
const PAGE: usize = 50;
/// The maximum number of keys that a browser suggests.
const SUGGESTED_KEYS: usize = 200;

/// What the address asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    #[serde(flatten)]
    pub(super) filter: Filter,
    /// The ID of the last entry on the previous page.
    pub(super) after: String,
    /// `shown` or `hidden`.
    pub(super) values: String,
}

impl Asked {
    fn address(&self, path: &str) -> Address {
        self.filter.add_to(Address::new(path)).with("values", &self.values)
    }
}

/// What the page shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    /// How many entries match.
    matching: usize,
    /// How many are kept.
    known: usize,
    reading: Reading,
    entries: Vec<Row>,
    /// The page with older ones.
    older: Option<String>,
    /// The token that forms must carry.
    token: String,
}

/// The page.
///
/// # Errors
/// If the filter is not valid, or DynamoDB rejects the request.
pub(super) async fn page(
    State(trail): State<Arc<Trail>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if let Some(mistake) = asked.filter.mistake() {
        return Err(Refusal::Invalid(mistake));
    }
    let shows_values = trail.shows_values(&asked.values);
    let after = Some(&*asked.after).filter(|id| !id.is_empty());
    let found = trail.index.page(&asked.filter, after, PAGE);
    let entries = Row::read(&trail, found.heads, shows_values).await?;
    let last = entries.last().filter(|_| found.has_older).map(|row| &row.head.id);
    let older = last.map(|id| asked.address("/trail").with("after", id).to_string());
    let known = trail.index.size().0;
    let token = trail.token.as_str().to_owned();
    let view = View { matching: found.matching, known, reading: trail.reading(), entries, older, token };
    let live = Address::new("/live/trail").with("newest", &trail.index.newest().unwrap_or_default());
    Ok(trail.frame.respond(&headers, &view, || {
        Page::new("Trail", Section::Trail, content(&trail, &asked, &view, shows_values)).live(live.to_string())
    }))
}

fn content(trail: &Trail, asked: &Asked, view: &View, shows_values: bool) -> Markup {
    html! {
        p.help { "What changed, newest first: the entries of " (trail.audit.name()) " " (trail.audit.place()) ". "
            a href="/trail/verify" { "Is the trail intact?" } }
        div.live #news { (news(trail, None)) }
        (filter_form(trail, asked))
        @if view.known == 0 { (empty(trail)) }
        @else if view.entries.is_empty() {
            p.empty { "No entries match. " a href="/trail" { "Show all entries" } }
        } @else {
            p.toolbar {
                (count(view.matching, "entry", "entries"))
                @if !asked.filter.is_empty() { " of " (thousands(view.known)) }
                " · " (values_link(asked, shows_values))
                " · export: " a href=(asked.address("/trail/export.csv")) { "CSV" }
                " " a href=(asked.address("/trail/export.json")) { "JSON" }
            }
            ol.entries { @for row in &view.entries { (row.render(&asked.values, &html! {})) } }
            nav.pages aria-label="Pages" {
                @if !asked.after.is_empty() { a href=(asked.address("/trail")) { "Newest" } }
                @if let Some(older) = &view.older { a href=(older) rel="next" { "Older" } }
                @else { span.quiet { "No older entries." } }
            }
        }
    }
}

/// The link that shows or hides values on the same page.
fn values_link(asked: &Asked, shows_values: bool) -> Markup {
    let (other, label) = if shows_values { ("hidden", "hide values") } else { ("shown", "show values") };
    let address = asked.filter.add_to(Address::new("/trail")).with("after", &asked.after).with("values", other);
    html! { a href=(address) { (label) } }
}

fn filter_form(trail: &Trail, asked: &Asked) -> Markup {
    let Filter { key, attribute, kind, from, to } = &asked.filter;
    html! {
        form.filter method="get" action="/trail" role="search" aria-label="Filter the entries" {
            label { "Item" input name="key" value=(key) list="keys" placeholder="any" autocomplete="off"; }
            datalist #keys {
                // Browsers show suggestions unescaped, outside the page.
                @for key in trail.index.keys(SUGGESTED_KEYS).iter().filter(|key| key.chars().all(is_printable)) { option value=(key) {} }
            }
            label { "Attribute" input name="attribute" value=(attribute) placeholder="any" autocomplete="off"; }
            label {
                "Kind"
                select name="kind" {
                    option value="" { "any" }
                    @for other in Kind::ALL {
                        option value=(other.name()) selected[other.name() == kind] { (other.name()) }
                    }
                }
            }
            label { "From (UTC)" input name="from" value=(from) placeholder="2026-03-03T10:00"; }
            label { "To (UTC)" input name="to" value=(to) placeholder="2026-03-03"; }
            @if !asked.values.is_empty() { input type="hidden" name="values" value=(asked.values); }
            p.buttons { button { "Filter" } @if !asked.filter.is_empty() { a.button href="/trail" { "Clear" } } }
        }
    }
}

/// What to do while no entries are known.
fn empty(trail: &Trail) -> Markup {
    html! {
        @match trail.reading() {
            _ if trail.activity.is_some() => {
                p.empty { "No entries yet. " a href="/" { "Change an item on the overview" } ", and its entry will appear here." }
            }
            Reading::Running { .. } => {}
            Reading::Done { .. } => p.empty { "The table had no entries when it was read." },
            Reading::NotRead | Reading::Failed { .. } => div.empty {
                p { "The table has not been read. To see one item, open its history; that reads only this item's entries." }
                form.plain method="get" action="/trail/item" {
                    label { "Item" input name="key" required autocomplete="off"; }
                    button { "Open its history" }
                }
                p { "To see and filter all changes, read the whole table. That is one Scan: DynamoDB bills half a read unit for
                    each 4 KB." }
                (trail.reading_form("Read the whole table"))
            }
        }
    }
}

/// New entries since the page was loaded.
fn news(trail: &Trail, newest: Option<&str>) -> Markup {
    let newer = match newest {
        Some("") => trail.index.size().0,
        Some(id) => trail.index.newer_than(id),
        None => 0,
    };
    html! {
        (trail.reading_message())
        @if newer > 0 {
            p.message role="status" { a href="/trail" { (count(newer, "newer entry", "newer entries")) } }
        }
    }
}

/// The newest entry that a page knows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Newest {
    newest: String,
}

/// The live part of the page.
pub(super) async fn live(
    State(trail): State<Arc<Trail>>,
    Query(asked): Query<Newest>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    live::stream(trail.revision.subscribe(), move || vec![("news", news(&trail, Some(&asked.newest)))])
}
