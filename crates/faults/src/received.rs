//! What CloudWatch receives from a simulated run, and when.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use config_audit_cloudwatch::line::{Ingested, Line};
use config_audit_cloudwatch::metrics::{Metric, Metrics};
use config_audit_simulator::observed::{self, Observed};
use config_audit_simulator::scenario::Millis;
use config_audit_simulator::world::EPOCH;

/// AWS's own metrics arrive this many minutes late.
const DELAY_OF_METRICS: i64 = 1;
/// Metrics from log lines arrive later, with one of these delays in minutes.
const DELAYS_OF_LOGS: [i64; 3] = [1, 2, 3];

/// A period in which CloudWatch itself has problems.
#[derive(Debug, Clone, Copy)]
pub struct Hiccup {
    /// The affected metrics.
    pub source: Source,
    /// From when.
    pub from: Millis,
    /// Until when.
    pub to: Millis,
    /// What happens to the metrics of this period.
    pub delay: Delay,
}

/// Where metrics come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// AWS's own.
    Aws,
    /// The function's, from its log.
    Logs,
}

/// What happens to metrics while CloudWatch has problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// They never arrive.
    Lost,
    /// They arrive an hour late.
    Hour,
}

/// All metric data of a run.
pub(super) fn received(observed: &Observed, hiccups: &[Hiccup]) -> Metrics {
    let mut metrics = Metrics::default();
    let mut add = |source, sent: Millis, delay: i64, at: DateTime<Utc>, metric: &Metric, value| {
        let trouble = hiccups.iter().find(|it| it.source == source && (it.from..it.to).contains(&sent));
        let later = match trouble.map(|trouble| trouble.delay) {
            Some(Delay::Lost) => return,
            Some(Delay::Hour) => 60,
            None => 0,
        };
        metrics.add(metric, at, time(sent) + TimeDelta::minutes(delay + later), value);
    };
    // Each AWS metric is constructed once, not for each of its datapoints.
    let mut known: Vec<(observed::Metric, Metric)> = Vec::new();
    for datum in &observed.data {
        let index = known.iter().position(|(of, _)| *of == datum.metric).unwrap_or_else(|| {
            known.push((datum.metric, metric_of_aws(datum.metric)));
            known.len() - 1
        });
        add(Source::Aws, datum.at, DELAY_OF_METRICS, time(datum.at), &known[index].1, datum.value);
    }
    let group = resolve("AuditLogGroup");
    let log_group = |name| Metric::new("AWS/Logs", name, &[("LogGroupName", group.as_str())]);
    for (written, line) in &observed.lines {
        let now = time(*written);
        // All lines of a minute have the same delay for one metric; across minutes and metrics, the delay looks
        // random.
        let delay = |number: u64| DELAYS_OF_LOGS[((written / 60_000 * 7 + number * 5) % 11 % 3) as usize];
        match Line::parse(line).ingest(now) {
            Ingested::Log => {}
            Ingested::Metrics(at, samples) => {
                for (metric, value) in samples {
                    let number = metric.name.bytes().map(u64::from).sum();
                    add(Source::Logs, *written, delay(number), at, &metric, value);
                }
            }
            Ingested::Unparsed => add(Source::Logs, *written, delay(0), now, &log_group("EMFParsingErrors"), 1.0),
            Ingested::Invalid => add(Source::Logs, *written, delay(0), now, &log_group("EMFValidationErrors"), 1.0),
        }
    }
    metrics
}

/// The date and time of a moment in a simulated run.
#[must_use]
pub fn time(at: Millis) -> DateTime<Utc> {
    DateTime::from_timestamp(EPOCH, 0).unwrap_or_default() + Duration::from_millis(at)
}

/// The minute of a date and time, counted from the beginning of a simulated run.
#[must_use]
pub fn minute_of(at: DateTime<Utc>) -> i64 {
    (at - time(0)).num_seconds().div_euclid(60)
}

/// A record audited later than this is late: the default of the deployment parameter `lateMinutes`.
pub const LATE_MINUTES: u64 = 5;
/// The default of the deployment parameter `criticalAgeMinutes`.
const CRITICAL_AGE_MINUTES: u64 = 120;
/// The region of the simulated deployment.
pub const REGION: &str = "eu-central-1";

/// The values of the names in a template or a dashboard, in the simulated deployment.
#[must_use]
pub fn resolve(name: &str) -> String {
    let [service, stage] = observed::DIMENSIONS;
    match name {
        "Service" => service.to_owned(),
        "Stage" => stage.to_owned(),
        "AWS::Region" => REGION.to_owned(),
        "RunbookUrl" => "docs/runbooks".to_owned(),
        "LateMinutes" => LATE_MINUTES.to_string(),
        "CriticalAgeMinutes" => CRITICAL_AGE_MINUTES.to_string(),
        "CriticalAgeMilliseconds" => (CRITICAL_AGE_MINUTES * 60_000).to_string(),
        "ConfigurationTableName" => format!("Configuration-{stage}"),
        "AuditTableName" => format!("Audit-{stage}"),
        "AuditLambdaFunction" => format!("{service}-{stage}-audit"),
        "AuditLogGroup" => format!("/aws/lambda/{service}-{stage}-audit"),
        "WitnessLambdaFunction" => format!("{service}-{stage}-witness"),
        "WitnessLogGroup" => format!("/aws/lambda/{service}-{stage}-witness"),
        "FailureBucket" => format!("{service}-{stage}-failures"),
        // Every other resource and parameter has its own name as its value.
        other => other.to_owned(),
    }
}

/// An AWS metric, with the dimensions that the alarms use.
fn metric_of_aws(metric: observed::Metric) -> Metric {
    use observed::Metric::{
        AuditConsumedWriteCapacityUnits, ConsumedWriteCapacityUnits, DestinationDeliveryFailures, DroppedEventCount,
        Errors, FailedInvokeEventCount, IndexWriteThrottleEvents, Invocations, InvokedEventCount, IteratorAge,
        NumberOfObjects, OnFailureDestinationDeliveredEventCount, PolledEventCount, Throttles, WitnessErrors,
        WitnessInvocations, WitnessIteratorAge, WitnessPolledEventCount, WitnessThrottles, WriteThrottleEvents,
    };
    let [function, mapping, witness, witness_mapping, configuration, audit, bucket] = [
        "AuditLambdaFunction",
        "ConfigurationStreamMapping",
        "WitnessLambdaFunction",
        "AuditStreamMapping",
        "ConfigurationTableName",
        "AuditTableName",
        "FailureBucket",
    ]
    .map(resolve);
    let function = [("FunctionName", function.as_str())];
    let mapping = [("EventSourceMappingUUID", mapping.as_str())];
    let audit = ("TableName", audit.as_str());
    let name = format!("{metric:?}");
    let of_witness = name.trim_start_matches("Witness");
    match metric {
        Invocations | Errors | Throttles | observed::Metric::Duration | IteratorAge | DestinationDeliveryFailures => {
            Metric::new("AWS/Lambda", &name, &function)
        }
        PolledEventCount
        | InvokedEventCount
        | FailedInvokeEventCount
        | DroppedEventCount
        | OnFailureDestinationDeliveredEventCount => Metric::new("AWS/Lambda", &name, &mapping),
        ConsumedWriteCapacityUnits => Metric::new("AWS/DynamoDB", &name, &[("TableName", configuration.as_str())]),
        WriteThrottleEvents => Metric::new("AWS/DynamoDB", &name, &[audit]),
        AuditConsumedWriteCapacityUnits => Metric::new("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &[audit]),
        WitnessInvocations | WitnessErrors | WitnessThrottles | WitnessIteratorAge => {
            Metric::new("AWS/Lambda", of_witness, &[("FunctionName", witness.as_str())])
        }
        WitnessPolledEventCount => {
            Metric::new("AWS/Lambda", of_witness, &[("EventSourceMappingUUID", witness_mapping.as_str())])
        }
        NumberOfObjects => {
            Metric::new("AWS/S3", &name, &[("BucketName", bucket.as_str()), ("StorageType", "AllStorageTypes")])
        }
        IndexWriteThrottleEvents => Metric::new(
            "AWS/DynamoDB",
            "WriteThrottleEvents",
            &[audit, ("GlobalSecondaryIndexName", "itemKey-modificationTime-index")],
        ),
    }
}
