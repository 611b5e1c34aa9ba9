//! What CloudWatch gets of a run: the lines of the function's log, made by the function's own code, and AWS's own metrics.

use std::cell::RefCell;
use std::collections::BTreeMap;

use config_audit::report::Report;
use config_audit::settings::{Environment, Settings};
use config_audit::telemetry::Telemetry;

use crate::scenario::Millis;

/// The service and the stage that the function's metrics are of.
pub const DIMENSIONS: [&str; 2] = ["config-audit", "simulated"];

/// What CloudWatch got.
#[derive(Debug, Default)]
pub struct Observed {
    /// AWS's own metrics.
    pub data: Vec<Datum>,
    /// The wide lines of the function's log, by the time at which they were written, in milliseconds since the start.
    pub lines: Vec<(Millis, String)>,
}

/// One value of one metric of AWS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Datum {
    /// When, in milliseconds since the start of the run.
    pub at: Millis,
    /// Of which metric.
    pub metric: Metric,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// A metric that AWS sends, under its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Of the function: invocations that were started.
    Invocations,
    /// Of the function: invocations that failed; 0 for one that did not.
    Errors,
    /// Of the function: invocations that were not started, because there was no concurrency left.
    Throttles,
    /// Of the function: milliseconds.
    Duration,
    /// Of the function: the age of a batch's last record, in milliseconds.
    IteratorAge,
    /// Of the function: objects that the on-failure destination refused.
    DestinationDeliveryFailures,
    /// Of the mapping: records read; 0 for a poll that found none, of which there is one a minute here, and not four a
    /// second.
    PolledEventCount,
    /// Of the mapping: records that were given to the function.
    InvokedEventCount,
    /// Of the mapping: records of invocations that failed.
    FailedInvokeEventCount,
    /// Of the mapping: records that were given up with no destination.
    DroppedEventCount,
    /// Of the mapping: records that the destination took.
    OnFailureDestinationDeliveredEventCount,
    /// Of the Configuration table: a unit for a write.
    ConsumedWriteCapacityUnits,
    /// Of the Audit table: writes that were throttled.
    WriteThrottleEvents,
    /// Of the Audit table's index, under the same name: writes that were throttled because its capacity was used up.
    IndexWriteThrottleEvents,
    /// Of the failure bucket: the objects in it, once a day.
    NumberOfObjects,
}

const DAY: Millis = 24 * 60 * 60 * 1_000;

/// Where a run puts what it sends.
#[derive(Debug)]
pub(crate) struct Observer {
    telemetry: Telemetry,
    observed: RefCell<Observed>,
    /// When the failure bucket got each of its objects.
    objects: RefCell<BTreeMap<String, Millis>>,
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
    /// None where the function cannot be set up.
    pub(crate) fn start() -> Option<Self> {
        let telemetry = Telemetry::start(&Settings::read(&Variables).ok()?).ok()?;
        Some(Self { telemetry, observed: RefCell::default(), objects: RefCell::default() })
    }

    pub(crate) fn add(&self, datum: Datum) {
        self.observed.borrow_mut().data.push(datum);
    }

    /// An object is put into the failure bucket.
    pub(crate) fn store(&self, now: Millis, key: &str) {
        self.objects.borrow_mut().entry(key.to_owned()).or_insert(now);
    }

    /// What CloudWatch got until this time.
    pub(crate) fn take(&self, now: Millis) -> Observed {
        let objects = self.objects.borrow();
        for midnight in (0..=now / DAY).map(|day| day * DAY) {
            let count = objects.values().filter(|stored| **stored < midnight).count();
            self.add(Datum { at: midnight, metric: Metric::NumberOfObjects, value: count as f64 });
        }
        self.observed.take()
    }

    /// The lines that the function logs of an invocation.
    pub(crate) fn lines_of(&self, report: &Report) -> Vec<String> {
        self.telemetry.wide_line(report).lines()
    }

    /// Lines of the function's log arrive.
    pub(crate) fn log(&self, now: Millis, lines: Vec<String>) {
        self.observed.borrow_mut().lines.extend(lines.into_iter().map(|line| (now, line)));
    }
}
