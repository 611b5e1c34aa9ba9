//! What CloudWatch gets from a run: the function's log lines, written by the function's own code, and AWS's own
//! metrics.

use std::cell::RefCell;
use std::collections::BTreeMap;

use config_audit::report::Report;
use config_audit::settings::{Environment, Settings};
use config_audit::telemetry::Telemetry;

use crate::scenario::Millis;

/// The service and the stage of the function's metrics.
pub const DIMENSIONS: [&str; 2] = ["config-audit", "simulated"];

/// What CloudWatch got.
#[derive(Debug, Default)]
pub struct Observed {
    /// AWS's own metrics.
    pub data: Vec<Datum>,
    /// The wide lines of the function's log, each with the time it was written, in milliseconds since the start.
    pub lines: Vec<(Millis, String)>,
}

/// One value of one AWS metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Datum {
    /// The time, in milliseconds since the start of the run.
    pub at: Millis,
    /// The metric.
    pub metric: Metric,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// A metric that AWS sends, named as in CloudWatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Function: invocations that were started.
    Invocations,
    /// Function: invocations that failed; 0 for a successful one.
    Errors,
    /// Function: invocations that were not started because no concurrency was left.
    Throttles,
    /// Function: the duration in milliseconds.
    Duration,
    /// Function: the age of a batch's last record, in milliseconds.
    IteratorAge,
    /// Function: objects that the on-failure destination refused.
    DestinationDeliveryFailures,
    /// Mapping: records read; 0 for an empty poll, of which the simulator sends one a minute, not four a second.
    PolledEventCount,
    /// Mapping: records that were passed to the function.
    InvokedEventCount,
    /// Mapping: records of invocations that failed.
    FailedInvokeEventCount,
    /// Mapping: records that were given up without a destination.
    DroppedEventCount,
    /// Mapping: records that the destination accepted.
    OnFailureDestinationDeliveredEventCount,
    /// Configuration table: one unit per write.
    ConsumedWriteCapacityUnits,
    /// Audit table: writes that were throttled.
    WriteThrottleEvents,
    /// Audit table's index, under the same name: writes that were throttled because its capacity was used up.
    IndexWriteThrottleEvents,
    /// Failure bucket: the number of objects in it, once a day.
    NumberOfObjects,
    /// Audit table: one unit per write, under the same name as that of the Configuration table.
    AuditConsumedWriteCapacityUnits,
    /// Witness, under the same name without the prefix, like the following: invocations that were started.
    WitnessInvocations,
    /// Witness: invocations that failed; 0 for a successful one.
    WitnessErrors,
    /// Witness: invocations that were not started because no concurrency was left.
    WitnessThrottles,
    /// Witness: the age of a batch's last record, in milliseconds.
    WitnessIteratorAge,
    /// Witness's mapping: 0 for a poll, of which the simulator sends one a minute.
    WitnessPolledEventCount,
}

const DAY: Millis = 24 * 60 * 60 * 1_000;

/// Collects what a run sends to CloudWatch.
#[derive(Debug)]
pub(crate) struct Observer {
    telemetry: Telemetry,
    observed: RefCell<Observed>,
    /// When the failure bucket got each of its objects.
    objects: RefCell<BTreeMap<String, Millis>>,
    /// When the Audit table got each of its entries.
    entries: RefCell<Vec<Millis>>,
}

/// The function's settings.
struct Variables;

impl Environment for Variables {
    fn get(&self, name: &str) -> Option<String> {
        let [service, stage] = DIMENSIONS;
        let value = match name {
            "AUDIT_TABLE" => "Audit",
            "SERVICE_NAME" => service,
            "STAGE" => stage,
            "AWS_REGION" => "eu-central-1",
            _ => return None,
        };
        Some(value.to_owned())
    }
}

impl Observer {
    /// `None` if the function cannot be set up.
    pub(crate) fn start() -> Option<Self> {
        let telemetry = Telemetry::start(&Settings::read(&Variables).ok()?).ok()?;
        Some(Self { telemetry, observed: RefCell::default(), objects: RefCell::default(), entries: RefCell::default() })
    }

    pub(crate) fn add(&self, datum: Datum) {
        self.observed.borrow_mut().data.push(datum);
    }

    /// Records that an object is put into the failure bucket.
    pub(crate) fn store(&self, now: Millis, key: &str) {
        self.objects.borrow_mut().entry(key.to_owned()).or_insert(now);
    }

    /// Records that the Audit table gets an entry that it did not have.
    pub(crate) fn add_entry(&self, now: Millis) {
        self.entries.borrow_mut().push(now);
    }

    /// When the Audit table got each of its entries.
    pub(crate) fn entries_stored(&self) -> Vec<Millis> {
        self.entries.take()
    }

    /// What CloudWatch has received up to this time.
    pub(crate) fn take(&self, now: Millis) -> Observed {
        let objects = self.objects.borrow();
        for midnight in (0..=now / DAY).map(|day| day * DAY) {
            let count = objects.values().filter(|stored| **stored < midnight).count();
            self.add(Datum { at: midnight, metric: Metric::NumberOfObjects, value: count as f64 });
        }
        self.observed.take()
    }

    /// The lines that the function logs for an invocation.
    pub(crate) fn lines_of(&self, report: &Report) -> Vec<String> {
        self.telemetry.wide_line(report).lines()
    }

    /// Records lines of the function's log.
    pub(crate) fn log(&self, now: Millis, lines: Vec<String>) {
        self.observed.borrow_mut().lines.extend(lines.into_iter().map(|line| (now, line)));
    }
}
