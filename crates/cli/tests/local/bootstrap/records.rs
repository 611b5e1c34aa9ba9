//! Events of DynamoDB Streams. Every value in them is a secret.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Part of every text value.
pub(crate) const SECRET: &str = "xyzzy-secret-value";
/// Part of every number, and of nothing else.
pub(crate) const SECRET_DIGITS: &str = "73556089917";

/// The stream's table.
pub(crate) const TABLE: &str = "Configuration-dev";

/// The sequence number of record `n`. Sequence numbers sort as the numbers do.
pub(crate) fn sequence_number(n: usize) -> String {
    format!("{:022}", 1_000_000 + n)
}

pub(crate) fn record(n: usize, name: &str, images: &Value) -> Value {
    let mut record = json!({
        "eventID": format!("event-{n}"), "eventName": name, "eventVersion": "1.1",
        "eventSource": "aws:dynamodb", "awsRegion": "eu-central-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_726_045_348.0 + n as f64,
            "Keys": { "key": { "S": key(n) } },
            "SequenceNumber": sequence_number(n), "SizeBytes": 100, "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN":
            format!("arn:aws:dynamodb:eu-central-1:123456789012:table/{TABLE}/stream/2024-09-11T09:00:17.927"),
    });
    for (image, item) in images.as_object().unwrap() {
        record["dynamodb"][image] = item.clone();
    }
    record
}

/// The key of the item in record `n`.
pub(crate) fn key(n: usize) -> String {
    format!("KEY_{n}")
}

/// An item is created.
pub(crate) fn insert(n: usize) -> Value {
    let new = json!({ "key": { "S": key(n) }, "value": { "N": format!("{SECRET_DIGITS}{n}") } });
    record(n, "INSERT", &json!({ "NewImage": new }))
}

/// An item's value changes.
pub(crate) fn modify(n: usize, old: &Value, new: &Value) -> Value {
    let image = |value: &Value| json!({ "key": { "S": key(n) }, "value": value });
    record(n, "MODIFY", &json!({ "OldImage": image(old), "NewImage": image(new) }))
}

/// A change that cannot be audited, however often it is retried.
pub(crate) fn invalid(n: usize) -> Value {
    modify(n, &json!({ "S": SECRET }), &json!({ "N": SECRET }))
}

/// A change whose values can each be stored, but together are larger than an entry may be.
pub(crate) fn oversized(n: usize) -> Value {
    let text = |letter: &str| json!({ "S": format!("{SECRET}{}", letter.repeat(250_000)) });
    modify(n, &text("x"), &text("y"))
}

pub(crate) fn inserts(numbers: impl IntoIterator<Item = usize>) -> Value {
    event(numbers.into_iter().map(insert))
}

pub(crate) fn event(records: impl IntoIterator<Item = Value>) -> Value {
    json!({ "Records": records.into_iter().collect::<Vec<_>>() })
}

/// All sample events, by name.
pub(crate) fn samples() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: &PathBuf| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    files.iter().map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(path))).collect()
}

/// One sample event.
pub(crate) fn sample(name: &str) -> Value {
    samples().into_iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no event {name}")).1
}
