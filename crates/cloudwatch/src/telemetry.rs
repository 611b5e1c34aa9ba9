//! Makes sense of what the function printed and traced: which lines are metrics, which are logs, how spans nest.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

/// A metric of one EMF document.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// The CloudWatch namespace.
    pub namespace: String,
    /// The metric's name.
    pub name: String,
    /// Its unit, in CloudWatch's words.
    pub unit: String,
    /// The samples, one as a rule.
    pub values: Vec<f64>,
    /// Its dimension sets, each with its values.
    pub dimensions: Vec<BTreeMap<String, String>>,
}

impl Metric {
    /// The samples in a few words: the one there is, or how many, their sum and their range.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.values.as_slice() {
            [] => "no sample".to_owned(),
            [value] => round(*value),
            values => {
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                format!("{} samples, {} to {}, mean {}", values.len(), round(least), round(most), round(mean))
            }
        }
    }
}

fn round(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The metrics of a line; none when it is no EMF document.
#[must_use]
pub fn metrics(line: &str) -> Vec<Metric> {
    let Ok(Value::Object(document)) = serde_json::from_str(line) else { return Vec::new() };
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
            metrics.push(Metric { namespace, name, unit, values, dimensions: dimensions.clone() });
        }
    }
    metrics
}

fn samples(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_f64).collect(),
        // The form with counts.
        Value::Object(histogram) => {
            let list = |name: &str| histogram.get(name).and_then(Value::as_array).into_iter().flatten();
            let counts = list("Counts").map(|count| count.as_u64().unwrap_or(1));
            let pairs = list("Values").filter_map(Value::as_f64).zip(counts.chain(std::iter::repeat(1)));
            pairs.flat_map(|(value, count)| (0..count).map(move |_| value)).collect()
        }
        value => value.as_f64().into_iter().collect(),
    }
}

/// What a log line says: its message, or all of a line that is no JSON object with one.
#[must_use]
pub fn message(line: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(line).ok();
    parsed.and_then(|line| line["message"].as_str().map(ToOwned::to_owned)).unwrap_or_else(|| line.to_owned())
}

/// A log line for people: level, message, and the other members; a line that is no JSON object stays as it is.
#[must_use]
pub fn readable_log(line: &str) -> String {
    let Ok(Value::Object(mut members)) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    let mut take = |name: &str| members.remove(name).map(|value| plain(&value)).unwrap_or_default();
    let (level, message) = (take("level"), take("message"));
    for name in ["timestamp", "requestId", "target"] {
        members.remove(name);
    }
    let mut text = format!("{level:<5} {message}").trim().to_owned();
    write_members(&mut text, &members);
    text
}

fn write_members(text: &mut String, members: &Map<String, Value>) {
    for (name, value) in members {
        // Writing to a string does not fail.
        let _ = write!(text, " {name}={}", plain(value));
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// A span as X-Ray documents give it, with the spans below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// When it began, in seconds since 1970.
    pub start: f64,
    /// How long it took, in milliseconds; none while it is in progress.
    pub milliseconds: Option<f64>,
    /// Whether it failed (`fault`, `error` or `throttle`).
    pub failed: bool,
    /// The spans below it, oldest first.
    pub children: Vec<Span>,
}

/// The spans of these segment documents as trees. A span whose parent is not among them is a root.
#[must_use]
pub fn spans(documents: &[Value]) -> Vec<Span> {
    let mut all = Vec::new();
    for document in documents {
        collect(document, document["parent_id"].as_str(), &mut all);
    }
    let ids: std::collections::HashSet<&str> = all.iter().filter_map(|(id, ..)| *id).collect();
    let mut below: BTreeMap<Option<&str>, Vec<(Option<&str>, Span)>> = BTreeMap::new();
    for (id, parent, span) in &all {
        let parent = parent.filter(|parent| ids.contains(parent) && Some(*parent) != *id);
        below.entry(parent).or_default().push((*id, span.clone()));
    }
    children(None, &mut below)
}

fn collect<'a>(document: &'a Value, parent: Option<&'a str>, all: &mut Vec<(Option<&'a str>, Option<&'a str>, Span)>) {
    let id = document["id"].as_str();
    let start = document["start_time"].as_f64().unwrap_or_default();
    let flag = |name: &str| document[name].as_bool().unwrap_or(false);
    let span = Span {
        name: document["name"].as_str().unwrap_or("(no name)").to_owned(),
        start,
        milliseconds: document["end_time"].as_f64().map(|end| (end - start) * 1000.0),
        failed: flag("fault") || flag("error") || flag("throttle"),
        children: Vec::new(),
    };
    all.push((id, parent, span));
    for subsegment in document["subsegments"].as_array().into_iter().flatten() {
        collect(subsegment, id, all);
    }
}

/// Takes its nodes out of the map, so that documents that name each other as parents end too.
fn children<'a>(of: Option<&'a str>, below: &mut BTreeMap<Option<&'a str>, Vec<(Option<&'a str>, Span)>>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (id, mut span) in below.remove(&of).unwrap_or_default() {
        if id.is_some() {
            span.children = children(id, below);
        }
        spans.push(span);
    }
    spans.sort_by(|left, right| left.start.total_cmp(&right.start));
    spans
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_emf_document_is_read_as_cloudwatch_reads_it() {
        let line = json!({
            "_aws": { "Timestamp": 1, "CloudWatchMetrics": [{
                "Namespace": "ConfigAudit",
                "Dimensions": [["Service", "Stage"]],
                "Metrics": [{ "Name": "AuditsWritten", "Unit": "Count" }, { "Name": "AuditLag", "Unit": "Milliseconds" },
                            { "Name": "Counted" }],
            }] },
            "Service": "config-audit", "Stage": "dev", "AuditsWritten": 2, "AuditLag": [1.5, 2.5],
            "Counted": { "Values": [1, 2], "Counts": [2, 1] },
        });
        let metrics = metrics(&line.to_string());
        let short: Vec<_> = metrics.iter().map(|metric| (metric.name.as_str(), metric.summary())).collect();
        let expected = [
            ("AuditsWritten", "2".to_owned()),
            ("AuditLag", "2 samples, 1.5 to 2.5, mean 2".to_owned()),
            ("Counted", "3 samples, 1 to 2, mean 1.333".to_owned()),
        ];
        assert_eq!(short, expected);
        assert_eq!(metrics[0].dimensions[0]["Stage"], "dev");
    }

    #[test]
    fn other_lines_hold_no_metric() {
        for line in ["", "text", "{}", "[1]", r#"{"_aws":{}}"#, r#"{"_aws":1}"#] {
            assert_eq!(metrics(line), [], "{line}");
        }
    }

    #[test]
    fn a_log_line_is_shortened_for_people() {
        let line = r#"{"timestamp":"t","level":"WARN","message":"slow","requestId":"r","attempt":2,"table":"Audit"}"#;
        assert_eq!(readable_log(line), "WARN  slow attempt=2 table=Audit");
        assert_eq!(readable_log("plain text"), "plain text");
        assert_eq!((message(line), message("plain text")), ("slow".to_owned(), "plain text".to_owned()));
    }

    #[test]
    fn spans_nest_by_parent_and_by_subsegment() {
        let documents = [
            json!({ "id": "b", "parent_id": "a", "name": "record", "start_time": 2.0, "end_time": 2.5, "fault": true }),
            json!({ "id": "a", "parent_id": "lambda", "name": "audit", "start_time": 1.0, "end_time": 3.0,
                    "subsegments": [{ "id": "c", "name": "decode", "start_time": 1.5 }] }),
        ];
        let spans = spans(&documents);
        let names: Vec<_> = spans[0].children.iter().map(|span| (span.name.as_str(), span.failed)).collect();
        assert_eq!((spans.len(), spans[0].name.as_str(), spans[0].milliseconds), (1, "audit", Some(2000.0)));
        assert_eq!(names, [("decode", false), ("record", true)]);
    }

    #[test]
    fn documents_that_are_each_others_parents_do_not_hang() {
        let documents = [json!({ "id": "a", "parent_id": "b" }), json!({ "id": "b", "parent_id": "a" })];
        assert!(spans(&documents).len() <= 2);
    }
}
