//! One invocation: decode each record, perform its steps, report.
//!
//! **Invariant:** a record is acknowledged only when its entries are known to be stored, or it is known to be in the
//! failure bucket. All other records are reported as failed, and Lambda redelivers them.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::audit::Context;
use crate::aws::arn::StreamArn;
use crate::bucket::Bucket;
use crate::clock::Clock;
use crate::invocation::{Invocation, InvocationError, work_until, working_time, xray_trace_id};
use crate::journey::{Journey, Planning, Step};
use crate::quarantine::uploader::Uploader;
use crate::report::{Cause, Report};
use crate::settings::Function;
use crate::store::Store;
use crate::writer::Writer;

/// Handles invocations, one at a time.
#[derive(Debug)]
pub struct Handler<S, Q> {
    /// The Audit table.
    pub store: S,
    /// The failure bucket, if any.
    pub quarantine: Option<Q>,
    /// The clock.
    pub clock: Clock,
    /// The Configuration table's key.
    pub key_attribute: String,
    /// Whether entries say which record they come from.
    pub provenance: bool,
}

impl<S: Store, Q: Bucket> Handler<S, Q> {
    /// Handles one invocation, and answers before its deadline.
    pub async fn handle(&self, invocation: &Invocation<'_>) -> Report {
        let mut report = Report::new(Function::Audit, invocation, self.clock);
        if let Some(raw) = report.split(invocation.event) {
            self.process(invocation, &raw, &mut report).await;
        }
        report.interval.ended = self.clock.instant();
        report
    }

    /// Processes every record as far as possible before the deadline, and reports the outcomes.
    async fn process(&self, invocation: &Invocation<'_>, raw: &[&RawValue], report: &mut Report) {
        let until = report.interval.started + working_time(report.allowed);
        let mut writer = Writer::new(&self.store, self.clock, until);
        let mut uploader = Uploader::new(self.quarantine.as_ref(), self.clock, until, invocation);
        let now = self.clock.instant();
        let mut journeys: Vec<Journey<'_>> = raw.iter().map(|raw| Journey::new(raw, now)).collect();

        let planning = Planning {
            key_attribute: &self.key_attribute,
            context: Context { provenance: self.provenance.then(|| xray_trace_id(&invocation.trace)) },
            started: report.started,
            url: &|key| self.quarantine.as_ref().map_or_else(String::new, |bucket| bucket.url(key)),
        };
        let all = self.run_journeys(&planning, until, &mut journeys, &mut writer, &mut uploader);
        report.error = work_until(until, all).await;

        let written = writer.finish();
        for unsettled in &written.unsettled {
            journeys[unsettled.record].written(unsettled, &planning);
        }
        let (not_uploaded, objects) = uploader.finish();
        let now = self.clock.instant();
        for left in not_uploaded.into_iter().filter(|_| report.error.is_none()) {
            journeys[left.record].uploaded(left, now);
        }
        report.received = raw.len();
        report.stream_arn = journeys.iter().find_map(Journey::stream_arn).cloned().map(StreamArn::into_owned);
        report.requests = written.requests;
        report.audits_written = written.stored;
        report.objects = objects;
        let message = "its entries are not known to be stored: there was no time left to write them";
        let unsettled = Cause::of_unsettled(report.error.as_ref(), message);
        report.records = journeys.into_iter().map(|journey| journey.end(&unsettled, now)).collect();
        report.fail_without_sequence_numbers();
    }

    /// Performs each record's next step until there is nothing left to do. Writing entries and storing objects run
    /// concurrently, and wait for each other only within one record.
    async fn run_journeys<'a>(
        &'a self,
        planning: &Planning<'_>,
        until: Instant,
        journeys: &mut [Journey<'a>],
        writer: &mut Writer<'a, S>,
        uploader: &mut Uploader<'a, Q>,
    ) -> Result<(), InvocationError> {
        // A record may be delivered twice in one event. Two different records with the same ID are a contradiction.
        let mut seen: HashMap<Cow<'a, str>, &str> = HashMap::with_capacity(journeys.len());
        for (index, journey) in journeys.iter_mut().enumerate() {
            let now = self.clock.instant();
            // Decoding never waits, so nothing else stops it at the deadline.
            if now >= until {
                break;
            }
            let event_id = journey.begin(planning, now)?;
            if event_id.is_some_and(|id| *seen.entry(id).or_insert(journey.raw()) != journey.raw()) {
                journey.conflicts();
            }
            hand_over(index, journey, writer, uploader);
        }
        loop {
            let index = tokio::select! {
                biased;
                Some(written) = writer.next() => {
                    let written = written?;
                    journeys[written.record].written(&written, planning);
                    written.record
                }
                Some(upload) = uploader.next() => {
                    let index = upload.record;
                    journeys[index].uploaded(upload, self.clock.instant());
                    index
                }
                else => return Ok(()),
            };
            hand_over(index, &mut journeys[index], writer, uploader);
        }
    }
}

/// Hands over a record's next step.
fn hand_over<'a, S: Store, Q: Bucket>(
    index: usize,
    journey: &mut Journey<'a>,
    writer: &mut Writer<'a, S>,
    uploader: &mut Uploader<'a, Q>,
) {
    match journey.next_step() {
        Some(Step::Write(entries)) => writer.add(index, entries),
        Some(Step::Upload(object)) => uploader.add(index, object),
        None => {}
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
