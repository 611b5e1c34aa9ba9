//! The I/O of the event source mapping: reads the stream, does what [`ShardState`] decides, and publishes what happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodbstreams::types::OperationType;
use chrono::DateTime;
use config_audit_mapping::destination::GivenUp;
use config_audit_mapping::shard::Effect;
use config_audit_mapping::{Condition, MappingSettings, ShardState, Step, StreamRecord, event};
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::checkpoint::Checkpoint;
use super::record::{item_key, stream_record};
use super::warnings::Warnings;
use crate::aws::stream::StreamReader;
use crate::bucket::Bucket;
use crate::event::{EventBus, WorldEvent};
use crate::faults::Breaker;
use crate::function::Function;
use config_audit::aws::error_chain;
use config_audit::clock::Clock;

/// Lambda polls a shard four times a second.
const POLL: Duration = Duration::from_millis(250);
/// How often to look for new shards.
const REFRESH: Duration = Duration::from_secs(5);
/// The minimum time between two empty polls that are published.
const EMPTY_POLL: Duration = Duration::from_mins(1);

/// What an event source mapping connects.
#[derive(Debug)]
pub struct Endpoints {
    /// The stream's API.
    pub streams: aws_sdk_dynamodbstreams::Client,
    /// The stream.
    pub stream_arn: String,
    /// The function.
    pub function: Arc<Mutex<Function>>,
    /// The function's ARN, which the destination's objects contain.
    pub function_arn: String,
    /// The on-failure destination.
    pub destination: Arc<Bucket>,
}

/// An event source mapping.
///
/// One process of the function serves all shards, one batch after the other; `ParallelizationFactor` is 1.
#[derive(Debug)]
pub struct EventSourceMapping {
    settings: MappingSettings,
    stream_arn: String,
    function: Arc<Mutex<Function>>,
    function_arn: String,
    destination: Arc<Bucket>,
    reader: StreamReader,
    checkpoint: Checkpoint,
    shards: BTreeMap<String, Shard>,
    bus: EventBus,
    warnings: Warnings,
    breaker: Breaker,
    /// When the next empty poll is published.
    empty_poll_at: Instant,
}

#[derive(Debug)]
struct Shard {
    state: ShardState,
    /// The request ID of the last invocation, and whether it failed.
    last: Option<(String, bool)>,
}

impl EventSourceMapping {
    /// A mapping that resumes at the checkpoint, or starts with the oldest record. The breaker can disable it.
    #[must_use]
    pub fn new(
        settings: MappingSettings,
        endpoints: Endpoints,
        checkpoint: Checkpoint,
        bus: EventBus,
        breaker: Breaker,
    ) -> Self {
        let Endpoints { streams, stream_arn, function, function_arn, destination } = endpoints;
        let reader = StreamReader::new(streams, stream_arn.clone(), checkpoint.shards().clone());
        let warnings = Warnings::new(bus.clone());
        let shards = BTreeMap::new();
        Self {
            settings,
            stream_arn,
            function,
            function_arn,
            destination,
            reader,
            checkpoint,
            shards,
            bus,
            warnings,
            breaker,
            empty_poll_at: Clock::System.instant(),
        }
    }

    /// Runs until it is dropped. The next mapping redelivers what was not done by then.
    pub async fn run(mut self) {
        let mut refresh_at = Clock::System.instant();
        loop {
            if self.breaker.faults().mapping_disabled {
                tokio::time::sleep(POLL).await;
                continue;
            }
            if Clock::System.instant() >= refresh_at || self.reader.is_outdated() {
                refresh_at = Clock::System.instant() + REFRESH;
                let action = "listing the stream's shards";
                match self.reader.refresh().await {
                    Ok(()) => self.warnings.worked(action),
                    Err(error) => self.warnings.failed(action, error.to_string()),
                }
            }
            let mut wait = POLL;
            for shard_id in self.readable() {
                wait = wait.min(self.poll(&shard_id).await);
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn readable(&self) -> Vec<String> {
        let shards: Vec<_> = self.reader.shards().collect();
        readable(&shards, |shard_id| {
            let is_idle = self.shards.get(shard_id).is_none_or(|shard| shard.state.is_idle());
            self.reader.is_exhausted(shard_id) && is_idle
        })
    }

    /// Reads a shard and performs its next step. Returns how long to wait before the next one.
    async fn poll(&mut self, shard_id: &str) -> Duration {
        let new = || Shard { state: ShardState::new(self.settings.clone()), last: None };
        let room = self.shards.entry(shard_id.to_owned()).or_insert_with(new).state.room();
        if room > 0 {
            self.read(shard_id, room).await;
        }
        let Some(shard) = self.shards.get_mut(shard_id) else { return POLL };
        match shard.state.next(now_ms()) {
            Step::Wait(None) => POLL,
            Step::Wait(Some(until)) => Duration::from_millis(u64::try_from(until - now_ms()).unwrap_or_default()),
            Step::Invoke(records) => {
                self.invoke(shard_id, &records).await;
                Duration::ZERO
            }
            Step::GiveUp { records, condition, invocations } => {
                self.give_up(shard_id, &records, condition, invocations).await;
                Duration::ZERO
            }
        }
    }

    async fn read(&mut self, shard_id: &str, limit: usize) {
        let action = format!("reading shard {shard_id}");
        let page = match self.reader.read(shard_id, limit).await {
            Ok(page) => page,
            Err(error) => return self.warnings.failed(&action, error.to_string()),
        };
        self.warnings.worked(&action);
        let now = Clock::System.instant();
        if !page.records.is_empty() || now >= self.empty_poll_at {
            self.empty_poll_at = now + EMPTY_POLL;
            self.bus.publish(WorldEvent::StreamPolled { records: page.records.len() });
        }
        if let Some(message) = page.notice {
            self.bus.publish(WorldEvent::Warning { message });
        }
        let is_damaged = self.breaker.faults().records_damaged;
        let Some(shard) = self.shards.get_mut(shard_id) else { return };
        for mut record in page.records {
            if is_damaged {
                record.event_name = Some(OperationType::from("BROKEN_ON_PURPOSE"));
            }
            let (event_id, item_key) = (record.event_id.clone().unwrap_or_default(), item_key(&record));
            match stream_record(record, &self.stream_arn) {
                Ok(record) => {
                    self.bus.publish(WorldEvent::RecordRead {
                        shard_id: shard_id.to_owned(),
                        sequence_number: record.sequence_number.clone(),
                        event_id,
                        event_name: record.event_name.clone(),
                        item_key,
                        created: DateTime::from_timestamp_millis(record.created_ms).unwrap_or_default(),
                    });
                    shard.state.push(record, now_ms());
                }
                Err(error) => self.bus.publish(WorldEvent::Warning { message: error_chain(&error) }),
            }
        }
    }

    async fn invoke(&mut self, shard_id: &str, records: &[Arc<StreamRecord>]) {
        for record in records {
            self.bus.publish(WorldEvent::RecordDelivered {
                shard_id: shard_id.to_owned(),
                sequence_number: record.sequence_number.clone(),
                event_name: record.event_name.clone(),
            });
        }
        let invoked = self.function.lock().await.invoke(event(records)).await;
        let Some(shard) = self.shards.get_mut(shard_id) else { return };
        let action = "starting the function";
        match invoked {
            Ok(completed) => {
                self.warnings.worked(action);
                shard.last = Some((completed.request_id, completed.outcome.is_err()));
                let answer = completed.outcome.map(|body| body.to_vec()).map_err(|error| error.to_string());
                let effects = shard.state.answered(&answer, now_ms());
                self.apply(shard_id, effects);
            }
            Err(error) => {
                shard.state.postpone(now_ms());
                self.warnings.failed(action, error_chain(&error));
            }
        }
    }

    async fn give_up(&mut self, shard_id: &str, records: &[Arc<StreamRecord>], condition: Condition, invocations: u32) {
        let last = self.shards.get(shard_id).and_then(|shard| shard.last.clone());
        let (request_id, function_error) = last.unwrap_or_else(|| (Uuid::new_v4().to_string(), false));
        let given_up = GivenUp {
            mapping: self.checkpoint.mapping(),
            stream_arn: &self.stream_arn,
            shard_id,
            function_arn: &self.function_arn,
            records,
            condition,
            invocations,
            request_id: &request_id,
            function_error,
        };
        let now = Clock::System.now();
        let key = given_up.key(now, Uuid::new_v4());
        let written = match given_up.body(now) {
            Ok(body) => self.destination.put(&key, &body).await.map_err(|error| error_chain(&error)),
            Err(error) => Err(error.to_string()),
        };
        let Some(shard) = self.shards.get_mut(shard_id) else { return };
        match written {
            Ok(()) => {
                let effects = shard.state.gave_up();
                self.bus.publish(WorldEvent::SentToDestination { key, condition, records: records.len() });
                self.apply(shard_id, effects);
            }
            Err(message) => {
                shard.state.postpone(now_ms());
                self.bus.publish(WorldEvent::DestinationFailed { message });
            }
        }
    }

    /// Publishes the effects, and moves the checkpoint.
    fn apply(&mut self, shard_id: &str, effects: Vec<Effect>) {
        for effect in effects {
            let shard_id = shard_id.to_owned();
            let event = match effect {
                Effect::Bisected(at) => WorldEvent::BatchBisected { shard_id, at },
                Effect::Retry { records, retry, after: delay, reason } => {
                    WorldEvent::RetryScheduled { shard_id, records, retry, delay, reason }
                }
                Effect::CheckpointAdvanced(sequence_number) => {
                    let action = "storing the checkpoint";
                    match self.checkpoint.advance(&shard_id, sequence_number.clone()) {
                        Ok(()) => self.warnings.worked(action),
                        Err(error) => self.warnings.failed(action, error_chain(&error)),
                    }
                    WorldEvent::CheckpointAdvanced { shard_id, sequence_number }
                }
            };
            self.bus.publish(event);
        }
    }
}

/// The shards whose parent is done, because a child's records come after all of its parent's. Each shard is given with
/// its parent; a parent that is not listed has left the stream.
fn readable(shards: &[(&str, Option<&str>)], is_done: impl Fn(&str) -> bool) -> Vec<String> {
    let is_pending = |parent: &str| shards.iter().any(|(id, _)| *id == parent) && !is_done(parent);
    let readable = shards.iter().filter(|(_, parent)| !parent.is_some_and(is_pending));
    readable.map(|(id, _)| (*id).to_owned()).collect()
}

fn now_ms() -> i64 {
    Clock::System.now().timestamp_millis()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_sdk_dynamodbstreams::Client;
    use config_audit_fake_aws::{Answer, refusal, service};
    use serde_json::json;
    use tempfile::TempDir;
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;
    use crate::aws::AwsSettings;
    use crate::function::FunctionSettings;

    #[test]
    fn a_child_shard_waits_for_its_parent() {
        let shards = [("a", Some("left the stream")), ("b", Some("a")), ("c", Some("b")), ("d", None)];
        assert_eq!(readable(&shards, |_| false), ["a", "d"]);
        assert_eq!(readable(&shards, |shard| shard == "a"), ["a", "b", "d"]);
        assert_eq!(readable(&shards, |shard| shard == "a" || shard == "b"), ["a", "b", "c", "d"]);
    }

    /// A mapping whose requests for records get these answers, and its events. The failure bucket is in the directory.
    async fn mapping(
        directory: &TempDir,
        breaker: Breaker,
        get_records: impl Fn() -> Answer + Send + Sync + 'static,
    ) -> (EventSourceMapping, UnboundedReceiver<Arc<WorldEvent>>) {
        let config = service(move |operation, _| match operation {
            "DescribeStream" => (200, json!({ "StreamDescription": { "Shards": [{ "ShardId": "one" }] } })),
            "GetShardIterator" => (200, json!({ "ShardIterator": "first" })),
            _ => get_records(),
        });
        let bus = EventBus::new();
        let events = bus.subscribe();
        let function = Function::start(FunctionSettings::new("unused"), bus.clone(), breaker.clone()).await.unwrap();
        let aws = AwsSettings::dummy();
        let destination = Bucket::start(directory.path(), "failures", &aws, breaker.clone()).await.unwrap();
        let endpoints = Endpoints {
            streams: Client::new(&config),
            stream_arn: "stream".to_owned(),
            function: Arc::new(Mutex::new(function)),
            function_arn: "function".to_owned(),
            destination: Arc::new(destination),
        };
        let checkpoint = Checkpoint::in_memory("stream");
        (EventSourceMapping::new(MappingSettings::default(), endpoints, checkpoint, bus, breaker), events)
    }

    fn no_records() -> Answer {
        (200, json!({ "Records": [], "NextShardIterator": "next" }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_cannot_be_read_for_minutes_is_reported_once_and_so_is_the_end() {
        const FAILURES: usize = 1000;
        let asked = Arc::new(AtomicUsize::new(0));
        let answers = Arc::clone(&asked);
        let directory = tempfile::tempdir().unwrap();
        let (mapping, mut events) = mapping(&directory, Breaker::default(), move || {
            if answers.fetch_add(1, Ordering::Relaxed) < FAILURES {
                refusal("AccessDeniedException")
            } else {
                no_records()
            }
        })
        .await;
        let started = Clock::System.instant();
        let ended = async {
            while asked.load(Ordering::Relaxed) < FAILURES + 10 {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            () = mapping.run() => panic!("the mapping ended"),
            () = ended => {}
        }
        let elapsed = Clock::System.instant() - started;
        assert!(elapsed > 10 * REFRESH, "{elapsed:?}");
        let mut messages = Vec::new();
        while let Ok(event) = events.try_recv() {
            match &*event {
                WorldEvent::Warning { message } | WorldEvent::Recovered { message } => messages.push(message.clone()),
                // A failed poll does not count.
                WorldEvent::StreamPolled { records: 0 } => assert_eq!(messages.len(), 2),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            messages,
            ["cannot read a shard of stream stream: AccessDeniedException", "reading shard one works again"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_mapping_shows_once_a_minute_that_it_polls_and_a_disabled_one_never() {
        for (is_disabled, polls) in [(false, 60), (true, 0)] {
            let breaker = Breaker::default();
            breaker.update(|faults| faults.mapping_disabled = is_disabled);
            let directory = tempfile::tempdir().unwrap();
            let (mapping, mut events) = mapping(&directory, breaker, no_records).await;
            tokio::time::timeout(59 * EMPTY_POLL + EMPTY_POLL / 2, mapping.run()).await.unwrap_err();
            let mut seen = 0;
            while let Ok(event) = events.try_recv() {
                assert!(matches!(*event, WorldEvent::StreamPolled { records: 0 }), "{event:?}");
                seen += 1;
            }
            assert_eq!(seen, polls);
        }
    }
}
