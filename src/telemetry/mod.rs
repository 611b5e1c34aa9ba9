//! Telemetry: what an invocation did, made visible. Logs, metrics and spans are all made from the report, here.

pub mod catalog;
pub mod emf;
pub mod logs;
pub mod metrics;
pub mod output;
pub mod traces;

use std::collections::BTreeMap;

use serde_json::Value;
use tracing::Level;

use crate::clock::{Clock, timestamp};
use crate::handler::trace_id_text;
use crate::report::{Outcome, Record, Report};
use crate::settings::Settings;
use emf::Wide;
use metrics::{Metrics, PrometheusError, Taken};
use traces::Traces;

/// The most lines about single records in one invocation; one more says how many are left out. The wide line names all
/// that failed.
const MAX_RECORD_LINES: usize = 50;

/// Where reports go.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    traces: Option<Traces>,
    namespace: String,
    service: String,
    stage: String,
}

impl Telemetry {
    /// Telemetry as the settings have it. The log is started apart, before there are settings.
    ///
    /// # Errors
    ///
    /// [`PrometheusError`] where its endpoint cannot be opened.
    pub fn start(settings: &Settings) -> Result<Self, PrometheusError> {
        let traces = settings.xray_daemon.map(|daemon| Traces::new(daemon, settings));
        Ok(Self {
            metrics: Metrics::start([&settings.service, &settings.stage], settings.prometheus)?,
            traces,
            namespace: settings.namespace.clone(),
            service: settings.service.clone(),
            stage: settings.stage.clone(),
        })
    }

    /// Makes an invocation visible, before its answer leaves: Lambda freezes the process then.
    pub async fn publish(&self, report: &Report, clock: Clock) {
        log_records(report);
        let spans_lost = match &self.traces {
            Some(traces) => {
                // What is left after the work is for the spans first, and the last half of it for the lines and the answer.
                let deadline = report.span.0 + report.allowed;
                let left = deadline.saturating_duration_since(clock.instant());
                traces.export(report, clock, deadline.checked_sub(left / 2).unwrap_or(deadline)).await
            }
            None => 0,
        };
        for line in self.observe(report, spans_lost).lines() {
            output::line(&line);
        }
    }

    /// Counts an invocation, and makes its wide line: everything about it. It is of level INFO whatever came of it, and is
    /// printed at every `AWS_LAMBDA_LOG_LEVEL`, as metrics must be. (Lambda itself drops it above INFO: `serverless.yml`
    /// sets INFO.) `spans_lost` is how many of its spans could not be sent.
    #[must_use]
    pub fn observe<'a>(&'a self, report: &'a Report, spans_lost: u64) -> Wide<'a> {
        self.metrics.record(report, spans_lost);
        let now = report.time_of(report.span.1);
        let mut common = vec![
            ("timestamp", Value::from(timestamp(now))),
            ("level", Value::from("INFO")),
            ("message", Value::from("invocation")),
            ("requestId", Value::from(report.request_id.as_str())),
        ];
        if report.trace.is_valid() {
            common.push(("traceId", Value::from(trace_id_text(&report.trace))));
        }
        let mut events = BTreeMap::<&str, usize>::new();
        for record in &report.records {
            *events.entry(record.event_name.unwrap_or("unknown")).or_default() += 1;
        }
        let mut members = vec![
            ("outcome", Value::from(report.outcome())),
            ("events", serde_json::json!(events)),
            ("writes", Value::from(report.requests.len())),
            ("durationMs", Value::from((report.duration().as_secs_f64() * 1e6).round() / 1e3)),
            ("allowedMs", serde_json::json!(report.allowed.as_millis())),
        ];
        if let Some(error) = &report.error {
            members.push(("error", Value::from(error.code())));
        }
        let reasons = reasons(report);
        if !reasons.is_empty() {
            members.push(("reasons", serde_json::json!(reasons)));
        }
        let Taken { counters, samples } = self.metrics.take();
        Wide {
            timestamp: now.timestamp_millis(),
            namespace: &self.namespace,
            dimensions: [&self.service, &self.stage],
            common,
            members,
            counters,
            samples,
            failed: report.failed().filter_map(|record| record.sequence_number.as_deref()).collect(),
        }
    }
}

/// How many records were quarantined or failed for each reason.
fn reasons(report: &Report) -> BTreeMap<&str, usize> {
    let mut reasons = BTreeMap::new();
    for cause in report.records.iter().filter_map(|record| record.outcome.cause()) {
        *reasons.entry(cause.code.as_ref()).or_default() += 1;
    }
    reasons
}

/// Logs what went wrong, and at debug level every record. The caller is within the invocation's span.
fn log_records(report: &Report) {
    if tracing::enabled!(Level::DEBUG) {
        for record in &report.records {
            tracing::debug!(
                outcome = record.outcome.name(),
                sequenceNumber = record.sequence_number,
                itemKey = record.item_key,
                eventName = record.event_name,
                auditsWritten = record.audits_written,
                "record"
            );
        }
    }
    // A failed invocation fails all its records for the same reason: one line says it.
    let wrong = |record: &Record| {
        matches!(record.outcome, Outcome::Quarantined(_))
            || matches!(record.outcome, Outcome::Failed(_)) && report.error.is_none()
            || record.created.is_none() && record.event_name.is_some()
    };
    for (index, record) in report.records.iter().enumerate().filter(|(_, record)| wrong(record)).take(MAX_RECORD_LINES)
    {
        let object = report.objects.iter().find(|object| object.record == index && object.error.is_none());
        log_record(record, object.map(|object| object.url.as_str()));
    }
    let unsaid = report.records.iter().filter(|record| wrong(record)).count().saturating_sub(MAX_RECORD_LINES);
    if unsaid > 0 {
        tracing::warn!(
            records = unsaid,
            "more records have lines like the ones above; see this invocation's wide line"
        );
    }
    if let Some(error) = &report.error {
        tracing::error!(error = error.code(), "the invocation failed, and the batch will be delivered again: {error}");
    }
}

/// One line about one record; `object` is where it is kept, if it is.
fn log_record(record: &Record, object: Option<&str>) {
    let key = record.item_key.as_deref();
    let number = record.sequence_number.as_deref();
    match &record.outcome {
        Outcome::Quarantined(cause) => {
            tracing::error!(
                reason = cause.code.as_ref(),
                sequenceNumber = number,
                itemKey = key,
                object,
                "record quarantined: {}",
                cause.message
            );
        }
        Outcome::Failed(cause) => tracing::error!(
            reason = cause.code.as_ref(),
            sequenceNumber = number,
            itemKey = key,
            "record failed, and will be delivered again: {}",
            cause.message
        ),
        Outcome::Audited | Outcome::Unchanged => tracing::warn!(
            sequenceNumber = number,
            itemKey = key,
            "the record has no ApproximateCreationDateTime; its audit has the time of processing"
        ),
    }
}
