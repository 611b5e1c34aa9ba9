//! One invocation: decode, plan, write, report.
//!
//! **Invariant:** a record is acknowledged only when its entries are known to be stored, or it is known to be in the
//! failure bucket. All that is not known is reported as failed, and Lambda delivers it again.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{FutureExt, join};
use futures_util::stream::{self, StreamExt};
use lambda_runtime::Diagnostic;
use opentelemetry::trace::SpanContext;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::audit::{Context, Entry, plan};
use crate::aws::arn::StreamArn;
use crate::clock::Clock;
use crate::quarantine::{KeptRecord, Quarantine, omitted_key, quarantine_key};
use crate::report::{Cause, Object, Outcome, Record, Report};
use crate::store::{Store, StoreError};
use crate::stream::{EventName, NotAnEvent, Refusal, decode, identify, records};
use crate::writer::{Fate, Written, write};

/// What is kept of the time that Lambda allows, to answer and to send the telemetry: a tenth, within these bounds.
const MARGIN: std::ops::RangeInclusive<Duration> = Duration::from_millis(150)..=Duration::from_secs(1);
/// The most objects on their way to the failure bucket at once.
const OBJECTS_IN_FLIGHT: usize = 8;

/// Works on invocations, one at a time.
#[derive(Debug)]
pub struct Handler<S, Q> {
    /// The Audit table.
    pub store: S,
    /// The failure bucket, if there is one.
    pub quarantine: Option<Q>,
    /// The time.
    pub clock: Clock,
    /// The Configuration table's key.
    pub key_attribute: String,
    /// Whether entries tell where they come from.
    pub provenance: bool,
}

/// One invocation, as Lambda hands it over.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Lambda's ID of the invocation.
    pub request_id: String,
    /// The function's ARN as it was invoked.
    pub function_arn: String,
    /// Where the invocation belongs in a trace.
    pub trace: SpanContext,
    /// Whether this is the first invocation of the process.
    pub cold_start: bool,
    /// When Lambda stops the process, by the time of day.
    pub deadline: DateTime<Utc>,
    /// The event, as it came.
    pub event: &'a [u8],
}

/// Why an invocation failed as a whole, on purpose: nothing is acknowledged, and Lambda delivers the batch again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// The event is of another shape.
    #[error(transparent)]
    NotAnEvent(#[from] NotAnEvent),
    /// The stream does not carry both images.
    #[error(
        "the stream's view type is {0}, and an audit needs NEW_AND_OLD_IMAGES; a view type cannot be changed: \
         disable the table's stream, enable it with NEW_AND_OLD_IMAGES, and map the function to the new stream"
    )]
    ViewType(String),
    /// The Audit table cannot be written to until somebody changes something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Records failed that cannot be named to Lambda.
    #[error(
        "{0} records failed that have no sequence number, so they cannot be reported one by one, and the whole batch fails"
    )]
    NoSequenceNumber(usize),
    /// A fault of the function itself. Its message is withheld: it could quote configuration.
    #[error("the function panicked; the log has a line with the place, and this is a bug")]
    Panicked,
}

impl InvocationError {
    /// The error's short name, for Lambda, metrics and spans.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAnEvent(_) => "NotAnEvent",
            Self::ViewType(_) => "ViewType",
            Self::Store(_) => "AuditTable",
            Self::NoSequenceNumber(_) => "NoSequenceNumber",
            Self::Panicked => "Panicked",
        }
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        Self { error_type: error.code().to_owned(), error_message: error.to_string() }
    }
}

/// What is still to be done for a record after it was looked at.
#[derive(Debug, Default)]
struct Work {
    /// The places of its entries in the batch.
    places: Vec<usize>,
    /// Its full record is to be kept in the failure bucket.
    keep: Option<Keep>,
    /// Entries that name the kept record, so they are written only after it.
    held: Vec<Entry>,
}

/// An object that is to be put into the failure bucket.
#[derive(Debug)]
struct Keep {
    key: String,
    cause: Cause,
}

/// What came of a [`Keep`].
struct Kept {
    /// The record's place in the event.
    record: usize,
    cause: Cause,
    /// The attempt; none where there is no failure bucket.
    object: Option<Object>,
    /// Why it is not kept, if it is not.
    refused: Option<String>,
}

/// Entries to write, each ID once: DynamoDB refuses a request that has a key twice, and a record that is delivered
/// twice in one event makes the same entries.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    places: HashMap<Uuid, usize>,
}

impl Batch {
    fn add(&mut self, entry: Entry) -> usize {
        *self.places.entry(entry.id).or_insert_with(|| {
            self.entries.push(entry);
            self.entries.len() - 1
        })
    }
}

impl<S: Store, Q: Quarantine> Handler<S, Q> {
    /// Works on one invocation, and answers before its deadline.
    pub async fn handle(&self, invocation: &Invocation<'_>) -> Report {
        let now = self.clock.now();
        let start = self.clock.instant();
        let allowed = (invocation.deadline - now).to_std().unwrap_or_default();
        let margin = (allowed / 10).clamp(*MARGIN.start(), *MARGIN.end());
        let mut report = Report {
            request_id: invocation.request_id.clone(),
            function_arn: invocation.function_arn.clone(),
            trace: invocation.trace.clone(),
            cold_start: invocation.cold_start,
            started: now,
            span: (start, start),
            allowed,
            stream_arn: None,
            received: 0,
            records: Vec::new(),
            requests: Vec::new(),
            objects: Vec::new(),
            audits_written: 0,
            error: None,
        };
        let result = match records(invocation.event) {
            Err(error) => Err(error.into()),
            Ok(raw) => {
                report.received = raw.len();
                report.records.resize_with(raw.len(), || unsettled(start));
                let until = start + allowed.saturating_sub(margin);
                let work = self.work(&mut report, invocation, &raw, until);
                AssertUnwindSafe(work).catch_unwind().await.unwrap_or(Err(InvocationError::Panicked))
            }
        };
        report.span.1 = self.clock.instant();
        if let Err(error) = result {
            let cause = Cause::new(error.code(), error.to_string());
            for record in report.records.iter_mut().filter(|record| matches!(record.outcome, Outcome::Failed(_))) {
                record.outcome = Outcome::Failed(cause.clone());
                record.span.1 = report.span.1;
            }
            report.error = Some(error);
        }
        report
    }

    async fn work(
        &self,
        report: &mut Report,
        invocation: &Invocation<'_>,
        raw: &[&RawValue],
        until: Instant,
    ) -> Result<(), InvocationError> {
        let trace = &invocation.trace;
        let context = Context { provenance: self.provenance.then(|| trace.is_valid().then(|| trace_id_text(trace))) };
        let mut batch = Batch::default();
        let mut work = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            work.push(self.look_at(report, index, raw, &context, &mut batch)?);
        }

        // A slow failure bucket must not hold up the entries that need nothing from it.
        let keeps = work.iter_mut().enumerate().filter_map(|(index, work)| Some((index, work.keep.take()?)));
        // Nor is it to take all the time from the entries that wait for it.
        let now = self.clock.instant();
        let halfway = now + until.saturating_duration_since(now) / 2;
        let (written, mut kept) = join(
            write(&self.store, self.clock, &batch.entries, until),
            self.keep(invocation, raw, keeps.collect(), halfway),
        )
        .await;
        report.objects.extend(kept.iter_mut().filter_map(|kept| kept.object.take()));
        drop(batch);
        let mut rejected = Vec::new();
        let mut settle = |report: &mut Report, work: &[Work], written: Written| {
            for (index, work) in work.iter().enumerate().filter(|(_, work)| !work.places.is_empty()) {
                let fates = work.places.iter().map(|place| &written.fates[*place]);
                if settle(&mut report.records[index], fates, self.clock.instant()) == Settled::Rejected {
                    let key = quarantine_key(identify(raw[index]).stream_arn.as_ref(), raw[index]);
                    let message = "DynamoDB finds an entry of the record invalid (ValidationException)";
                    rejected.push((index, Keep { key, cause: Cause::new("rejected_by_dynamodb", message) }));
                }
            }
            report.audits_written += written.fates.iter().filter(|fate| matches!(fate, Fate::Stored(_))).count();
            report.requests.extend(written.requests);
            written.misconfigured.map_or(Ok(()), |error| Err(InvocationError::from(error)))
        };
        settle(report, &work, written)?;

        let mut second = Batch::default();
        for work in &mut work {
            work.places.clear();
        }
        for kept in kept {
            let held = std::mem::take(&mut work[kept.record].held);
            if held.is_empty() || kept.refused.is_some() {
                self.quarantined(report, kept);
            } else {
                work[kept.record].places = held.into_iter().map(|entry| second.add(entry)).collect();
            }
        }
        settle(report, &work, write(&self.store, self.clock, &second.entries, until).await)?;

        for mut kept in self.keep(invocation, raw, rejected, until).await {
            report.objects.extend(kept.object.take());
            self.quarantined(report, kept);
        }
        match report.failed().filter(|record| record.sequence_number.is_none()).count() {
            0 => Ok(()),
            nameless => Err(InvocationError::NoSequenceNumber(nameless)),
        }
    }

    /// Decodes one record and plans its entries.
    fn look_at(
        &self,
        report: &mut Report,
        index: usize,
        raw: &RawValue,
        context: &Context,
        batch: &mut Batch,
    ) -> Result<Work, InvocationError> {
        let started = self.clock.instant();
        // A panic on one record must not cost the others. What it may have left half done is thrown away.
        let decoded = guard(|| {
            let change = decode(raw, &self.key_attribute)?;
            #[cfg(test)]
            crate::testing::panic_if_asked(&change.item_key);
            let arn = change.stream_arn.clone();
            let mut record = unsettled(started);
            record.event_name = Some(change.images.event_name().as_str());
            record.item_key = Some(change.item_key.clone());
            record.sequence_number.clone_from(&change.sequence_number);
            record.created = change.created;
            let full_record_key = omitted_key(arn.as_ref(), &change.event_id);
            let time = change.created.unwrap_or(report.started);
            let full_record =
                || self.quarantine.as_ref().map_or_else(String::new, |bucket| bucket.url(&full_record_key));
            Ok((record, plan(change, time, context, full_record), full_record_key, arn))
        });
        let record = &mut report.records[index];
        let work = match decoded {
            Some(Ok((decoded, plan, full_record_key, arn))) => {
                *record = decoded;
                report.stream_arn = report.stream_arn.take().or(arn);
                record.attributes_changed = plan.attributes_changed;
                record.values_omitted = plan.values_omitted;
                if plan.entries.is_empty() {
                    record.outcome = Outcome::Unchanged;
                }
                if plan.values_omitted > 0 {
                    let message = "a value is over DynamoDB's limits for an entry";
                    let keep = Keep { key: full_record_key, cause: Cause::new("value_omitted", message) };
                    Work { keep: Some(keep), held: plan.entries, ..Work::default() }
                } else {
                    Work { places: plan.entries.into_iter().map(|entry| batch.add(entry)).collect(), ..Work::default() }
                }
            }
            Some(Err(Refusal::ViewType(view))) => return Err(InvocationError::ViewType(view)),
            Some(Err(Refusal::Record(reason))) => {
                let cause = Cause::new(reason.code(), reason.to_string());
                not_a_change(record, &mut report.stream_arn, raw, cause)
            }
            None => {
                let cause = Cause::new("panic", "the function panicked while it worked on the record; this is a bug");
                not_a_change(record, &mut report.stream_arn, raw, cause)
            }
        };
        report.records[index].span = (started, self.clock.instant());
        Ok(work)
    }

    /// Puts records into the failure bucket, several at once, until it is `until`.
    async fn keep(
        &self,
        invocation: &Invocation<'_>,
        raw: &[&RawValue],
        keeps: Vec<(usize, Keep)>,
        until: Instant,
    ) -> Vec<Kept> {
        let put = async |(record, Keep { key, cause }): (usize, Keep)| {
            let Some(bucket) = &self.quarantine else {
                let refused = Some(format!("{}; it is kept nowhere, since FAILURE_BUCKET is not set", cause.message));
                return Kept { record, cause, object: None, refused };
            };
            let kept = KeptRecord {
                reason: &cause.code,
                detail: &cause.message,
                request_id: &invocation.request_id,
                function_arn: &invocation.function_arn,
                record: raw[record],
            };
            let started = self.clock.instant();
            let result = timeout_at(until, bucket.put(&key, kept.body())).await;
            let error = match result {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some((error.code, error.message)),
                Err(_) => Some(("deadline".to_owned(), "the failure bucket did not answer in time".to_owned())),
            };
            let refused = error.as_ref().map(|(_, message)| format!("{}; {message}", cause.message));
            let span = (started, self.clock.instant());
            let object = Object { record, span, url: bucket.url(&key), error: error.map(|(code, _)| code) };
            Kept { record, cause, object: Some(object), refused }
        };
        stream::iter(keeps).map(put).buffer_unordered(OBJECTS_IN_FLIGHT).collect().await
    }

    /// Settles a record that is in the failure bucket now, or that the bucket refused.
    fn quarantined(&self, report: &mut Report, kept: Kept) {
        let record = &mut report.records[kept.record];
        record.span.1 = self.clock.instant();
        record.outcome = match kept.refused {
            None => Outcome::Quarantined(kept.cause),
            Some(message) => Outcome::Failed(Cause::new(kept.cause.code, message)),
        };
    }
}

/// What is to be done for a record that no retry can mend: it is kept under a name that its stream's ARN and its text give.
fn not_a_change(record: &mut Record, stream_arn: &mut Option<StreamArn>, raw: &RawValue, cause: Cause) -> Work {
    let identity = identify(raw);
    let key = quarantine_key(identity.stream_arn.as_ref(), raw);
    record.sequence_number = identity.sequence_number;
    record.event_name = identity.event_name.map(EventName::as_str);
    *stream_arn = stream_arn.take().or(identity.stream_arn);
    Work { keep: Some(Keep { key, cause }), ..Work::default() }
}

/// A record of which nothing is known yet. Until it is settled it counts as failed.
fn unsettled(now: Instant) -> Record {
    Record {
        sequence_number: None,
        event_name: None,
        item_key: None,
        created: None,
        span: (now, now),
        outcome: Outcome::Failed(Cause::new("unsettled", "the invocation ended before the record was settled")),
        audits_written: 0,
        attributes_changed: 0,
        values_omitted: 0,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Settled {
    Yes,
    /// DynamoDB finds an entry invalid; the record is to be quarantined.
    Rejected,
}

/// Settles a record by the fates of its entries.
fn settle<'a>(record: &mut Record, fates: impl Iterator<Item = &'a Fate>, now: Instant) -> Settled {
    let mut settled = Settled::Yes;
    let mut last = record.span.0;
    let mut unknown = None;
    for fate in fates {
        match fate {
            Fate::Stored(at) => {
                record.audits_written += 1;
                last = last.max(*at);
            }
            Fate::Rejected => settled = Settled::Rejected,
            Fate::Unknown(code) => unknown = Some(code),
        }
    }
    record.span.1 = if unknown.is_some() { now } else { last };
    if let Some(code) = unknown {
        let message = format!("its entries are not known to be stored ({code})");
        record.outcome = Outcome::Failed(Cause::new(code.clone(), message));
        // It is delivered again, and rejected again then.
        Settled::Yes
    } else {
        if settled == Settled::Yes {
            record.outcome = Outcome::Audited;
        }
        settled
    }
}

/// Runs `work`; `None` where it panics. The panic hook has logged the place by then.
fn guard<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// A trace's ID as X-Ray writes it: `1-<8 hexadecimal digits of the time>-<24 digits>`.
#[must_use]
pub fn trace_id_text(trace: &SpanContext) -> String {
    let hex = trace.trace_id().to_string();
    let (time, rest) = hex.split_at(8);
    format!("1-{time}-{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Counts;
    use crate::store::Failure;
    use crate::telemetry::logs;
    use crate::testing::{MemoryQuarantine, MemoryStore, Reply, any_reply};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    type TestHandler = Handler<MemoryStore, MemoryQuarantine>;

    const ALLOWED: Duration = Duration::from_secs(30);
    const MARKER: &str = "marker-7f3a9";

    fn handler(replies: Vec<Reply>) -> TestHandler {
        Handler {
            store: MemoryStore::replying(replies),
            quarantine: Some(MemoryQuarantine::default()),
            clock: Clock::System,
            key_attribute: "key".to_owned(),
            provenance: false,
        }
    }

    /// Runs one invocation on a clock that tests own, 2024-09-11T09:02:30Z at its start. Checks what always holds.
    fn invoke(handler: &mut TestHandler, event: &Value) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let raw = serde_json::to_vec(event).unwrap();
        runtime.block_on(async {
            let now = DateTime::from_timestamp(1_726_045_350, 0).unwrap();
            handler.clock = Clock::starting_at(now);
            let invocation = Invocation {
                request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
                function_arn: "arn:aws:lambda:eu-central-1:123456789012:function:config-audit-dev-audit".to_owned(),
                trace: SpanContext::NONE,
                cold_start: false,
                deadline: now + ALLOWED,
                event: &raw,
            };
            let report = handler.handle(&invocation).await;
            assert!(report.duration() < ALLOWED, "the answer leaves before the deadline");
            if let Some(records) = event["Records"].as_array() {
                assert_eq!(
                    (report.received, report.counts().total()),
                    (records.len(), records.len()),
                    "the books balance"
                );
            }
            report
        })
    }

    fn insert(number: usize) -> Value {
        json!({
            "eventID": format!("event-{number}"),
            "eventName": "INSERT",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_726_045_348.0,
                "Keys": {"key": {"S": format!("KEY_{number}")}},
                "NewImage": {"key": {"S": format!("KEY_{number}")}, "value": {"S": MARKER}},
                "SequenceNumber": format!("{}", 1_000_000 + number),
                "StreamViewType": "NEW_AND_OLD_IMAGES"
            },
            "eventSourceARN": "arn:aws:dynamodb:eu-central-1:123456789012:table/Configuration-dev/stream/x"
        })
    }

    fn event(records: impl IntoIterator<Item = Value>) -> Value {
        json!({ "Records": records.into_iter().collect::<Vec<_>>() })
    }

    fn inserts(count: usize) -> Value {
        event((0..count).map(insert))
    }

    fn nonsense() -> Value {
        json!({ "eventName": 5, "dynamodb": {"SequenceNumber": "777", "NewImage": MARKER} })
    }

    fn failed(report: &Report) -> Vec<&str> {
        report.failed().map(|record| record.sequence_number.as_deref().unwrap()).collect()
    }

    #[test]
    fn healthy_records_are_audited_and_none_is_reported() {
        let mut handler = handler(vec![]);
        let report = invoke(&mut handler, &inserts(100));
        assert_eq!(report.counts(), Counts { audited: 100, ..Counts::default() });
        assert_eq!(handler.store.contents().len(), 100);
        assert_eq!(serde_json::to_string(&report.answer().unwrap()).unwrap(), r#"{"batchItemFailures":[]}"#);
        assert_eq!(report.lag(&report.records[0]), Some(Duration::from_secs(2)));
    }

    #[test]
    fn an_event_without_records_is_answered() {
        assert_eq!(invoke(&mut handler(vec![]), &inserts(0)).outcome(), "ok");
    }

    #[test]
    fn the_same_event_three_times_leaves_the_same_entries_byte_for_byte() {
        let mut handler = handler(vec![]);
        invoke(&mut handler, &inserts(30));
        let once = handler.store.contents();
        invoke(&mut handler, &inserts(30));
        invoke(&mut handler, &inserts(30));
        assert_eq!(handler.store.contents(), once);
    }

    #[test]
    fn a_record_that_is_twice_in_an_event_is_audited_once_and_acknowledged_twice() {
        let mut handler = handler(vec![]);
        let report = invoke(&mut handler, &event([insert(1), insert(1)]));
        assert_eq!(report.counts().audited, 2);
        assert_eq!(report.audits_written, 1);
        assert_eq!(handler.store.contents().len(), 1);
    }

    #[test]
    fn nonsense_goes_to_the_failure_bucket_whole_and_costs_the_others_nothing() {
        let mut handler = handler(vec![]);
        let report = invoke(&mut handler, &event([insert(1), nonsense(), insert(2)]));
        assert_eq!(report.counts(), Counts { audited: 2, quarantined: 1, ..Counts::default() });
        assert_eq!(failed(&report), [""; 0]);
        let objects = handler.quarantine.unwrap().objects.into_inner();
        let object: Value = serde_json::from_str(objects.values().next().unwrap()).unwrap();
        assert_eq!(object["record"], nonsense());
        assert_eq!(object["reason"], "undecodable");
    }

    #[test]
    fn without_a_failure_bucket_or_where_it_refuses_nonsense_is_reported() {
        for quarantine in [None, Some(MemoryQuarantine { refuses: true, ..MemoryQuarantine::default() })] {
            let mut handler = handler(vec![]);
            handler.quarantine = quarantine;
            let report = invoke(&mut handler, &event([insert(1), nonsense()]));
            assert_eq!(report.counts(), Counts { audited: 1, failed: 1, ..Counts::default() });
            assert_eq!(failed(&report), ["777"]);
        }
    }

    #[test]
    fn a_failure_bucket_that_never_answers_holds_up_only_its_own_records() {
        let mut handler = handler(vec![]);
        handler.quarantine = Some(MemoryQuarantine { never_answers: true, ..MemoryQuarantine::default() });
        let report = invoke(&mut handler, &event([nonsense(), insert(1)]));
        assert_eq!(failed(&report), ["777"]);
        assert_eq!(report.counts().audited, 1);
    }

    #[test]
    fn a_store_that_fails_for_a_while_loses_nothing_and_doubles_nothing() {
        let mut handler = handler(vec![
            Reply::Fail(Failure::Unavailable),
            Reply::StoredButUnavailable,
            Reply::Unprocessed(9),
            Reply::Never,
        ]);
        let report = invoke(&mut handler, &inserts(100));
        assert_eq!(report.counts().audited, 100);
        assert_eq!(handler.store.contents().len(), 100);
    }

    #[test]
    fn a_store_that_never_answers_is_left_in_time_and_every_record_is_named() {
        let mut handler = handler(vec![Reply::Never; 10_000]);
        let report = invoke(&mut handler, &inserts(250));
        assert_eq!(report.counts().failed, 250);
        assert_eq!(report.answer().unwrap().batch_item_failures.len(), 250);
    }

    #[test]
    fn an_entry_that_dynamodb_finds_invalid_sends_its_record_to_the_failure_bucket() {
        let mut handler = handler(vec![Reply::Fail(Failure::Rejected)]);
        let report = invoke(&mut handler, &event([insert(1)]));
        assert_eq!(report.counts().quarantined, 1);
        assert_eq!(report.records[0].outcome.cause().unwrap().code, "rejected_by_dynamodb");
    }

    #[test]
    fn a_wrong_table_fails_the_invocation_and_every_record_that_is_not_stored() {
        let mut handler = handler(vec![Reply::Fail(Failure::Misconfigured)]);
        let report = invoke(&mut handler, &inserts(10));
        assert_eq!(report.counts().failed, 10);
        assert_eq!(report.answer().unwrap_err().code(), "AuditTable");
    }

    #[test]
    fn a_stream_without_both_images_fails_the_invocation_and_says_what_to_change() {
        let mut record = insert(1);
        record["dynamodb"]["StreamViewType"] = json!("KEYS_ONLY");
        let mut handler = handler(vec![]);
        let report = invoke(&mut handler, &event([insert(0), record]));
        assert_eq!(report.counts().failed, 2);
        let error = report.answer().unwrap_err().to_string();
        assert!(error.contains("KEYS_ONLY") && error.contains("NEW_AND_OLD_IMAGES"), "{error}");
        assert_eq!(handler.store.contents(), [""; 0]);
    }

    #[test]
    fn a_failed_record_that_cannot_be_named_fails_the_invocation() {
        let mut handler = handler(vec![]);
        handler.quarantine = None;
        let report = invoke(&mut handler, &event([json!("nonsense"), insert(1)]));
        assert_eq!(report.answer().unwrap_err(), InvocationError::NoSequenceNumber(1));
        assert_eq!(report.counts(), Counts { audited: 1, failed: 1, ..Counts::default() });
    }

    #[test]
    fn what_is_no_event_fails_the_invocation() {
        for event in [json!({}), json!([]), json!(MARKER)] {
            let report = invoke(&mut handler(vec![]), &event);
            assert_eq!(report.answer().unwrap_err(), InvocationError::NotAnEvent(NotAnEvent));
        }
    }

    #[test]
    fn a_value_over_the_limits_is_noted_only_when_its_full_record_is_kept() {
        let mut record = insert(1);
        record["dynamodb"]["NewImage"]["value"] = json!({"S": "x".repeat(420_000)});
        let mut kept = handler(vec![]);
        let report = invoke(&mut kept, &event([record.clone(), insert(2)]));
        assert_eq!(report.counts().audited, 2);
        assert_eq!(report.records[0].values_omitted, 1);
        let url = "s3://failures/omitted/Configuration-dev/event-1.json";
        assert!(kept.store.contents().iter().any(|item| item.contains(url)));
        assert!(kept.quarantine.unwrap().objects.borrow().contains_key("omitted/Configuration-dev/event-1.json"));

        let mut refused = handler(vec![]);
        refused.quarantine = Some(MemoryQuarantine { refuses: true, ..MemoryQuarantine::default() });
        let report = invoke(&mut refused, &event([record, insert(2)]));
        assert_eq!(failed(&report), ["1000001"]);
        assert_eq!(refused.store.contents().len(), 1);
    }

    #[test]
    fn a_record_without_a_time_has_the_time_of_processing() {
        let mut record = insert(1);
        record["dynamodb"].as_object_mut().unwrap().remove("ApproximateCreationDateTime");
        let mut handler = handler(vec![]);
        let report = invoke(&mut handler, &event([record]));
        assert!(handler.store.contents()[0].contains("2024-09-11T09:02:30.000Z"));
        assert_eq!(report.lag(&report.records[0]), None);
    }

    #[test]
    fn a_record_that_the_function_panics_on_is_quarantined_whole_and_costs_the_others_nothing() {
        let mut record = insert(1);
        record["dynamodb"]["Keys"]["key"]["S"] = json!(crate::testing::PANIC);
        let mut handler = handler(vec![]);
        let report = invoke(&mut handler, &event([insert(0), record.clone(), insert(2)]));
        assert_eq!(report.counts(), Counts { audited: 2, quarantined: 1, ..Counts::default() });
        let cause = report.records[1].outcome.cause().unwrap();
        assert_eq!((cause.code.as_ref(), report.records[1].sequence_number.as_deref()), ("panic", Some("1000001")));
        assert!(!cause.message.contains(crate::testing::PANIC));
        let objects = handler.quarantine.unwrap().objects.into_inner();
        assert!(objects.values().next().unwrap().contains(&record.to_string()));
    }

    /// Sample events are for people to try: each is run, and what it leaves is kept as a snapshot.
    #[test]
    fn each_sample_event_leaves_what_its_name_says() {
        let mut names: Vec<_> = std::fs::read_dir("events").unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert!(names.len() >= 11);
        for path in names {
            let event: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let mut handler = handler(vec![]);
            let report = invoke(&mut handler, &event);
            assert_eq!(report.outcome(), "ok");
            let outcomes: Vec<_> = report
                .records
                .iter()
                .map(|record| match record.outcome.cause() {
                    Some(cause) => format!("{}: {}", record.outcome.name(), cause.code),
                    None => record.outcome.name().to_owned(),
                })
                .collect();
            let items: Vec<Value> = handler
                .store
                .contents()
                .iter()
                .map(|item| {
                    serde_json::from_str::<Value>(
                        &item.replace(&"x".repeat(200_000), "x…").replace(&"y".repeat(250_000), "y…"),
                    )
                    .unwrap()["M"]
                        .take()
                })
                .collect();
            let objects: std::collections::BTreeSet<String> =
                handler.quarantine.unwrap().objects.into_inner().into_keys().collect();
            let name = path.file_stem().unwrap().to_str().unwrap();
            insta::assert_json_snapshot!(name, json!({ "records": outcomes, "entries": items, "objects": objects }));
        }
    }

    fn any_record() -> impl Strategy<Value = Value> {
        let text = any::<String>().prop_map(Value::from);
        prop_oneof![
            4 => (0_usize..40).prop_map(insert),
            1 => Just(nonsense()),
            1 => text,
            1 => (0_usize..40, prop::sample::select(vec!["eventID", "eventName", "dynamodb"])).prop_map(|(number, member)| {
                let mut record = insert(number);
                record[member] = json!(format!("{MARKER}-{number}"));
                record
            }),
        ]
    }

    proptest! {
        /// Whatever comes in and whatever fails: the books balance, the answer is in time, what is acknowledged is
        /// stored or in the failure bucket, and no value is in what the invocation says of itself.
        #[test]
        fn nothing_is_acknowledged_that_is_not_kept(
            records in prop::collection::vec(any_record(), 0..60),
            replies in prop::collection::vec(any_reply(), 0..12),
            bucket in prop::sample::select(vec![0, 1, 2]),
        ) {
            let mut handler = handler(replies);
            handler.quarantine = match bucket {
                0 => None,
                1 => Some(MemoryQuarantine { refuses: true, ..MemoryQuarantine::default() }),
                _ => Some(MemoryQuarantine::default()),
            };
            let event = event(records);
            let mut said = Vec::new();
            let mut report = None;
            said.extend(logs::tests::logged(tracing::level_filters::LevelFilter::TRACE, crate::settings::LogFormat::Json, || {
                report = Some(invoke(&mut handler, &event));
            }));
            let report = report.unwrap();
            said.push(format!("{report:?}"));
            prop_assert!(said.iter().all(|line| !line.contains(MARKER)), "a value was said");
            let stored = handler.store.contents().concat();
            let kept = handler.quarantine.map(|bucket| bucket.objects.into_inner().into_values().collect::<String>()).unwrap_or_default();
            if report.error.is_none() {
                for (record, raw) in report.records.iter().zip(event["Records"].as_array().unwrap()) {
                    match &record.outcome {
                        Outcome::Audited => {
                            let key = format!("{:?}", record.item_key.as_deref().unwrap());
                            prop_assert!(stored.contains(&key), "{} is not stored", key);
                        }
                        Outcome::Quarantined(_) => prop_assert!(kept.contains(&raw.to_string())),
                        Outcome::Failed(_) => prop_assert!(record.sequence_number.is_some()),
                        Outcome::Unchanged => prop_assert!(false, "these records all change something"),
                    }
                }
            }
        }
    }
}
