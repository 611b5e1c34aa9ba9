//! Break it: switches that break the running world, each with what you will see, and when.

mod load;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use config_audit_local::Faults;
use config_audit_local::faults::{FunctionFault, TableFault};
use futures_util::Stream;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::alarms;
use crate::items::{ItemError, Tampering};
use crate::layout::{Page, Section};
use crate::live;
use crate::site::{Refusal, Site, done};
use crate::token::{Nothing, Sent};

pub(crate) use load::Load;

/// A switch.
struct Switch {
    /// Its value in the form.
    name: &'static str,
    label: &'static str,
    /// What you will see.
    effect: &'static str,
    /// The alarm that fires. Its runbook says when.
    alarm: &'static str,
    is_of_table: bool,
    is_on: fn(&Faults) -> bool,
    set: fn(&mut Faults, bool),
}

/// Turns on one fault of a part, which turns off the part's other faults; or turns it off.
fn choose<T: PartialEq>(place: &mut Option<T>, fault: T, on: bool) {
    if on {
        *place = Some(fault);
    } else if *place == Some(fault) {
        *place = None;
    }
}

const SWITCHES: &[Switch] = &[
    Switch {
        name: "tableThrottles",
        label: "The Audit table throttles",
        effect: "The function retries until its 30 seconds are nearly used up. Then it reports the records as \
                 failed, and Lambda redelivers them with growing delays.",
        alarm: "RecordsFailing",
        is_of_table: true,
        is_on: |faults| faults.table == Some(TableFault::Throttles),
        set: |faults, on| choose(&mut faults.table, TableFault::Throttles, on),
    },
    Switch {
        name: "tableFails",
        label: "The Audit table answers with errors",
        effect: "The same as throttling, with InternalServerError as the reason.",
        alarm: "RecordsFailing",
        is_of_table: true,
        is_on: |faults| faults.table == Some(TableFault::Fails),
        set: |faults, on| choose(&mut faults.table, TableFault::Fails, on),
    },
    Switch {
        name: "tableSlow",
        label: "The Audit table is slow",
        effect: "Each write takes two seconds. Nothing fails, but invocations take longer and the lag grows.",
        alarm: "WriteLatencyHigh",
        is_of_table: true,
        is_on: |faults| faults.table == Some(TableFault::Slow),
        set: |faults, on| choose(&mut faults.table, TableFault::Slow, on),
    },
    Switch {
        name: "tableSilent",
        label: "The Audit table does not answer",
        effect: "Writes time out after five seconds and are retried until the invocation's time is nearly \
                 used up. Then the records are reported as failed.",
        alarm: "RecordsFailing",
        is_of_table: true,
        is_on: |faults| faults.table == Some(TableFault::Silent),
        set: |faults, on| choose(&mut faults.table, TableFault::Silent, on),
    },
    Switch {
        name: "tableLosesAnswers",
        label: "The Audit table's responses get lost",
        effect: "The entries are stored, but the function cannot know that. It reports the records as failed, \
                 and writes the same entries again once responses arrive. The trail has no duplicates.",
        alarm: "RecordsFailing",
        is_of_table: true,
        is_on: |faults| faults.table == Some(TableFault::LosesAnswers),
        set: |faults, on| choose(&mut faults.table, TableFault::LosesAnswers, on),
    },
    Switch {
        name: "functionCrashes",
        label: "The function crashes",
        effect: "Its process is killed in each invocation, so no trace and no wide line arrive. The alarm \
                 pages through Incident.",
        alarm: "InvocationErrors",
        is_of_table: false,
        is_on: |faults| faults.function == Some(FunctionFault::Crashes),
        set: |faults, on| choose(&mut faults.function, FunctionFault::Crashes, on),
    },
    Switch {
        name: "functionHangs",
        label: "The function hangs",
        effect: "Its process stops responding and is killed at its timeout of 30 seconds. The rest is the \
                 same as for a crash.",
        alarm: "InvocationErrors",
        is_of_table: false,
        is_on: |faults| faults.function == Some(FunctionFault::Hangs),
        set: |faults, on| choose(&mut faults.function, FunctionFault::Hangs, on),
    },
    Switch {
        name: "mappingDisabled",
        label: "The event source mapping is disabled",
        effect: "Changes stay in the stream and the function is not invoked. Nothing fails, so only an alarm \
                 on missing data notices, if the table was written to within a day.",
        alarm: "MappingStopped",
        is_of_table: false,
        is_on: |faults| faults.mapping_disabled,
        set: |faults, on| faults.mapping_disabled = on,
    },
    Switch {
        name: "recordsDamaged",
        label: "Records arrive damaged",
        effect: "The function cannot audit a record with an unknown event name, so it puts the record into \
                 the failure bucket at once and continues.",
        alarm: "RecordsQuarantined",
        is_of_table: false,
        is_on: |faults| faults.records_damaged,
        set: |faults, on| faults.records_damaged = on,
    },
    Switch {
        name: "bucketRefuses",
        label: "The failure bucket rejects objects",
        effect: "Combine it with damaged records: a record that cannot be quarantined is reported as failed, \
                 and blocks all records behind it.",
        alarm: "RecordsFailing",
        is_of_table: false,
        is_on: |faults| faults.bucket_refuses,
        set: |faults, on| faults.bucket_refuses = on,
    },
];

/// What the page shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    faults: Faults,
    changes_per_second: u32,
    token: String,
}

impl View {
    fn of(site: &Site) -> Self {
        Self {
            faults: site.breaker.faults(),
            changes_per_second: site.load.rate(),
            token: site.token.as_str().to_owned(),
        }
    }
}

/// The page.
pub(crate) async fn page(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let view = View::of(&site);
    site.frame.respond(&headers, &view, || {
        let content = html! {
            p.help { "Break a part of the running world, and watch what the function, its telemetry and the alarms make of it. Nothing
                outside this machine is touched. A broken part stays broken until you fix it." }
            div.live #broken { (switches(&site)) }
            (forms(&site))
        };
        Page::new("Break it", Section::BreakIt, content).live("/live/break".to_owned())
    })
}

/// The live parts of the page.
pub(crate) async fn live(State(site): State<Arc<Site>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    live::stream(site.activity.revision(), move || vec![("broken", switches(&site)), ("load-state", load_state(&site))])
}

/// What is broken, for the overview; empty if nothing is.
pub(crate) fn strip(site: &Site) -> Markup {
    let faults = site.breaker.faults();
    let broken: Vec<&str> =
        SWITCHES.iter().filter(|switch| (switch.is_on)(&faults)).map(|switch| switch.label).collect();
    html! {
        @if !broken.is_empty() {
            p.message { "Deliberately broken: " (broken.join("; ")) ". " a href="/break" { "Fix it" } }
        }
    }
}

/// The switches with their states.
fn switches(site: &Site) -> Markup {
    let View { faults, token, .. } = View::of(site);
    let switches = SWITCHES.iter().filter(|switch| !switch.is_of_table || site.can_break_table);
    html! {
        @if faults != Faults::default() {
            form.plain method="post" action="/break" {
                input type="hidden" name="token" value=(token);
                input type="hidden" name="fault" value="none";
                button #fix-everything { "Fix everything" }
            }
        } @else { p.quiet { "Nothing is broken." } }
        ul.switches {
            @for switch in switches {
                @let is_on = (switch.is_on)(&faults);
                li {
                    form.plain method="post" action="/break" {
                        input type="hidden" name="token" value=(token);
                        input type="hidden" name="fault" value=(switch.name);
                        input type="hidden" name="on" value=(!is_on);
                        button.second[!is_on] aria-pressed=(is_on) id=(switch.name) {
                            @if is_on { "Fix: " } @else { "Break: " } (switch.label)
                        }
                        @if is_on { span.badge.bad { span aria-hidden="true" { "! " } "broken" } }
                    }
                    p.help { (switch.effect) " " (alarms::promise(switch.alarm)) }
                }
            }
        }
    }
}

/// How fast the load is, which changes on its own when it ends.
fn load_state(site: &Site) -> Markup {
    let rate = site.load.rate();
    html! { @if rate > 0 { span.badge.busy { (rate) " changes per second" } } }
}

/// The forms that have no state. They are not live: what somebody types into them must stay.
fn forms(site: &Site) -> Markup {
    let View { changes_per_second, token, .. } = View::of(site);
    html! {
        h2 { "Load" }
        form.plain method="post" action="/break/load" {
            input type="hidden" name="token" value=(token);
            label { "Changes per second"
                input #rate name="rate" type="number" min="0" max=(load::MAX_RATE) value=(changes_per_second) required; }
            button #set-load { "Set" }
            span.live #load-state { (load_state(site)) }
        }
        p.help { "Changes items named LOAD-0 to LOAD-99 at this rate, for ten minutes at most; 0 stops it. The lag on the overview shows
            whether the function keeps up." }
        h2 { "A value that is too large" }
        form.plain method="post" action="/break/oversized" {
            input type="hidden" name="token" value=(token);
            button.second #save-oversized { "Save an item of 390 KB, twice" }
        }
        p.help { "Its second change has an old and a new value that together exceed DynamoDB's 400 KB for an item: the entry has a note in
            place of each value, and the full record is in the failure bucket. Nothing fails." }
        h2 { "Somebody touches the trail" }
        form.plain method="post" action="/break/tamper" {
            input type="hidden" name="token" value=(token);
            button.second #alter-entry name="act" value="alter" { "Alter the newest entry" }
            button.second #delete-entry name="act" value="delete" { "Delete the newest entry" }
        }
        p.help { "The witness reports it within seconds, and stores the entry as it was in the failure bucket. "
            (alarms::promise("TrailTampered")) }
    }
}

/// The form that tampers with an entry.
#[derive(Debug, Deserialize)]
pub(crate) struct TamperForm {
    act: Tampering,
}

/// Tampers with an entry.
///
/// # Errors
/// If the form does not have our token, there is no entry, or DynamoDB rejects a request.
pub(crate) async fn tamper(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Sent(form): Sent<TamperForm>,
) -> Result<Response, Refusal> {
    let newest = site.activity.entries().newest();
    let newest =
        newest.ok_or_else(|| Refusal::Invalid("the trail has no entry yet; change an item first".to_owned()))?;
    site.items.tamper(form.act, &newest).await.map_err(|error| Refusal::Store(error.to_string()))?;
    Ok(answer(&site, &headers))
}

/// The form of a switch.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SwitchForm {
    fault: String,
    on: bool,
}

/// Flips a switch.
///
/// # Errors
/// If the form does not have our token, or there is no such switch.
pub(crate) async fn set(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Sent(form): Sent<SwitchForm>,
) -> Result<Response, Refusal> {
    if form.fault == "none" {
        site.breaker.update(|faults| *faults = Faults::default());
    } else {
        let switch =
            SWITCHES.iter().find(|switch| switch.name == form.fault && (!switch.is_of_table || site.can_break_table));
        let switch = switch.ok_or_else(|| {
            let names: Vec<&str> = SWITCHES.iter().map(|switch| switch.name).collect();
            Refusal::Invalid(format!("there is no such fault; the faults are none, {}", names.join(", ")))
        })?;
        site.breaker.update(|faults| (switch.set)(faults, form.on));
    }
    Ok(answer(&site, &headers))
}

/// The form of the load.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoadForm {
    rate: u32,
}

/// Sets the load.
///
/// # Errors
/// If the form does not have our token, or the rate is too high.
pub(crate) async fn set_load(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Sent(form): Sent<LoadForm>,
) -> Result<Response, Refusal> {
    if form.rate > load::MAX_RATE {
        return Err(Refusal::Invalid(format!("the rate must be at most {} changes per second", load::MAX_RATE)));
    }
    site.load.set(form.rate, &site.items);
    Ok(answer(&site, &headers))
}

/// Saves a large item, twice.
///
/// # Errors
/// If the form does not have our token, or DynamoDB rejects the request.
pub(crate) async fn oversized(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    _: Sent<Nothing>,
) -> Result<Response, Refusal> {
    for letter in ["a", "b"] {
        let saved = site.items.set("LARGE", "value", &letter.repeat(390_000)).await;
        saved.map_err(|error: ItemError| Refusal::Store(error.to_string()))?;
    }
    Ok(answer(&site, &headers))
}

fn answer(site: &Site, headers: &HeaderMap) -> Response {
    done(headers, "/break", View::of(site))
}

#[cfg(test)]
mod tests;
