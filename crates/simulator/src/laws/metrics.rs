//! What an invocation's metrics say.

use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use config_audit::report::{Outcome, Report};
use config_audit::telemetry::catalog::{self, Measured};

use crate::change::RecordDefect;
use crate::expected::Expected;
use crate::ledger::TrackedChange;
use crate::log::InvocationLog;

/// The function's default for `LATE_MINUTES`.
const LATE_AFTER: Duration = Duration::from_mins(5);

/// The metrics match what became of the records, and the table's requests and answers.
pub(super) fn agree(batch: &[Rc<TrackedChange>], log: &InvocationLog, report: &Report) -> Vec<String> {
    let mut violations = Vec::new();
    let measured = catalog::measure(report, LATE_AFTER);
    let with =
        |is_it: &dyn Fn(&Outcome) -> bool| report.records.iter().filter(|record| is_it(&record.outcome)).count() as u64;
    let audited = || {
        let pairs = batch.iter().zip(&report.records);
        pairs.filter(|(_, record)| record.outcome == Outcome::Audited).map(|(tracked, _)| tracked)
    };
    let canaries = batch
        .iter()
        .zip(&report.records)
        .filter(|(tracked, record)| tracked.change.is_of_canary() && record.outcome == Outcome::Unchanged);
    let attributes = audited().flat_map(|tracked| &tracked.expected).filter(|entry| entry.is_of_an_attribute()).count();
    let omitted = audited().flat_map(|tracked| &tracked.expected).map(Expected::omitted).sum::<usize>();
    let counts = [
        (&catalog::RECORDS_RECEIVED, batch.len() as u64),
        (&catalog::RECORDS_AUDITED, with(&|outcome| *outcome == Outcome::Audited)),
        (&catalog::RECORDS_UNCHANGED, with(&|outcome| *outcome == Outcome::Unchanged)),
        (&catalog::RECORDS_QUARANTINED, with(&|outcome| matches!(outcome, Outcome::Quarantined(_)))),
        (&catalog::RECORDS_FAILED, with(&|outcome| matches!(outcome, Outcome::Failed(_)))),
        (&catalog::ATTRIBUTES_CHANGED, attributes as u64),
        (&catalog::VALUES_OMITTED, omitted as u64),
        (&catalog::RECORDS_UNACCOUNTED, 0),
        (&catalog::CANARY_SEEN, canaries.count() as u64),
    ];
    for (metric, expected) in counts {
        if sum(&measured, metric) != expected {
            let (name, told) = (metric.name, sum(&measured, metric));
            violations.push(format!("the books do not balance: {name} is {told}, and should be {expected}"));
        }
    }
    let requests = [
        (&catalog::AUDITS_WRITTEN, sum(&measured, &catalog::AUDITS_WRITTEN), log.entries_stored()),
        (&catalog::WRITE_LATENCY, samples(&measured, &catalog::WRITE_LATENCY).len() as u64, log.requests.len()),
    ];
    for (metric, told, seen) in requests {
        // A panic in the client loses what was known.
        if told > seen as u64 || told < seen as u64 && !log.may_fail() {
            violations.push(format!("{} says {told}, and the table saw {seen}", metric.name));
        }
    }
    // An entry that was not tried before may share a request with one that is retried, and then be in one half of it.
    let is_halved = log.requests.iter().any(|request| request.rejected().is_some());
    let (retries, repeats) = (sum(&measured, &catalog::WRITE_RETRIES), log.repeats().len());
    if !is_halved && !log.may_fail() && retries != repeats as u64 {
        violations.push(format!("WriteRetries says {retries}, and the table saw {repeats}"));
    }
    let timed = audited().filter(|tracked| tracked.change.defect != Some(RecordDefect::NoTime));
    let lags = samples(&measured, &catalog::AUDIT_LAG);
    let bounds = timed.map(|tracked| {
        let since =
            |time: DateTime<Utc>| (time.timestamp_millis() - tracked.change.at.timestamp() * 1_000).max(0) as f64;
        since(report.started) - 1.0..=since(report.time_of(report.interval.ended)) + 1.0
    });
    let bounds: Vec<_> = bounds.collect();
    if lags.len() != bounds.len() || !lags.iter().zip(&bounds).all(|(lag, bounds)| bounds.contains(lag)) {
        violations.push(format!("AuditLag says {lags:?}, and should be within {bounds:?}"));
    }
    let late = lags.iter().filter(|lag| **lag > LATE_AFTER.as_millis() as f64).count();
    if sum(&measured, &catalog::RECORDS_LATE) != late as u64 {
        violations.push(format!("RecordsLate is {}, and {late} are", sum(&measured, &catalog::RECORDS_LATE)));
    }
    violations
}

type Measurements = [(&'static catalog::Metric, Measured)];

fn sum(measured: &Measurements, metric: &catalog::Metric) -> u64 {
    match measured.iter().find(|(other, _)| *other == metric) {
        Some((_, Measured::Count(count))) => *count as u64,
        _ => 0,
    }
}

fn samples<'a>(measured: &'a Measurements, metric: &catalog::Metric) -> &'a [f64] {
    match measured.iter().find(|(other, _)| *other == metric) {
        Some((_, Measured::Samples(samples))) => samples,
        _ => &[],
    }
}
