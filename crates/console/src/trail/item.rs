//! An item's history as a timeline, what is wrong with it, and the item at any time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use config_audit_cloudwatch::units::count;
use config_audit_local::aws::entry::{Entry, Plain};
use config_audit_local::aws::item;
use config_audit_tables::SdkItem;
use config_audit_trail::{Finding, Fold, Gap, Image, Item, Step, Verdict, fold};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serde_dynamo::AttributeValue;
use serde_json::Value;

use super::row::{Row, item_address};
use super::{Head, Trail};
use crate::layout::{Page, Section};
use crate::site::Refusal;
use crate::text::{Visible, cut};

/// The number of entries on a page.
const PAGE: usize = 100;

/// What the address asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// The item.
    key: String,
    /// A time or a prefix of one; all changes within it are applied.
    at: String,
    /// The ID of the last entry on the previous page.
    after: String,
    values: String,
}

/// What the page shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    item_key: String,
    /// The number of the item's entries.
    entries: usize,
    findings: Vec<Value>,
    /// The item at the requested time.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<ItemAt>,
    history: Vec<Row>,
    older: Option<String>,
    #[serde(skip)]
    problems: Vec<Finding>,
}

/// An item at one time.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemAt {
    at: String,
    exists: bool,
    /// Whether it may have attributes that nothing records.
    is_open: bool,
    /// Its attributes; `null` where values are hidden.
    attributes: BTreeMap<String, Shown>,
}

/// A value, unless it is hidden.
#[derive(Debug)]
struct Shown(Option<AttributeValue>);

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().map(Plain).serialize(serializer)
    }
}

/// The page.
///
/// # Errors
/// If DynamoDB rejects the request.
pub(super) async fn page(
    State(trail): State<Arc<Trail>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let entries = trail.audit.entries(&asked.key).await?;
    let current = match &trail.configuration {
        Some(table) => Current::Known(table.item(&asked.key).await?),
        None => Current::Unknown,
    };
    let steps: Vec<Step> = entries.iter().map(|entry| Step::read(item(entry.clone()))).collect();
    // A long history takes a while to fold, and must not block other requests.
    let folded = tokio::task::spawn_blocking(move || judge(steps, current));
    let (fold, problems) = folded.await.map_err(|error| Refusal::Failed(error.to_string()))?;
    let view = View::of(&trail, &asked, entries, &fold, problems);
    Ok(trail.frame.respond(&headers, &view, || {
        let content = content(&trail, &asked, &view);
        Page::new("Item", Section::Trail, content)
    }))
}

/// The item now.
enum Current {
    /// It was read; it may not exist.
    Known(Option<Item>),
    /// There is no Configuration table to read it from.
    Unknown,
}

/// The changes in order, and what is wrong with them.
fn judge(steps: Vec<Step>, current: Current) -> (Fold, Vec<Finding>) {
    let fold = fold(steps.clone(), None);
    let problems = match current {
        Current::Known(item) => Verdict::of(steps, item.as_ref()).findings,
        Current::Unknown => fold.gaps.iter().cloned().map(Finding::Gap).collect(),
    };
    (fold, problems)
}

impl View {
    fn of(trail: &Trail, asked: &Asked, entries: Vec<SdkItem>, fold: &Fold, problems: Vec<Finding>) -> Self {
        let shows_values = trail.shows_values(&asked.values);
        let number = entries.len();
        let mut by_id: HashMap<String, SdkItem> = HashMap::new();
        let mut rest = Vec::new();
        for entry in entries {
            let head = Head::of(item(entry.clone()));
            by_id.insert(head.id.to_string(), entry);
            rest.push(head.id.to_string());
        }
        // Unreadable entries have no place in the order, so they come first, like the newest.
        let ordered: Vec<String> = fold.steps.iter().rev().map(|step| step.id.clone()).collect();
        rest.retain(|id| !ordered.contains(id));
        let ids: Vec<String> = rest.into_iter().chain(ordered).collect();
        let start = ids.iter().position(|id| *id == asked.after).map_or(0, |position| position + 1);
        let end = ids.len().min(start + PAGE);
        let history = ids[start..end].iter().filter_map(|id| by_id.remove(id)).map(|entry| {
            let head = Head::of(item(entry.clone()));
            Row::of(trail, head, shows_values.then(|| Entry::from_item(entry)))
        });
        let older = (end < ids.len()).then(|| {
            let address = item_address(&asked.key).with("at", &asked.at).with("values", &asked.values);
            address.with("after", &ids[end - 1]).to_string()
        });
        Self {
            item_key: asked.key.clone(),
            entries: number,
            findings: problems.iter().map(|finding| finding.json(&asked.key)).collect(),
            state: (!asked.at.is_empty()).then(|| ItemAt::of(fold, &asked.at, shows_values)),
            history: history.collect(),
            older,
            problems,
        }
    }
}

impl ItemAt {
    fn of(fold: &Fold, at: &str, shows_values: bool) -> Self {
        // A tilde sorts after every character of a time, so all times with this prefix are included.
        let last = format!("{}~", at.trim().trim_end_matches(['Z', 'z']).replace(' ', "T"));
        let image = fold.at(&last);
        let item = image.as_ref().map(Image::item).unwrap_or_default();
        let attributes = item.into_iter().map(|(name, value)| (name, Shown(shows_values.then_some(value))));
        Self {
            at: at.to_owned(),
            exists: image.is_some(),
            is_open: image.is_some_and(|image| image.is_open),
            attributes: attributes.collect(),
        }
    }
}

fn content(trail: &Trail, asked: &Asked, view: &View) -> Markup {
    let other = if trail.shows_values(&asked.values) { "hidden" } else { "shown" };
    let toggle = item_address(&asked.key).with("at", &asked.at).with("after", &asked.after).with("values", other);
    let label = if other == "shown" { "show values" } else { "hide values" };
    html! {
        p.key.large { (Visible(&asked.key)) }
        @if view.entries == 0 {
            p.empty { "The trail has no entry for this item. " a href="/trail" { "All entries" } }
        } @else {
            (verdict(view))
            section aria-labelledby="state-heading" {
                h2 #state-heading { "The item at any time" }
                form.filter method="get" action="/trail/item" {
                    input type="hidden" name="key" value=(asked.key);
                    @if !asked.values.is_empty() { input type="hidden" name="values" value=(asked.values); }
                    label { "Time (UTC)" input name="at" value=(asked.at) placeholder="2026-03-03T10:00" required; }
                    p.buttons { button { "Show the item" } }
                }
                @if let Some(state) = &view.state { (item_at(state)) }
            }
            section aria-labelledby="history-heading" {
                h2 #history-heading { "History" }
                p.toolbar { (count(view.entries, "entry", "entries")) ", newest first · " a href=(toggle) { (label) } }
                ol.entries.timeline {
                    @for row in &view.history {
                        @let then = item_address(&asked.key).with("at", &row.head.modification_time).with("values", &asked.values);
                        (row.render(&asked.values, &html! { " " a.quiet href=(then) { "item then" } }))
                        @for finding in view.problems.iter().filter(|finding| concerns(finding, &row.head.id)) {
                            li.finding { span.badge.bad { "! missing or altered" } " " (Visible(&finding.text())) }
                        }
                    }
                }
                nav.pages aria-label="Pages" {
                    @if let Some(older) = &view.older { a href=(older) rel="next" { "Older" } }
                    @else { span.quiet { "No older entries." } }
                }
            }
        }
    }
}

fn concerns(finding: &Finding, id: &str) -> bool {
    matches!(finding, Finding::Gap(Gap { entry: Some(entry), .. }) if entry == id)
}

fn verdict(view: &View) -> Markup {
    html! {
        @if view.problems.is_empty() {
            p { span.badge.good { span aria-hidden="true" { "✓ " } "intact" } " Every change leads to the next." }
        } @else {
            p { span.badge.bad { span aria-hidden="true" { "! " } (count(view.problems.len(), "finding", "findings")) } }
            ul.notices { @for finding in &view.problems { li { (Visible(&finding.text())) } } }
        }
    }
}

fn item_at(state: &ItemAt) -> Markup {
    html! {
        @if state.exists {
            table {
                caption { "At " (Visible(&cut(&state.at, 40))) " UTC" }
                thead { tr { th scope="col" { "Attribute" } th scope="col" { "Value" } } }
                tbody {
                    @for (name, Shown(value)) in &state.attributes {
                        tr {
                            th scope="row" { code { (Visible(name)) } }
                            td {
                                @if let Some(value) = value {
                                    code { (Visible(&serde_json::to_string(&Plain(value)).unwrap_or_default())) }
                                } @else { span.quiet { "hidden" } }
                            }
                        }
                    }
                }
            }
            @if state.is_open {
                p.quiet { "The item is older than the trail, or was too large for an entry, so it may have had other attributes." }
            }
        } @else {
            p.message role="status" { "The item did not exist at " (Visible(&cut(&state.at, 40))) "." }
        }
    }
}
