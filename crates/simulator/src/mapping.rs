//! The event source mapping: its lanes deliver the records of each shard to the function.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use config_audit_mapping::destination::GivenUp;
use config_audit_mapping::shard::Effect;
use config_audit_mapping::{Condition, SequenceNumber, ShardState, Step, StreamRecord};
use tokio::time::{sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::change::STREAM_ARN;
use crate::fault::Fault;
use crate::function::{FUNCTION_ARN, Function};
use crate::laws;
use crate::ledger::{TrackedChange, index_of};
use crate::observed::Metric;
use crate::run::Run;
use crate::scenario::Millis;
use crate::stream::{Read, Stream};

/// Lambda polls a shard four times a second.
const POLL: u64 = 250;
/// A run that needs more invocations than this does not settle.
const MAX_INVOCATIONS: u64 = 50_000;

/// The mapping of a run.
#[derive(Debug)]
pub(crate) struct Mapping {
    run: Rc<Run>,
    stream: Rc<Stream>,
    function: Rc<Function>,
}

impl Mapping {
    pub(crate) fn new(run: Rc<Run>, stream: Rc<Stream>, function: Rc<Function>) -> Self {
        Self { run, stream, function }
    }

    /// Starts the lanes of a shard.
    pub(crate) fn start_shard(self: &Rc<Self>, shard: usize) {
        for lane in 0..self.run.scenario.parallelization_factor {
            self.run.spawn("the mapping", Self::poll(Rc::clone(self), shard, lane));
        }
    }

    /// Delivers the records of one shard to the function, for the keys assigned to this lane.
    async fn poll(self: Rc<Self>, shard: usize, lane: u64) {
        if let Some(parent) = self.stream.parent(shard) {
            loop {
                let news = self.stream.news(parent);
                let notified = news.notified();
                if self.stream.is_done(parent) {
                    break;
                }
                notified.await;
            }
        }
        let mut state = ShardState::new(self.run.scenario.mapping.clone());
        // Where to continue reading, and where to restart after the mapping got no records.
        let (mut cursor, mut checkpoint) = (0, 0);
        let mut last: Option<(String, bool)> = None;
        loop {
            if let Some((until, fault)) = self.run.cut_off_until(self.run.now()) {
                self.run.saw(fault);
                if fault == Fault::StreamReplaced {
                    self.emit_empty_polls(self.run.now(), until);
                }
                sleep_until(self.run.instant(until)).await;
                state = ShardState::new(self.run.scenario.mapping.clone());
                cursor = checkpoint;
                continue;
            }
            let news = self.stream.news(shard);
            let notified = news.notified();
            let mut polled = 0_u32;
            while state.room() > 0
                && let Some(tracked) = self.read(shard, lane, &mut cursor)
            {
                state.push(
                    StreamRecord {
                        sequence_number: SequenceNumber::new(tracked.change.sequence_number.clone()),
                        created_ms: tracked.change.at.timestamp() * 1_000,
                        event_name: tracked.change.event_name().to_owned(),
                        json: tracked.record.clone(),
                    },
                    self.run.now_ms(),
                );
                polled += 1;
            }
            if polled > 0 {
                self.run.emit(Metric::PolledEventCount, f64::from(polled));
            }
            match state.next(self.run.now_ms()) {
                Step::Wait(Some(until)) => {
                    let wait = Duration::from_millis(u64::try_from(until - self.run.now_ms()).unwrap_or_default());
                    let _ = timeout(wait, notified).await;
                }
                Step::Wait(None) => {
                    if self.stream.is_closed(shard) && state.is_idle() {
                        break;
                    }
                    let since = self.run.now();
                    notified.await;
                    self.emit_empty_polls(since, self.run.now());
                    sleep(Duration::from_millis(self.run.draw(POLL))).await;
                }
                Step::Invoke(records) => {
                    let effects = self.deliver(&mut state, records, &mut last).await;
                    self.advance(shard, effects, &mut checkpoint);
                }
                Step::GiveUp { records, condition, invocations } => {
                    self.give_up(&records, condition, invocations, last.clone().unwrap_or_default()).await;
                    let effects = state.gave_up();
                    self.advance(shard, effects, &mut checkpoint);
                }
            }
        }
        self.stream.end_lane(shard);
    }

    /// Emits the empty polls of a lane between two times.
    fn emit_empty_polls(&self, since: Millis, until: Millis) {
        let is_disabled = |at: Millis| matches!(self.run.cut_off_until(at), Some((_, Fault::MappingDisabled)));
        for at in (since..until).step_by(60_000).filter(|at| !is_disabled(*at)) {
            self.run.emit_at(at, Metric::PolledEventCount, 0.0);
        }
    }

    /// Sends records that Lambda gave up on to the on-failure destination, or drops them. `request_id` is the last
    /// invocation that had them, and `function_error` is whether it failed.
    async fn give_up(
        &self,
        records: &[Arc<StreamRecord>],
        condition: Condition,
        invocations: u32,
        (request_id, function_error): (String, bool),
    ) {
        let id = Uuid::from_u64_pair(self.run.draw(u64::MAX), self.run.draw(u64::MAX));
        let given_up = GivenUp {
            mapping: Uuid::nil(),
            stream_arn: STREAM_ARN,
            shard_id: "shardId-00000001",
            function_arn: FUNCTION_ARN,
            records,
            condition,
            invocations,
            request_id: &request_id,
            function_error,
        };
        let now = DateTime::from_timestamp_millis(self.run.now_ms()).unwrap_or_default();
        sleep(Duration::from_millis(self.run.draw(200))).await;
        self.run.saw(match condition {
            Condition::RetryAttemptsExhausted => Fault::RetriesExhausted,
            Condition::RecordAgeExceeded => Fault::RecordsTooOld,
        });
        let is_missing = self.run.strikes(Fault::DestinationMissing);
        if is_missing || self.run.strikes(Fault::DestinationRefuses) {
            if is_missing {
                self.run.emit(Metric::DroppedEventCount, records.len() as f64);
            } else {
                self.run.emit(Metric::DestinationDeliveryFailures, 1.0);
            }
            for record in records {
                self.run.ledger.change_of(&record.sequence_number).dropped.set(Some(self.run.now()));
            }
        } else {
            self.run.say(|| format!("given up, {}: {}", condition.as_str(), given_up.key(now, id)));
            for record in records {
                self.run.ledger.change_of(&record.sequence_number).given_up.set(Some(self.run.now()));
            }
            self.run.emit(Metric::OnFailureDestinationDeliveredEventCount, records.len() as f64);
            self.run.observe_object(&given_up.key(now, id));
            let laws = laws::of_the_destination(
                &self.run.ledger,
                self.run.scenario.is_fault_free(),
                records,
                given_up.body(now),
            );
            self.run.check(laws);
        }
    }

    /// A lane's next record that is still in the stream.
    fn read(&self, shard: usize, lane: u64, cursor: &mut usize) -> Option<Rc<TrackedChange>> {
        loop {
            match self.stream.read(shard, lane, cursor)? {
                Read::Record(tracked) => return Some(tracked),
                // It may have been delivered and stored, with only the checkpoint lagging behind.
                Read::Expired(tracked, at) => {
                    tracked.expired.set(Some(at));
                    self.run.saw(Fault::RecordsExpired);
                    self.run.check(laws::of_an_expiry(&self.run.scenario, &tracked));
                }
            }
        }
    }

    fn advance(&self, shard: usize, effects: Vec<Effect>, checkpoint: &mut usize) {
        for effect in effects {
            self.run.say(|| format!("mapping: {effect:?}"));
            if let Effect::CheckpointAdvanced(to) = effect {
                *checkpoint = self.stream.position_after(shard, index_of(&to));
            }
        }
    }

    async fn deliver(
        &self,
        state: &mut ShardState,
        records: Vec<Arc<StreamRecord>>,
        last: &mut Option<(String, bool)>,
    ) -> Vec<Effect> {
        if self.run.ledger.invocations() > MAX_INVOCATIONS {
            self.run.violate(format!("not settled after {MAX_INVOCATIONS} invocations"));
            state.answered(&Ok(Vec::new()), self.run.now_ms());
            return Vec::new();
        }
        if self.run.strikes(Fault::FunctionThrottled) {
            self.run.emit(Metric::Throttles, 1.0);
            state.postpone(self.run.now_ms());
            return Vec::new();
        }
        let mut answer = self.function.invoke(&records).await;
        if answer.is_ok() && self.run.strikes(Fault::RedeliveredAfterSuccess) {
            // Lambda lost the answer: the work is done again, and the second answer counts.
            answer = self.function.invoke(&records).await;
        }
        *last = Some((format!("request-{}", self.run.ledger.invocations()), answer.is_err()));
        if answer.is_ok() && self.run.strikes(Fault::StaleRedelivery) {
            let function = Rc::clone(&self.function);
            let wait = Duration::from_millis(self.run.draw(120_000));
            self.run.spawn("a stale redelivery", async move {
                sleep(wait).await;
                let _ = function.invoke(&records).await;
            });
        }
        state.answered(&answer, self.run.now_ms())
    }
}
