//! The pages of incidents.

use chrono::{DateTime, Utc};
use config_audit_cloudwatch::alarms::runbook_name;
use config_audit_cloudwatch::dashboard::Dashboard;
use config_audit_cloudwatch::units::count;
use config_audit_faults::trial::Rate;
use maud::{Markup, html};

use super::incident::{EventKind, Fault, Incident, IncidentEvent};
use super::{Asked, DELAYS, GIVE_UP, Judgement, View};
use crate::address::Address;
use crate::alarms::{self, bundled};
use crate::dashboards::{self, ChartError, Links, Mark, draw};

/// What a page shows.
pub(super) struct Shown<'a> {
    pub(super) incident: &'a Incident,
    pub(super) view: &'a View,
    pub(super) asked: &'a Asked,
    /// The address of the incident.
    pub(super) address: String,
    /// What the quiz says; `None` outside the quiz.
    pub(super) judgement: Option<Judgement>,
}

/// The list of faults.
pub(super) fn index(faults: &[Fault]) -> Markup {
    html! {
        p.help { "The simulator runs the function's own code and the deployed alarms through more than a day in about a second, with any
            fault that the alarms are checked against. Move through the incident to see what the dashboards and alarms show, and when,
            and what is lost if nobody reacts. The local world is not affected." }
        p.lead { a.button href="/practice/quiz" { "Quiz me: which runbook would you open?" } }
        div.scroll tabindex="0" role="region" aria-label="Faults" {
            table {
                thead { tr { th scope="col" { "Fault" } th scope="col" { "Alarms and their runbooks" } } }
                tbody {
                    @for fault in faults {
                        tr {
                            th scope="row" { a href=(fault.address) { (fault.name) } }
                            td {
                                @for (index, alarm) in fault.alarms.iter().enumerate() {
                                    @if index > 0 { ", " }
                                    a href=(Address::below("/runbooks", &runbook_name(alarm))) { (alarm) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// An incident.
///
/// # Errors
/// If a graph cannot be drawn.
pub(super) fn incident(shown: &Shown<'_>, dashboard: &Dashboard) -> Result<Markup, ChartError> {
    let drawn = draw(dashboard, &shown.view.widgets, &shown.marks(), shown)?;
    Ok(html! {
        @if shown.judgement.is_none() { div.follows #choices { (shown.choices()) } }
        (shown.slider())
        div.columns.even {
            section.follows #now aria-labelledby="now-heading" { (shown.now()) }
            div {
                h2 #happened-heading { "What happened" }
                div.follows.happened #happened tabindex="0" role="region" aria-labelledby="happened-heading" { (shown.events()) }
            }
        }
        @if shown.judgement.is_some() { (shown.question()) }
        h2 { "Dashboards" }
        p.toolbar.choices.follows #dashboards {
            @for (name, ..) in dashboards::BUNDLED {
                a href=(shown.link(&Asked { dashboard: Some(name.to_owned()), ..shown.here() })) aria-current=[(name == shown.view.dashboard).then_some("true")] { (name) }
                " "
            }
        }
        div.follows #dashboard { (drawn) }
        @if shown.view.fault.is_some() { (shown.runbook()) }
    })
}

impl Shown<'_> {
    /// The request for what is shown, at the time that is shown.
    fn here(&self) -> Asked {
        Asked { at: Some(self.view.minute), ..self.asked.clone() }
    }

    fn link(&self, asked: &Asked) -> String {
        let number = |number: Option<String>| number.unwrap_or_default();
        Address::new(&self.address)
            .with("at", &number(asked.at.map(|at| at.to_string())))
            .with("rate", asked.rate.map_or("", rate_name))
            .with("endedAfter", &number(asked.ended_after.map(|minutes| minutes.to_string())))
            .with("dashboard", asked.dashboard.as_deref().unwrap_or_default())
            .with("answer", asked.answer.as_deref().unwrap_or_default())
            .to_string()
    }

    /// The beginning of the fault is hidden as long as the fault itself is.
    fn marks(&self) -> Vec<Mark> {
        let began = self.view.fault.map(|_| Mark { at: self.incident.began, label: "the fault begins" });
        let removed = self.incident.cause_removed.map(|at| Mark { at, label: "somebody removes the cause" });
        began.into_iter().chain(removed).collect()
    }

    /// The rate of the table, and when somebody acts.
    fn choices(&self) -> Markup {
        let (rate, ended_after) = (self.asked.rate.unwrap_or(Rate::Usual), self.asked.ended_after);
        let here = self.here();
        let can_end = |minutes: &u32| self.incident.case.can_end_after(u64::from(*minutes) * 60_000);
        let delays: Vec<u32> = DELAYS.into_iter().filter(can_end).collect();
        let link = |text: &str, asked: &Asked, is_chosen: bool| {
            html! { a href=(self.link(asked)) aria-current=[is_chosen.then_some("true")] { (text) } " " }
        };
        html! {
            p.toolbar.choices { "The table has: "
                @for other in Rate::ALL { (link(other.words(), &Asked { at: None, rate: Some(other), ..here.clone() }, rate == other)) } }
            p.toolbar.choices { "Somebody removes the cause: "
                (link("never", &Asked { ended_after: None, ..here.clone() }, ended_after.is_none()))
                @for minutes in &delays {
                    (link(&format!("after {}", duration((*minutes).into())), &Asked { ended_after: Some(*minutes), ..here.clone() }, ended_after == Some(*minutes)))
                }
                @if delays.is_empty() { "(the simulator cannot end this fault within a run)" }
            }
            p.toolbar { a href="/practice" { "All faults" } " · " a href="/practice/quiz" { "Quiz me" } }
        }
    }

    /// The form that chooses the time. With JavaScript, the page follows it.
    fn slider(&self) -> Markup {
        let (first, last) = (self.incident.first_minute(), self.incident.last_minute());
        html! {
            form.plain.slider method="get" action=(self.address) {
                div {
                    label { "Time"
                        input #at type="range" name="at" min=(first) max=(last) step="1" value=(self.view.minute) aria-valuetext=(self.time_in_words()); }
                    p.ends aria-hidden="true" { @for minute in [first, last] { span { (self.incident.time_of(minute).format("%d %b %H:%M")) } } }
                }
                (hidden("rate", self.asked.rate.map(|rate| rate_name(rate).to_owned())))
                (hidden("endedAfter", self.asked.ended_after.map(|minutes| minutes.to_string())))
                (hidden("dashboard", self.asked.dashboard.clone()))
                (hidden("answer", self.asked.answer.clone()))
                button.second #go { "Go" }
            }
        }
    }

    /// The time that is shown. In the quiz, the beginning of the fault is hidden.
    fn time_in_words(&self) -> String {
        let time = self.view.at.format("%d %b %H:%M UTC");
        if self.view.fault.is_some() { format!("{time}: {}", self.since(self.view.at)) } else { time.to_string() }
    }

    /// What an operator sees at this time.
    fn now(&self) -> Markup {
        let view = self.view;
        let minute = |at: DateTime<Utc>| self.since(at);
        html! {
            h2 #now-heading { time datetime=(view.at.to_rfc3339()) { (self.time_in_words()) } }
            dl.facts {
                dt { "In ALARM" }
                dd {
                    @if view.alarms.is_empty() { "none" }
                    @for (index, alarm) in view.alarms.iter().enumerate() {
                        @if index > 0 { ", " }
                        @match alarm.runbook {
                            Some(name) => a href=(Address::below("/runbooks", name)) { (alarm.id) },
                            None => (alarm.id),
                        }
                        @if alarm.pages { " (pages)" }
                    }
                }
                dt { "Pages sent" }
                dd {
                    (view.pages.len())
                    @if let Some(first) = view.pages.first() {
                        ", the first at " time datetime=(first.to_rfc3339()) { (first.format("%H:%M")) }
                        @if view.fault.is_some() { ", " (minute(*first)) }
                    }
                }
                @if let (Some(loss), Some(in_the_end)) = (view.loss, view.loss_if_nobody_reacts) {
                    dt { "Lost so far" } dd { (loss) }
                    dt { "Lost if nobody reacts within " (duration(self.incident.lasts())) } dd { (in_the_end) }
                    @if let (Some(loss), Some(minutes)) = (view.loss_in_the_end, self.asked.ended_after) {
                        dt { "Lost with the cause removed after " (duration(minutes.into())) } dd { (loss) }
                    }
                }
            }
        }
    }

    /// A time in words, from the beginning of the fault.
    fn since(&self, at: DateTime<Utc>) -> String {
        match self.incident.minute_of(at) {
            0 => "as it begins".to_owned(),
            minute if minute < 0 => format!("{} before it begins", duration(-minute)),
            minute => format!("{} after it began", duration(minute)),
        }
    }

    fn events(&self) -> Markup {
        let view = self.view;
        let next = view.events.iter().position(|it| it.at > view.at);
        html! {
            @if view.events.is_empty() { p.quiet { "Nothing yet." } }
            ol.notices {
                @for (index, it) in view.events.iter().enumerate() {
                    @let minute = self.incident.minute_of(it.at);
                    @if Some(index) == next { li.now { "now; what follows is still to come" } }
                    li.quiet[it.at > view.at] {
                        a href=(self.link(&Asked { at: Some(minute), ..self.asked.clone() })) aria-current=[(minute == view.minute).then_some("true")] {
                            time datetime=(it.at.to_rfc3339()) { (it.at.format("%d %b %H:%M")) }
                        }
                        " " (words(it))
                    }
                }
            }
        }
    }

    /// The question of the quiz, and what it says to the answer.
    fn question(&self) -> Markup {
        let answer = self.asked.answer.as_deref().unwrap_or_default();
        let alarms = || self.incident.expected();
        html! {
            section aria-labelledby="question-heading" {
                h2 #question-heading { "Which runbook would you open?" }
                @match self.judgement {
                    Some(Judgement::Right) => p.message role="status" { "Right: " (self.incident.case.name) "." },
                    Some(Judgement::GivenUp) => p.message role="status" {
                        "It is this: " (self.incident.case.name) ". "
                        @for alarm in alarms() {
                            (alarm.id)
                            @if let Some(name) = alarm.runbook { ", whose runbook is " a href=(Address::below("/runbooks", name)) { (name) } }
                            ". "
                        }
                    },
                    Some(Judgement::Wrong) => p.message.bad role="status" {
                        "The runbook " (answer) " is not that of this fault. Look at the dashboards and at what is in ALARM, and choose again."
                    },
                    Some(Judgement::TooGeneral) => p.message role="status" {
                        "The runbook " (answer) " leads to the runbook of the alarm that caused the page. Which one?"
                    },
                    Some(Judgement::Open) | None => {},
                }
                form.plain method="get" action=(self.address) {
                    (hidden("at", Some(self.view.minute.to_string())))
                    (hidden("dashboard", self.asked.dashboard.clone()))
                    label { "Runbook"
                        select #answer name="answer" {
                            @for name in bundled::runbooks() { option value=(name) selected[name == answer] { (name) } }
                        }
                    }
                    button #open { "Open it" }
                    span.follows #give-up { a href=(self.link(&Asked { answer: Some(GIVE_UP.to_owned()), ..self.here() })) { "Tell me" } }
                    a href="/practice/quiz" { "Another incident" }
                }
            }
        }
    }

    /// The runbook that the quiz asked for, or else that of the fault's first alarm.
    fn runbook(&self) -> Markup {
        let answer = self.asked.answer.as_deref();
        let alarms = || self.incident.expected().filter(|alarm| alarm.runbook.is_some());
        let alarm = alarms().find(|alarm| alarm.runbook == answer).or_else(|| alarms().next());
        let runbook = alarm.and_then(|alarm| Some((&alarm.id, bundled::runbook(alarm.runbook?)?)));
        html! {
            @if let Some(why) = self.incident.case.unseen { p.message { "No alarm can see this fault: " (why) "." } }
            @if let Some((id, text)) = runbook {
                h2 { "The runbook of " (id) }
                (alarms::render_runbook(text))
            }
        }
    }
}

impl Links for Shown<'_> {
    fn dashboard(&self, name: &str) -> String {
        let found = dashboards::BUNDLED.iter().find(|(other, ..)| name.ends_with(other));
        self.link(&Asked { dashboard: found.map(|(name, ..)| (*name).to_owned()), ..self.here() })
    }

    fn alarm<'a>(&self, name: &'a str) -> (&'a str, Option<String>) {
        let alarm = self.incident.alarms.iter().find(|alarm| alarm.name == name);
        let runbook = alarm.and_then(|alarm| alarm.runbook);
        (name.rsplit('-').next().unwrap_or(name), runbook.map(|name| Address::below("/runbooks", name).to_string()))
    }
}

fn hidden(name: &str, value: Option<String>) -> Markup {
    html! { @if let Some(value) = value { input type="hidden" name=(name) value=(value); } }
}

/// As in an address.
fn rate_name(rate: Rate) -> &'static str {
    match rate {
        Rate::Quiet => "quiet",
        Rate::Usual => "usual",
        Rate::Bulk => "bulk",
    }
}

fn words(it: &IncidentEvent) -> Markup {
    match &it.kind {
        EventKind::Began => html! { "the fault begins" },
        EventKind::CauseRemoved => html! { "somebody removes the cause" },
        EventKind::Ended => html! { "the fault ends by itself" },
        EventKind::Fired { alarm, paged } => html! {
            span.badge.bad[*paged].waiting[!paged] { @if *paged { "page" } @else { "notification" } } " " (alarm) " is in ALARM"
        },
        EventKind::Cleared { alarm } => html! { (alarm) " is no longer in ALARM" },
        EventKind::FirstLost => html! { "the first change is lost" },
        EventKind::FirstInBucket => html! { "the first record is in the failure bucket" },
    }
}

/// A number of minutes in words.
fn duration(minutes: i64) -> String {
    let minutes = usize::try_from(minutes).unwrap_or_default();
    let (hours, rest) = (minutes / 60, minutes % 60);
    match (hours, rest) {
        (0, _) => count(rest, "minute", "minutes"),
        (_, 0) => count(hours, "hour", "hours"),
        _ => format!("{hours} h {rest} min"),
    }
}
