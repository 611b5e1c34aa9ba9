//! Telemetry: what an invocation did, made visible. Logs, metrics and spans are all made here, from the report.

pub mod catalog;
pub mod emf;
pub mod logs;
pub mod output;
pub mod prometheus;
pub mod records;
pub mod traces;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::clock::{Clock, timestamp};
use crate::invocation::xray_trace_id;
use crate::report::Report;
use crate::settings::Settings;
use crate::stream::EventName;
use emf::Wide;
use prometheus::{Prometheus, PrometheusError};
use traces::Traces;

/// Where reports go.
#[derive(Debug)]
pub struct Telemetry {
    prometheus: Option<Prometheus>,
    traces: Option<Traces>,
    namespace: String,
    service: String,
    stage: String,
    late_after: Duration,
}

impl Telemetry {
    /// Telemetry as configured. The log is started separately, before there are settings.
    ///
    /// # Errors
    ///
    /// [`PrometheusError`] if its endpoint cannot be opened.
    pub fn start(settings: &Settings) -> Result<Self, PrometheusError> {
        let dimensions = [settings.service.as_str(), settings.stage.as_str()];
        Ok(Self {
            prometheus: settings
                .prometheus
                .map(|address| Prometheus::start(address, settings.function, dimensions))
                .transpose()?,
            traces: settings.xray_daemon.map(|daemon| Traces::new(daemon, settings)),
            namespace: settings.namespace.clone(),
            service: settings.service.clone(),
            stage: settings.stage.clone(),
            late_after: settings.late_after,
        })
    }

    /// Publishes an invocation's telemetry before its answer is sent, because Lambda then freezes the process.
    pub async fn publish(&self, report: &mut Report, clock: Clock) {
        records::log(report);
        if let Some(traces) = &self.traces {
            // The first half of the remaining time is for the spans, the second half for the lines and the answer.
            let deadline = report.interval.started + report.allowed;
            let left = deadline.saturating_duration_since(clock.instant());
            report.spans_lost = traces.export(report, clock, deadline.checked_sub(left / 2).unwrap_or(deadline)).await;
        }
        let wide = self.wide_line(report);
        if let Some(prometheus) = &self.prometheus {
            prometheus.record(&wide.metrics);
        }
        for line in wide.lines() {
            output::line(&line);
        }
    }

    /// The wide line of an invocation: everything about it. Its level is INFO whatever the outcome, and it is printed
    /// at every `AWS_LAMBDA_LOG_LEVEL`, as metrics must be. (Lambda itself drops it above INFO: `serverless.yml` sets
    /// INFO.)
    #[must_use]
    pub fn wide_line<'a>(&'a self, report: &'a Report) -> Wide<'a> {
        let now = report.time_of(report.interval.ended);
        let mut common = vec![
            ("timestamp", Value::from(timestamp(now))),
            ("level", Value::from("INFO")),
            ("message", Value::from("invocation")),
            ("requestId", Value::from(report.request_id.as_str())),
        ];
        common.extend(xray_trace_id(&report.trace).map(|id| ("traceId", Value::from(id))));
        let mut events = BTreeMap::<&str, usize>::new();
        for record in &report.records {
            *events.entry(record.event_name.map_or("unknown", EventName::as_str)).or_default() += 1;
        }
        let mut members = vec![
            ("outcome", Value::from(report.outcome())),
            ("events", serde_json::json!(events)),
            ("writes", Value::from(report.requests.len())),
            ("durationMs", Value::from((report.duration().as_secs_f64() * 1e6).round() / 1e3)),
            ("allowedMs", serde_json::json!(report.allowed.as_millis())),
        ];
        members.extend(report.error.as_ref().map(|error| ("error", Value::from(error.code()))));
        let reasons = reasons(report);
        if !reasons.is_empty() {
            members.push(("reasons", serde_json::json!(reasons)));
        }
        Wide {
            timestamp: now.timestamp_millis(),
            namespace: &self.namespace,
            dimensions: [&self.service, &self.stage],
            common,
            members,
            metrics: catalog::measure(report, self.late_after),
            failed: report.failed().filter_map(|record| record.sequence_number.as_deref()).collect(),
        }
    }
}

/// How many records were quarantined or failed for each reason.
fn reasons(report: &Report) -> BTreeMap<&str, usize> {
    let mut reasons = BTreeMap::new();
    for cause in report.records.iter().filter_map(|record| record.outcome.cause()) {
        *reasons.entry(cause.reason.code()).or_default() += 1;
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test(start_paused = true)]
    async fn the_wide_line_has_everything_about_an_invocation() {
        let mut telemetry = Telemetry::start(&crate::settings::tests::settings()).unwrap();
        telemetry.late_after = Duration::from_secs(1);
        let mut report = testing::report_of_everything();
        report.received += 1;
        let lines = telemetry.wide_line(&report).lines();
        assert_eq!(lines.len(), 1);
        assert_eq!(emf::tests::check(&lines[0]).len(), catalog::of(report.function).count());
        insta::assert_json_snapshot!(serde_json::from_str::<Value>(&lines[0]).unwrap());
    }
}
