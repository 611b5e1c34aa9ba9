//! Every metric, as data: its name, its unit, what it means, and the function that measures it.
//!
//! The wide line and Prometheus both get what [`measure`] returns. So a metric that is not here cannot be emitted, and one
//! that is here cannot be forgotten. To add one, add its row here and to the table in `docs/telemetry.md`.

use std::time::Duration;

use crate::reason::Reason;
use crate::report::{Outcome, Report};
use crate::settings::Function;

/// The unit of a metric's values (Amazon CloudWatch API Reference, `MetricDatum`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// Thousandths of a second.
    Milliseconds,
}

impl Unit {
    /// CloudWatch's name of the unit.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

/// How a metric's values are taken from the report of an invocation.
#[derive(Debug, Clone, Copy)]
pub enum Measure {
    /// A count, emitted with each invocation, even if zero, so that no data means no invocation.
    Count(fn(&Report) -> usize),
    /// Like a count, but a zero is not emitted, because CloudWatch charges for each metric it ever receives.
    RareCount(fn(&Report) -> usize),
    /// A rare count of records that took longer than the objective allows.
    LateCount(fn(&Report, Duration) -> usize),
    /// Each value is emitted, because percentiles need all of them.
    Samples(fn(&Report) -> Vec<f64>),
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The function that emits it.
    pub function: Function,
    /// Its name, everywhere.
    pub name: &'static str,
    /// The unit of its values.
    pub unit: Unit,
    /// Where its values come from.
    pub measure: Measure,
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

/// Metric names are unique.
impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What an invocation adds to a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// A count.
    Count(usize),
    /// These values, in the order in which they came.
    Samples(Vec<f64>),
}

/// The metrics that a function emits.
pub fn of(function: Function) -> impl Iterator<Item = &'static Metric> {
    ALL.iter().filter(move |metric| metric.function == function)
}

/// What an invocation adds to each metric. A record that is audited later than `limit` after its change is late. Rare
/// counts that are zero and samples that are not numbers are left out.
#[must_use]
pub fn measure(report: &Report, limit: Duration) -> Vec<(&'static Metric, Measured)> {
    let rare = |count: usize| Some(Measured::Count(Some(count).filter(|count| *count > 0)?));
    let measured = |metric: &'static Metric| {
        let measured = match metric.measure {
            Measure::Count(count) => Measured::Count(count(report)),
            Measure::RareCount(count) => rare(count(report))?,
            Measure::LateCount(count) => rare(count(report, limit))?,
            Measure::Samples(samples) => {
                Measured::Samples(samples(report).into_iter().filter(|sample| sample.is_finite()).collect())
            }
        };
        Some((metric, measured))
    };
    of(report.function).filter_map(measured).collect()
}

/// The dimensions of every metric; their values are the settings `SERVICE_NAME` and `STAGE`.
pub const DIMENSIONS: [&str; 2] = ["Service", "Stage"];

/// Declares the metrics of each function, and [`ALL`] of them.
macro_rules! catalog {
    ($($function:ident { $($constant:ident = $name:literal, $unit:ident, $meaning:literal, $measure:expr;)* })*) => {
        $($(
            #[doc = $meaning]
            pub const $constant: Metric = Metric {
                function: Function::$function,
                name: $name,
                unit: Unit::$unit,
                measure: $measure,
                meaning: $meaning,
            };
        )*)*
        /// All metrics.
        pub const ALL: &[Metric] = &[$($($constant),*),*];
    };
}

catalog! {
    Audit {
        RECORDS_RECEIVED = "RecordsReceived", Count,
            "Stream records in the event; without a bug the sum of those audited, unchanged, quarantined and failed.",
            Measure::Count(|report| report.received);
        RECORDS_AUDITED = "RecordsAudited", Count,
            "Records whose entries are all known to be stored.",
            Measure::Count(|report| report.counts().audited);
        RECORDS_UNCHANGED = "RecordsUnchanged", Count,
            "Records that changed no attribute, or are of the canary, and so have no entries.",
            Measure::Count(|report| report.counts().unchanged);
        RECORDS_QUARANTINED = "RecordsQuarantined", Count,
            "Records that no retry can fix, put whole into the failure bucket.",
            Measure::Count(|report| report.counts().quarantined);
        RECORDS_FAILED = "RecordsFailed", Count,
            "Records reported to Lambda, which delivers them again.",
            Measure::Count(|report| report.counts().failed);
        AUDITS_WRITTEN = "AuditsWritten", Count,
            "Audit entries known to be stored.",
            Measure::Count(|report| report.audits_written);
        ATTRIBUTES_CHANGED = "AttributesChanged", Count,
            "Attributes that the audited modifications changed.",
            Measure::Count(|report| report.audited().map(|record| record.attributes_changed).sum());
        AUDIT_LAG = "AuditLag", Milliseconds,
            "From the change of the item to its last stored entry; one sample for each audited record.",
            // DynamoDB's times are whole seconds, so anything finer than a millisecond is meaningless.
            Measure::Samples(|report| report.records.iter().filter_map(|record| Some(report.lag(record)?.as_millis() as f64)).collect());
        WRITE_LATENCY = "WriteLatency", Milliseconds,
            "One request to the Audit table, from sending to its answer.",
            Measure::Samples(|report| {
                report.requests.iter().map(|request| request.interval.duration().as_secs_f64() * 1000.0).collect()
            });
        WRITE_RETRIES = "WriteRetries", Count,
            "Requests to the Audit table that were repeats of earlier ones.",
            Measure::Count(|report| report.requests.iter().filter(|request| request.retries > 0).count());
        VALUES_OMITTED = "ValuesOmitted", Count,
            "Values too large or too deep for an entry, replaced by a note.",
            Measure::Count(|report| report.audited().map(|record| record.values_omitted).sum());
        RECORDS_UNACCOUNTED = "RecordsUnaccounted", Count,
            "Records received without exactly one outcome, as by a bug; absent where there are none.",
            Measure::RareCount(|report| report.received.abs_diff(report.counts().total()));
        RECORDS_LATE = "RecordsLate", Count,
            "Records audited later than `LATE_MINUTES` after their change; absent where there are none.",
            Measure::LateCount(|report, limit| {
                report.records.iter().filter_map(|record| report.lag(record)).filter(|lag| *lag > limit).count()
            });
        CANARY_SEEN = "CanarySeen", Count,
            "Records of the canary, which are unchanged too; absent where there are none.",
            Measure::RareCount(|report| report.records.iter().filter(|record| record.is_canary).count());
        COLD_START = "ColdStart", Count,
            "Invocations that were the first of their process; absent otherwise, never 0.",
            Measure::RareCount(|report| usize::from(report.cold_start));
        SPANS_LOST = "SpansLost", Count,
            "Spans that could not be sent to the X-Ray daemon; absent where there are none.",
            Measure::RareCount(|report| report.spans_lost);
    }
    Witness {
        ENTRIES_WITNESSED = "EntriesWitnessed", Count,
            "Entries of the Audit table whose witness is known to be stored.",
            Measure::Count(|report| report.counts().witnessed);
        ENTRIES_TAMPERED = "EntriesTampered", Count,
            "Entries of the Audit table that somebody altered or deleted; absent where there are none.",
            Measure::RareCount(|report| report.records.iter().filter(|record| is_tampering(&record.outcome)).count());
        WITNESS_RECORDS_FAILED = "WitnessRecordsFailed", Count,
            "Records of the Audit table's stream reported to Lambda, which delivers them again; absent where there are none.",
            Measure::RareCount(|report| report.counts().failed);
        WITNESS_RECORDS_UNREADABLE = "WitnessRecordsUnreadable", Count,
            "Records of the Audit table's stream that cannot be read, put whole into the failure bucket; absent where there are none.",
            Measure::RareCount(|report| {
                let outcomes = report.records.iter().map(|record| &record.outcome);
                outcomes.filter(|outcome| matches!(outcome, Outcome::Quarantined(_)) && !is_tampering(outcome)).count()
            });
        WITNESS_RECORDS_UNACCOUNTED = "WitnessRecordsUnaccounted", Count,
            "Records of the Audit table's stream without exactly one outcome, as by a bug; absent where there are none.",
            Measure::RareCount(|report| report.received.abs_diff(report.counts().total()));
    }
}

/// Whether a record showed tampering, whatever became of it.
fn is_tampering(outcome: &Outcome) -> bool {
    outcome.cause().is_some_and(|cause| matches!(cause.reason, Reason::EntryAltered | Reason::EntryDeleted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::collections::HashSet;

    #[test]
    fn names_are_valid_in_cloudwatch_and_unique() {
        let names: HashSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.name.len() <= 255 && metric.name.starts_with(|c: char| c.is_ascii_uppercase()));
            assert!(metric.name.chars().all(|c| c.is_ascii_alphanumeric()), "{}", metric.name);
            assert!(metric.meaning.ends_with('.'), "{}", metric.name);
        }
    }

    /// Operators look up there what they can alarm on.
    #[test]
    fn each_metric_has_its_row_in_the_documents() {
        let page = include_str!("../../docs/telemetry.md");
        for metric in ALL {
            let row = format!("| `{}` | {} | {} |", metric.name, metric.unit.name(), metric.meaning);
            assert!(page.contains(&row), "docs/telemetry.md has no row\n{row}");
        }
    }
    #[tokio::test(start_paused = true)]
    async fn each_metric_is_measured_on_the_report() {
        let mut report = testing::report_of_everything();
        report.received += 1;
        let measured: Vec<(&str, Measured)> = measure(&report, Duration::from_millis(1_999))
            .into_iter()
            .map(|(metric, measured)| (metric.name, measured))
            .collect();
        let count = Measured::Count;
        let expected = [
            ("RecordsReceived", count(6)),
            ("RecordsAudited", count(2)),
            ("RecordsUnchanged", count(1)),
            ("RecordsQuarantined", count(1)),
            ("RecordsFailed", count(1)),
            ("AuditsWritten", count(4)),
            ("AttributesChanged", count(3)),
            ("AuditLag", Measured::Samples(vec![2_000.0])),
            ("WriteLatency", Measured::Samples(vec![20.0, 40.0])),
            ("WriteRetries", count(1)),
            ("ValuesOmitted", count(1)),
            ("RecordsUnaccounted", count(1)),
            ("RecordsLate", count(1)),
            ("CanarySeen", count(1)),
            ("ColdStart", count(1)),
            ("SpansLost", count(7)),
        ];
        assert_eq!(measured, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_zero_count_is_emitted_unless_it_is_rare() {
        let names: Vec<&str> =
            measure(&testing::report(), Duration::ZERO).into_iter().map(|(metric, _)| metric.name).collect();
        assert!(names.contains(&"RecordsFailed"));
        for rare in ["RecordsUnaccounted", "RecordsLate", "CanarySeen", "ColdStart", "SpansLost"] {
            assert!(!names.contains(&rare), "{names:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_is_late_only_above_the_limit() {
        let report = testing::report_of_everything();
        let is_late =
            |limit| measure(&report, Duration::from_secs(limit)).iter().any(|(metric, _)| **metric == RECORDS_LATE);
        assert_eq!([1, 2, 3].map(is_late), [true, false, false]);
    }
}
