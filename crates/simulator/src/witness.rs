//! The witness function, as CloudWatch sees it, after a run: the Audit table's stream, the event source mapping that reads
//! it, and the outcome of each invocation.
//!
//! Its handler does not run here: what it makes of a record is a function of the record alone, which its own tests cover.
//! So a record here is only its time and its outcome. The metrics come from the function's own telemetry all the same.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use config_audit::clock::Clock;
use config_audit::invocation::Invocation;
use config_audit::reason::Reason;
use config_audit::report::{Cause, Outcome, Record, Report};
use config_audit::settings;
use opentelemetry::trace::SpanContext;

use crate::fault::Fault;
use crate::observed::{Metric, Observer};
use crate::run::Run;
use crate::scenario::Millis;

/// The mapping's batching window (serverless/witness.yml).
const WINDOW: Millis = 30_000;
/// The mapping's batch size (the same file).
const BATCH: usize = 1_000;
/// How long the stream keeps a record.
const RETENTION: Millis = 24 * 60 * 60 * 1_000;
/// How far apart the simulated polls are; those of Lambda are four a second.
const POLLS: usize = 60_000;
/// The function's time-out.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A record of the Audit table's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StreamRecord {
    at: Millis,
    event: Event,
}

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Stored,
    Altered,
    Deleted,
}

/// The mapping, and when it could not poll.
struct Mapping<'a> {
    run: &'a Run,
    observer: &'a Observer,
    blocked: Vec<(Millis, Millis)>,
    invocations: u64,
}

/// Plays the witness from the beginning to the end of a run that has settled, and sends CloudWatch what it would get.
pub(crate) fn play(run: &Run, observer: &Observer, end: Millis) {
    let stored = observer.entries_stored().into_iter().map(|at| StreamRecord { at, event: Event::Stored });
    let mut records: Vec<_> = stored.chain(tampering(run)).collect();
    records.sort_by_key(|record| record.at);
    let mut mapping = Mapping { run, observer, blocked: Vec::new(), invocations: 0 };
    mapping.deliver_all(records.into(), end);
    let is_blocked = |at: Millis| mapping.blocked.iter().any(|(from, to)| (*from..*to).contains(&at));
    for at in (0..end).step_by(POLLS).filter(|at| !is_blocked(*at)) {
        if window(run, Fault::WitnessMappingDisabled, at).is_some() {
            run.saw(Fault::WitnessMappingDisabled);
        } else {
            run.emit_at(at, Metric::WitnessPolledEventCount, 0.0);
        }
    }
}

/// Somebody touches one entry at the beginning of each window of these faults.
fn tampering(run: &Run) -> Vec<StreamRecord> {
    let mut records = Vec::new();
    for window in &run.scenario.fault_windows {
        let event = match window.fault {
            Fault::EntryAltered => Event::Altered,
            Fault::EntryDeleted => Event::Deleted,
            _ => continue,
        };
        run.saw(window.fault);
        run.emit_at(window.from, Metric::AuditConsumedWriteCapacityUnits, 1.0);
        records.push(StreamRecord { at: window.from, event });
    }
    records
}

/// The end of a window of this fault at this time.
fn window(run: &Run, fault: Fault, at: Millis) -> Option<Millis> {
    let windows = run.scenario.fault_windows.iter();
    windows
        .filter(|window| window.fault == fault && (window.from..window.to).contains(&at))
        .map(|window| window.to)
        .max()
}

impl Mapping<'_> {
    fn deliver_all(&mut self, mut records: VecDeque<StreamRecord>, end: Millis) {
        let mut ready = 0;
        while let Some(first) = records.front().copied() {
            let full = records.get(BATCH - 1).map_or(Millis::MAX, |last| last.at.max(ready));
            let now = (first.at.max(ready) + WINDOW).min(full);
            ready = match window(self.run, Fault::WitnessMappingDisabled, now) {
                Some(until) => until,
                None => self.deliver(&mut records, now, end),
            };
            if ready >= end {
                break;
            }
            while records.front().is_some_and(|record| record.at + RETENTION <= ready) {
                records.pop_front();
            }
        }
    }

    /// Delivers the next batch, again and again until all its records are done, and returns the time after that.
    fn deliver(&mut self, records: &mut VecDeque<StreamRecord>, mut now: Millis, end: Millis) -> Millis {
        let begins = now;
        let mut left = records.iter().take(BATCH).take_while(|record| record.at <= now).count();
        let delay = u64::try_from(self.run.scenario.mapping.first_retry_delay.as_millis()).unwrap_or_default();
        loop {
            let batch: Vec<_> = records.iter().take(left).copied().collect();
            let done = self.invoke(&batch, now);
            records.drain(..done);
            left -= done;
            if left == 0 {
                break;
            }
            now += delay;
            while left > 0 && records.front().is_some_and(|record| record.at + RETENTION <= now) {
                records.pop_front();
                left -= 1;
            }
            let is_disabled = window(self.run, Fault::WitnessMappingDisabled, now).is_some();
            if left == 0 || now >= end || is_disabled {
                break;
            }
        }
        // It is not documented whether Lambda polls a shard that a batch blocks.
        self.blocked.push((begins, now));
        now
    }

    /// Invokes the function, and returns how many records at the beginning of the batch are done.
    fn invoke(&mut self, batch: &[StreamRecord], now: Millis) -> usize {
        let run = self.run;
        let strikes = |fault: Fault| {
            let strikes = window(run, fault, now).is_some();
            if strikes {
                run.saw(fault);
            }
            strikes
        };
        if strikes(Fault::WitnessThrottled) {
            run.emit_at(now, Metric::WitnessThrottles, 1.0);
            return 0;
        }
        let does_not_start = strikes(Fault::WitnessDoesNotStart);
        run.emit_at(now, Metric::WitnessInvocations, 1.0);
        run.emit_at(now, Metric::WitnessErrors, f64::from(u8::from(does_not_start)));
        if let Some(last) = batch.last() {
            run.emit_at(now, Metric::WitnessIteratorAge, (now - last.at) as f64);
        }
        if does_not_start {
            return 0;
        }
        let is_refused = strikes(Fault::WitnessBucketRefuses);
        let report = self.report(batch, run.time_at(now), is_refused);
        self.observer.log(now, self.observer.lines_of(&report));
        // Lambda continues at the first record that failed.
        report.records.iter().position(|record| matches!(record.outcome, Outcome::Failed(_))).unwrap_or(batch.len())
    }

    /// The report of an invocation with these records.
    fn report(&mut self, batch: &[StreamRecord], time: DateTime<Utc>, is_refused: bool) -> Report {
        self.invocations += 1;
        let clock = Clock::starting_at(time);
        let invocation = Invocation {
            request_id: format!("witness-{}", self.invocations),
            function_arn: String::new(),
            trace: SpanContext::NONE,
            cold_start: self.invocations == 1,
            deadline: time + TIMEOUT,
            event: b"",
        };
        let outcome = |event| match event {
            Event::Stored if is_refused => Outcome::Failed(Cause::new(Reason::NotWitnessed, "as simulated")),
            Event::Stored => Outcome::Witnessed,
            Event::Altered => Outcome::Quarantined(Cause::new(Reason::EntryAltered, "as simulated")),
            Event::Deleted => Outcome::Quarantined(Cause::new(Reason::EntryDeleted, "as simulated")),
        };
        let mut report = Report::new(settings::Function::Witness, &invocation, clock);
        let now = report.interval.started;
        let record = |record: &StreamRecord| Record { outcome: outcome(record.event), ..Record::unsettled(now) };
        report.records = batch.iter().map(record).collect();
        report.received = batch.len();
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Observed;
    use crate::scenario::Scenario;
    use crate::world::{self, Capture, Outcome};

    const HOUR: Millis = 60 * 60 * 1_000;

    fn played(faults: &[(Fault, Millis, Millis)]) -> Outcome {
        let scenario = Scenario::of_traffic(7, 4, |_| 20);
        let scenario = faults.iter().fold(scenario, |all, (fault, from, to)| all.with(*fault, *from, *to, 100));
        world::run(&scenario, Capture::Observed)
    }

    /// The sum of a metric in the witness's lines.
    fn logged(observed: &Observed, metric: &str) -> u64 {
        let lines = observed.lines.iter().map(|(_, line)| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of_witness = lines.filter(|line| line["requestId"].as_str().is_some_and(|id| id.starts_with("witness-")));
        of_witness.filter_map(|line| line[metric].as_u64()).sum()
    }

    fn values(observed: &Observed, metric: Metric) -> Vec<f64> {
        observed.data.iter().filter(|datum| datum.metric == metric).map(|datum| datum.value).collect()
    }

    #[test]
    fn each_entry_is_witnessed_once_also_after_an_outage() {
        let outage = |fault| played(&[(fault, HOUR, 2 * HOUR)]);
        for (outcome, is_late) in [
            (played(&[]), false),
            (outage(Fault::WitnessBucketRefuses), true),
            (outage(Fault::WitnessDoesNotStart), true),
            (outage(Fault::WitnessThrottled), true),
            (outage(Fault::WitnessMappingDisabled), true),
            (outage(Fault::AnswerLost), false),
        ] {
            let observed = &outcome.observed;
            assert!(outcome.tally.entries > 60);
            assert_eq!(logged(observed, "EntriesWitnessed"), outcome.tally.entries);
            assert_eq!(logged(observed, "EntriesTampered"), 0);
            let oldest = values(observed, Metric::WitnessIteratorAge).into_iter().fold(0.0, f64::max);
            assert_eq!(oldest > 60_000.0, is_late, "{oldest}");
        }
    }

    #[test]
    fn what_somebody_does_to_an_entry_is_counted() {
        let outcome = played(&[(Fault::EntryAltered, HOUR, HOUR + 1), (Fault::EntryDeleted, 2 * HOUR, 2 * HOUR + 1)]);
        assert_eq!(logged(&outcome.observed, "EntriesTampered"), 2);
        assert_eq!(logged(&outcome.observed, "EntriesWitnessed"), outcome.tally.entries);
        assert_eq!((outcome.faults.of(Fault::EntryAltered), outcome.faults.of(Fault::EntryDeleted)), (1, 1));
    }

    #[test]
    fn a_disabled_mapping_does_not_poll() {
        let polls = |outcome: &Outcome| values(&outcome.observed, Metric::WitnessPolledEventCount).len();
        let (healthy, disabled) = (played(&[]), played(&[(Fault::WitnessMappingDisabled, HOUR, 2 * HOUR)]));
        assert_eq!(polls(&healthy) - polls(&disabled), 60);
    }
}
