//! The spans in X-Ray's segment documents.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

/// A span, with its children.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// When it began, in seconds since 1970.
    pub start: f64,
    /// How long it took, in milliseconds; `None` while it is in progress.
    pub milliseconds: Option<f64>,
    /// Whether it failed (`fault`, `error` or `throttle`).
    pub failed: bool,
    /// Other details in its document, by name: annotations, metadata, the AWS request, and why it failed.
    pub attributes: BTreeMap<String, String>,
    /// Its children, oldest first.
    pub children: Vec<Span>,
}

/// The spans of these segment documents as trees. A span whose parent is not among them is a root.
#[must_use]
pub fn spans(documents: &[Value]) -> Vec<Span> {
    let mut all = Vec::new();
    for document in documents {
        collect(document, document["parent_id"].as_str(), &mut all);
    }
    let ids: HashSet<&str> = all.iter().filter_map(|(id, ..)| *id).collect();
    let mut below: BTreeMap<Option<&str>, Vec<Node>> = BTreeMap::new();
    for (id, parent, span) in &all {
        let parent = parent.filter(|parent| ids.contains(parent) && Some(*parent) != *id);
        below.entry(parent).or_default().push((*id, span.clone()));
    }
    children(None, &mut below)
}

/// A span and its ID.
type Node<'a> = (Option<&'a str>, Span);

fn collect<'a>(document: &'a Value, parent: Option<&'a str>, all: &mut Vec<(Option<&'a str>, Option<&'a str>, Span)>) {
    let id = document["id"].as_str();
    let start = document["start_time"].as_f64().unwrap_or_default();
    let flag = |name: &str| document[name].as_bool().unwrap_or(false);
    let span = Span {
        name: document["name"].as_str().unwrap_or("(no name)").to_owned(),
        start,
        milliseconds: document["end_time"].as_f64().map(|end| (end - start) * 1000.0),
        failed: flag("fault") || flag("error") || flag("throttle"),
        attributes: attributes(document),
        children: Vec::new(),
    };
    all.push((id, parent, span));
    for subsegment in document["subsegments"].as_array().into_iter().flatten() {
        collect(subsegment, id, all);
    }
}

fn attributes(document: &Value) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    for group in ["annotations", "metadata", "aws"] {
        for (name, value) in document[group].as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            attributes.insert(if group == "aws" { format!("aws.{name}") } else { name.clone() }, text);
        }
    }
    for exception in document["cause"]["exceptions"].as_array().into_iter().flatten() {
        let text = |name: &str| exception[name].as_str().unwrap_or_default();
        attributes.insert("cause".to_owned(), format!("{}: {}", text("type"), text("message")));
    }
    attributes
}

/// Removes nodes from the map as it goes, so that it terminates even if documents name each other as parents.
fn children<'a>(of: Option<&'a str>, below: &mut BTreeMap<Option<&'a str>, Vec<Node<'a>>>) -> Vec<Span> {
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
    fn spans_nest_by_parent_and_by_subsegment() {
        let documents = [
            json!({ "id": "b", "parent_id": "a", "name": "record", "start_time": 2.0, "end_time": 2.5, "fault": true,
                    "metadata": { "n": 1 }, "cause": { "exceptions": [{ "type": "no_key", "message": "no key" }] } }),
            json!({ "id": "a", "parent_id": "lambda", "name": "audit", "start_time": 1.0, "end_time": 3.0,
                    "subsegments": [{ "id": "c", "name": "decode", "start_time": 1.5 }] }),
        ];
        let spans = spans(&documents);
        let names: Vec<_> = spans[0].children.iter().map(|span| (span.name.as_str(), span.failed)).collect();
        assert_eq!((spans.len(), spans[0].name.as_str(), spans[0].milliseconds), (1, "audit", Some(2000.0)));
        assert_eq!(names, [("decode", false), ("record", true)]);
        let attributes = &spans[0].children[1].attributes;
        assert_eq!((attributes["n"].as_str(), attributes["cause"].as_str()), ("1", "no_key: no key"));
    }

    #[test]
    fn documents_that_are_each_others_parents_do_not_hang() {
        let documents = [json!({ "id": "a", "parent_id": "b" }), json!({ "id": "b", "parent_id": "a" })];
        assert_eq!(spans(&documents), []);
    }
}
