//! Events as Lambda's event source mapping would deliver them.

use bytes::Bytes;
use serde_json::{Value, json};

/// The stream that the records come from.
const STREAM: &str =
    "arn:aws:dynamodb:eu-central-1:123456789012:table/Configuration-dev/stream/2024-09-11T09:00:17.927";

/// A batch with this number of records of about 690 bytes: 3 INSERT and 7 MODIFY in every ten. Each modification
/// changes one attribute, so each record yields one entry. No two rounds share a record.
pub(crate) fn batch(round: usize, records: usize) -> Bytes {
    let records: Vec<Value> = (0..records).map(|index| record(round, index)).collect();
    Bytes::from(json!({ "Records": records }).to_string())
}

fn record(round: usize, index: usize) -> Value {
    let is_insert = matches!(index % 10, 0 | 4 | 7);
    let key = format!("payment/SETTING_{index:05}");
    let image = |value: usize| {
        json!({
            "key": {"S": key},
            "value": {"N": value.to_string()},
            "unit": {"S": "seconds"},
            "enabled": {"BOOL": true},
            "owner": {"S": "team-checkout"},
        })
    };
    let mut change = json!({
        "ApproximateCreationDateTime": 1_726_045_348 + index as u64,
        "Keys": {"key": {"S": key}},
        "NewImage": image(1_800 + round),
        "SequenceNumber": format!("97{round:09}{index:010}"),
        "SizeBytes": 173,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    });
    if !is_insert {
        change["OldImage"] = image(3_600_000 + round);
    }
    json!({
        "eventID": format!("{round:016x}{index:016x}"),
        "eventName": if is_insert { "INSERT" } else { "MODIFY" },
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "dynamodb": change,
        "eventSourceARN": STREAM,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_a_hundred_is_as_large_as_the_issue_says() {
        let batch = batch(1, 100);
        assert!((68_000..71_000).contains(&batch.len()), "{} bytes", batch.len());
        let parsed: Value = serde_json::from_slice(&batch).unwrap();
        let inserts = parsed["Records"].as_array().unwrap().iter().filter(|record| record["eventName"] == "INSERT");
        assert_eq!(inserts.count(), 30);
    }
}
