//! The parts of the pipeline, each with its state in words.

use chrono::{DateTime, TimeDelta, Utc};
use config_audit_cloudwatch::units::{count, duration, thousands};
use serde::Serialize;

use crate::activity::State as Known;

/// How long after a change the table counts as busy.
const BUSY_SECONDS: i64 = 30;
/// Records may wait this long before the page points it out. A cold start takes a second or two.
const MAX_WAIT: TimeDelta = TimeDelta::seconds(10);

/// The health of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Health {
    /// It works.
    Good,
    /// It has nothing to do.
    Idle,
    /// It is busy.
    Busy,
    /// Something is waiting.
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

    /// A sign, because many people cannot tell states by colour alone.
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
    /// Its health.
    pub(crate) health: Health,
    /// Its state, in words.
    pub(crate) state: String,
    /// What it did.
    pub(crate) details: [String; 2],
}

/// All parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pipeline {
    /// The path of a change, in order: table, stream, mapping, function, trail.
    pub(crate) way: [Station; 5],
    /// What waits for its next delivery.
    pub(crate) retry: Station,
    /// The failure bucket.
    pub(crate) bucket: Station,
}

impl Pipeline {
    /// The current state of the parts.
    pub(crate) fn of(known: &Known, now: DateTime<Utc>) -> Self {
        Self {
            way: [table(known, now), stream(known, now), mapping(known, now), function(known), trail(known, now)],
            retry: retry(known, now),
            bucket: bucket(known),
        }
    }

    /// One sentence for each part, for people who cannot see the picture.
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
    format!("{} per minute", thousands(number))
}

fn ms(time: TimeDelta) -> String {
    duration(time.num_milliseconds().max(0) as f64)
}

/// A time from now or ago, in whole seconds, because it is updated every second.
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
        count(known.waiting(), "record is pending", "records are pending"),
        age.map_or_else(|| "nothing is late".to_owned(), |age| format!("oldest: {}", seconds(age))),
    ];
    match age {
        None => station("Stream", Health::Good, "caught up", details),
        Some(age) if age > MAX_WAIT => station("Stream", Health::Waiting, "records are waiting", details),
        Some(_) => station("Stream", Health::Busy, "being read", details),
    }
}

fn mapping(known: &Known, now: DateTime<Utc>) -> Station {
    let retries = count(known.counts.retries, "retry", "retries");
    let next = known.retries().map(|retry| retry.at).min();
    if let Some(at) = next {
        let details = [format!("next in {}", seconds(at - now)), retries];
        return station("Mapping", Health::Waiting, "waiting to retry", details);
    }
    let details = ["batches of up to 100".to_owned(), retries];
    station("Mapping", Health::Good, "reading the stream", details)
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
        _ if known.running().is_some() => (Health::Busy, "processing a batch"),
        Some(last) if last.has_failed() => (Health::Bad, "the last invocation failed"),
        Some(_) => (Health::Good, "succeeded last time"),
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
        return station("Waiting for retry", Health::Waiting, count(records, "record", "records"), details);
    }
    let details = ["Lambda tries again".to_owned(), "for up to 22 hours".to_owned()];
    station("Waiting for retry", Health::Good, "nothing", details)
}

fn bucket(known: &Known) -> Station {
    let counts = known.counts;
    let details = [
        format!("{} from the function", thousands(counts.quarantined)),
        format!("{} from Lambda", thousands(counts.given_up)),
    ];
    let records = counts.quarantined + counts.given_up;
    match records {
        _ if known.bucket_refuses => station("Failure bucket", Health::Bad, "rejects objects", details),
        0 => station("Failure bucket", Health::Good, "empty so far", details),
        _ => station("Failure bucket", Health::Waiting, count(records, "record", "records"), details),
    }
}

/// How long ago, or how long from now.
pub(crate) fn lag(milliseconds: f64) -> String {
    ms(TimeDelta::milliseconds(milliseconds_of(milliseconds)))
}

#[allow(clippy::cast_possible_truncation, reason = "a lag of less than 292 million years")]
fn milliseconds_of(milliseconds: f64) -> i64 {
    milliseconds as i64
}
