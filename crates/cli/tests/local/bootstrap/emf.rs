//! The rules of the embedded metric format (Amazon CloudWatch User Guide, "Specification: Embedded metric format"), and
//! our own: which dimensions exist, and that no age is negative.

use std::collections::HashSet;

use config_audit::clock::Clock;
use serde_json::{Map, Value};

/// The largest log event, in bytes.
const LARGEST: usize = 256 * 1024;
/// How far a timestamp may be in the past and in the future, in milliseconds.
const OLDEST: i64 = 14 * 24 * 3_600_000;
const NEWEST: i64 = 2 * 3_600_000;
/// The largest number that CloudWatch accepts is 2^360.
const LARGEST_NUMBER: f64 = 2.348_542_582_773_833e108;
/// Our dimensions. Any other creates separate metrics, and a request ID as a dimension creates one for every request.
const DIMENSIONS: [&str; 2] = ["Service", "Stage"];
const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// Checks one line. For a line that is not in the format, only the size is limited.
pub(crate) fn check(line: &str) -> Result<(), String> {
    ensure(line.len() <= LARGEST, || format!("{} bytes", line.len()))?;
    let document: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let members = document.as_object().ok_or("no object")?;
    let Some(aws) = members.get("_aws") else { return Ok(()) };
    let timestamp = aws["Timestamp"].as_i64().ok_or("the timestamp is not an integer")?;
    let now = Clock::System.now().timestamp_millis();
    ensure((now - OLDEST..=now + NEWEST).contains(&timestamp), || format!("the timestamp {timestamp}"))?;
    let directives = aws["CloudWatchMetrics"].as_array().ok_or("no directives")?;
    ensure(!directives.is_empty(), || "no directive".to_owned())?;
    directives.iter().try_for_each(|directive| check_directive(directive, members))
}

fn check_directive(directive: &Value, members: &Map<String, Value>) -> Result<(), String> {
    let namespace = directive["Namespace"].as_str().ok_or("no namespace")?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_/#:".contains(c);
    ensure((1..=255).contains(&namespace.len()) && namespace.chars().all(is_plain), || namespace.to_owned())?;
    let sets = directive["Dimensions"].as_array().ok_or("no dimensions")?;
    ensure(!sets.is_empty(), || "no dimension set".to_owned())?;
    for set in sets {
        let names: Vec<&str> = set.as_array().ok_or("no dimension set")?.iter().filter_map(Value::as_str).collect();
        ensure(names.len() <= 30 && names == DIMENSIONS, || format!("the dimensions {set}"))?;
        for name in names {
            let value = members.get(name).and_then(Value::as_str).ok_or(format!("{name} is not a string"))?;
            ensure((1..=1024).contains(&value.len()), || format!("{name} is {value:?}"))?;
        }
    }
    let metrics = directive["Metrics"].as_array().ok_or("no metrics")?;
    ensure((1..=100).contains(&metrics.len()), || format!("{} metrics", metrics.len()))?;
    let mut seen = HashSet::new();
    for metric in metrics {
        let name = metric["Name"].as_str().ok_or("a metric without a name")?;
        ensure((1..=255).contains(&name.len()) && seen.insert(name), || format!("the name {name:?}"))?;
        ensure(!DIMENSIONS.contains(&name), || format!("{name} is a dimension too"))?;
        ensure(UNITS.contains(&metric["Unit"].as_str().unwrap_or("None")), || format!("{name}'s unit"))?;
        ensure([Some(1), Some(60)].contains(&metric.get("StorageResolution").map_or(Some(60), Value::as_u64)), || {
            format!("{name}'s resolution")
        })?;
        check_values(name, members.get(name).ok_or(format!("{name} has no value"))?)?;
    }
    Ok(())
}

fn check_values(name: &str, value: &Value) -> Result<(), String> {
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    ensure((1..=100).contains(&values.len()), || format!("{name} has {} values", values.len()))?;
    values.iter().try_for_each(|value| {
        let number = value.as_f64().ok_or(format!("{name} has a value that is not a number"))?;
        ensure((0.0..=LARGEST_NUMBER).contains(&number), || format!("{name} is {number}"))?;
        ensure(name != "ColdStart" || number > 0.0, || "ColdStart is never 0".to_owned())
    })
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}

#[test]
fn a_document_that_breaks_a_rule_is_found() {
    let whole = serde_json::json!({
        "_aws": {
            "Timestamp": Clock::System.now().timestamp_millis(),
            "CloudWatchMetrics": [{
                "Namespace": "N", "Dimensions": [["Service", "Stage"]],
                "Metrics": [{ "Name": "M", "Unit": "Count", "StorageResolution": 60 }, { "Name": "ColdStart" }],
            }],
        },
        "Service": "s", "Stage": "t", "M": [1, 2.5], "ColdStart": 1,
    });
    check(&whole.to_string()).unwrap();
    let directive = "/_aws/CloudWatchMetrics/0";
    for (at, value) in [
        ("/_aws/Timestamp".to_owned(), serde_json::json!(1)),
        ("/_aws/Timestamp".to_owned(), serde_json::json!("now")),
        ("/_aws/CloudWatchMetrics".to_owned(), serde_json::json!([])),
        (format!("{directive}/Namespace"), serde_json::json!("")),
        (format!("{directive}/Namespace"), serde_json::json!("a b")),
        (format!("{directive}/Dimensions"), serde_json::json!([])),
        (format!("{directive}/Dimensions"), serde_json::json!([["Service", "Stage", "requestId"]])),
        (format!("{directive}/Metrics"), serde_json::json!([])),
        (format!("{directive}/Metrics/0/Name"), serde_json::json!("Absent")),
        (format!("{directive}/Metrics/0/Name"), serde_json::json!("ColdStart")),
        (format!("{directive}/Metrics/0/Name"), serde_json::json!("Stage")),
        (format!("{directive}/Metrics/0/Unit"), serde_json::json!("Miles")),
        (format!("{directive}/Metrics/0/StorageResolution"), serde_json::json!(5)),
        ("/Service".to_owned(), serde_json::json!("")),
        ("/Stage".to_owned(), serde_json::json!(5)),
        ("/M".to_owned(), serde_json::json!([])),
        ("/M".to_owned(), serde_json::json!(vec![1; 101])),
        ("/M".to_owned(), serde_json::json!(["1"])),
        ("/M".to_owned(), serde_json::json!(-1)),
        ("/ColdStart".to_owned(), serde_json::json!(0)),
        ("/Stage".to_owned(), serde_json::json!("x".repeat(LARGEST))),
    ] {
        let mut broken = whole.clone();
        *broken.pointer_mut(&at).unwrap() = value;
        assert!(check(&broken.to_string()).is_err(), "{broken}");
    }
}
