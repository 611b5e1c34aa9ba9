//! The lines of an invocation: whatever its names, counts and samples, each line is one JSON object that follows the
//! embedded metric format (Amazon CloudWatch User Guide, "Specification: Embedded metric format"), and nothing is lost.

#![no_main]

use std::collections::HashMap;

use config_audit::telemetry::catalog::{ALL, DIMENSIONS, Measure, Measured, Metric};
use config_audit::telemetry::emf::Wide;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// Members of every line, and of the first line only.
const COMMON: [&str; 4] = ["timestamp", "level", "message", "requestId"];
const MEMBERS: [&str; 3] = ["outcome", "error", "events"];
/// The longest sequence number of a stream has this many digits (Amazon DynamoDB API Reference, `StreamRecord`).
const LONGEST_NUMBER: usize = 40;

#[derive(Debug, Arbitrary)]
struct Input {
    timestamp: i64,
    texts: [String; 10],
    counters: Vec<u64>,
    /// For each metric, values and how often each occurs.
    samples: Vec<Vec<(f64, u16)>>,
    /// Sequence numbers, and how often each occurs.
    failed: Vec<(u64, u16)>,
}

fuzz_target!(|input: Input| {
    let repeated = |times: u16| usize::from(times) % 1_500;
    let mut texts = input.texts.iter().map(String::as_str);
    // Which settings are accepted is up to settings.rs.
    let mut setting = || texts.next().filter(|text| (1..=255).contains(&text.len())).unwrap_or("x");
    let (namespace, dimensions) = (setting(), [setting(), setting()]);
    let mut members = |names: &[&'static str]| -> Vec<(&'static str, Value)> {
        names.iter().zip(texts.by_ref()).map(|(name, text)| (*name, Value::from(text))).collect()
    };
    let (common, members) = (members(&COMMON), members(&MEMBERS));
    let of_kind =
        |is_sampled: bool| ALL.iter().filter(move |metric| matches!(metric.measure, Measure::Samples(_)) == is_sampled);
    let counts = of_kind(false)
        .zip(input.counters)
        .map(|(metric, count)| (metric, Measured::Count(usize::try_from(count).unwrap_or(usize::MAX))));
    let samples = of_kind(true).zip(&input.samples).map(|(metric, runs)| {
        let samples = runs.iter().flat_map(|(value, times)| vec![*value; repeated(*times)]);
        (metric, Measured::Samples(samples.collect()))
    });
    let metrics: Vec<(&Metric, Measured)> = counts.chain(samples).collect();
    let numbers: Vec<String> = input.failed.iter().map(|(number, _)| format!("{number:0LONGEST_NUMBER$}")).collect();
    let failed: Vec<&str> = numbers
        .iter()
        .zip(&input.failed)
        .flat_map(|(number, (_, times))| vec![number.as_str(); repeated(*times)])
        .collect();

    let wide = Wide { timestamp: input.timestamp, namespace, dimensions, common, members, metrics, failed };
    check(&wide, &wide.clone().lines());
});

fn check(wide: &Wide<'_>, lines: &[String]) {
    assert!(!lines.is_empty(), "an invocation says nothing");
    let mut found = HashMap::<String, Vec<f64>>::new();
    let mut failed = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        assert!(!line.contains(['\n', '\r']) && line.len() <= 256 * 1024, "a line of {} bytes", line.len());
        let document: Map<String, Value> = serde_json::from_str(line).expect("a line is one JSON object");
        let mut members = wide.common.len();
        for (name, value) in wide.common.iter().chain(wide.members.iter().filter(|_| index == 0)) {
            assert_eq!(&document[*name], value);
        }
        members += if index == 0 { wide.members.len() } else { 0 };
        if let Some(numbers) = document.get("failedSequenceNumbers") {
            failed.extend(numbers.as_array().expect("a list").iter().map(|n| n.as_str().expect("a text").to_owned()));
            members += 1;
        }
        if let Some(aws) = document.get("_aws") {
            let metrics = check_metrics(wide, aws, &document);
            members += 1 + DIMENSIONS.len() + metrics.len();
            for (name, values) in metrics {
                found.entry(name).or_default().extend(values);
            }
        }
        assert_eq!(document.len(), members, "a line has a member that nobody declared, or one twice");
    }
    assert_eq!(failed, wide.failed, "a sequence number is lost");
    for (metric, measured) in &wide.metrics {
        // Non-finite numbers are left out.
        let values: Vec<f64> = match measured {
            Measured::Count(count) => vec![*count as f64],
            Measured::Samples(samples) => samples.iter().copied().filter(|sample| sample.is_finite()).collect(),
        };
        let found = found.remove(metric.name).unwrap_or_default();
        assert_eq!(found.len(), values.len(), "{} has lost a value", metric.name);
        for (found, value) in found.into_iter().zip(values) {
            let value = written(value);
            // serde_json does not always read a number of 16 digits exactly to the last bit.
            assert!((found - value).abs() <= value.abs() * f64::EPSILON, "{}: {found}, not {value}", metric.name);
        }
    }
    assert!(found.is_empty(), "a metric comes from nowhere");
}

/// A value as written to a line: three decimals, in CloudWatch's range.
fn written(value: f64) -> f64 {
    (value.clamp(-1e15, 1e15) * 1000.0).round() / 1000.0
}

/// The metrics of one line, checked against the specification.
fn check_metrics(wide: &Wide<'_>, aws: &Value, document: &Map<String, Value>) -> Vec<(String, Vec<f64>)> {
    assert_eq!(aws["Timestamp"], wide.timestamp);
    let directives = aws["CloudWatchMetrics"].as_array().expect("a list");
    assert_eq!(directives.len(), 1);
    assert_eq!(directives[0]["Namespace"], wide.namespace);
    assert_eq!(directives[0]["Dimensions"], serde_json::json!([DIMENSIONS]));
    for (name, value) in DIMENSIONS.iter().zip(wide.dimensions) {
        assert_eq!(document[*name], value);
    }
    let metrics = directives[0]["Metrics"].as_array().expect("a list");
    assert!((1..=100).contains(&metrics.len()), "{} metrics in a line", metrics.len());
    let number = |value: &Value| {
        let value = value.as_f64().expect("a number");
        assert!(value.is_finite() && value.abs() <= 1e15, "{value} is out of range");
        value
    };
    metrics
        .iter()
        .map(|metric| {
            let name = metric["Name"].as_str().expect("a text");
            let known = ALL.iter().find(|known| known.name == name).expect("it is in the catalog");
            assert_eq!(metric["Unit"], known.unit.name());
            let values: Vec<f64> = match &document[name] {
                Value::Array(values) => values.iter().map(number).collect(),
                value => vec![number(value)],
            };
            assert!((1..=100).contains(&values.len()), "{name} has {} values", values.len());
            (name.to_owned(), values)
        })
        .collect()
}
