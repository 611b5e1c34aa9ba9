//! The overview: the pipeline as a picture, recent activity, and a form to change an item.

mod parts;
mod picture;
mod pipeline;

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use config_audit::clock::Clock;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::pipeline::Pipeline;
use crate::activity::{Amounts, Change, Counts, Notice, Place, State as Known};
use crate::faults;
use crate::items::ItemError;
use crate::layout::{Page, Section};
use crate::live::Part;
use crate::site::{Refusal, Site, done};
use crate::text::Visible;
use crate::token::Sent;
pub(crate) use parts::place;

/// The maximum number of changes on the page.
const SHOWN_CHANGES: usize = 20;
/// The maximum number of notices on the page.
const SHOWN_NOTICES: usize = 5;

/// What the page shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    /// Events that the console missed because it was too slow.
    missed_events: usize,
    pipeline: Pipeline,
    counts: Counts,
    last_minute: Amounts,
    last_five_minutes: Amounts,
    /// Five seconds each, oldest first.
    #[serde(skip)]
    history: Vec<Amounts>,
    last_lag_ms: Option<f64>,
    waiting: usize,
    changes: Vec<ChangeRow>,
    dropped_changes: usize,
    notices: Vec<Notice>,
    /// The token that forms must carry.
    token: String,
}

/// A change, as the page shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeRow {
    created: DateTime<Utc>,
    item_key: String,
    what: &'static str,
    attribute: Option<String>,
    entries: usize,
    #[serde(flatten)]
    place: Place,
    deliveries: usize,
    lag_ms: Option<f64>,
    request_id: Option<String>,
    sequence_number: String,
}

impl View {
    fn of(site: &Site) -> Self {
        let now = Clock::System.now();
        site.activity.read(|known| Self::at(known, now, site.token.as_str()))
    }

    fn at(known: &Known, now: DateTime<Utc>, token: &str) -> Self {
        Self {
            since: known.since,
            now,
            missed_events: known.missed,
            pipeline: Pipeline::of(known, now),
            counts: known.counts,
            last_minute: known.seconds.last(60, now),
            last_five_minutes: known.seconds.last(300, now),
            history: known.seconds.intervals(5, 60, now),
            last_lag_ms: known.last_lag_ms,
            waiting: known.waiting(),
            changes: known.changes.newest_first().take(SHOWN_CHANGES).map(ChangeRow::of).collect(),
            dropped_changes: known.changes.dropped(),
            notices: known.notices.newest_first().take(SHOWN_NOTICES).cloned().collect(),
            token: token.to_owned(),
        }
    }
}

impl ChangeRow {
    fn of(change: &Change) -> Self {
        Self {
            created: change.created,
            item_key: change.key.clone(),
            what: change.verb(),
            attribute: change.attribute.clone(),
            entries: change.entries,
            place: change.place.clone(),
            deliveries: change.deliveries,
            lag_ms: change.lag_ms,
            request_id: change.request_id.clone(),
            sequence_number: change.sequence_number.as_str().to_owned(),
        }
    }
}

/// What a form did, in the address of the page that it redirects to.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    #[serde(default)]
    saved: Option<String>,
    #[serde(default)]
    deleted: Option<String>,
}

/// The page.
pub(crate) async fn page(State(site): State<Arc<Site>>, Query(done): Query<Done>, headers: HeaderMap) -> Response {
    let view = View::of(&site);
    site.frame.respond(&headers, &view, || {
        Page::new("Overview", Section::Overview, content(&view, &done, &site)).live("/live/overview".to_owned())
    })
}

/// Its live parts.
pub(crate) fn parts(site: &Site) -> Vec<Part> {
    live_parts(&View::of(site), site)
}

fn live_parts(view: &View, site: &Site) -> Vec<Part> {
    vec![
        ("alarms", html! { (faults::strip(site)) (site.alarms.strip(&site.activity, view.now)) }),
        ("picture", picture::picture(&view.pipeline)),
        ("figures", parts::figures(view)),
        ("steps", parts::steps(view)),
        ("changes", parts::changes(view)),
        ("notices", parts::notices(view)),
    ]
}

fn content(view: &View, done: &Done, site: &Site) -> Markup {
    let [alarms, picture, figures, steps, changes, notices] = live_parts(view, site).try_into().unwrap_or_default();
    let live = |(id, content): Part| html! { div.live id=(id) { (content) } };
    html! {
        (live(alarms))
        (live(picture))
        (live(figures))
        div.columns {
            section aria-labelledby="change-heading" {
                h2 #change-heading { "Change an item" }
                (message(done))
                (form(view, site))
            }
            section aria-labelledby="steps-heading" {
                h2 #steps-heading { "What to try" }
                (live(steps))
            }
        }
        section aria-labelledby="changes-heading" {
            h2 #changes-heading { "Latest changes, and where each is now" }
            (live(changes))
        }
        section aria-labelledby="notices-heading" {
            h2 #notices-heading { "Notices" }
            (live(notices))
        }
    }
}

fn message(done: &Done) -> Markup {
    html! {
        @if let Some(key) = &done.saved {
            p.message role="status" { b { (Visible(key)) } " is saved. Its change appears below within a second." }
        } @else if let Some(key) = &done.deleted {
            p.message role="status" { b { (Visible(key)) } " is deleted. If it existed, the change appears below." }
        }
    }
}

fn form(view: &View, site: &Site) -> Markup {
    html! {
        form method="post" action="/items" autocomplete="off" {
            input type="hidden" name="token" value=(view.token);
            label { "Key" input name="key" required maxlength="2048" value="CACHE_TTL_SEC"; }
            label { "Attribute" input name="attribute" value="value" maxlength="65535"; }
            label.wide {
                "Value"
                textarea name="value" rows="2" aria-describedby="value-help" { "1800" }
            }
            p.help #value-help { "JSON becomes a number, a list, a map and so on; everything else is text." }
            p.buttons {
                button name="action" value="save" { "Save" }
                button.second name="action" value="delete" { "Delete the item" }
            }
            p.help { "The item is saved in " (site.items.table()) ", as with the AWS CLI. The real function does the rest." }
        }
    }
}

/// A change made by hand.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ChangeForm {
    action: String,
    key: String,
    attribute: String,
    value: String,
}

/// Changes an item.
///
/// # Errors
/// If the form does not have our token, is not valid, or DynamoDB rejects the request.
pub(crate) async fn change(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Sent(form): Sent<ChangeForm>,
) -> Result<Response, Refusal> {
    let (action, result) = match form.action.as_str() {
        "save" => ("saved", site.items.set(&form.key, &form.attribute, &form.value).await),
        "delete" => ("deleted", site.items.delete(&form.key).await),
        _ => return Err(Refusal::Invalid("the action must be save or delete".to_owned())),
    };
    result.map_err(|error| match error {
        ItemError::Refused { .. } => Refusal::Store(error.to_string()),
        _ => Refusal::Invalid(error.to_string()),
    })?;
    let key = percent_encoding::utf8_percent_encode(&form.key, percent_encoding::NON_ALPHANUMERIC);
    Ok(done(&headers, &format!("/?{action}={key}#change-heading"), json!({ action: form.key })))
}

#[cfg(test)]
mod tests;
