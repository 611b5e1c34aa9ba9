//! The rules for segment documents (AWS X-Ray Developer Guide, "AWS X-Ray segment documents"), for OpenTelemetry's
//! names, and for the place of the spans: below the segment that Lambda creates for the function.

use std::collections::HashMap;

use serde_json::Value;

/// The largest document, in bytes.
const LARGEST: usize = 64 * 1024;
/// Names of earlier semantic conventions.
const OLD_NAMES: [&str; 5] = ["db.system", "db.name", "db.statement", "faas.execution", "rpc.service"];

/// The spans of a document: its own, and those within it, with the members that they would have as separate documents.
pub(crate) fn spans(document: &Value) -> Vec<Value> {
    assert!(document.to_string().len() <= LARGEST, "too large: {document}");
    let mut own = document.clone();
    let within = own.as_object_mut().and_then(|members| members.remove("subsegments"));
    let within = within.iter().flat_map(|within| within.as_array().unwrap()).map(|span| {
        let mut span = span.clone();
        for (member, value) in [("type", &own["type"]), ("trace_id", &own["trace_id"]), ("parent_id", &own["id"])] {
            assert!(span.get(member).is_none(), "{member} within a document: {span}");
            span[member] = value.clone();
        }
        span
    });
    let within: Vec<Value> = within.collect();
    std::iter::once(own).chain(within).collect()
}

/// Checks all spans of one invocation.
pub(crate) fn check(documents: &[Value], trace_header: &str) {
    let part = |name: &str| trace_header.split(';').find_map(|part| part.strip_prefix(name));
    if part("Sampled=") != Some("1") {
        assert!(documents.is_empty(), "spans of a trace that is not sampled: {documents:#?}");
        return;
    }
    let lambdas = part("Parent=").unwrap();
    let mut parents = HashMap::new();
    for document in documents {
        let text = |member: &str| document[member].as_str().unwrap_or_else(|| panic!("no {member}: {document}"));
        let time = |member: &str| document[member].as_f64().unwrap_or_else(|| panic!("no {member}: {document}"));
        assert_eq!(text("type"), "subsegment");
        assert_eq!(text("trace_id"), part("Root=").unwrap());
        assert!((1..=200).contains(&text("name").chars().count()), "{document}");
        assert!(text("id").len() == 16 && text("id").bytes().all(|digit| digit.is_ascii_hexdigit()), "{document}");
        assert!(time("start_time") <= time("end_time"), "{document}");
        assert!(parents.insert(text("id"), text("parent_id")).is_none(), "an ID that is there already: {document}");
        assert!(document["annotations"].as_object().is_none_or(|annotations| annotations.len() <= 50));
        for name in names(document) {
            let is_old = OLD_NAMES.iter().any(|old| name == *old || name == old.replace('.', "_"));
            assert!(!is_old, "the old name {name}: {document}");
        }
        if document["metadata"]["db.system.name"] == "aws.dynamodb" {
            assert_eq!(document["namespace"], "aws", "{document}");
            assert_eq!(document["aws"]["operation"], "BatchWriteItem", "{document}");
            assert!(document["aws"]["table_name"].is_string(), "{document}");
        }
    }
    for mut parent in parents.values() {
        while let Some(next) = parents.get(parent) {
            parent = next;
        }
        assert_eq!(*parent, lambdas, "a span that does not hang below Lambda's own");
    }
    assert_eq!(parents.values().filter(|parent| **parent == lambdas).count(), 1, "one span for the invocation");
}

/// The names of all members, at every depth.
fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(members) => {
            members.iter().flat_map(|(name, value)| std::iter::once(name.as_str()).chain(names(value))).collect()
        }
        Value::Array(values) => values.iter().flat_map(names).collect(),
        _ => Vec::new(),
    }
}
