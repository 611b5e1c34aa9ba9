//! The parts of the pipeline, each with its state in words.

use chrono::{DateTime, TimeDelta, Utc};
use config_audit_cloudwatch::units::{count, duration, thousands};
use serde::Serialize;

use crate::activity::State as Known;

/// How long after a change the table counts as busy.
const BUSY_SECONDS: i64 = 30;
/// Records may wait this long before that is worth a look. A cold start takes a second or two.
const MAX_WAIT: TimeDelta = TimeDelta::seconds(10);

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Health {
    /// It works.
    Good,
    /// It has nothing to do.
    Idle,
    /// It works on something now.
    Busy,
    /// Something waits.
    Waiting,
    /// It fails.
    Bad,
}

impl Health {
    /// The class of its style.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Waiting => "waiting",
            Self::Bad => "bad",
        }
    }

    /// A sign, because colour alone says nothing to many.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Idle => "○",
            Self::Busy => "▶",
            Self::Waiting => "!",
            Self::Bad => "✕",
        }
    }
}

/// A part of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Station {
    /// What it is.
    pub(crate) name: &'static str,
    /// How it is.
    pub(crate) health: Health,
    /// How it is, in words.
    pub(crate) state: String,
    /// What it did.
    pub(crate) details: [String; 2],
}

/// All parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pipeline {
    /// The way of a change, in order: table, stream, mapping, function, trail.
    pub(crate) way: [Station; 5],
    /// What waits for its next delivery.
    pub(crate) retry: Station,
    /// The failure bucket.
    pub(crate) bucket: Station,
}

impl Pipeline {
    /// The parts, as they are now.
    pub(crate) fn of(known: &Known, now: DateTime<Utc>) -> Self {
        Self {
            way: [table(known, now), stream(known, now), mapping(known, now), function(known), trail(known, now)],
            retry: retry(known, now),
            bucket: bucket(known),
        }
    }

    /// All of it in one sentence for each part, for those who do not see the picture.
    pub(crate) fn in_words(&self) -> String {
        let stations = self.way.iter().chain([&self.retry, &self.bucket]);
        let sentence = |station: &Station| {
            let [first, second] = &station.details;
            format!("{}: {}; {first}, {second}.", station.name, station.state)
        };
        stations.map(sentence).collect::<Vec<_>>().join(" ")
    }
}

fn station(name: &'static str, health: Health, state: impl Into<String>, details: [String; 2]) -> Station {
    Station { name, health, state: state.into(), details }
}

fn per_minute(number: usize) -> String {
    format!("{} a minute", thousands(number))
}

fn ms(time: TimeDelta) -> String {
    duration(time.num_milliseconds().max(0) as f64)
}

/// A time to come or past, in whole seconds: it is shown again each second.
fn seconds(time: TimeDelta) -> String {
    duration((time.num_milliseconds().max(0) as f64 / 1000.0).round() * 1000.0)
}

fn table(known: &Known, now: DateTime<Utc>) -> Station {
    let is_busy = known.seconds.last(BUSY_SECONDS, now).changes > 0;
    let (health, state) = if is_busy { (Health::Good, "changing") } else { (Health::Idle, "quiet") };
    let details = [count(known.counts.changes, "change", "changes"), per_minute(known.seconds.last(60, now).changes)];
    station("Configuration", health, state, details)
}

fn stream(known: &Known, now: DateTime<Utc>) -> Station {
    let age = known.oldest().map(|oldest| now - oldest);
    let details = [
        count(known.waiting(), "record is not done", "records are not done"),
        age.map_or_else(|| "nothing is late".to_owned(), |age| format!("oldest: {}", seconds(age))),
    ];
    match age {
        None => station("Stream", Health::Good, "caught up", details),
        Some(age) if age > MAX_WAIT => station("Stream", Health::Waiting, "records wait", details),
        Some(_) => station("Stream", Health::Busy, "being read", details),
    }
}

fn mapping(known: &Known, now: DateTime<Utc>) -> Station {
    let retries = count(known.counts.retries, "retry", "retries");
    let next = known.retries().map(|retry| retry.at).min();
    if let Some(at) = next {
        let details = [format!("next in {}", seconds(at - now)), retries];
        return station("Mapping", Health::Waiting, "waits before a retry", details);
    }
    let details = ["batches of up to 100".to_owned(), retries];
    station("Mapping", Health::Good, "reads the stream", details)
}

fn function(known: &Known) -> Station {
    let counts = known.counts;
    let details = [
        count(counts.invocations, "invocation", "invocations"),
        format!(
            "{} failed, {}",
            thousands(counts.failed_invocations),
            count(counts.processes, "cold start", "cold starts")
        ),
    ];
    let last = known.invocations.newest_first().find(|invocation| invocation.ended.is_some());
    let (health, state) = match last {
        _ if known.running().is_some() => (Health::Busy, "works on a batch"),
        Some(last) if last.has_failed() => (Health::Bad, "the last one failed"),
        Some(_) => (Health::Good, "the last one worked"),
        None => (Health::Idle, "starts with the first change"),
    };
    station("Audit function", health, state, details)
}

fn trail(known: &Known, now: DateTime<Utc>) -> Station {
    let entries = known.counts.entries;
    let lag = known.last_lag_ms.map_or_else(|| "no lag yet".to_owned(), |lag| format!("last lag: {}", duration(lag)));
    let details = [count(entries, "entry", "entries"), lag];
    let is_late = known.oldest().is_some_and(|oldest| now - oldest > MAX_WAIT);
    let (health, state) = match entries {
        _ if is_late => (Health::Waiting, "behind"),
        0 => (Health::Idle, "no entry yet"),
        _ => (Health::Good, "up to date"),
    };
    station("Audit trail", health, state, details)
}

fn retry(known: &Known, now: DateTime<Utc>) -> Station {
    let records: usize = known.retries().map(|retry| retry.records).sum();
    if let Some(next) = known.retries().min_by_key(|retry| retry.at) {
        let details = [format!("retry {} in {}", next.retry, seconds(next.at - now)), next.reason.clone()];
        return station("Waits for a retry", Health::Waiting, count(records, "record", "records"), details);
    }
    let details = ["what fails comes again".to_owned(), "for up to 22 hours".to_owned()];
    station("Waits for a retry", Health::Good, "nothing", details)
}

fn bucket(known: &Known) -> Station {
    let counts = known.counts;
    let details = [
        format!("{} from the function", thousands(counts.quarantined)),
        format!("{} given up by Lambda", thousands(counts.given_up)),
    ];
    let records = counts.quarantined + counts.given_up;
    match records {
        _ if known.bucket_refuses => station("Failure bucket", Health::Bad, "refuses", details),
        0 => station("Failure bucket", Health::Good, "empty so far", details),
        _ => station("Failure bucket", Health::Waiting, count(records, "record", "records"), details),
    }
}

/// How long ago, or how long still.
pub(crate) fn lag(milliseconds: f64) -> String {
    ms(TimeDelta::milliseconds(milliseconds_of(milliseconds)))
}

#[allow(clippy::cast_possible_truncation, reason = "a lag of less than 292 million years")]
fn milliseconds_of(milliseconds: f64) -> i64 {
    milliseconds as i64
}
