//! Spans: from a report to AWS X-Ray, by way of the daemon that Lambda runs.
//!
//! Spans are made after the work, from the report, and only for a trace that is sampled: an invocation whose trace is
//! not sampled pays nothing for them. They are exported by `opentelemetry-aws`. The invocation's span is of kind
//! INTERNAL, since the exporter would make a segment, a second node on the map, of one of kind SERVER; so all of them
//! are subsegments that hang under the segment that Lambda itself makes of the function.
//!
//! The invocation's span and those below it are one document. Of many, the others go into more documents, each below a span
//! that only holds them together.
//!
//! A large batch is bounded: all records that were not audited as they should be, and the [`spans::MAX_HEALTHY`] slowest of the
//! others; the same for requests and objects. Those that there is no time to send before the deadline are counted as lost.
//! What UDP loses after it was sent, nobody can count.

mod daemon;
mod spans;

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry::trace::SpanContext;
use opentelemetry_aws::detector::LambdaResourceDetector;
use opentelemetry_aws::xray_exporter::{SegmentTranslator, XrayExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::report::Report;
use crate::settings::Settings;
use daemon::Daemon;
use spans::{Maker, Names};

/// Attributes that X-Ray makes searchable. Only the invocation's span has them: X-Ray takes 50 for a whole trace.
const INDEXED: [&str; 3] = ["faas.invocation_id", "faas.coldstart", "config_audit.outcome"];
/// How many spans are sent at once, in one document if they fit, with a pause between them for the daemon to catch up.
const BURST: usize = 125;
const PAUSE: Duration = Duration::from_millis(1);
/// How many spans are turned to text at once. A span and its document are several kilobytes, and a hundred of them would not stay
/// in the processor's cache.
const FEW: usize = 8;

/// X-Ray takes no trace that is older (AWS X-Ray API Reference, `PutTraceSegments`).
const MAX_AGE: TimeDelta = TimeDelta::days(30);

/// Sends spans to the X-Ray daemon.
#[derive(Debug)]
pub struct Traces {
    exporter: XrayExporter<Daemon>,
    daemon: Daemon,
    names: Names,
    /// What is the same for all invocations of the process.
    resource: Resource,
}

impl Traces {
    /// Sends to the daemon at `address`, spans that are named as the settings have it.
    #[must_use]
    pub fn new(address: SocketAddr, settings: &Settings) -> Self {
        let translator = SegmentTranslator::new().with_indexed_attrs(INDEXED.map(str::to_owned)).metadata_all_attrs();
        let daemon = Daemon::new(address);
        let exporter = XrayExporter::new(daemon.clone()).with_translator(translator);
        // The exporter is not given it: it would repeat it in each span.
        let resource = Resource::builder_empty()
            .with_service_name(settings.service.clone())
            .with_detector(Box::new(LambdaResourceDetector))
            .build();
        let names = Names {
            function: settings.function_name.clone(),
            version: settings.function_version.clone(),
            table: settings.audit_table.clone(),
        };
        Self { exporter, daemon, names, resource }
    }

    /// Sends the spans of an invocation, if its trace is sampled, until `until`. Returns how many were not sent.
    pub async fn export(&self, report: &Report, clock: Clock, until: Instant) -> usize {
        if !report.trace.is_valid() || !report.trace.is_sampled() {
            return 0;
        }
        let maker = Maker::new(report, &self.names, &self.resource);
        let planned = maker.plan();
        let (first, rest) = planned.split_at(planned.len().min(BURST));
        let bursts = std::iter::once(first).chain(rest.chunks(BURST));
        let all = planned.len() + bursts.clone().count();
        let (mut refused, mut sent) = (0, 0);
        for (index, burst) in bursts.enumerate() {
            if index > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            if clock.instant() >= until {
                break;
            }
            let mut spans = maker.document(index == 0, burst);
            loop {
                let few: Vec<SpanData> = spans.by_ref().take(FEW).collect();
                if few.is_empty() {
                    break;
                }
                // Refused spans do not reach the daemon, and are counted there; the error adds nothing.
                let _ = self.exporter.export(few).await;
            }
            refused += (1 + burst.len()).saturating_sub(self.daemon.offered());
            sent += timeout_at(until, self.daemon.send()).await.unwrap_or_default();
        }
        if refused > 0 {
            let why = if is_too_old(&report.trace, report.started) {
                "the trace is older than 30 days"
            } else {
                "they are not what X-Ray takes"
            };
            tracing::debug!(spans = refused, "the X-Ray exporter refused {refused} spans: {why}");
        }
        all - sent
    }
}

/// The first eight digits of a trace's ID are the time when it began, in seconds since 1970.
fn is_too_old(trace: &SpanContext, now: DateTime<Utc>) -> bool {
    let seconds = u32::from_str_radix(&trace.trace_id().to_string()[..8], 16).unwrap_or_default();
    DateTime::from_timestamp(i64::from(seconds), 0).is_some_and(|began| now - began > MAX_AGE)
}

#[cfg(test)]
mod tests;
