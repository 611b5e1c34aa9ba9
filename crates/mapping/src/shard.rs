//! What the event source mapping decides for one shard. Pure: records, answers and the time go in, and the next step comes
//! out.
//!
//! The caller repeatedly asks a [`ShardState`] for the next [`Step`], performs it, and reports the outcome:
//!
//! - [`Step::Invoke`]: invoke the function, then [`ShardState::answered`].
//! - [`Step::GiveUp`]: write the records to the on-failure destination, then [`ShardState::gave_up`] or
//!   [`ShardState::postpone`].
//! - [`Step::Wait`]: come back later, or when there are more records.
//!
//! The rules are Lambda's, from its documentation. Where that is silent, the following applies here:
//!
//! - Only the records that are too old are given up on; younger ones behind them in the batch are still delivered.
//! - A reported failure at the batch's first record leaves nothing to split off, so the whole batch is retried.
//! - An answer that is neither a JSON object nor null fails the whole batch.
//! - The first retry waits for `first_retry_delay`, and each further one twice as long, up to `longest_retry_delay`.
//! - A write that the destination rejects is retried, with the same delays; Lambda would drop the records.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::SequenceNumber;

/// What a function returned, or why it returned nothing, in one line.
pub type Answer = Result<Vec<u8>, String>;

/// The largest event, in bytes.
pub const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024;
/// The bytes of an event around its records: `{"Records":[` and `]}`.
const ENVELOPE: usize = 14;

/// The settings of an event source mapping, under AWS's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingSettings {
    /// `BatchSize`: the most records in an invocation, 1 to 10,000.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`: how long to gather records that do not fill a batch.
    pub batching_window: Duration,
    /// `MaximumRetryAttempts`; `None` is AWS's -1, which retries until the records are too old.
    pub maximum_retry_attempts: Option<u32>,
    /// `MaximumRecordAgeInSeconds`; `None` is AWS's -1.
    pub maximum_record_age: Option<Duration>,
    /// `BisectBatchOnFunctionError`.
    pub bisect_batch_on_function_error: bool,
    /// `FunctionResponseTypes` includes `ReportBatchItemFailures`. Without it, what the function returns is ignored.
    pub report_batch_item_failures: bool,
    /// The wait before the first retry. Lambda does not publish its own.
    pub first_retry_delay: Duration,
    /// The longest wait before a retry.
    pub longest_retry_delay: Duration,
}

impl Default for MappingSettings {
    /// The settings in `serverless/trigger.yml`, except the window: nobody makes bulk changes on a laptop.
    fn default() -> Self {
        Self {
            batch_size: 100,
            batching_window: Duration::ZERO,
            maximum_retry_attempts: None,
            // 79,200 s: two hours before the records leave the stream.
            maximum_record_age: Some(Duration::from_hours(22)),
            bisect_batch_on_function_error: true,
            report_batch_item_failures: true,
            first_retry_delay: Duration::from_millis(500),
            longest_retry_delay: Duration::from_mins(1),
        }
    }
}

/// A record of the stream, as the mapping handles it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// Its position in the shard.
    pub sequence_number: SequenceNumber,
    /// `ApproximateCreationDateTime`, in milliseconds since 1970.
    pub created_ms: i64,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event_name: String,
    /// The record as it appears in the event.
    pub json: String,
}

/// Why Lambda gave up on records, in the words of its invocation record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `RetryAttemptsExhausted`.
    RetryAttemptsExhausted,
    /// `RecordAgeExceeded`.
    RecordAgeExceeded,
}

impl Condition {
    /// The condition's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
        }
    }
}

/// The next step for a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Invoke the function with these records.
    Invoke(Vec<Arc<StreamRecord>>),
    /// Give up on these records: write them to the on-failure destination, or drop them if there is none.
    GiveUp {
        /// The records.
        records: Vec<Arc<StreamRecord>>,
        /// Why.
        condition: Condition,
        /// How often the function was invoked with them.
        invocations: u32,
    },
    /// Wait until this time in milliseconds since 1970; without one, until a record arrives.
    Wait(Option<i64>),
}

/// An effect of an answer. Effects are listed in the order in which they occur.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// All records up to this one are done.
    CheckpointAdvanced(SequenceNumber),
    /// The batch was split before this record.
    Bisected(SequenceNumber),
    /// The batch will be tried again.
    Retry {
        /// The number of records in it.
        records: usize,
        /// Which retry, from 1.
        retry: u32,
        /// The wait before it.
        after: Duration,
        /// Why it failed.
        reason: String,
    },
}

/// One shard's batches, in order: the first is being worked on, the others wait for it.
#[derive(Debug)]
pub struct ShardState {
    settings: MappingSettings,
    batches: VecDeque<Batch>,
    /// Records that were read but are not in a batch yet.
    gathered: VecDeque<Arc<StreamRecord>>,
    /// When the oldest of `gathered` was read.
    gathering_since: i64,
    under_way: UnderWay,
}

#[derive(Debug)]
struct Batch {
    records: Vec<Arc<StreamRecord>>,
    retries: u32,
    invocations: u32,
    refusals: u32,
    exhausted: bool,
    /// The batch waits until this time.
    not_before: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnderWay {
    Nothing,
    Invocation,
    /// This many records from the front of the first batch.
    GivingUp(usize),
}

impl ShardState {
    /// A shard from which nothing has been read yet.
    #[must_use]
    pub fn new(settings: MappingSettings) -> Self {
        Self {
            settings,
            batches: VecDeque::new(),
            gathered: VecDeque::new(),
            gathering_since: 0,
            under_way: UnderWay::Nothing,
        }
    }

    /// How many more records are useful now: 0 while a full batch is already waiting.
    #[must_use]
    pub fn room(&self) -> usize {
        self.settings.batch_size.saturating_sub(self.gathered.len())
    }

    /// Whether all records that were added are done.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.batches.is_empty() && self.gathered.is_empty()
    }

    /// Adds the shard's next record.
    pub fn push(&mut self, record: StreamRecord, now_ms: i64) {
        if self.gathered.is_empty() {
            self.gathering_since = now_ms;
        }
        self.gathered.push_back(Arc::new(record));
    }

    /// The next step. While one is under way, it is [`Step::Wait`].
    pub fn next(&mut self, now_ms: i64) -> Step {
        if self.under_way != UnderWay::Nothing {
            return Step::Wait(None);
        }
        if self.batches.is_empty() {
            if self.gathered.is_empty() {
                return Step::Wait(None);
            }
            if let Err(until) = self.close_batch(now_ms) {
                return Step::Wait(Some(until));
            }
        }
        let Some(batch) = self.batches.front() else { return Step::Wait(None) };
        if batch.not_before > now_ms {
            return Step::Wait(Some(batch.not_before));
        }
        let too_old = |record: &Arc<StreamRecord>| {
            self.settings.maximum_record_age.is_some_and(|age| now_ms - record.created_ms > millis(age))
        };
        let expired = batch.records.iter().take_while(|record| too_old(record)).count();
        let (count, condition) = match (expired, batch.exhausted) {
            (0, false) => {
                self.under_way = UnderWay::Invocation;
                return Step::Invoke(batch.records.clone());
            }
            (0, true) => (batch.records.len(), Condition::RetryAttemptsExhausted),
            (expired, _) => (expired, Condition::RecordAgeExceeded),
        };
        self.under_way = UnderWay::GivingUp(count);
        Step::GiveUp { records: batch.records[..count].to_vec(), condition, invocations: batch.invocations }
    }

    /// Reports the outcome of [`Step::Invoke`]: what the function returned, or why it returned nothing.
    pub fn answered(&mut self, answer: &Answer, now_ms: i64) -> Vec<Effect> {
        if self.under_way != UnderWay::Invocation {
            return Vec::new();
        }
        self.under_way = UnderWay::Nothing;
        let Some(mut batch) = self.batches.pop_front() else { return Vec::new() };
        batch.invocations += 1;
        batch.refusals = 0;
        let bisect = self.settings.bisect_batch_on_function_error;
        let mut effects = Vec::new();
        match judge(answer, &batch.records, self.settings.report_batch_item_failures) {
            Verdict::Success => effects.extend(batch.records.last().map(advanced)),
            Verdict::FailedFrom(0) => {
                let reason = "the batch's first record was reported as failed".to_owned();
                self.retry(batch, reason, now_ms, &mut effects);
            }
            Verdict::FailedFrom(index) => {
                let rest = batch.records.split_off(index);
                effects.extend(batch.records.last().map(advanced));
                batch.records = rest;
                if bisect {
                    effects.extend(batch.records.first().map(split));
                    self.batches.push_front(batch);
                } else {
                    self.retry(batch, "a record was reported as failed".to_owned(), now_ms, &mut effects);
                }
            }
            Verdict::Failed(_) if bisect && batch.records.len() > 1 => {
                let second = batch.records.split_off(batch.records.len() / 2);
                effects.extend(second.first().map(split));
                let second = Batch { records: second, ..batch };
                self.batches.push_front(second);
                self.batches.push_front(batch);
            }
            Verdict::Failed(reason) => self.retry(batch, reason, now_ms, &mut effects),
        }
        effects
    }

    /// Reports that the records of [`Step::GiveUp`] are in the destination.
    pub fn gave_up(&mut self) -> Vec<Effect> {
        let UnderWay::GivingUp(count) = self.under_way else { return Vec::new() };
        self.under_way = UnderWay::Nothing;
        let Some(batch) = self.batches.front_mut() else { return Vec::new() };
        batch.refusals = 0;
        let effects = batch.records.drain(..count).next_back().as_ref().map(advanced).into_iter().collect();
        if batch.records.is_empty() {
            self.batches.pop_front();
        }
        effects
    }

    /// Reports that the step failed through no fault of the function. It is repeated, with increasing delays.
    pub fn postpone(&mut self, now_ms: i64) {
        self.under_way = UnderWay::Nothing;
        if let Some(batch) = self.batches.front_mut() {
            batch.refusals += 1;
            batch.not_before = now_ms + millis(delay(&self.settings, batch.refusals));
        }
    }

    /// Makes a batch of the gathered records, or says when that will be possible.
    fn close_batch(&mut self, now_ms: i64) -> Result<(), i64> {
        let mut bytes = ENVELOPE;
        let fitting = self.gathered.iter().take(self.settings.batch_size.max(1)).take_while(|record| {
            bytes += record.json.len() + 1;
            bytes <= PAYLOAD_LIMIT
        });
        // A record larger than the limit would wait forever, so it is sent alone.
        let count = fitting.count().max(1);
        let full = count >= self.settings.batch_size || count < self.gathered.len();
        let closes = self.gathering_since + millis(self.settings.batching_window);
        if !full && now_ms < closes {
            return Err(closes);
        }
        let records = self.gathered.drain(..count).collect();
        self.gathering_since = now_ms;
        self.batches.push_back(Batch {
            records,
            retries: 0,
            invocations: 0,
            refusals: 0,
            exhausted: false,
            not_before: now_ms,
        });
        Ok(())
    }

    fn retry(&mut self, mut batch: Batch, reason: String, now_ms: i64, effects: &mut Vec<Effect>) {
        if self.settings.maximum_retry_attempts.is_some_and(|maximum| batch.retries >= maximum) {
            batch.exhausted = true;
        } else {
            batch.retries += 1;
            let after = delay(&self.settings, batch.retries);
            batch.not_before = now_ms + millis(after);
            effects.push(Effect::Retry { records: batch.records.len(), retry: batch.retries, after, reason });
        }
        self.batches.push_front(batch);
    }
}

fn advanced(record: &Arc<StreamRecord>) -> Effect {
    Effect::CheckpointAdvanced(record.sequence_number.clone())
}

fn split(record: &Arc<StreamRecord>) -> Effect {
    Effect::Bisected(record.sequence_number.clone())
}

fn delay(settings: &MappingSettings, times: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(times.saturating_sub(1));
    settings.first_retry_delay.saturating_mul(doubled).min(settings.longest_retry_delay)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// What an answer says about its batch.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Success,
    /// The record at this index and all after it are delivered again.
    FailedFrom(usize),
    /// The whole batch failed, for this reason.
    Failed(String),
}

fn judge(answer: &Answer, records: &[Arc<StreamRecord>], report_failures: bool) -> Verdict {
    let body = match answer {
        Ok(_) if !report_failures => return Verdict::Success,
        Ok(body) => body,
        Err(reason) => return Verdict::Failed(reason.clone()),
    };
    let failures = match serde_json::from_slice(body) {
        _ if body.is_empty() => return Verdict::Success,
        Ok(Value::Null) => return Verdict::Success,
        Ok(Value::Object(mut response)) => response.remove("batchItemFailures").unwrap_or(Value::Null),
        Ok(_) => return Verdict::Failed("the answer is not a JSON object".to_owned()),
        Err(error) => return Verdict::Failed(format!("the answer is not valid JSON: {error}")),
    };
    let failures = match failures {
        Value::Null => return Verdict::Success,
        Value::Array(failures) => failures,
        _ => return Verdict::Failed("batchItemFailures is not a list".to_owned()),
    };
    let mut lowest = None;
    for failure in failures {
        let Some(identifier) = failure["itemIdentifier"].as_str().filter(|identifier| !identifier.is_empty()) else {
            return Verdict::Failed("an item of batchItemFailures has no itemIdentifier".to_owned());
        };
        let number = SequenceNumber::new(identifier);
        let Some(index) = records.iter().position(|record| record.sequence_number == number) else {
            return Verdict::Failed(format!("itemIdentifier {identifier} is not a sequence number of the batch"));
        };
        if lowest.as_ref().is_none_or(|(lowest, _)| number < *lowest) {
            lowest = Some((number, index));
        }
    }
    lowest.map_or(Verdict::Success, |(_, index)| Verdict::FailedFrom(index))
}

#[cfg(test)]
mod tests;
