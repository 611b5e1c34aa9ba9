//! What CloudWatch makes of a line of a function's log: metrics, where it is of the embedded metric format
//! (Amazon CloudWatch User Guide, "Specification: Embedded metric format").

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::metrics::Metric;
use crate::telemetry;

/// The units that CloudWatch knows, of which the function uses two.
const UNITS: [&str; 2] = ["Count", "Milliseconds"];

/// What becomes of a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// It has no metrics.
    Log,
    /// It has these samples, all of one time.
    Metrics(DateTime<Utc>, Vec<(Metric, f64)>),
    /// It looks like the format and is no JSON: `EMFParsingErrors`.
    Unparsed,
    /// It is JSON and breaks a rule of the format: `EMFValidationErrors`. CloudWatch may take a part of it; here none is.
    Invalid,
}

impl Line {
    /// Reads a line that was written when it was `now`.
    #[must_use]
    pub fn read(line: &str, now: DateTime<Utc>) -> Self {
        let Ok(document) = serde_json::from_str::<Value>(line) else {
            return if line.contains("\"CloudWatchMetrics\"") { Self::Unparsed } else { Self::Log };
        };
        let metrics = telemetry::metrics(line);
        if metrics.is_empty() {
            return Self::Log;
        }
        let at = document["_aws"]["Timestamp"].as_i64().and_then(DateTime::from_timestamp_millis);
        let is_near = |at: &DateTime<Utc>| (now - TimeDelta::days(14)..now + TimeDelta::hours(2)).contains(at);
        let Some(at) = at.filter(is_near) else { return Self::Invalid };
        let mut samples = Vec::new();
        for telemetry::Metric { namespace, name, unit, values, dimensions } in metrics {
            let has_all = |set: &&std::collections::BTreeMap<_, String>| !set.values().any(String::is_empty);
            let sets = dimensions.iter().filter(has_all).count();
            if sets < dimensions.len() || values.is_empty() || values.len() > 100 || !UNITS.contains(&unit.as_str()) {
                return Self::Invalid;
            }
            for dimensions in dimensions {
                let metric = Metric { namespace: namespace.clone(), name: name.clone(), dimensions };
                samples.extend(values.iter().map(|value| (metric.clone(), *value)));
            }
        }
        Self::Metrics(at, samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"_aws":{"Timestamp":1772496000000,"CloudWatchMetrics":[{"Namespace":"ConfigAudit","Dimensions":[["Service","Stage"]],"Metrics":[{"Name":"AuditLag","Unit":"Milliseconds"}]}]},"Service":"config-audit","Stage":"dev","AuditLag":[1.5,2]}"#;

    #[test]
    fn a_line_is_metrics_or_a_log_line_or_is_refused() {
        let now = DateTime::from_timestamp(1_772_496_060, 0).unwrap();
        let read = |from: &str, to: &str| Line::read(&LINE.replace(from, to), now);
        let metric = Metric::new("ConfigAudit", "AuditLag", &[("Service", "config-audit"), ("Stage", "dev")]);
        let at = now - TimeDelta::minutes(1);
        assert_eq!(read("", ""), Line::Metrics(at, vec![(metric.clone(), 1.5), (metric, 2.0)]));
        assert_eq!(read("}]}]}", "}]}]"), Line::Unparsed);
        assert_eq!(Line::read("START", now), Line::Log);
        assert_eq!(Line::read("{\"message\":\"slow\"}", now), Line::Log);
        for (from, to) in [
            ("\"Milliseconds\"", "\"Lightyears\""),
            ("[1.5,2]", "[]"),
            ("[1.5,2]", "\"fast\""),
            (",\"Stage\":\"dev\"", ""),
            ("1772496000000", "1772503260000"),
            ("1772496000000", "\"now\""),
        ] {
            assert_eq!(read(from, to), Line::Invalid, "{to}");
        }
    }
}
