//! Turns the world's events into the state that the pages show.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use config_audit::audit::entry_id;
use config_audit::aws::arn::StreamArn;
use config_audit_cloudwatch::line::Line;
use config_audit_local::aws::entry::Entry;
use config_audit_local::{WorldEvent, WorldTable};
use config_audit_mapping::SequenceNumber;
use serde::Serialize;
use serde_json::Value;

use super::change::{Change, Place};
use super::invocation::{Ended, Invocation, StoredEntry};
use super::metrics::WorldMetrics;
use super::recent::Recent;
use super::seconds::Seconds;
use super::{MAX_CHANGES, MAX_INVOCATIONS, MAX_NOTICES, MAX_TEXT};

/// The maximum number of entries kept for an invocation.
const MAX_ENTRIES: usize = 1_000;

/// The activity since the console was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Writes to the Configuration table, if it is in the embedded database.
    pub written: usize,
    /// Changes that the mapping read from the stream.
    pub changes: usize,
    /// Invocations that ended.
    pub invocations: usize,
    /// Of these, the ones that failed or reported a record as failed.
    pub failed_invocations: usize,
    /// Processes that were started.
    pub processes: usize,
    /// Entries that were stored.
    pub entries: usize,
    /// Batches scheduled for redelivery.
    pub retries: usize,
    /// Records that the function put into the failure bucket.
    pub quarantined: usize,
    /// Records that Lambda put into the failure bucket.
    pub given_up: usize,
}

/// A batch that is waiting for its next delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How many records.
    pub records: usize,
    /// The number of that retry, from 1.
    pub retry: u32,
    /// When.
    pub at: DateTime<Utc>,
    /// Why it failed.
    pub reason: String,
}

/// Something that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Whether it is good news.
    pub is_good: bool,
    /// What happened.
    pub text: String,
}

/// A shard's pending records.
#[derive(Debug, Default)]
struct Shard {
    outstanding: VecDeque<(SequenceNumber, DateTime<Utc>)>,
    retry: Option<Retry>,
}

/// What the console knows about the world.
#[derive(Debug)]
pub struct State {
    /// When the console started watching.
    pub since: DateTime<Utc>,
    /// How many events it missed because it was too slow.
    pub missed: usize,
    /// The activity since then.
    pub counts: Counts,
    /// The activity in each of the last seconds.
    pub seconds: Seconds,
    /// The last changes.
    pub changes: Recent<Change>,
    /// The last invocations.
    pub invocations: Recent<Invocation>,
    /// What an operator should know.
    pub notices: Recent<Notice>,
    /// The metrics as CloudWatch would have them.
    pub metrics: WorldMetrics,
    /// The function's process, while it has one.
    pub process: Option<u32>,
    /// Whether the failure bucket rejected the last object that Lambda sent to it.
    pub bucket_refuses: bool,
    /// The latest change-to-entry lag.
    pub last_lag_ms: Option<f64>,
    stream_arn: Option<StreamArn<'static>>,
    shards: BTreeMap<String, Shard>,
    /// The numbers of the changes by their sequence numbers.
    by_sequence: HashMap<String, usize>,
    /// The invocations by the IDs of their entries.
    by_entry: HashMap<String, String>,
    /// Records delivered to the next invocation.
    delivered: Vec<String>,
    /// Lambda's condition for the records that it gave up on last.
    given_up: Option<String>,
    /// The size of all lines and documents, in bytes.
    text: usize,
}

impl State {
    pub(super) fn new(stream_arn: Option<&str>, now: DateTime<Utc>) -> Self {
        Self {
            since: now,
            missed: 0,
            counts: Counts::default(),
            seconds: Seconds::default(),
            changes: Recent::new(MAX_CHANGES),
            invocations: Recent::new(MAX_INVOCATIONS),
            notices: Recent::new(MAX_NOTICES),
            metrics: WorldMetrics::default(),
            process: None,
            bucket_refuses: false,
            last_lag_ms: None,
            stream_arn: stream_arn.map(|arn| StreamArn::new(arn.to_owned())),
            shards: BTreeMap::new(),
            by_sequence: HashMap::new(),
            by_entry: HashMap::new(),
            delivered: Vec::new(),
            given_up: None,
            text: 0,
        }
    }

    /// How many records were read but are not done yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shards.values().map(|shard| shard.outstanding.len()).sum()
    }

    /// The change time of the oldest pending record.
    #[must_use]
    pub fn oldest(&self) -> Option<DateTime<Utc>> {
        self.shards.values().filter_map(|shard| shard.outstanding.front()).map(|(_, created)| *created).min()
    }

    /// The batches that are waiting for their next delivery.
    pub fn retries(&self) -> impl Iterator<Item = &Retry> {
        self.shards.values().filter_map(|shard| shard.retry.as_ref())
    }

    /// The invocation that is running.
    #[must_use]
    pub fn running(&self) -> Option<&Invocation> {
        self.invocations.newest().filter(|invocation| invocation.ended.is_none())
    }

    /// The invocation that stored this entry, if it is still known.
    #[must_use]
    pub fn invocation_of(&self, entry_id: &str) -> Option<&str> {
        self.by_entry.get(entry_id).map(String::as_str)
    }

    /// The change with this sequence number, if it is still known.
    #[must_use]
    pub fn change(&self, sequence_number: &str) -> Option<&Change> {
        let number = *self.by_sequence.get(sequence_number)?;
        self.changes.newest_first().nth(self.changes.next_number().checked_sub(number + 1)?)
    }

    pub(crate) fn apply(&mut self, event: &WorldEvent, now: DateTime<Utc>) {
        let oldest = self.oldest();
        self.metrics.apply(event, oldest, now);
        match event {
            WorldEvent::RecordRead { shard_id, sequence_number, event_id, event_name, item_key, created } => {
                self.add_change(Change {
                    key: item_key.clone(),
                    event_name: event_name.clone(),
                    created: *created,
                    sequence_number: sequence_number.clone(),
                    event_id: event_id.clone(),
                    shard_id: shard_id.clone(),
                    place: Place::InStream,
                    deliveries: 0,
                    request_id: None,
                    entries: 0,
                    attribute: None,
                    lag_ms: None,
                });
                self.seconds.at(now).changes += 1;
            }
            WorldEvent::RecordDelivered { shard_id, sequence_number, .. } => {
                let sequence = sequence_number.as_str().to_owned();
                if let Some(change) = self.change_mut(&sequence) {
                    change.place = Place::InFunction;
                    change.deliveries += 1;
                }
                if let Some(shard) = self.shards.get_mut(shard_id) {
                    shard.retry = None;
                }
                self.delivered.push(sequence);
            }
            WorldEvent::InvocationStarted { request_id, trace_header } => self.begin(request_id, trace_header, now),
            WorldEvent::ProcessStarted { pid } => {
                self.process = Some(*pid);
                self.counts.processes += 1;
                if let Some(invocation) = self.running_mut() {
                    invocation.is_cold = true;
                }
            }
            WorldEvent::ProcessExited { status } => {
                self.process = None;
                self.notice(now, false, format!("the function's process ended: {status}"));
            }
            WorldEvent::LogLine { source, line } => self.add_line(*source, line, now),
            WorldEvent::Witness(event) => {
                let trouble = match &**event {
                    WorldEvent::LogLine { line, .. } => {
                        let line = Line::parse(line);
                        line.is_trouble().then(|| line.readable())
                    }
                    WorldEvent::Warning { message } => Some(message.clone()),
                    _ => None,
                };
                if let Some(trouble) = trouble {
                    self.notice(now, false, format!("the witness: {trouble}"));
                }
            }
            WorldEvent::SegmentReceived { document } => {
                let document = document.to_string();
                if let Some(invocation) = self.invocations.newest_first_mut().next() {
                    self.text += document.len();
                    invocation.documents.push(document);
                }
            }
            WorldEvent::SegmentRejected { reason } => {
                self.notice(now, false, format!("the X-Ray daemon received an invalid segment document: {reason}"));
            }
            WorldEvent::InvocationEnded(completed) => self.end(&Ended::of(completed, now), now),
            WorldEvent::EntryStored { entry } => self.add_entry(entry, now),
            WorldEvent::RetryScheduled { shard_id, records, retry, delay, reason } => {
                let at = now + TimeDelta::from_std(*delay).unwrap_or_default();
                self.schedule(shard_id, Retry { records: *records, retry: *retry, at, reason: reason.clone() });
                self.counts.retries += 1;
                self.seconds.at(now).retries += 1;
            }
            WorldEvent::BatchBisected { at, .. } => {
                self.notice(now, false, format!("a failed batch was split before record {}", at.as_str()));
            }
            WorldEvent::CheckpointAdvanced { shard_id, sequence_number } => self.advance(shard_id, sequence_number),
            WorldEvent::SentToDestination { key, condition, records } => {
                self.bucket_refuses = false;
                self.counts.given_up += records;
                self.given_up = Some(condition.as_str().to_owned());
                self.notice(now, false, format!("Lambda gave up on {records} records ({}): {key}", condition.as_str()));
            }
            WorldEvent::DestinationFailed { message } => {
                self.bucket_refuses = true;
                self.notice(
                    now,
                    false,
                    format!("the failure bucket rejected records, which Lambda will resend: {message}"),
                );
            }
            WorldEvent::Warning { message } => self.notice(now, false, message.clone()),
            WorldEvent::Recovered { message } => self.notice(now, true, message.clone()),
            WorldEvent::TableWritten { table: WorldTable::Configuration, items, .. } => self.counts.written += items,
            // Only the metrics need them.
            WorldEvent::StreamPolled { .. } | WorldEvent::TableWritten { .. } | WorldEvent::TableRefused { .. } => {}
        }
    }

    fn add_change(&mut self, change: Change) {
        self.counts.changes += 1;
        let shard = self.shards.entry(change.shard_id.clone()).or_default();
        shard.outstanding.push_back((change.sequence_number.clone(), change.created));
        self.by_sequence.insert(change.sequence_number.as_str().to_owned(), self.changes.next_number());
        if let Some(dropped) = self.changes.push(change) {
            self.by_sequence.remove(dropped.sequence_number.as_str());
        }
    }

    fn change_mut(&mut self, sequence_number: &str) -> Option<&mut Change> {
        self.changes.get_mut(*self.by_sequence.get(sequence_number)?)
    }

    fn running_mut(&mut self) -> Option<&mut Invocation> {
        self.invocations.newest_first_mut().next().filter(|invocation| invocation.ended.is_none())
    }

    fn begin(&mut self, request_id: &str, trace_header: &str, now: DateTime<Utc>) {
        let records = std::mem::take(&mut self.delivered);
        for sequence_number in &records {
            if let Some(change) = self.change_mut(sequence_number) {
                change.request_id = Some(request_id.to_owned());
            }
        }
        let invocation = Invocation::new(request_id.to_owned(), trace_header.to_owned(), now, records);
        if let Some(dropped) = self.invocations.push(invocation) {
            self.text -= dropped.bytes().min(self.text);
            for entry in dropped.entries {
                self.by_entry.remove(&entry.id);
            }
        }
    }

    /// A line belongs to the newest invocation: the function prints nothing in between.
    fn add_line(&mut self, source: config_audit_local::event::LogSource, line: &str, now: DateTime<Utc>) {
        let parsed = Line::parse(line);
        if parsed.is_trouble() {
            self.notice(now, false, parsed.readable());
        }
        if let Some(invocation) = self.invocations.newest_first_mut().next() {
            self.text += line.len();
            invocation.lines.push((source, line.to_owned()));
        }
    }

    /// Derives the outcome of each record of the invocation that ended, from what the function sent.
    fn end(&mut self, ended: &Ended, now: DateTime<Utc>) {
        let Some(invocation) = self.running_mut() else { return };
        invocation.ended = Some(ended.clone());
        let (has_failed, records) = (invocation.has_failed(), invocation.records.clone());
        let outcomes = outcomes(invocation);
        self.counts.invocations += 1;
        self.counts.failed_invocations += usize::from(has_failed);
        let second = self.seconds.at(now);
        second.invocations += 1;
        second.failed += usize::from(has_failed);
        // Lambda redelivers from the first failed record on, in the shard's order.
        let failed: HashSet<&String> = ended.outcome.iter().flatten().collect();
        let mut comes_again = false;
        for sequence_number in &records {
            comes_again |= failed.contains(sequence_number);
            let (outcome, reason) = outcomes.get(sequence_number).cloned().unwrap_or_default();
            let place = match &ended.outcome {
                Err(error) => Place::Failed { reason: error.clone() },
                Ok(_) if failed.contains(sequence_number) => Place::Failed { reason },
                Ok(_) if comes_again => Place::Failed { reason: "a record before it failed".to_owned() },
                Ok(_) => match outcome.as_str() {
                    "audited" => Place::Audited,
                    "unchanged" => Place::Unchanged,
                    "quarantined" => Place::Quarantined { reason },
                    _ => Place::Done,
                },
            };
            self.counts.quarantined += usize::from(matches!(place, Place::Quarantined { .. }));
            if let Some(change) = self.change_mut(sequence_number) {
                change.place = if place == Place::Done && change.entries > 0 { Place::Audited } else { place };
            }
        }
        self.trim();
    }

    /// Drops the lines and documents of the oldest invocations until the rest fit into the memory limit.
    fn trim(&mut self) {
        let mut oldest_first = self.invocations.newest_first_mut().rev();
        while self.text > MAX_TEXT
            && let Some(invocation) = oldest_first.next()
        {
            self.text -= invocation.bytes().min(self.text);
            invocation.trim();
        }
    }

    fn add_entry(&mut self, entry: &Entry, now: DateTime<Utc>) {
        self.counts.entries += 1;
        self.seconds.at(now).entries += 1;
        let (id, key, attribute) = (entry.text("id"), entry.text("itemKey"), entry.text("updatedAttribute"));
        let name = Some(attribute).filter(|name| !name.is_empty());
        let arn = self.stream_arn.as_ref();
        let is_its =
            |change: &&mut Change| change.key == key && entry_id(arn, &change.event_id, name).to_string() == id;
        let Some(change) = self.changes.newest_first_mut().find(is_its) else { return };
        let lag = (now - change.created).num_milliseconds().max(0) as f64;
        change.lag_ms = Some(lag);
        change.attribute = name.filter(|_| change.entries == 0).map(ToOwned::to_owned);
        change.entries += 1;
        if change.place == Place::Done {
            change.place = Place::Audited;
        }
        let request_id = change.request_id.clone();
        self.last_lag_ms = Some(lag);
        let second = self.seconds.at(now);
        second.longest_lag_ms = second.longest_lag_ms.max(lag);
        let Some(request_id) = request_id else { return };
        let invocation = self.invocations.newest_first_mut().find(|invocation| invocation.request_id == request_id);
        if let Some(invocation) = invocation.filter(|invocation| invocation.entries.len() < MAX_ENTRIES) {
            let (id, key, attribute) = (id.to_owned(), key.to_owned(), attribute.to_owned());
            self.by_entry.insert(id.clone(), request_id);
            invocation.entries.push(StoredEntry { id, key, attribute });
        }
    }

    fn schedule(&mut self, shard_id: &str, retry: Retry) {
        for change in self.changes.newest_first_mut().filter(|change| change.shard_id == shard_id) {
            if let Place::Failed { reason } = &change.place {
                let reason = if reason.is_empty() { retry.reason.clone() } else { reason.clone() };
                change.place = Place::AwaitingRetry { retry: retry.retry, at: retry.at, reason };
            }
        }
        self.shards.entry(shard_id.to_owned()).or_default().retry = Some(retry);
    }

    fn advance(&mut self, shard_id: &str, done: &SequenceNumber) {
        let given_up = self.given_up.take();
        let Some(shard) = self.shards.get_mut(shard_id) else { return };
        let mut finished = Vec::new();
        while let Some((sequence_number, _)) = shard.outstanding.pop_front_if(|(number, _)| *number <= *done) {
            finished.push(sequence_number);
        }
        for sequence_number in finished {
            let Some(change) = self.change_mut(sequence_number.as_str()) else { continue };
            if !change.place.is_final() {
                change.place = match &given_up {
                    Some(condition) => Place::GivenUp { condition: condition.clone() },
                    None => Place::Done,
                };
            }
        }
    }

    fn notice(&mut self, at: DateTime<Utc>, is_good: bool, text: String) {
        self.notices.push(Notice { at, is_good, text });
    }
}

/// The outcome of each record and its reason, by sequence number: from the spans and the log lines about single
/// records.
fn outcomes(invocation: &Invocation) -> HashMap<String, (String, String)> {
    let mut outcomes = HashMap::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for document in &invocation.documents {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        for span in document["subsegments"].as_array().into_iter().flatten() {
            let metadata = &span["metadata"];
            let sequence_number = text(&metadata["config_audit.record.sequence_number"]);
            let outcome = (text(&metadata["config_audit.record.outcome"]), text(&metadata["error.type"]));
            outcomes.insert(sequence_number, outcome);
        }
    }
    for (_, line) in &invocation.lines {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        let reason = text(&line["reason"]);
        if let (Some(sequence_number), false) = (line["sequenceNumber"].as_str(), reason.is_empty()) {
            let is_quarantined = text(&line["message"]).starts_with("record quarantined");
            let outcome = if is_quarantined { "quarantined" } else { "failed" };
            outcomes.insert(sequence_number.to_owned(), (outcome.to_owned(), reason));
        }
    }
    outcomes
}

#[cfg(test)]
mod tests;
