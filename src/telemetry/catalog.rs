//! Every metric, as data. What is not here cannot be emitted; the README's table is checked against it.

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

/// How values of a metric are gathered in one invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Values are added up; the sum leaves with each invocation, zero or not, so that no data means no invocation.
    Counter,
    /// Like a counter, but a zero does not leave: CloudWatch charges for each metric that is ever seen.
    RareCounter,
    /// Each value leaves as it is, since percentiles need all of them.
    Samples,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, everywhere.
    pub name: &'static str,
    /// The unit of its values.
    pub unit: Unit,
    /// How its values are gathered.
    pub kind: Kind,
    /// What it says, in one sentence.
    pub meaning: &'static str,
}

/// The dimensions of every metric; their values are the settings `SERVICE_NAME` and `STAGE`.
pub const DIMENSIONS: [&str; 2] = ["Service", "Stage"];

/// Declares the metrics, and [`ALL`] of them.
macro_rules! catalog {
    ($($constant:ident = $name:literal, $unit:ident, $kind:ident, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $constant: Metric =
                Metric { name: $name, unit: Unit::$unit, kind: Kind::$kind, meaning: $meaning };
        )*
        /// All metrics.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

catalog! {
    RECORDS_RECEIVED = "RecordsReceived", Count, Counter, "Stream records in the event; without a bug or a loss the sum of the next four.";
    RECORDS_AUDITED = "RecordsAudited", Count, Counter, "Records whose entries are all known to be stored.";
    RECORDS_UNCHANGED = "RecordsUnchanged", Count, Counter, "Records that changed no attribute, and so have no entries.";
    RECORDS_QUARANTINED = "RecordsQuarantined", Count, Counter, "Records that no retry can mend, put whole into the failure bucket.";
    RECORDS_FAILED = "RecordsFailed", Count, Counter, "Records reported to Lambda, which delivers them again.";
    AUDITS_WRITTEN = "AuditsWritten", Count, Counter, "Audit entries known to be stored.";
    ATTRIBUTES_CHANGED = "AttributesChanged", Count, Counter, "Attributes that the audited modifications changed.";
    AUDIT_LAG = "AuditLag", Milliseconds, Samples, "From the change of the item to its last stored entry; one sample for each audited record.";
    WRITE_LATENCY = "WriteLatency", Milliseconds, Samples, "One request to the Audit table, from sending to its answer.";
    WRITE_RETRIES = "WriteRetries", Count, Counter, "Requests to the Audit table that were repeats of earlier ones.";
    VALUES_OMITTED = "ValuesOmitted", Count, Counter, "Values too large or too deep for an entry, replaced by a note.";
    COLD_START = "ColdStart", Count, RareCounter, "Invocations that were the first of their process; absent otherwise, never 0.";
    SPANS_LOST = "SpansLost", Count, RareCounter, "Spans that could not be sent to the X-Ray daemon; absent where there are none.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_what_cloudwatch_takes_and_each_is_there_once() {
        let names: HashSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.name.len() <= 255 && metric.name.starts_with(|c: char| c.is_ascii_uppercase()));
            assert!(metric.name.chars().all(|c| c.is_ascii_alphanumeric()), "{}", metric.name);
            assert!(metric.meaning.ends_with('.'), "{}", metric.name);
        }
    }

    /// The README tells operators what they can alarm on.
    #[test]
    fn each_metric_is_in_the_readme_as_it_is_here() {
        let readme = include_str!("../../README.md");
        for metric in ALL {
            let row = format!("| `{}` | {} | {} |", metric.name, metric.unit.name(), metric.meaning);
            assert!(readme.contains(&row), "the README's table of metrics has no row\n{row}");
        }
    }
}
