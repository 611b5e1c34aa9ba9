//! An incident: a fault that the simulator played, and what an operator sees of it at any time.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use config_audit_cloudwatch::alarms::{Alarm, AlarmsError, State};
use config_audit_faults::case::FaultCase;
use config_audit_faults::catalog;
use config_audit_faults::trial::{Cadence, Rate, Trial};
use config_audit_faults::{DeployedAlarms, Loss, Playback, play, resolve, time};
use config_audit_simulator::scenario::{Millis, Scenario};
use serde::Serialize;
use tokio::task::{JoinError, spawn_blocking};

use crate::alarms::{self, bundled};

/// How many incidents are kept. Each is a few megabytes, and takes about a second to play.
const MAX_KEPT: usize = 8;
const MINUTE: Millis = 60_000;

/// Which incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// The fault's place in the catalog.
    pub(super) number: usize,
    /// How often the table changes.
    pub(super) rate: Rate,
    /// How many minutes after the fault began somebody removes its cause; `None` if nobody does.
    pub(super) ended_after: Option<u32>,
}

/// The last incidents, the oldest first.
type Played = Vec<(Choice, Arc<Incident>)>;

/// Plays incidents, and keeps the last ones.
#[derive(Debug)]
pub(crate) struct Incidents {
    alarms: Arc<DeployedAlarms>,
    /// Only one is played at a time.
    played: Arc<Mutex<Played>>,
}

/// A fault that was played.
#[derive(Debug)]
pub(super) struct Incident {
    /// The fault.
    pub(super) case: FaultCase,
    /// When it began.
    pub(super) began: DateTime<Utc>,
    /// When somebody removed its cause.
    pub(super) cause_removed: Option<DateTime<Utc>>,
    /// When it ended by itself.
    pub(super) ended: Option<DateTime<Utc>>,
    /// The end of the run.
    pub(super) end: DateTime<Utc>,
    /// The run.
    pub(super) playback: Playback,
    /// All that happened, in order of time, except for alarms that notify nobody.
    pub(super) events: Vec<IncidentEvent>,
    /// The deployed alarms.
    pub(super) alarms: Vec<DeployedAlarm>,
    /// The names of the alarms that are not deployed.
    pub(super) left_out: Vec<String>,
}

/// A deployed alarm.
#[derive(Debug)]
pub(super) struct DeployedAlarm {
    pub(super) id: String,
    pub(super) name: String,
    /// Whether it notifies.
    pub(super) notifies: bool,
    /// Whether it pages on its own.
    pub(super) pages: bool,
    pub(super) runbook: Option<&'static str>,
}

/// An event of an incident.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IncidentEvent {
    pub(super) at: DateTime<Utc>,
    #[serde(flatten)]
    pub(super) kind: EventKind,
}

/// The kind of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub(super) enum EventKind {
    /// The fault began.
    Began,
    /// Somebody removed the cause.
    CauseRemoved,
    /// The fault ended by itself.
    Ended,
    /// An alarm went into ALARM.
    Fired {
        /// Its ID.
        alarm: String,
        /// Whether it paged.
        paged: bool,
    },
    /// An alarm left ALARM.
    Cleared {
        /// Its ID.
        alarm: String,
    },
    /// The first change was lost.
    FirstLost,
    /// The first record arrived in the failure bucket.
    FirstInBucket,
}

impl EventKind {
    /// Whether an operator is notified of it.
    pub(super) fn is_visible_to_operator(&self) -> bool {
        matches!(self, Self::Fired { .. } | Self::Cleared { .. })
    }
}

impl Incidents {
    /// The incidents with the bundled alarms.
    ///
    /// # Errors
    /// If a file is not valid; the tests check that all are.
    pub(crate) fn bundled() -> Result<Self, AlarmsError> {
        Ok(Self { alarms: Arc::new(bundled::deployed()?), played: Arc::default() })
    }

    /// The incident of this choice; `None` if there is no such fault, or it cannot end within a run.
    ///
    /// # Errors
    /// If the simulator panics.
    pub(super) async fn get(&self, choice: Choice) -> Result<Option<Arc<Incident>>, JoinError> {
        let (alarms, played) = (Arc::clone(&self.alarms), Arc::clone(&self.played));
        // The lock is held while the incident is played, because the request may be dropped before that has ended.
        spawn_blocking(move || {
            let mut played = played.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, incident)) = played.iter().find(|(other, _)| *other == choice) {
                return Some(Arc::clone(incident));
            }
            let incident = Arc::new(Incident::play(&alarms, choice)?);
            if played.len() == MAX_KEPT {
                played.remove(0);
            }
            played.push((choice, Arc::clone(&incident)));
            Some(incident)
        })
        .await
    }
}

/// A fault of the catalog, without the scenario that is simulated.
#[derive(Debug, Serialize)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// The address of its incident.
    pub(super) address: String,
    /// The alarms that must fire.
    pub(super) alarms: Vec<&'static str>,
}

/// All faults in the order of the catalog, which is the same at each rate.
pub(super) static FAULTS: LazyLock<Vec<Fault>> = LazyLock::new(|| {
    let fault = |case: FaultCase| Fault {
        name: case.name,
        address: format!("/practice/faults/{}", slug(case.name)),
        alarms: case.expected.iter().map(|expected| expected.alarm).collect(),
    };
    cases(Rate::Usual).into_iter().map(fault).collect()
});

/// The faults at this rate. The alarms' documentation and the runbooks use this cadence of retries, too.
pub(super) fn cases(rate: Rate) -> Vec<FaultCase> {
    catalog::all(Trial { rate, cadence: Cadence::TwoMinutes })
}

/// A name in lower case, with hyphens between its words.
fn slug(name: &str) -> String {
    let name = name.to_lowercase();
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

impl Incident {
    fn play(alarms: &DeployedAlarms, choice: Choice) -> Option<Self> {
        let case = cases(choice.rate).into_iter().nth(choice.number)?;
        let delay = choice.ended_after.map(|minutes| Millis::from(minutes) * MINUTE);
        let played: Scenario = match delay {
            Some(delay) => case.ended_after(delay)?,
            None => case.scenario.clone(),
        };
        // Also if nothing happens any more after the cause was removed.
        let end = case.scenario.end();
        let deployed = alarms.of(&played).all();
        let is_left_out = |alarm: &&Alarm| !deployed.iter().any(|other| other.name == alarm.name);
        let mut incident = Self {
            began: time(case.begins),
            cause_removed: delay.map(|delay| time(case.begins + delay)),
            ended: case.ends_by_itself().filter(|_| delay.is_none()).map(time),
            end: time(end),
            playback: play(alarms, &played, end),
            alarms: deployed.iter().map(DeployedAlarm::of).collect(),
            left_out: alarms.all.all().iter().filter(is_left_out).map(|alarm| alarm.name.clone()).collect(),
            events: Vec::new(),
            case,
        };
        incident.events = incident.find_events();
        Some(incident)
    }

    /// The first minute that can be looked at, counted from the beginning of the fault.
    pub(super) fn first_minute(&self) -> i64 {
        -(self.began - time(0)).num_minutes()
    }

    /// The last minute that can be looked at.
    pub(super) fn last_minute(&self) -> i64 {
        (self.end - self.began).num_minutes()
    }

    /// How long the fault lasts if nobody acts, in minutes.
    pub(super) fn lasts(&self) -> i64 {
        let end = self.case.ends_by_itself().unwrap_or_else(|| self.case.scenario.end());
        (time(end) - self.began).num_minutes()
    }

    /// The time of a minute.
    pub(super) fn time_of(&self, minute: i64) -> DateTime<Utc> {
        self.began + TimeDelta::minutes(minute)
    }

    /// The first minute by which this has happened.
    pub(super) fn minute_of(&self, at: DateTime<Utc>) -> i64 {
        -(self.began - at).num_milliseconds().div_euclid(60_000)
    }

    /// The minute in which somebody is notified of it: paged, or else notified otherwise.
    pub(super) fn first_notified_minute(&self) -> Option<i64> {
        let first = |is_it: fn(&EventKind) -> bool| self.events.iter().find(|it| is_it(&it.kind));
        let told = first(|kind| matches!(kind, EventKind::Fired { paged: true, .. }));
        let told = told.or_else(|| first(|kind| matches!(kind, EventKind::Fired { .. })))?;
        Some(self.minute_of(told.at))
    }

    /// The state of each alarm.
    pub(super) fn states(&self, now: DateTime<Utc>) -> Vec<(&DeployedAlarm, State)> {
        self.alarms.iter().map(|alarm| (alarm, self.playback.state_at(&alarm.name, now))).collect()
    }

    /// The times of the pages until this time.
    pub(super) fn pages_until(&self, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let paged = |it: &IncidentEvent| matches!(it.kind, EventKind::Fired { paged: true, .. }) && it.at <= now;
        self.events.iter().filter(|it| paged(it)).map(|it| it.at).collect()
    }

    /// What is lost until this time.
    pub(super) fn loss_at(&self, now: DateTime<Utc>) -> Loss {
        self.playback.loss_at(now)
    }

    /// The fault's alarms: those that must fire.
    pub(super) fn expected(&self) -> impl Iterator<Item = &DeployedAlarm> {
        let expected = self.case.expected.iter();
        expected.filter_map(|expected| self.alarms.iter().find(|alarm| alarm.id == expected.alarm))
    }

    fn find_events(&self) -> Vec<IncidentEvent> {
        let mut events = vec![IncidentEvent { at: self.began, kind: EventKind::Began }];
        events.extend(self.cause_removed.map(|at| IncidentEvent { at, kind: EventKind::CauseRemoved }));
        events.extend(self.ended.map(|at| IncidentEvent { at, kind: EventKind::Ended }));
        let [lost, in_bucket] = self.playback.first_losses();
        events.extend(lost.map(|at| IncidentEvent { at, kind: EventKind::FirstLost }));
        events.extend(in_bucket.map(|at| IncidentEvent { at, kind: EventKind::FirstInBucket }));
        for change in &self.playback.transitions {
            let alarm = self.alarms.iter().find(|alarm| alarm.name == change.alarm && alarm.notifies);
            let Some(DeployedAlarm { id, pages, .. }) = alarm else { continue };
            let kind = match (change.from, change.to) {
                (_, State::Alarm) => EventKind::Fired { alarm: id.clone(), paged: *pages },
                (State::Alarm, _) => EventKind::Cleared { alarm: id.clone() },
                _ => continue,
            };
            events.push(IncidentEvent { at: change.at, kind });
        }
        events.sort_by_key(|it| it.at);
        events
    }
}

impl DeployedAlarm {
    fn of(alarm: &Alarm) -> Self {
        Self {
            id: alarm.id.clone(),
            name: alarm.name.clone(),
            notifies: bundled::notifies(alarm),
            pages: bundled::pages(alarm),
            runbook: bundled::runbook_of(alarm),
        }
    }
}

/// The value of a name in a dashboard of the simulated deployment. Runbooks are pages of the console.
pub(super) fn value(name: &str) -> String {
    if name == "RunbookUrl" { alarms::name_in_world(name) } else { resolve(name) }
}
