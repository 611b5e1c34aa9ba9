//! The embedded metric format: metrics as JSON lines on standard output, which CloudWatch reads
//! (Amazon CloudWatch User Guide, "Specification: Embedded metric format").
//!
//! The first line of an invocation is its wide line: the metrics and everything else about it. If there are more
//! samples than one line may carry, more lines follow with the rest.

use std::fmt::Write;

use serde_json::Value;

use super::catalog::{DIMENSIONS, Measured, Metric};

/// The maximum number of values of one metric in one line.
const MAX_VALUES: usize = 100;
/// The maximum number of sequence numbers in one line, so that it stays far below the 256 KB of a log event.
const MAX_FAILED: usize = 1_000;

/// The output of one invocation.
#[derive(Debug, Clone)]
pub struct Wide<'a> {
    /// The time of the metrics, in milliseconds since 1970.
    pub timestamp: i64,
    /// The CloudWatch namespace.
    pub namespace: &'a str,
    /// The values of [`DIMENSIONS`].
    pub dimensions: [&'a str; 2],
    /// Members of every line: the level, the time, the IDs.
    pub common: Vec<(&'static str, Value)>,
    /// Members of the first line.
    pub members: Vec<(&'static str, Value)>,
    /// What the invocation adds to each metric.
    pub metrics: Vec<(&'static Metric, Measured)>,
    /// The sequence numbers of failed records.
    pub failed: Vec<&'a str>,
}

impl Wide<'_> {
    /// The lines, each one JSON object without line breaks; together they carry every sample and every sequence number.
    /// A sample that is not a number is left out, because JSON cannot represent it, and any other value would be wrong.
    #[must_use]
    pub fn lines(mut self) -> Vec<String> {
        let mut count = self.failed.len().div_ceil(MAX_FAILED);
        for (_, measured) in &mut self.metrics {
            if let Measured::Samples(samples) = measured {
                samples.retain(|sample| sample.is_finite());
                count = count.max(samples.len().div_ceil(MAX_VALUES));
            }
        }
        (0..count.max(1)).map(|index| self.line(index)).collect()
    }

    fn line(&self, index: usize) -> String {
        let is_first = index == 0;
        let mut line = Line(String::with_capacity(1536));
        let members = if is_first { self.members.as_slice() } else { &[] };
        for (name, value) in self.common.iter().chain(members) {
            line.member(name, value);
        }
        if let Some(failed) = self.failed.chunks(MAX_FAILED).nth(index) {
            line.member("failedSequenceNumbers", &Value::from(failed));
        }
        let metrics: Vec<(&Metric, Values<'_>)> = self
            .metrics
            .iter()
            .filter_map(|(metric, measured)| {
                let values = match measured {
                    Measured::Count(count) => Values::Count(Some(*count).filter(|_| is_first)?),
                    Measured::Samples(samples) => Values::Samples(samples.chunks(MAX_VALUES).nth(index)?),
                };
                Some((*metric, values))
            })
            .collect();
        if !metrics.is_empty() {
            self.directive(&mut line, metrics.iter().map(|(metric, _)| *metric));
            for (name, value) in DIMENSIONS.iter().zip(self.dimensions) {
                line.member(name, &Value::from(value));
            }
            for (metric, values) in metrics {
                line.name(metric.name);
                match values {
                    Values::Count(count) => line.number(count as f64),
                    Values::Samples(samples) => line.numbers(samples),
                }
            }
        }
        line.end()
    }

    /// The member that says which of the others are metrics.
    fn directive<'m>(&self, line: &mut Line, metrics: impl Iterator<Item = &'m Metric>) {
        let definitions: Vec<Value> =
            metrics.map(|metric| serde_json::json!({ "Name": metric.name, "Unit": metric.unit.name() })).collect();
        line.member(
            "_aws",
            &serde_json::json!({
                "Timestamp": self.timestamp,
                "CloudWatchMetrics": [{ "Namespace": self.namespace, "Dimensions": [DIMENSIONS], "Metrics": definitions }],
            }),
        );
    }
}

/// What one line says about a metric.
enum Values<'a> {
    Count(usize),
    Samples(&'a [f64]),
}

/// A JSON object being built.
struct Line(String);

impl Line {
    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        // Writing to a string cannot fail, here and below.
        let _ = write!(self.0, "{}:", Value::from(name));
    }

    fn member(&mut self, name: &str, value: &Value) {
        self.name(name);
        let _ = write!(self.0, "{value}");
    }

    /// A number with at most three decimals, far within CloudWatch's range.
    fn number(&mut self, value: f64) {
        let value = (value.clamp(-1e15, 1e15) * 1000.0).round() / 1000.0;
        let _ = write!(self.0, "{value}");
    }

    fn numbers(&mut self, values: &[f64]) {
        for (index, value) in values.iter().enumerate() {
            self.0.push(if index == 0 { '[' } else { ',' });
            self.number(*value);
        }
        self.0.push(']');
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::telemetry::catalog::{AUDIT_LAG, RECORDS_FAILED, RECORDS_RECEIVED, WRITE_LATENCY};
    use proptest::prelude::*;
    use serde_json::json;

    /// Checks a line against every rule of the specification; returns its metrics with their values.
    pub(crate) fn check(line: &str) -> Vec<(String, Vec<f64>)> {
        assert!(!line.contains('\n') && line.len() <= 256 * 1024, "{} bytes", line.len());
        let document: Value = serde_json::from_str(line).unwrap();
        let members = document.as_object().unwrap();
        let Some(aws) = members.get("_aws") else { return Vec::new() };
        assert!(aws["Timestamp"].is_i64());
        let directives = aws["CloudWatchMetrics"].as_array().unwrap();
        assert_eq!(directives.len(), 1);
        let directive = &directives[0];
        let namespace = directive["Namespace"].as_str().unwrap();
        assert!((1..=255).contains(&namespace.len()));
        for set in directive["Dimensions"].as_array().unwrap() {
            let keys = set.as_array().unwrap();
            assert!((1..=30).contains(&keys.len()));
            for key in keys {
                let value = members[key.as_str().unwrap()].as_str().expect("a dimension's value is text");
                assert!((1..=1024).contains(&value.len()));
            }
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        metrics
            .iter()
            .map(|metric| {
                let name = metric["Name"].as_str().unwrap();
                assert!((1..=255).contains(&name.len()));
                assert!(["Count", "Milliseconds"].contains(&metric["Unit"].as_str().unwrap()));
                let values: Vec<f64> = match &members[name] {
                    Value::Array(values) => values.iter().map(|value| value.as_f64().unwrap()).collect(),
                    value => vec![value.as_f64().unwrap()],
                };
                assert!((1..=100).contains(&values.len()), "{name} has {} values", values.len());
                (name.to_owned(), values)
            })
            .collect()
    }

    fn wide(lags: Vec<f64>, latencies: Vec<f64>, failed: Vec<&str>) -> Wide<'_> {
        Wide {
            timestamp: 1_726_045_348_000,
            namespace: "ConfigAudit",
            dimensions: ["config-audit", "dev"],
            common: vec![("level", json!("INFO")), ("requestId", json!("r\"1"))],
            members: vec![("outcome", json!("ok"))],
            metrics: vec![
                (&RECORDS_RECEIVED, Measured::Count(lags.len())),
                (&RECORDS_FAILED, Measured::Count(0)),
                (&AUDIT_LAG, Measured::Samples(lags)),
                (&WRITE_LATENCY, Measured::Samples(latencies)),
            ],
            failed,
        }
    }

    #[test]
    fn one_line_describes_a_small_invocation() {
        let lines = wide(vec![652.0, 1_234.567_89], vec![4.25], vec![]).lines();
        assert_eq!(
            lines,
            [
                r#"{"level":"INFO","requestId":"r\"1","outcome":"ok","_aws":{"CloudWatchMetrics":[{"Dimensions":[["Service","Stage"]],"Metrics":[{"Name":"RecordsReceived","Unit":"Count"},{"Name":"RecordsFailed","Unit":"Count"},{"Name":"AuditLag","Unit":"Milliseconds"},{"Name":"WriteLatency","Unit":"Milliseconds"}],"Namespace":"ConfigAudit"}],"Timestamp":1726045348000},"Service":"config-audit","Stage":"dev","RecordsReceived":2,"RecordsFailed":0,"AuditLag":[652,1234.568],"WriteLatency":[4.25]}"#
            ]
        );
    }

    #[test]
    fn an_invocation_without_samples_is_still_one_line() {
        let lines = wide(vec![], vec![], vec![]).lines();
        assert_eq!(lines.len(), 1);
        assert_eq!(check(&lines[0]).len(), 2);
    }

    #[test]
    fn ten_thousand_failures_are_all_listed_within_the_size_of_an_event() {
        let numbers: Vec<String> = (0..10_000).map(|n| format!("{n:040}")).collect();
        let lines = wide(vec![], vec![], numbers.iter().map(String::as_str).collect()).lines();
        let named: usize = lines
            .iter()
            .map(|line| {
                check(line);
                serde_json::from_str::<Value>(line).unwrap()["failedSequenceNumbers"].as_array().unwrap().len()
            })
            .sum();
        assert_eq!(named, 10_000);
    }

    proptest! {
        /// Whatever the batch: every line follows the rules, and no sample is lost, doubled or moved to another metric.
        #[test]
        fn no_sample_is_lost(
            lags in prop::collection::vec(0.0_f64..1e9, 0..1_000),
            latencies in prop::collection::vec(0.0_f64..1e5, 0..250),
        ) {
            let mut found = std::collections::HashMap::<String, Vec<f64>>::new();
            for line in wide(lags.clone(), latencies.clone(), vec![]).lines() {
                for (name, values) in check(&line) {
                    found.entry(name).or_default().extend(values);
                }
            }
            let rounded = |values: &[f64]| values.iter().map(|value| (value * 1000.0).round() / 1000.0).collect::<Vec<_>>();
            prop_assert_eq!(found.remove("AuditLag").unwrap_or_default(), rounded(&lags));
            prop_assert_eq!(found.remove("WriteLatency").unwrap_or_default(), rounded(&latencies));
            prop_assert_eq!(found.remove("RecordsReceived").unwrap(), vec![lags.len() as f64]);
        }

        /// A sample that is not a number is omitted, and does not affect the others.
        #[test]
        fn samples_that_are_not_numbers_are_omitted(mut lags in prop::collection::vec(any::<f64>(), 1..300), at in any::<prop::sample::Index>()) {
            let numbers = lags.iter().filter(|lag| lag.is_finite()).count();
            lags.insert(at.index(lags.len() + 1), f64::NAN);
            let mut found = 0;
            for line in wide(lags, vec![], vec![]).lines() {
                found += check(&line).into_iter().filter(|(name, _)| name == "AuditLag").map(|(_, values)| values.len()).sum::<usize>();
            }
            prop_assert_eq!(found, numbers);
        }
    }
}
