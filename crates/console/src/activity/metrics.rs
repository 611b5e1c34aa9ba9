//! The metrics of the local world, as CloudWatch would have them: the function's from its log lines, AWS's own from what happened.

use chrono::{DateTime, TimeDelta, Utc};
use config_audit_cloudwatch::line::{Ingested, Line};
use config_audit_cloudwatch::metrics::{Metric, Metrics};
use config_audit_local::WorldEvent;

/// How long metrics are kept: longer than any alarm looks back but the one of a day.
pub const KEPT_HOURS: i64 = 3;
/// How many samples are kept at most; a sample takes 24 bytes.
pub const MAX_SAMPLES: usize = 1_000_000;

/// The names that the alarms' templates refer to have themselves as their values here.
const FUNCTION: [(&str, &str); 1] = [("FunctionName", "AuditLambdaFunction")];
const MAPPING: [(&str, &str); 1] = [("EventSourceMappingUUID", "ConfigurationStreamMapping")];
const TABLE: [(&str, &str); 1] = [("TableName", "ConfigurationTableName")];
const LOG_GROUP: [(&str, &str); 1] = [("LogGroupName", "AuditLogGroup")];

/// The metrics of the local world.
#[derive(Debug, Default)]
pub struct WorldMetrics {
    metrics: Metrics,
    /// The records that were delivered to the invocation that begins next, and the oldest one's time.
    delivered: usize,
    oldest: Option<DateTime<Utc>>,
    /// The minute in which old samples were last dropped.
    trimmed: i64,
}

impl WorldMetrics {
    /// All samples.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// `oldest` is when the oldest record that is not done was changed.
    pub(super) fn apply(&mut self, event: &WorldEvent, oldest: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        match event {
            WorldEvent::RecordRead { .. } => {
                self.add("AWS/Lambda", "PolledEventCount", &MAPPING, now, 1.0);
                // A record in the stream is a write that the table has taken.
                self.add("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &TABLE, now, 1.0);
            }
            WorldEvent::RecordDelivered { .. } => {
                self.delivered += 1;
                self.oldest = oldest;
            }
            WorldEvent::InvocationStarted { .. } => {
                let records = std::mem::take(&mut self.delivered);
                self.add("AWS/Lambda", "InvokedEventCount", &MAPPING, now, records as f64);
                if let Some(oldest) = self.oldest {
                    let age = (now - oldest).num_milliseconds().max(0) as f64;
                    self.add("AWS/Lambda", "IteratorAge", &FUNCTION, now, age);
                }
            }
            WorldEvent::InvocationEnded(completed) => {
                let errors = if completed.outcome.is_err() { 1.0 } else { 0.0 };
                let milliseconds = completed.duration.as_secs_f64() * 1000.0;
                for (name, value) in
                    [("Invocations", 1.0), ("Errors", errors), ("Throttles", 0.0), ("Duration", milliseconds)]
                {
                    self.add("AWS/Lambda", name, &FUNCTION, now, value);
                }
            }
            WorldEvent::RetryScheduled { records, .. } => {
                self.add("AWS/Lambda", "FailedInvokeEventCount", &MAPPING, now, *records as f64);
            }
            WorldEvent::SentToDestination { records, .. } => {
                self.add("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", &MAPPING, now, *records as f64);
            }
            WorldEvent::DestinationFailed { .. } => {
                self.add("AWS/Lambda", "DestinationDeliveryFailures", &FUNCTION, now, 1.0);
            }
            WorldEvent::LogLine { line, .. } => self.ingest(line, now),
            _ => {}
        }
        self.trim(now);
    }

    fn ingest(&mut self, line: &str, now: DateTime<Utc>) {
        match Line::parse(line).ingest(now) {
            Ingested::Log => {}
            Ingested::Metrics(at, samples) => {
                for (metric, value) in samples {
                    self.metrics.add(&metric, at, now, value);
                }
            }
            Ingested::Unparsed => self.add("AWS/Logs", "EMFParsingErrors", &LOG_GROUP, now, 1.0),
            Ingested::Invalid => self.add("AWS/Logs", "EMFValidationErrors", &LOG_GROUP, now, 1.0),
        }
    }

    fn add(&mut self, namespace: &str, name: &str, dimensions: &[(&str, &str)], at: DateTime<Utc>, value: f64) {
        self.metrics.add(&Metric::new(namespace, name, dimensions), at, at, value);
    }

    /// Drops what is too old once a minute, and more if that is not enough.
    fn trim(&mut self, now: DateTime<Utc>) {
        let minute = now.timestamp() / 60;
        if minute == self.trimmed {
            return;
        }
        self.trimmed = minute;
        let mut kept = TimeDelta::hours(KEPT_HOURS);
        self.metrics.forget_before(now - kept);
        while self.metrics.samples() > MAX_SAMPLES && kept > TimeDelta::minutes(1) {
            kept = kept / 2;
            self.metrics.forget_before(now - kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_becomes_the_metrics_that_aws_would_have() {
        let mut metrics = WorldMetrics::default();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let started = WorldEvent::InvocationStarted { request_id: String::new(), trace_header: String::new() };
        metrics.delivered = 3;
        metrics.oldest = Some(now - TimeDelta::seconds(7));
        metrics.apply(&started, None, now);
        let value = |name: &str| metrics.metrics().at_least(name, 0.0).first().map(|(_, value)| *value);
        assert_eq!((value("InvokedEventCount"), value("IteratorAge")), (Some(3.0), Some(7000.0)));
        // Three hours later all that is forgotten.
        metrics.apply(&started, None, now + TimeDelta::hours(4));
        assert_eq!(metrics.metrics().at_least("IteratorAge", 0.0).len(), 1);
    }
}
