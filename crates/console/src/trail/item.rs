//! An item's history as a timeline, what is wrong with it, and the item at any time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use config_audit::clock::{Clock, timestamp};
use config_audit_cloudwatch::units::count;
use config_audit_local::aws::entry::{Entry, Plain};
use config_audit_local::aws::item;
use config_audit_tables::SdkItem;
use config_audit_trail::{Finding, Fold, Gap, Image, Present, Step, Verdict};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serde_dynamo::AttributeValue;
use serde_json::Value;

use super::filter::{is_time, time, time_mistake};
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
/// If the time is not valid, or DynamoDB rejects the request.
pub(super) async fn page(
    State(trail): State<Arc<Trail>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let at = time(&asked.at).replace(' ', "T");
    if let Some(mistake) = time_mistake("at", &at) {
        return Err(Refusal::Invalid(mistake));
    }
    let history = History::read(&trail, &asked.key).await?;
    let view = View::of(&trail, &asked, &at, history);
    Ok(trail.frame.respond(&headers, &view, || {
        let content = content(&trail, &asked, &view);
        Page::new("Item", Section::Trail, content)
    }))
}

/// The entries of an item, and what they prove.
struct History {
    /// The newest first.
    entries: Vec<SdkItem>,
    fold: Fold,
    findings: Vec<Finding>,
}

impl History {
    /// Reads the item before its entries, and again afterwards. Otherwise the entry of a change that is made meanwhile
    /// would look like a gap.
    async fn read(trail: &Trail, key: &str) -> Result<Self, Refusal> {
        let (entries, present) = match &trail.configuration {
            Some(table) => {
                let time = timestamp(Clock::System.now());
                let before = table.item(key).await?;
                let entries = trail.audit.entries(key).await?;
                (entries, Present::of_reads(&time, before, table.item(key).await?))
            }
            None => (trail.audit.entries(key).await?, Present::Unknown),
        };
        // A long history takes a while to fold, and must not block other requests.
        let judged = tokio::task::spawn_blocking(move || Self::of(entries, &present));
        judged.await.map_err(|error| Refusal::Failed(error.to_string()))
    }

    fn of(mut entries: Vec<SdkItem>, present: &Present) -> Self {
        let steps = entries.iter().map(|entry| Step::read(item(entry.clone()))).collect();
        let (verdict, fold) = Verdict::judge(steps, present);
        let places: HashMap<&str, usize> =
            fold.steps.iter().enumerate().map(|(place, step)| (step.id.as_str(), place)).collect();
        // Unreadable entries have no place in the order, so they come first, like the newest.
        entries.sort_by_cached_key(|entry| Reverse(places.get(id(entry)).copied().unwrap_or(usize::MAX)));
        Self { entries, fold, findings: verdict.findings }
    }
}

fn id(entry: &SdkItem) -> &str {
    entry.get("id").and_then(|value| value.as_s().ok()).map(String::as_str).unwrap_or_default()
}

impl View {
    fn of(trail: &Trail, asked: &Asked, at: &str, history: History) -> Self {
        let History { entries, fold, findings } = history;
        let shows_values = trail.shows_values(&asked.values);
        let number = entries.len();
        let start = entries.iter().position(|entry| id(entry) == asked.after).map_or(0, |position| position + 1);
        let end = number.min(start + PAGE);
        let older = (end < number).then(|| {
            let address = item_address(&asked.key).with("at", &asked.at).with("values", &asked.values);
            address.with("after", id(&entries[end - 1])).to_string()
        });
        let history = entries.into_iter().skip(start).take(PAGE).map(|entry| {
            let entry = item(entry);
            Row::of(trail, Head::of(&entry), shows_values.then(|| Entry::from_item(entry)))
        });
        // Without a change in order, nothing is known about the item.
        let has_state = !at.is_empty() && !fold.steps.is_empty();
        Self {
            item_key: asked.key.clone(),
            entries: number,
            findings: findings.iter().map(|finding| json(finding, &asked.key)).collect(),
            state: has_state.then(|| ItemAt::of(&fold, at, shows_values)),
            history: history.collect(),
            older,
            problems: findings,
        }
    }
}

/// A finding as `config-audit verify` has it, and whether its entry may just not be stored yet.
fn json(finding: &Finding, key: &str) -> Value {
    let mut json = finding.json(key);
    json["isAtEnd"] = finding.is_at_end().into();
    json
}

impl ItemAt {
    fn of(fold: &Fold, at: &str, shows_values: bool) -> Self {
        // A tilde sorts after every character of a time, so all times with this prefix are included.
        let last = format!("{at}~");
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
    let mut by_entry: HashMap<&str, Vec<&Finding>> = HashMap::new();
    for finding in &view.problems {
        if let Finding::Gap(Gap { entry: Some(entry), .. }) = finding {
            by_entry.entry(entry).or_default().push(finding);
        }
    }
    html! {
        p.key.large { (Visible(&asked.key)) }
        @if view.entries == 0 {
            p.empty { "The trail has no entry for this item. " a href="/trail" { "All entries" } }
            @for finding in &view.problems {
                p { span.badge.waiting { span aria-hidden="true" { "? " } "no entry" } " " (Visible(&finding.text())) "." }
            }
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
                        (row.render(&asked.values, &item_then(asked, row)))
                        @for finding in by_entry.get(&*row.head.id).into_iter().flatten() {
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

/// The link to the item after this entry. The time of an unreadable entry may be any text.
fn item_then(asked: &Asked, row: &Row) -> Markup {
    let at = &row.head.modification_time;
    let then = item_address(&asked.key).with("at", at).with("values", &asked.values);
    html! { @if is_time(time(at)) { " " a.quiet href=(then) { "item at this time" } } }
}

fn verdict(view: &View) -> Markup {
    let certain = view.problems.iter().filter(|finding| !finding.is_at_end() && !finding.is_undecided()).count();
    html! {
        p {
            @if certain > 0 {
                span.badge.bad { span aria-hidden="true" { "! " } (count(certain, "finding", "findings")) }
            } @else if view.problems.iter().any(Finding::is_undecided) {
                span.badge.waiting { span aria-hidden="true" { "? " } "undecided" }
            } @else if view.problems.is_empty() {
                span.badge.good { span aria-hidden="true" { "✓ " } "intact" } " Every change leads to the next."
            } @else {
                span.badge.waiting { span aria-hidden="true" { "? " } "waiting" }
                " The item's newest change has no entry yet. Reload this page in a minute: if there is still none, the function
                is behind, or the entry is missing."
            }
        }
        @if !view.problems.is_empty() {
            ul.notices {
                @for finding in &view.problems {
                    li {
                        @if finding.is_at_end() && certain > 0 { span.badge.waiting { "? waiting" } " " }
                        (Visible(&finding.text()))
                    }
                }
            }
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
