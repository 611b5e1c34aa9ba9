//! The Lambda's own binary in the local world: the contract's examples, from the table to the entry.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{bootstrap, config_audit};

const INSERT: &str = r#"{"Records":[{
    "eventID": "97f346f54443196d55233e83d8b8f944", "eventName": "INSERT", "eventVersion": "1.1",
    "eventSource": "aws:dynamodb", "awsRegion": "eu-central-1",
    "dynamodb": {
        "ApproximateCreationDateTime": 1726045348.0,
        "Keys": { "key": { "S": "CACHE_TTL_SEC" } },
        "NewImage": { "value": { "N": "3600" }, "key": { "S": "CACHE_TTL_SEC" } },
        "SequenceNumber": "9700002673137973216305", "SizeBytes": 39, "StreamViewType": "NEW_AND_OLD_IMAGES"
    },
    "eventSourceARN": "arn:aws:dynamodb:eu-central-1:000000000000:table/Configuration/stream/2024-09-11T09:00:17.927"
}]}"#;

async fn run(arguments: &[&str]) -> Output {
    let output = config_audit().args(arguments).arg("--bootstrap").arg(bootstrap()).output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    output
}

/// The entry without its ID, which must be a UUID of version 4.
fn without_id(mut entry: Value) -> Value {
    let id = entry.as_object_mut().unwrap().remove("id").unwrap();
    let id: uuid::Uuid = id.as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 4);
    entry
}

#[tokio::test]
async fn the_users_event_becomes_the_contracts_entry() {
    let output = run(&["invoke", "--output", "json", "--data", INSERT]).await;
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["response"], json!({ "batchItemFailures": [] }));
    let expected = json!({
        "itemKey": "CACHE_TTL_SEC",
        "modificationTime": "2024-09-11T09:02:28.000Z",
        "newValue": { "key": "CACHE_TTL_SEC", "value": 3600 },
    });
    assert_eq!(without_id(document["entries"][0].take()), expected);
    let metrics = document["metrics"].as_array().unwrap();
    let written = metrics.iter().find(|metric| metric["name"] == "AuditsWritten");
    assert_eq!(written.expect("no AuditsWritten")["values"], json!([1.0]));
    assert!(!document["segments"].as_array().unwrap().is_empty(), "no spans");
}

#[tokio::test]
async fn the_examples_become_a_line_each() {
    let arguments = ["local", "--port", "0", "--examples", "--exit-after-examples"];
    let output = run(&arguments).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    let after =
        |example: &str| printed.split(example).nth(1).unwrap_or_else(|| panic!("{printed}")).lines().nth(1).unwrap();
    for (example, what) in [
        ("Example: create CACHE_TTL_SEC = 3600", r#"CACHE_TTL_SEC  (created)  {"key":"CACHE_TTL_SEC","value":3600}"#),
        ("Example: change CACHE_TTL_SEC = 1800", "CACHE_TTL_SEC  value  3600 → 1800"),
    ] {
        let (time, rest) = after(example).split_once("  ").unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
        let lag = rest.strip_prefix(what).unwrap_or_else(|| panic!("{rest}"));
        assert!(lag.starts_with("  lag ") && lag.ends_with("s  ok"), "{rest}");
    }
}
