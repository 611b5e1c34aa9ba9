//! The rim of the event source mapping: reads the stream, does what [`ShardState`] decides, and tells of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config_audit_mapping::destination::GivenUp;
use config_audit_mapping::shard::Effect;
use config_audit_mapping::{Condition, MappingSettings, ShardState, Step, StreamRecord, event};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::checkpoint::Checkpoint;
use super::event::stream_record;
use crate::bucket::Bucket;
use crate::error_chain;
use crate::function::{Answer, Function};
use crate::happening::{Happening, Happenings};
use crate::stream::StreamReader;
use config_audit::clock::Clock;

/// Lambda polls a shard four times a second.
const POLL: Duration = Duration::from_millis(250);
/// How often to look for new shards.
const REFRESH: Duration = Duration::from_secs(5);

/// An event source mapping: a stream, a function, a destination.
///
/// One process of the function serves all shards, one batch after the other; `ParallelizationFactor` is 1.
#[derive(Debug)]
pub struct EventSourceMapping {
    settings: MappingSettings,
    stream_arn: String,
    reader: StreamReader,
    function: Arc<Mutex<Function>>,
    destination: Arc<Bucket>,
    checkpoint: Checkpoint,
    happenings: Happenings,
    shards: BTreeMap<String, Shard>,
    /// The last trouble told, so that one that stays is told once.
    trouble: Option<String>,
}

#[derive(Debug)]
struct Shard {
    state: ShardState,
    /// The last invocation: its request ID, and whether it failed.
    last: Option<(String, bool)>,
}

impl EventSourceMapping {
    /// A mapping that goes on where the checkpoint says, or begins with the oldest record.
    #[must_use]
    pub fn new(
        settings: MappingSettings,
        streams: aws_sdk_dynamodbstreams::Client,
        stream_arn: String,
        checkpoint: Checkpoint,
        function: Arc<Mutex<Function>>,
        destination: Arc<Bucket>,
        happenings: Happenings,
    ) -> Self {
        let reader = StreamReader::new(streams, stream_arn.clone(), checkpoint.shards().clone());
        Self {
            settings,
            stream_arn,
            reader,
            function,
            destination,
            checkpoint,
            happenings,
            shards: BTreeMap::new(),
            trouble: None,
        }
    }

    /// Runs until it is dropped. What was under way then is delivered again by the next one.
    pub async fn run(mut self) {
        let mut refresh_at = Clock::System.instant();
        loop {
            if Clock::System.instant() >= refresh_at {
                refresh_at = Clock::System.instant() + REFRESH;
                match self.reader.refresh().await {
                    Ok(()) => self.trouble = None,
                    Err(error) => self.told_once(error.to_string()),
                }
            }
            let mut wait = POLL;
            for shard_id in self.readable() {
                wait = wait.min(self.work(&shard_id).await);
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn readable(&self) -> Vec<String> {
        let shards: Vec<_> = self.reader.shards().collect();
        readable(&shards, |shard_id| {
            let idle = self.shards.get(shard_id).is_none_or(|shard| shard.state.is_idle());
            self.reader.is_exhausted(shard_id) && idle
        })
    }

    /// Reads a shard and does its next step. Returns how long there is nothing to do.
    async fn work(&mut self, shard_id: &str) -> Duration {
        let fresh = || Shard { state: ShardState::new(self.settings.clone()), last: None };
        let room = self.shards.entry(shard_id.to_owned()).or_insert_with(fresh).state.room();
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
        let page = match self.reader.read(shard_id, limit).await {
            Ok(page) => page,
            Err(error) => return self.told_once(error.to_string()),
        };
        if let Some(message) = page.notice {
            self.happenings.tell(Happening::Trouble { message });
        }
        let Some(shard) = self.shards.get_mut(shard_id) else { return };
        for record in page.records {
            match stream_record(record, &self.stream_arn) {
                Ok(record) => shard.state.push(record, now_ms()),
                Err(error) => self.happenings.tell(Happening::Trouble { message: error.to_string() }),
            }
        }
    }

    async fn invoke(&mut self, shard_id: &str, records: &[Arc<StreamRecord>]) {
        for record in records {
            self.happenings.tell(Happening::RecordDelivered {
                shard_id: shard_id.to_owned(),
                sequence_number: record.sequence_number.clone(),
                event_name: record.event_name.clone(),
            });
        }
        let invoked = self.function.lock().await.invoke(event(records)).await;
        let Some(shard) = self.shards.get_mut(shard_id) else { return };
        match invoked {
            Ok(invoked) => {
                let effects = shard.state.answered(&invoked.answer.to_mapping(), now_ms());
                shard.last = Some((invoked.request_id, !matches!(invoked.answer, Answer::Returned(_))));
                self.tell(shard_id, effects);
            }
            Err(error) => {
                shard.state.postpone(now_ms());
                self.told_once(error_chain(&error));
            }
        }
    }

    async fn give_up(&mut self, shard_id: &str, records: &[Arc<StreamRecord>], condition: Condition, invocations: u32) {
        let last = self.shards.get(shard_id).and_then(|shard| shard.last.clone());
        let (request_id, function_error) = last.unwrap_or_else(|| (Uuid::new_v4().to_string(), false));
        let function_arn = self.function.lock().await.settings().arn();
        let given_up = GivenUp {
            mapping: self.checkpoint.mapping(),
            stream_arn: &self.stream_arn,
            shard_id,
            function_arn: &function_arn,
            records,
            condition,
            invocations,
            request_id: &request_id,
            function_error,
        };
        let now = Clock::System.now();
        let key = given_up.key(now, Uuid::new_v4());
        let written = match given_up.body(now) {
            Ok(body) => self.destination.put(&key, body).await.map_err(|error| error_chain(&error)),
            Err(error) => Err(error.to_string()),
        };
        let Some(shard) = self.shards.get_mut(shard_id) else { return };
        match written {
            Ok(()) => {
                let effects = shard.state.gave_up();
                self.happenings.tell(Happening::SentToDestination { key, condition, records: records.len() });
                self.tell(shard_id, effects);
            }
            Err(message) => {
                shard.state.postpone(now_ms());
                self.happenings.tell(Happening::DestinationRefused { message });
            }
        }
    }

    fn tell(&mut self, shard_id: &str, effects: Vec<Effect>) {
        let shard_id = shard_id.to_owned();
        for effect in effects {
            let shard_id = shard_id.clone();
            let happening = match effect {
                Effect::Bisected(at) => Happening::Bisected { shard_id, at },
                Effect::Retry { records, retry, after, reason } => {
                    Happening::Retry { shard_id, records, retry, after, reason }
                }
                Effect::CheckpointAdvanced(sequence_number) => {
                    if let Err(error) = self.checkpoint.advance(&shard_id, sequence_number.clone()) {
                        self.told_once(error_chain(&error));
                    }
                    Happening::CheckpointAdvanced { shard_id, sequence_number }
                }
            };
            self.happenings.tell(happening);
        }
    }

    fn told_once(&mut self, message: String) {
        if self.trouble.as_ref() != Some(&message) {
            self.trouble = Some(message.clone());
            self.happenings.tell(Happening::Trouble { message });
        }
    }
}

/// The shards, each with its parent, whose ancestors are done: a child's records come after all of its parent's. A parent
/// that is not listed has left the stream.
fn readable(shards: &[(&str, Option<&str>)], done: impl Fn(&str) -> bool) -> Vec<String> {
    let waits = |parent: &str| shards.iter().any(|(id, _)| *id == parent) && !done(parent);
    let readable = shards.iter().filter(|(_, parent)| !parent.is_some_and(waits));
    readable.map(|(id, _)| (*id).to_owned()).collect()
}

fn now_ms() -> i64 {
    Clock::System.now().timestamp_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_shard_waits_for_its_parent() {
        let shards = [("a", Some("left the stream")), ("b", Some("a")), ("c", Some("b")), ("d", None)];
        assert_eq!(readable(&shards, |_| false), ["a", "d"]);
        assert_eq!(readable(&shards, |shard| shard == "a"), ["a", "b", "d"]);
        assert_eq!(readable(&shards, |shard| shard == "a" || shard == "b"), ["a", "b", "c", "d"]);
    }
}
