//! The metrics of the local world, as CloudWatch would have them: the function's from its log lines, AWS's own from the
//! world's events.

use chrono::{DateTime, TimeDelta, Utc};
use config_audit_cloudwatch::line::{Ingested, Line};
use config_audit_cloudwatch::metrics::{Metric, Metrics};
use config_audit_local::aws::tables::HISTORY_INDEX;
use config_audit_local::{CompletedInvocation, WorldEvent, WorldTable};

/// How long metrics are kept: longer than any bundled alarm looks back, as a test of the alarms checks.
pub const KEPT_HOURS: i64 = 73;
/// The maximum number of samples; a sample takes 24 bytes.
pub const MAX_SAMPLES: usize = 1_000_000;

/// In the local world, a name that the templates refer to is its own value, except for a few (`alarms::bundled`).
const FUNCTION: [(&str, &str); 1] = [("FunctionName", "AuditLambdaFunction")];
const MAPPING: [(&str, &str); 1] = [("EventSourceMappingUUID", "ConfigurationStreamMapping")];
const WITNESS_FUNCTION: [(&str, &str); 1] = [("FunctionName", "WitnessLambdaFunction")];
const WITNESS_MAPPING: [(&str, &str); 1] = [("EventSourceMappingUUID", "AuditStreamMapping")];
const INDEX: (&str, &str) = ("GlobalSecondaryIndexName", HISTORY_INDEX);
const LOG_GROUP: [(&str, &str); 1] = [("LogGroupName", "AuditLogGroup")];

/// The dimension of a table, with its usual name in the local world.
fn name(table: WorldTable) -> (&'static str, &'static str) {
    let name = match table {
        WorldTable::Configuration => "Configuration-local",
        WorldTable::Audit => "Audit-local",
    };
    ("TableName", name)
}

/// The metrics of the local world.
#[derive(Debug, Default)]
pub struct WorldMetrics {
    metrics: Metrics,
    /// The number of records delivered to the next invocation, and the time of the oldest one.
    delivered: usize,
    oldest: Option<DateTime<Utc>>,
    /// The minute in which old samples were last dropped.
    trimmed: i64,
    /// Before this time, samples were dropped because there were too many.
    cut: Option<DateTime<Utc>>,
}

impl WorldMetrics {
    /// All samples.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The time before which samples are missing because there were too many, if they would otherwise still be kept.
    #[must_use]
    pub fn missing_before(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cut.filter(|cut| *cut > now - TimeDelta::hours(KEPT_HOURS))
    }

    /// `oldest` is the change time of the oldest pending record.
    pub(super) fn apply(&mut self, event: &WorldEvent, oldest: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        match event {
            // Empty polls count too: a disabled mapping is the one that makes none.
            WorldEvent::StreamPolled { records } => {
                self.add("AWS/Lambda", "PolledEventCount", &MAPPING, now, *records as f64);
            }
            // Not from the stream's records, which arrive only while the mapping polls.
            WorldEvent::TableWritten { table, operation, items, took } => {
                let (table, items) = (name(*table), *items as f64);
                self.add("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &[table], now, items);
                if table == name(WorldTable::Audit) {
                    self.add("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &[table, INDEX], now, items);
                }
                let milliseconds = took.as_secs_f64() * 1000.0;
                self.add(
                    "AWS/DynamoDB",
                    "SuccessfulRequestLatency",
                    &[table, ("Operation", operation)],
                    now,
                    milliseconds,
                );
            }
            WorldEvent::TableRefused { table, operation, items, is_throttled } => {
                let table = name(*table);
                let operation = [table, ("Operation", operation.as_str())];
                if *is_throttled {
                    self.add("AWS/DynamoDB", "WriteThrottleEvents", &[table], now, *items as f64);
                    self.add("AWS/DynamoDB", "ThrottledRequests", &operation, now, 1.0);
                } else {
                    self.add("AWS/DynamoDB", "SystemErrors", &operation, now, 1.0);
                }
            }
            WorldEvent::RecordDelivered { .. } => {
                self.delivered += 1;
                self.oldest = oldest;
            }
            WorldEvent::InvocationStarted { .. } => {
                let records = std::mem::take(&mut self.delivered);
                self.add("AWS/Lambda", "InvokedEventCount", &MAPPING, now, records as f64);
                self.add("AWS/Lambda", "ConcurrentExecutions", &FUNCTION, now, 1.0);
                if let Some(oldest) = self.oldest {
                    let age = (now - oldest).num_milliseconds().max(0) as f64;
                    self.add("AWS/Lambda", "IteratorAge", &FUNCTION, now, age);
                }
            }
            WorldEvent::InvocationEnded(completed) => self.add_invocation(&FUNCTION, completed, now),
            WorldEvent::RetryScheduled { records, .. } => {
                self.add("AWS/Lambda", "FailedInvokeEventCount", &MAPPING, now, *records as f64);
            }
            WorldEvent::SentToDestination { records, .. } => {
                self.add("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", &MAPPING, now, *records as f64);
            }
            WorldEvent::DestinationFailed { .. } => {
                self.add("AWS/Lambda", "DestinationDeliveryFailures", &FUNCTION, now, 1.0);
            }
            WorldEvent::LogLine { line, .. } => {
                self.add("AWS/Logs", "IncomingLogEvents", &LOG_GROUP, now, 1.0);
                self.add("AWS/Logs", "IncomingBytes", &LOG_GROUP, now, line.len() as f64);
                self.ingest(line, now);
            }
            WorldEvent::Witness(event) => self.apply_witness(event, now),
            _ => {}
        }
        self.trim(now, MAX_SAMPLES);
    }

    fn apply_witness(&mut self, event: &WorldEvent, now: DateTime<Utc>) {
        match event {
            WorldEvent::StreamPolled { records } => {
                self.add("AWS/Lambda", "PolledEventCount", &WITNESS_MAPPING, now, *records as f64);
            }
            WorldEvent::InvocationEnded(completed) => self.add_invocation(&WITNESS_FUNCTION, completed, now),
            WorldEvent::LogLine { line, .. } => self.ingest(line, now),
            _ => {}
        }
    }

    fn add_invocation(&mut self, function: &[(&str, &str)], completed: &CompletedInvocation, now: DateTime<Utc>) {
        let errors = if completed.outcome.is_err() { 1.0 } else { 0.0 };
        let milliseconds = completed.duration.as_secs_f64() * 1000.0;
        for (name, value) in [("Invocations", 1.0), ("Errors", errors), ("Throttles", 0.0), ("Duration", milliseconds)]
        {
            self.add("AWS/Lambda", name, function, now, value);
        }
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

    /// Drops old samples once a minute, and more of them if that does not free enough.
    fn trim(&mut self, now: DateTime<Utc>, max_samples: usize) {
        let minute = now.timestamp() / 60;
        if minute == self.trimmed {
            return;
        }
        self.trimmed = minute;
        let mut kept = TimeDelta::hours(KEPT_HOURS);
        self.metrics.forget_before(now - kept);
        while self.metrics.samples() > max_samples && kept > TimeDelta::minutes(1) {
            kept = kept / 2;
            self.metrics.forget_before(now - kept);
            self.cut = Some(now - kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: WorldTable, items: usize) -> WorldEvent {
        let took = std::time::Duration::from_millis(5);
        WorldEvent::TableWritten { table, operation: "BatchWriteItem".to_owned(), items, took }
    }

    fn refused(is_throttled: bool) -> WorldEvent {
        let (table, operation) = (WorldTable::Audit, "BatchWriteItem".to_owned());
        WorldEvent::TableRefused { table, operation, items: 4, is_throttled }
    }

    #[test]
    fn events_become_the_metrics_that_aws_would_have() {
        let mut metrics = WorldMetrics::default();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let started = WorldEvent::InvocationStarted { request_id: String::new(), trace_header: String::new() };
        metrics.delivered = 3;
        metrics.oldest = Some(now - TimeDelta::seconds(7));
        metrics.apply(&started, None, now);
        for (event, name, samples) in [
            (WorldEvent::StreamPolled { records: 0 }, "PolledEventCount", &[0.0][..]),
            (WorldEvent::StreamPolled { records: 7 }, "PolledEventCount", &[0.0, 7.0]),
            (written(WorldTable::Configuration, 2), "ConsumedWriteCapacityUnits", &[2.0]),
            // The entries, and the index of the Audit table.
            (written(WorldTable::Audit, 3), "ConsumedWriteCapacityUnits", &[2.0, 3.0, 3.0]),
            (written(WorldTable::Audit, 3), "SuccessfulRequestLatency", &[5.0, 5.0, 5.0]),
            (refused(true), "WriteThrottleEvents", &[4.0]),
            (refused(true), "ThrottledRequests", &[1.0, 1.0]),
            (refused(false), "SystemErrors", &[1.0]),
        ] {
            metrics.apply(&event, None, now);
            let mut added: Vec<f64> = metrics.metrics().at_least(name, 0.0).iter().map(|(_, value)| *value).collect();
            added.sort_by(f64::total_cmp);
            assert_eq!(added, samples, "{event:?}");
        }
        let value = |name: &str| metrics.metrics().at_least(name, 0.0).first().map(|(_, value)| *value);
        assert_eq!((value("InvokedEventCount"), value("IteratorAge")), (Some(3.0), Some(7000.0)));
        // Later, all of it has been dropped.
        metrics.apply(&started, None, now + TimeDelta::hours(KEPT_HOURS + 1));
        assert_eq!(metrics.metrics().at_least("IteratorAge", 0.0).len(), 1);
        assert_eq!(metrics.missing_before(now), None);
    }

    #[test]
    fn too_many_samples_shorten_the_history_which_is_known_until_it_would_have_ended_anyway() {
        let mut metrics = WorldMetrics::default();
        let start = DateTime::from_timestamp(1_700_000_040, 0).unwrap();
        let hours = TimeDelta::hours;
        for hour in 0..=70 {
            metrics.add("AWS/Lambda", "Invocations", &FUNCTION, start + hours(hour), 1.0);
        }
        metrics.trim(start + hours(70), 40);
        let cut = start + hours(70) - hours(KEPT_HOURS) / 2;
        assert_eq!(metrics.missing_before(start + hours(70)), Some(cut));
        let kept = metrics.metrics().at_least("Invocations", 0.0);
        assert!(kept.len() <= 40 && kept.iter().all(|(at, _)| *at >= cut), "{kept:?}");
        assert_eq!(metrics.missing_before(cut + hours(KEPT_HOURS)), None);
    }
}
