//! Practise an incident: any fault of the catalog, played by the simulator through a day in a second.
//!
//! `incident` plays it, and knows what is seen at any time; `page` shows it. In the quiz, the fault's name is hidden.

mod incident;
mod page;

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use config_audit_cloudwatch::alarms::State;
use config_audit_faults::Loss;
use config_audit_faults::trial::Rate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dashboards::{self, Data, Values, values};
use crate::layout::{Page, Section};
use crate::site::{Refusal, Site, wants_json};

pub(crate) use incident::Incidents;
use incident::{Choice, FAULTS, Fault, Incident, IncidentEvent, value};

/// When somebody may remove the cause, in minutes after the fault began.
const DELAYS: [u32; 4] = [15, 60, 240, 720];
/// How many minutes after being notified somebody looks.
const LOOKS_AFTER: i64 = 5;

/// What to show of an incident.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Asked {
    /// Minutes after the fault began.
    at: Option<i64>,
    rate: Option<Rate>,
    ended_after: Option<u32>,
    dashboard: Option<String>,
    /// In the quiz: the chosen runbook.
    answer: Option<String>,
}

/// An incident at a time.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    /// The fault; `None` in the quiz until it is found.
    fault: Option<&'static str>,
    at: DateTime<Utc>,
    /// Minutes after the fault began.
    minute: i64,
    alarms: Vec<Alarm>,
    pages: Vec<DateTime<Utc>>,
    /// What is lost until then; `None` in the quiz as long as the fault is hidden, and so are the next two.
    loss: Option<Loss>,
    /// What is lost in the end if nobody reacts.
    loss_if_nobody_reacts: Option<Loss>,
    /// What is lost in the end, if somebody removes the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_in_the_end: Option<Loss>,
    events: Vec<IncidentEvent>,
    dashboard: &'static str,
    widgets: Vec<Values>,
}

/// An alarm that is in ALARM and notifies.
#[derive(Debug, Serialize)]
struct Alarm {
    id: String,
    pages: bool,
    runbook: Option<&'static str>,
}

/// The quiz's verdict on an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// Nobody has answered.
    Open,
    /// The runbook is one of those that the fault's alarms link to.
    Right,
    /// It is not.
    Wrong,
    /// It is that of an alarm that pages for several faults, and leads to the others.
    TooGeneral,
    /// The answer was asked for.
    GivenUp,
}

/// The value of an answer that asks for the solution.
const GIVE_UP: &str = "show";

/// The list of faults.
pub(crate) async fn index(Shared(site): Shared<Arc<Site>>, headers: HeaderMap) -> Response {
    site.frame
        .respond(&headers, &*FAULTS, || Page::new("Practise an incident", Section::Practice, page::index(&FAULTS)))
}

/// An incident whose fault is known.
///
/// # Errors
/// If there is no such fault or dashboard, or it cannot end as asked.
pub(crate) async fn fault(
    Shared(site): Shared<Arc<Site>>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let is_named = |fault: &Fault| fault.address.rsplit('/').next() == Some(&name);
    let number = FAULTS.iter().position(is_named).ok_or(Refusal::NotFound)?;
    let address = FAULTS[number].address.clone();
    respond(&site, number, address, &asked, None, &headers).await
}

/// A random incident whose fault is hidden.
pub(crate) async fn any() -> Redirect {
    // A random UUID is at hand; its remainder is random enough for a quiz.
    let number = Uuid::new_v4().as_u128() % FAULTS.len() as u128;
    Redirect::to(&format!("/practice/quiz/{number}"))
}

/// An incident whose fault is hidden.
///
/// # Errors
/// If there is no such question or dashboard.
pub(crate) async fn quiz(
    Shared(site): Shared<Arc<Site>>,
    Path(number): Path<usize>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if number >= FAULTS.len() {
        return Err(Refusal::NotFound);
    }
    let asked = Asked { rate: None, ended_after: None, ..asked };
    let incident = play(&site, Choice { number, rate: Rate::Usual, ended_after: None }).await?;
    let judgement = match asked.answer.as_deref() {
        None | Some("") => Judgement::Open,
        Some(GIVE_UP) => Judgement::GivenUp,
        Some(answer) if incident.expected().any(|alarm| alarm.runbook == Some(answer)) => Judgement::Right,
        Some(answer) if incident.alarms.iter().any(|alarm| alarm.pages && alarm.runbook == Some(answer)) => {
            Judgement::TooGeneral
        }
        Some(_) => Judgement::Wrong,
    };
    let address = format!("/practice/quiz/{number}");
    respond(&site, number, address, &asked, Some(judgement), &headers).await
}

async fn play(site: &Site, choice: Choice) -> Result<Arc<Incident>, Refusal> {
    let played = site.incidents.get(choice).await.map_err(|error| Refusal::Failed(error.to_string()))?;
    played.ok_or_else(|| Refusal::Invalid("this fault has ended by then, or the simulator cannot end it".to_owned()))
}

async fn respond(
    site: &Site,
    number: usize,
    address: String,
    asked: &Asked,
    judgement: Option<Judgement>,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    if asked.ended_after.is_some_and(|minutes| !DELAYS.contains(&minutes)) {
        let known: Vec<String> = DELAYS.iter().map(ToString::to_string).collect();
        return Err(Refusal::Invalid(format!("endedAfter is not one of {}", known.join(", "))));
    }
    let rate = asked.rate.unwrap_or(Rate::Usual);
    let unattended = play(site, Choice { number, rate, ended_after: None }).await?;
    let incident = match asked.ended_after {
        None => Arc::clone(&unattended),
        ended_after => play(site, Choice { number, rate, ended_after }).await?,
    };
    let name = asked.dashboard.as_deref().unwrap_or(dashboards::BUNDLED[0].0);
    let (name, dashboard) = dashboards::bundled(name, &value)?;
    let looks = || incident.first_notified_minute().map_or(60, |minute| minute + LOOKS_AFTER);
    let minute = asked.at.unwrap_or_else(looks).clamp(incident.first_minute(), incident.last_minute());
    let now = incident.time_of(minute);
    let states = incident.states(now);
    let on = states.iter().filter(|(alarm, state)| *state == State::Alarm && alarm.notifies);
    let data = Data {
        now,
        first: incident.time_of(incident.first_minute()),
        metrics: &incident.playback.metrics,
        alarms: &states.iter().map(|(alarm, state)| (alarm.name.clone(), *state)).collect::<Vec<_>>(),
        left_out: &incident.left_out,
        // The simulated log is not kept.
        log: None,
    };
    let is_hidden = matches!(judgement, Some(Judgement::Open | Judgement::Wrong | Judgement::TooGeneral));
    let mut events = incident.events.clone();
    if is_hidden {
        events.retain(|it| it.at <= now && it.kind.is_visible_to_operator());
    }
    let view = View {
        fault: (!is_hidden).then_some(incident.case.name),
        at: now,
        minute,
        alarms: on
            .map(|(alarm, _)| Alarm { id: alarm.id.clone(), pages: alarm.pages, runbook: alarm.runbook })
            .collect(),
        pages: incident.pages_until(now),
        loss: (!is_hidden).then(|| incident.loss_at(now)),
        loss_if_nobody_reacts: (!is_hidden).then(|| unattended.playback.loss()),
        loss_in_the_end: asked.ended_after.map(|_| incident.playback.loss()),
        events,
        dashboard: name,
        widgets: values(&dashboard, &data),
    };
    if wants_json(headers) {
        return Ok(axum::Json(view).into_response());
    }
    let shown = page::Shown { incident: &incident, view: &view, asked, address, judgement };
    let content = page::incident(&shown, &dashboard).map_err(|error| Refusal::Failed(error.to_string()))?;
    let title = view.fault.map_or_else(|| "What is wrong?".to_owned(), |fault| format!("Incident: {fault}"));
    Ok(site.frame.render(&Page::new(title, Section::Practice, content)).into_response())
}

#[cfg(test)]
mod tests;
