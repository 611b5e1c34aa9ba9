//! The bundled alarms, evaluated by CloudWatch's rules on the local world's metrics.

pub(crate) mod bundled;
mod chart;
mod runbook;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State as Shared};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use chrono::{DateTime, Utc};
use config_audit::clock::Clock;
use config_audit_cloudwatch::alarms::{
    Alarm, Alarms as Definitions, AlarmsError, Comparison, Kind, MetricAlarm, State, runbook_name,
};
use config_audit_cloudwatch::units::{count, number};
use futures_util::Stream;
use maud::{Markup, html};
use serde::Serialize;

use crate::activity::Activity;
use crate::address::Address;
use crate::layout::{Page, Section};
use crate::live;
use crate::site::{Refusal, Site};
use crate::text::time;

pub(crate) use bundled::value as name_in_world;
pub(crate) use runbook::{page as runbook, render as render_runbook};

/// How often to check whether a minute has passed.
const PAUSE: Duration = Duration::from_secs(15);
/// How many of an alarm's newest state changes are kept.
const MAX_TIMELINE: usize = 100;
/// The number of periods in a chart.
const CHARTED: u16 = 30;

/// The bundled alarms, evaluated.
#[derive(Debug)]
pub(crate) struct Alarms {
    definitions: Definitions,
    evaluated: Mutex<Arc<Evaluated>>,
}

/// The states of the alarms as of a minute.
#[derive(Debug, Clone, Default)]
struct Evaluated {
    /// Counted from 1970; 0 before the first evaluation.
    minute: i64,
    /// In the order of the definitions.
    alarms: Vec<Watched>,
    /// The time before which metrics are missing because there were too many.
    missing_before: Option<DateTime<Utc>>,
}

/// An alarm and how its state has changed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Watched {
    id: String,
    #[serde(serialize_with = "state_name")]
    state: State,
    /// `None` if the state has never changed.
    since: Option<DateTime<Utc>>,
    /// Whether it pages on its own.
    pages: bool,
    /// Whether it notifies on its own.
    notifies: bool,
    /// The alarm that watches it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    runbook: Option<&'static str>,
    /// The changes, oldest first.
    timeline: Vec<Change>,
}

/// The alarm that watches another one.
#[derive(Debug, Clone, Serialize)]
struct Parent {
    id: String,
    pages: bool,
}

/// A change of an alarm's state.
#[derive(Debug, Clone, Copy, Serialize)]
struct Change {
    at: DateTime<Utc>,
    #[serde(serialize_with = "state_name")]
    to: State,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn state_name<S: serde::Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(state)
}

impl Watched {
    /// An alarm that has not been evaluated.
    fn of(alarm: &Alarm, definitions: &Definitions) -> Self {
        let parent = bundled::watcher(definitions, alarm);
        Self {
            id: alarm.id.clone(),
            state: State::InsufficientData,
            since: None,
            pages: bundled::pages(alarm),
            notifies: bundled::notifies(alarm),
            parent: parent.map(|other| Parent { id: other.id.clone(), pages: bundled::pages(other) }),
            runbook: bundled::runbook_of(alarm),
            timeline: Vec::new(),
        }
    }

    fn change(&mut self, change: Change) {
        (self.state, self.since) = (change.to, Some(change.at));
        self.timeline.push(change);
        let dropped = self.timeline.len().saturating_sub(MAX_TIMELINE);
        self.timeline.drain(..dropped);
    }

    /// Whether it means that something is wrong. An alarm that is part of another one's rule may be in ALARM on a
    /// healthy day.
    fn is_on(&self) -> bool {
        self.state == State::Alarm && self.notifies
    }

    /// Its state. A part of another alarm's rule is not in the colour of what is wrong.
    fn badge(&self) -> Markup {
        if self.state == State::Alarm && !self.notifies {
            return html! { span.badge.idle { span aria-hidden="true" { "• " } "condition holds" } };
        }
        badge(self.state)
    }

    /// Whom it notifies.
    fn reach(&self) -> Markup {
        let through = |verb: &str, other: &Parent| {
            html! { (verb) " " a href=(Address::below("/alarms", &other.id)) { (other.id) } }
        };
        match &self.parent {
            _ if self.pages => html! { b { "pages" } },
            Some(other) if self.notifies && other.pages => through("notifies; pages through", other),
            Some(other) if !self.notifies => through("is part of", other),
            _ => html! { "notifies" },
        }
    }
}

impl Alarms {
    /// The deployed alarms.
    ///
    /// # Errors
    /// If a bundled file is not valid.
    pub(crate) fn bundled() -> Result<Self, AlarmsError> {
        Ok(Self { definitions: bundled::alarms()?, evaluated: Mutex::default() })
    }

    /// Evaluates every minute, even if nobody opens the page.
    pub(crate) async fn follow(self: Arc<Self>, activity: Arc<Activity>) {
        loop {
            self.at(&activity, Clock::System.now());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The current states. Like CloudWatch, this evaluates once a minute.
    fn at(&self, activity: &Activity, now: DateTime<Utc>) -> Arc<Evaluated> {
        let minute = now.timestamp().div_euclid(60);
        let mut evaluated = self.evaluated.lock().unwrap_or_else(PoisonError::into_inner);
        if evaluated.minute < minute {
            *evaluated = Arc::new(self.advance(&evaluated, activity, minute));
        }
        Arc::clone(&evaluated)
    }

    /// Continues from the last evaluation, because the metrics of earlier minutes may have been dropped.
    fn advance(&self, former: &Evaluated, activity: &Activity, minute: i64) -> Evaluated {
        let definitions = self.definitions.all();
        let time = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap_or_default();
        let mut alarms = former.alarms.clone();
        if alarms.is_empty() {
            alarms.extend(definitions.iter().map(|alarm| Watched::of(alarm, &self.definitions)));
        }
        let mut states: Vec<State> = alarms.iter().map(|alarm| alarm.state).collect();
        let (transitions, missing_before) = activity.read(|known| {
            let from = if former.minute == 0 { known.since } else { time(former.minute + 1) };
            let missing_before = known.metrics.missing_before(time(minute));
            (self.definitions.advance(&mut states, known.metrics.metrics(), from, time(minute)), missing_before)
        });
        for transition in transitions {
            let position = definitions.iter().position(|alarm| alarm.name == transition.alarm);
            if let Some(alarm) = position.and_then(|position| alarms.get_mut(position)) {
                alarm.change(Change { at: transition.at, to: transition.to });
            }
        }
        Evaluated { minute, alarms, missing_before }
    }

    /// The alarms' names and states.
    pub(crate) fn states(&self, activity: &Activity, now: DateTime<Utc>) -> Vec<(String, State)> {
        let names = self.definitions.all().iter().map(|alarm| alarm.name.clone());
        names.zip(self.at(activity, now).alarms.iter().map(|alarm| alarm.state)).collect()
    }

    /// How many alarms are in ALARM.
    pub(crate) fn on(&self, activity: &Activity, now: DateTime<Utc>) -> usize {
        self.at(activity, now).alarms.iter().filter(|alarm| alarm.is_on()).count()
    }

    /// The alarms that are in ALARM, for the overview.
    pub(crate) fn strip(&self, activity: &Activity, now: DateTime<Utc>) -> Markup {
        let evaluated = self.at(activity, now);
        let on: Vec<&Watched> = evaluated.alarms.iter().filter(|alarm| alarm.is_on()).collect();
        html! {
            @if on.is_empty() {
                p.quiet { "No alarm that notifies is in ALARM. " a href="/alarms" { "All alarms" } }
            } @else {
                p { (count(on.len(), "alarm is in ALARM", "alarms are in ALARM")) ": "
                    @for alarm in on {
                        a.badge.bad href=(Address::below("/alarms", &alarm.id)) { span aria-hidden="true" { "! " } (alarm.id) } " "
                    }
                }
            }
        }
    }
}

/// How soon an alarm fires and where to read more, as its runbook says.
pub(crate) fn promise(alarm: &str) -> Markup {
    html! {
        a href=(Address::below("/alarms", alarm)) { (alarm) } " fires"
        @if let Some(promise) = bundled::promise(alarm) {
            " within " (count(usize::try_from(promise.usual).unwrap_or_default(), "minute", "minutes"))
        }
        ". " a href=(Address::below("/runbooks", &runbook_name(alarm))) { "Runbook" }
    }
}

fn badge(state: State) -> Markup {
    let (class, sign, text) = match state {
        State::Ok => ("good", "✓", "OK"),
        State::Alarm => ("bad", "!", "in alarm"),
        State::InsufficientData => ("idle", "?", "insufficient data"),
    };
    html! { span class=(format!("badge {class}")) { span aria-hidden="true" { (sign) " " } (text) } }
}

/// The list.
pub(crate) async fn page(Shared(site): Shared<Arc<Site>>, headers: HeaderMap) -> Response {
    let evaluated = site.alarms.at(&site.activity, Clock::System.now());
    site.frame.respond(&headers, &evaluated.alarms, || {
        let content = html! {
            p.help { "The alarms of the folder alarms/, evaluated once a minute by CloudWatch's rules on the metrics of this world. An
                alarm takes as long here as it does on an account: minutes, and some of them hours." }
            div.live #alarms { (list(&evaluated)) }
        };
        Page::new("Alarms", Section::Alarms, content).live("/live/alarms".to_owned())
    })
}

/// The live part of the list.
pub(crate) async fn live(Shared(site): Shared<Arc<Site>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    live::stream(site.activity.revision(), move || {
        vec![("alarms", list(&site.alarms.at(&site.activity, Clock::System.now())))]
    })
}

fn list(evaluated: &Evaluated) -> Markup {
    let mut alarms: Vec<&Watched> = evaluated.alarms.iter().collect();
    // Alarms in ALARM come first; among those, the ones that page.
    alarms.sort_by_key(|alarm| (!alarm.is_on(), !alarm.pages, !alarm.notifies, alarm.id.as_str()));
    html! {
        @if let Some(before) = evaluated.missing_before {
            p.message { "The world made more metrics than the console keeps: those from before " (time(before)) " UTC are gone. An alarm
                that looks back further sees only what is left." }
        }
        div.scroll tabindex="0" role="region" aria-label="Alarms" {
            table {
                thead { tr { th scope="col" { "Alarm" } th scope="col" { "State" } th scope="col" { "Since" } th scope="col" { "Notifies" }
                             th scope="col" { "Runbook" } } }
                tbody {
                    @for alarm in alarms {
                        tr {
                            th scope="row" { a href=(Address::below("/alarms", &alarm.id)) { (alarm.id) } }
                            td { (alarm.badge()) }
                            td { @match alarm.since { Some(since) => (time(since)), None => "the start" } }
                            td { (alarm.reach()) }
                            td { @if let Some(name) = alarm.runbook { a href=(Address::below("/runbooks", name)) { (name) } } }
                        }
                    }
                }
            }
        }
    }
}

/// What the page of an alarm shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    #[serde(flatten)]
    alarm: Watched,
    /// When it goes into ALARM, in words.
    rule: String,
    threshold: Option<f64>,
    points: Vec<Point>,
    /// The alarms that it watches.
    watches: Vec<Watched>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Point {
    at: DateTime<Utc>,
    value: Option<f64>,
}

/// The page of an alarm.
///
/// # Errors
/// When there is no such alarm.
pub(crate) async fn detail(
    Shared(site): Shared<Arc<Site>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let now = Clock::System.now();
    let definition = site.alarms.definitions.all().iter().find(|alarm| alarm.id == id).ok_or(Refusal::NotFound)?;
    let evaluated = site.alarms.at(&site.activity, now);
    let find = |name: &str| {
        let position = site.alarms.definitions.all().iter().position(|alarm| alarm.name == name)?;
        evaluated.alarms.get(position).cloned()
    };
    let alarm = find(&definition.name).ok_or(Refusal::NotFound)?;
    let points = match &definition.kind {
        Kind::Metric(alarm) => site.activity.read(|known| alarm.datapoints(known.metrics.metrics(), now, CHARTED)),
        Kind::Composite(_) => Vec::new(),
    };
    let view = View {
        alarm,
        rule: rule(&definition.kind),
        threshold: if let Kind::Metric(alarm) = &definition.kind { Some(alarm.rule.threshold) } else { None },
        points: points.into_iter().map(|(at, value)| Point { at, value }).collect(),
        watches: bundled::watched(definition).into_iter().filter_map(find).collect(),
    };
    Ok(site.frame.respond(&headers, &view, || Page::new(id, Section::Alarms, content(&view))))
}

/// When an alarm goes into ALARM, in words.
fn rule(kind: &Kind) -> String {
    match kind {
        Kind::Metric(alarm) => {
            let MetricAlarm { period_minutes, rule, .. } = &**alarm;
            let comparison = match rule.comparison {
                Comparison::GreaterThan => "above",
                Comparison::GreaterThanOrEqualTo => "at or above",
                Comparison::LessThan => "below",
                Comparison::LessThanOrEqualTo => "at or below",
            };
            format!(
                "Goes into ALARM when {} of {} are {comparison} {}, each of {}.",
                rule.datapoints_to_alarm,
                count(rule.evaluation_periods, "period", "periods"),
                number(rule.threshold),
                count(*period_minutes as usize, "minute", "minutes"),
            )
        }
        Kind::Composite(_) => "Goes into ALARM depending on the states of other alarms.".to_owned(),
    }
}

fn content(view: &View) -> Markup {
    let alarm = &view.alarm;
    let points: Vec<_> = view.points.iter().map(|point| (point.at, point.value)).collect();
    html! {
        p.verdict { (alarm.badge()) @if let Some(since) = alarm.since { " since " (time(since)) " UTC" } @else { " since the start" } }
        p { (view.rule) " It " (alarm.reach()) "." }
        div.columns.even {
            div {
                section aria-labelledby="points-heading" {
                    h2 #points-heading { "What it watches" }
                    @if let Some(threshold) = view.threshold { (chart::chart(&points, threshold)) }
                    @if !view.watches.is_empty() {
                        ul.notices {
                            @for other in &view.watches { li { (other.badge()) " " a href=(Address::below("/alarms", &other.id)) { (other.id) } } }
                        }
                    }
                }
                section aria-labelledby="timeline-heading" {
                    h2 #timeline-heading { "Timeline" }
                    @if alarm.timeline.is_empty() { p.quiet { "Its state has not changed since the console was started." } }
                    @else {
                        ol.notices { @for change in alarm.timeline.iter().rev() { li { (time(change.at)) " " (badge(change.to)) } } }
                    }
                }
            }
            section aria-labelledby="runbook-heading" {
                h2 #runbook-heading { "Runbook" }
                @match alarm.runbook.and_then(bundled::runbook) {
                    Some(text) => (runbook::render(text)),
                    None => p.empty { "This alarm has no runbook." },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
