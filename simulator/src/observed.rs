//! What CloudWatch is sent in a run: the function's own metrics, by the function's own code, and those of AWS.

use config_audit::telemetry::metrics::Taken;

use crate::fault::Fault;
use crate::scenario::{Millis, Scenario};
use crate::world::World;

/// One value of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Datum {
    /// When, in milliseconds since the start of the run.
    pub at: Millis,
    /// Of which metric.
    pub metric: Sent,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// A metric that a run sends, under its name in CloudWatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sent {
    /// One of the function's own (`config_audit::telemetry::catalog`), by its name.
    Own(&'static str),
    /// `AWS/Lambda`: invocations that were started.
    Invocations,
    /// `AWS/Lambda`: invocations that failed; 0 for one that did not.
    Errors,
    /// `AWS/Lambda`: invocations that were not started, for want of concurrency.
    Throttles,
    /// `AWS/Lambda`: milliseconds.
    Duration,
    /// `AWS/Lambda`: the age of a batch's last record, in milliseconds.
    IteratorAge,
    /// `AWS/Lambda`: objects that the on-failure destination refused.
    DestinationDeliveryFailures,
    /// `AWS/Lambda`, of the event source mapping: records read; 0 for a poll that found none.
    PolledEventCount,
    /// `AWS/Lambda`, of the event source mapping: records that were given up with no destination.
    DroppedEventCount,
    /// `AWS/Lambda`, of the event source mapping: records that the destination took.
    OnFailureDestinationDelivered,
    /// `AWS/DynamoDB`: what the writers wrote to the Configuration table.
    ConfigurationWrites,
    /// `AWS/DynamoDB`: writes to the Audit table that were throttled.
    AuditTableThrottled,
    /// `AWS/Logs`: log lines that look like embedded metric format and are not.
    EmfParsingErrors,
}

/// What the function's metrics make of an invocation, where its log lines arrive and are understood.
pub(crate) fn emit(world: &World, taken: &Taken) {
    if world.strikes(Fault::TelemetryLost) {
        return;
    }
    if world.strikes(Fault::EmfMalformed) {
        world.emit(Sent::EmfParsingErrors, 1.0);
        return;
    }
    let is_wrong = world.strikes(Fault::BooksWrong);
    for (metric, sum) in &taken.counters {
        let missed = u64::from(is_wrong && metric.name == "RecordsAudited");
        world.emit(Sent::Own(metric.name), sum.saturating_sub(missed) as f64);
    }
    for (metric, values) in &taken.samples {
        for value in values {
            world.emit(Sent::Own(metric.name), *value);
        }
    }
}

/// The mapping's polls of a run: four a second find nothing, which is one value a minute here.
#[must_use]
pub fn polls(scenario: &Scenario, end: Millis) -> Vec<Datum> {
    let is_disabled = |at: &Millis| {
        let disabled = scenario.weather.iter().filter(|weather| weather.fault == Fault::MappingDisabled);
        disabled.into_iter().any(|weather| (weather.from..weather.to).contains(at))
    };
    let minutes = (0..end / 60_000).map(|minute| minute * 60_000);
    let polled = minutes.filter(|at| !is_disabled(at));
    polled.map(|at| Datum { at, metric: Sent::PolledEventCount, value: 0.0 }).collect()
}
