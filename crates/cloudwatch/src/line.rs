//! A line that a function printed: how people read it, and how CloudWatch interprets it
//! (Amazon CloudWatch User Guide, "Specification: Embedded metric format").

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::metrics::Metric;
use crate::units::quantity;

/// The units that the function uses; CloudWatch has more.
const UNITS: [&str; 2] = ["Count", "Milliseconds"];
/// The most samples of a metric that CloudWatch accepts in one document.
const MAX_SAMPLES: usize = 100;

/// A line, parsed.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    text: &'a str,
    content: Content,
    metrics: Vec<EmfMetric>,
}

#[derive(Debug, Clone)]
enum Content {
    Object(Map<String, Value>),
    /// Valid JSON, but not an object.
    OtherJson,
    Text,
}

/// How CloudWatch interprets a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Ingested {
    /// It has no metrics.
    Log,
    /// It has these samples, all with the same time.
    Metrics(DateTime<Utc>, Vec<(Metric, f64)>),
    /// It looks like the format but is not valid JSON: `EMFParsingErrors`.
    Unparsed,
    /// It is JSON but breaks a rule of the format: `EMFValidationErrors`. CloudWatch may accept part of it; we do not.
    Invalid,
}

/// A metric of an EMF document, as the document declares it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EmfMetric {
    /// The CloudWatch namespace.
    pub namespace: String,
    /// The metric's name.
    pub name: String,
    /// Its unit, as CloudWatch calls it.
    pub unit: String,
    /// The samples, usually one.
    pub values: Vec<f64>,
    /// Its dimension sets, each with its values.
    pub dimensions: Vec<BTreeMap<String, String>>,
}

impl<'a> Line<'a> {
    /// Parses a line, without its line ending.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let content = match serde_json::from_str(text) {
            Ok(Value::Object(members)) => Content::Object(members),
            Ok(_) => Content::OtherJson,
            Err(_) => Content::Text,
        };
        let metrics = if let Content::Object(document) = &content { metrics(document) } else { Vec::new() };
        Self { text, content, metrics }
    }

    /// Its metrics; empty if it is not an EMF document.
    #[must_use]
    pub fn metrics(&self) -> &[EmfMetric] {
        &self.metrics
    }

    /// The message of a log line, or the whole text of a line without one.
    #[must_use]
    pub fn message(&self) -> &str {
        let Content::Object(members) = &self.content else { return self.text };
        members.get("message").and_then(Value::as_str).unwrap_or(self.text)
    }

    /// A log line for people: level, message, and the other members. A line that is not a JSON object stays as it is.
    #[must_use]
    pub fn readable(&self) -> String {
        let Content::Object(members) = &self.content else { return self.text.to_owned() };
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let member = |name: &str| members.get(name).map(plain).unwrap_or_default();
        let mut text = format!("{:<5} {}", member("level"), member("message")).trim().to_owned();
        for (name, value) in members {
            if !["level", "message", "timestamp", "requestId", "target"].contains(&name.as_str()) {
                // Writing to a string cannot fail.
                let _ = write!(text, " {name}={}", plain(value));
            }
        }
        text
    }

    /// Whether it reports a problem: by its level, or because it is not JSON at all.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        match &self.content {
            Content::Object(members) => {
                members.get("level").and_then(Value::as_str).is_some_and(|level| ["WARN", "ERROR"].contains(&level))
            }
            Content::OtherJson | Content::Text => !self.text.trim().is_empty(),
        }
    }

    /// How CloudWatch interprets a line that was written at `now`.
    #[must_use]
    pub fn ingest(&self, now: DateTime<Utc>) -> Ingested {
        let document = match &self.content {
            Content::Object(document) => document,
            Content::Text if self.text.contains("\"CloudWatchMetrics\"") => return Ingested::Unparsed,
            Content::Text | Content::OtherJson => return Ingested::Log,
        };
        if self.metrics.is_empty() {
            return Ingested::Log;
        }
        let timestamp = document.get("_aws").and_then(|aws| aws["Timestamp"].as_i64());
        let is_near = |at: &DateTime<Utc>| (now - TimeDelta::days(14)..now + TimeDelta::hours(2)).contains(at);
        let Some(at) = timestamp.and_then(DateTime::from_timestamp_millis).filter(is_near) else {
            return Ingested::Invalid;
        };
        let mut samples = Vec::new();
        for metric in &self.metrics {
            if !metric.is_valid() {
                return Ingested::Invalid;
            }
            for dimensions in &metric.dimensions {
                let (namespace, name) = (metric.namespace.clone(), metric.name.clone());
                let identity = Metric { namespace, name, dimensions: dimensions.clone() };
                samples.extend(metric.values.iter().map(|value| (identity.clone(), *value)));
            }
        }
        Ingested::Metrics(at, samples)
    }
}

impl EmfMetric {
    /// A summary of the samples: the only one, or their number, range and mean.
    #[must_use]
    pub fn summary(&self) -> String {
        let text = |value| quantity(value, &self.unit);
        match self.values.as_slice() {
            [] => "no sample".to_owned(),
            [value] => text(*value),
            values => {
                let minimum = values.iter().copied().fold(f64::INFINITY, f64::min);
                let maximum = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                format!("{} samples, {} to {}, mean {}", values.len(), text(minimum), text(maximum), text(mean))
            }
        }
    }

    fn is_valid(&self) -> bool {
        let has_values = |set: &BTreeMap<_, String>| !set.values().any(String::is_empty);
        self.dimensions.iter().all(has_values)
            && (1..=MAX_SAMPLES).contains(&self.values.len())
            && UNITS.contains(&self.unit.as_str())
    }
}

fn metrics(document: &Map<String, Value>) -> Vec<EmfMetric> {
    let directives = document.get("_aws").and_then(|aws| aws["CloudWatchMetrics"].as_array());
    let mut metrics = Vec::new();
    for directive in directives.into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let set = |names: &Value| {
            let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
            names.map(|name| (name.to_owned(), document.get(name).map(text).unwrap_or_default())).collect()
        };
        let dimensions: Vec<BTreeMap<_, _>> =
            directive["Dimensions"].as_array().into_iter().flatten().map(set).collect();
        for metric in directive["Metrics"].as_array().into_iter().flatten() {
            let name = text(&metric["Name"]);
            let values = document.get(&name).map(samples).unwrap_or_default();
            let (namespace, unit) = (text(&directive["Namespace"]), text(&metric["Unit"]));
            metrics.push(EmfMetric { namespace, name, unit, values, dimensions: dimensions.clone() });
        }
    }
    metrics
}

fn samples(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_f64).collect(),
        value => value.as_f64().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LINE: &str = r#"{"_aws":{"Timestamp":1772496000000,"CloudWatchMetrics":[{"Namespace":"ConfigAudit","Dimensions":[["Service","Stage"]],"Metrics":[{"Name":"AuditLag","Unit":"Milliseconds"}]}]},"Service":"config-audit","Stage":"dev","AuditLag":[1.5,2]}"#;

    #[test]
    fn a_line_is_metrics_or_a_log_line_or_is_rejected() {
        let now = DateTime::from_timestamp(1_772_496_060, 0).unwrap();
        let ingest = |text: &str| Line::parse(text).ingest(now);
        let metric = Metric::new("ConfigAudit", "AuditLag", &[("Service", "config-audit"), ("Stage", "dev")]);
        let at = now - TimeDelta::minutes(1);
        assert_eq!(ingest(LINE), Ingested::Metrics(at, vec![(metric.clone(), 1.5), (metric, 2.0)]));
        assert_eq!(ingest(&LINE.replace("}]}]}", "}]}]")), Ingested::Unparsed);
        for log in ["START", "{\"message\":\"slow\"}", "\"CloudWatchMetrics\"", "[1]", "{}"] {
            assert_eq!(ingest(log), Ingested::Log, "{log}");
        }
        for (from, to) in [
            ("\"Milliseconds\"", "\"Lightyears\""),
            ("[1.5,2]", "[]"),
            ("[1.5,2]", "\"fast\""),
            // A histogram, which the function does not send.
            ("[1.5,2]", r#"{"Values":[1],"Counts":[18446744073709551615]}"#),
            ("[1.5,2]", &format!("{:?}", [1; 101])),
            (",\"Stage\":\"dev\"", ""),
            ("1772496000000", "1772503260000"),
            ("1772496000000", "\"now\""),
        ] {
            assert_eq!(ingest(&LINE.replace(from, to)), Ingested::Invalid, "{to}");
        }
    }

    #[test]
    fn the_metrics_of_a_document_are_summarized_with_their_units() {
        let line = json!({
            "_aws": { "Timestamp": 1, "CloudWatchMetrics": [{
                "Namespace": "ConfigAudit",
                "Dimensions": [["Service", "Stage"]],
                "Metrics": [{ "Name": "AuditsWritten", "Unit": "Count" }, { "Name": "AuditLag", "Unit": "Milliseconds" }],
            }] },
            "Service": "config-audit", "Stage": "dev", "AuditsWritten": 2, "AuditLag": [1.5, 69_482_823_169_i64],
        })
        .to_string();
        let line = Line::parse(&line);
        let short: Vec<_> = line.metrics().iter().map(|metric| (metric.name.as_str(), metric.summary())).collect();
        let expected = [
            ("AuditsWritten", "2".to_owned()),
            ("AuditLag", "2 samples, 1.5 ms to 2.2 years, mean 1.1 years".to_owned()),
        ];
        assert_eq!(short, expected);
        assert_eq!(line.metrics()[0].dimensions[0]["Stage"], "dev");
    }

    #[test]
    fn other_lines_have_no_metrics() {
        for line in ["", "text", "{}", "[1]", r#"{"_aws":{}}"#, r#"{"_aws":1}"#] {
            assert_eq!(Line::parse(line).metrics(), [], "{line}");
        }
    }

    #[test]
    fn a_line_of_trouble_is_a_warning_an_error_or_no_json() {
        for (line, is_trouble) in [
            (r#"{"level":"INFO","message":"slow"}"#, false),
            (r#"{"level":"WARN","message":"slow"}"#, true),
            (r#"{"level":"ERROR","message":"slow"}"#, true),
            (r#"{"message":"slow"}"#, false),
            ("thread 'main' panicked", true),
            ("", false),
        ] {
            assert_eq!(Line::parse(line).is_trouble(), is_trouble, "{line}");
        }
    }

    #[test]
    fn a_log_line_is_shortened_for_people() {
        let line = r#"{"timestamp":"t","level":"WARN","message":"slow","requestId":"r","attempt":2,"table":"Audit"}"#;
        let (line, text) = (Line::parse(line), Line::parse("plain text"));
        assert_eq!(line.readable(), "WARN  slow attempt=2 table=Audit");
        assert_eq!(text.readable(), "plain text");
        assert_eq!((line.message(), text.message()), ("slow", "plain text"));
    }
}
