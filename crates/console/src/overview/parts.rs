//! The live parts of the overview, except the picture.

use config_audit_cloudwatch::units::{count, duration, thousands};
use maud::{Markup, html};

use super::pipeline::{Health, lag};
use super::{ChangeRow, View};
use crate::activity::{Amounts, MAX_CHANGES, Place};
use crate::address::Address;
use crate::text::{Visible, cut, time};

/// The longest key shown in full, in characters.
const MAX_KEY: usize = 60;

/// Figures, each with its last five minutes.
pub(super) fn figures(view: &View) -> Markup {
    let (minute, five) = (&view.last_minute, &view.last_five_minutes);
    let history = |value: fn(&Amounts) -> f64| view.history.iter().map(value).collect::<Vec<_>>();
    let failed = five.failed;
    let lag_now = view.last_lag_ms.map_or_else(|| "none yet".to_owned(), lag);
    html! {
        div.figures {
            (figure("Changes", &thousands(view.counts.changes), &format!("{} in the last minute", thousands(minute.changes)),
                &history(|amounts| amounts.changes as f64)))
            (figure("Entries written", &thousands(view.counts.entries),
                &format!("{} in the last minute", thousands(minute.entries)), &history(|amounts| amounts.entries as f64)))
            (figure("Lag from change to entry", &lag_now,
                &format!("longest in 5 min: {}", lag(five.longest_lag_ms)), &history(|amounts| amounts.longest_lag_ms)))
            (figure("Failed invocations", &thousands(view.counts.failed_invocations),
                &format!("{} of {} in 5 min", thousands(failed), thousands(five.invocations)),
                &history(|amounts| amounts.failed as f64)))
            (figure("Waiting records", &thousands(view.waiting),
                &format!("{} in 5 min", count(five.retries, "retry", "retries")), &history(|amounts| amounts.retries as f64)))
        }
        @if view.missed_events > 0 {
            p.message { "The console was too slow and missed " (thousands(view.missed_events)) " events, so these numbers are too low." }
        }
    }
}

fn figure(title: &str, value: &str, more: &str, history: &[f64]) -> Markup {
    html! {
        div.figure {
            p.title { (title) }
            p.value { (value) }
            (bars(title, history))
            p.more { (more) }
        }
    }
}

/// Bars for the last five minutes.
fn bars(title: &str, values: &[f64]) -> Markup {
    const HEIGHT: f64 = 22.0;
    let highest = values.iter().copied().fold(0.0, f64::max);
    let bars = (0_u32..).zip(values).filter(|(_, value)| **value > 0.0);
    html! {
        svg.bars viewBox="0 0 240 24" preserveAspectRatio="none" role="img" aria-label=(format!("{title}, the last 5 minutes")) {
            path.base d="M0 23.5H240" {}
            @for (index, value) in bars {
                @let height = (value / highest * HEIGHT).max(1.0);
                rect x=(index * 4) y=(format!("{:.1}", 23.0 - height)) width="3" height=(format!("{height:.1}")) {}
            }
        }
    }
}

/// What to try next, and what has been done already.
pub(super) fn steps(view: &View) -> Markup {
    let happened = |what: &str| view.changes.iter().any(|change| change.what == what && change.place == Place::Audited);
    let mut steps = vec![
        (happened("created"), "Save the item in the form", "An item is created: one entry, with the whole item."),
        (
            happened("changed"),
            "Change its value and save again",
            "One entry for each changed attribute, with the old and the new value.",
        ),
        (happened("deleted"), "Delete the item", "One entry, with the item as it was."),
    ];
    let failed = view.counts.failed_invocations > 0;
    steps.push((
        failed,
        "Break it",
        "Make the table throttle, change an item, and read the trace of the failed invocation.",
    ));
    steps.push((
        failed && view.waiting == 0,
        "Fix it",
        "The waiting records are redelivered, and every change is in the trail.",
    ));
    html! {
        ol.steps {
            @for (is_done, what, why) in &steps {
                li.done[*is_done] {
                    span.mark aria-hidden="true" { @if *is_done { "✓" } @else { "○" } }
                    div {
                        b { (what) } @if *is_done { span.quiet { " (done)" } }
                        p { (why) }
                    }
                }
            }
        }
    }
}

/// The last changes.
pub(super) fn changes(view: &View) -> Markup {
    if view.changes.is_empty() {
        return html! { p.empty { "No changes yet. Save an item with the form above and watch it arrive here." } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Latest changes" { table {
            thead {
                tr { th scope="col" { "Changed" } th scope="col" { "Item" } th scope="col" { "What" }
                     th scope="col" { "Where it is now" } th.number scope="col" { "Lag" } }
            }
            tbody {
                @for change in &view.changes {
                    tr {
                        td { (time(change.created)) }
                        td.key { a href=(Address::new("/trail/item").with("key", &change.item_key)) { (Visible(&cut(&change.item_key, MAX_KEY))) } }
                        td { (what(change)) }
                        td {
                            (place(&change.place, change.deliveries))
                            @if change.entries > 0 { span.quiet { " · " (count(change.entries, "entry", "entries")) } }
                            @if let Some(request_id) = &change.request_id {
                                " " a.quiet href=(Address::below("/invocations", request_id)) { "invocation" }
                            }
                        }
                        td.number { @if let Some(milliseconds) = change.lag_ms { (lag(milliseconds)) } }
                    }
                }
            }
        } }
        @if view.dropped_changes > 0 {
            p.quiet { "The console keeps the last " (thousands(MAX_CHANGES)) " changes; "
                (thousands(view.dropped_changes)) " older ones were dropped here. The Audit table has them all." }
        }
    }
}

fn what(change: &ChangeRow) -> Markup {
    html! {
        (change.what)
        @if let Some(attribute) = &change.attribute { " " (Visible(&cut(attribute, MAX_KEY))) }
        @if change.entries > 1 { span.quiet { " and " (change.entries - 1) " more" } }
    }
}

/// Where a change is now.
pub(crate) fn place(place: &Place, deliveries: usize) -> Markup {
    let (health, state, reason) = match place {
        Place::InStream => (Health::Busy, "in the stream".to_owned(), None),
        Place::InFunction => (Health::Busy, "in the function".to_owned(), None),
        Place::Failed { reason } => (Health::Bad, "failed".to_owned(), Some(reason)),
        Place::AwaitingRetry { retry, reason, .. } => {
            (Health::Waiting, format!("waiting for retry {retry}"), Some(reason))
        }
        Place::Audited => (Health::Good, "in the trail".to_owned(), None),
        Place::Unchanged => (Health::Good, "no attribute changed, so no entry".to_owned(), None),
        Place::Quarantined { reason } => (Health::Waiting, "in the failure bucket".to_owned(), Some(reason)),
        Place::GivenUp { condition } => {
            (Health::Bad, "given up by Lambda, in the failure bucket".to_owned(), Some(condition))
        }
        Place::Done => (Health::Good, "done".to_owned(), None),
    };
    html! {
        span class=(format!("badge {}", health.class())) { span aria-hidden="true" { (health.sign()) " " } (state) }
        @if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            span.quiet { " " (Visible(&cut(reason, 160))) }
        }
        @if deliveries > 1 { span.quiet { " · delivered " (deliveries) " times" } }
    }
}

/// What an operator should know.
pub(super) fn notices(view: &View) -> Markup {
    if view.notices.is_empty() {
        return html! {
            p.empty { "Nothing has gone wrong in the last " (duration((view.now - view.since).num_minutes().max(1) as f64 * 60_000.0)) "." }
        };
    }
    html! {
        ul.notices {
            @for notice in &view.notices {
                @let health = if notice.is_good { Health::Good } else { Health::Bad };
                li {
                    (time(notice.at)) " "
                    span class=(format!("badge {}", health.class())) { (health.sign()) }
                    " " (Visible(&cut(&notice.text, 400)))
                }
            }
        }
    }
}
