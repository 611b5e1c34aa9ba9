//! A stream record as Lambda puts it into an event.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodbstreams::types::Record;
use serde::Serialize;
use serde_dynamo::AttributeValue;

use crate::aws::item;
use config_audit::stream::key_text;
use config_audit_mapping::{SequenceNumber, StreamRecord};

/// A record that cannot be put into an event.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The Streams API sent a record without a member that every record has.
    #[error("a record of stream {stream_arn} has no {what}")]
    Missing {
        /// The stream.
        stream_arn: String,
        /// The missing member.
        what: &'static str,
    },
    /// The record cannot be written as JSON.
    #[error("a record of stream {stream_arn} cannot be written as JSON")]
    Json {
        /// The stream.
        stream_arn: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// A record of the Streams API, with its JSON in an event.
///
/// # Errors
/// When it has no sequence number, event name or change.
pub fn stream_record(record: Record, stream_arn: &str) -> Result<StreamRecord, RecordError> {
    let missing = |what| RecordError::Missing { stream_arn: stream_arn.to_owned(), what };
    let change = record.dynamodb.ok_or_else(|| missing("dynamodb"))?;
    let sequence_number = change.sequence_number.ok_or_else(|| missing("SequenceNumber"))?;
    let created = change.approximate_creation_date_time;
    let event_name = record.event_name.ok_or_else(|| missing("eventName"))?.as_str().to_owned();
    let in_event = InEvent {
        event_id: record.event_id,
        event_name: event_name.clone(),
        event_version: record.event_version.unwrap_or_else(|| "1.1".to_owned()),
        event_source: record.event_source.unwrap_or_else(|| "aws:dynamodb".to_owned()),
        aws_region: record.aws_region,
        dynamodb: Change {
            approximate_creation_date_time: created.map(|time| time.as_secs_f64()),
            keys: change.keys.map(image),
            new_image: change.new_image.map(image),
            old_image: change.old_image.map(image),
            sequence_number: sequence_number.clone(),
            size_bytes: change.size_bytes,
            stream_view_type: change.stream_view_type.map(|view| view.as_str().to_owned()),
        },
        user_identity: record
            .user_identity
            .map(|identity| UserIdentity { principal_id: identity.principal_id, r#type: identity.r#type }),
        event_source_arn: stream_arn,
    };
    let json = serde_json::to_string(&in_event)
        .map_err(|source| RecordError::Json { stream_arn: stream_arn.to_owned(), source })?;
    Ok(StreamRecord {
        sequence_number: SequenceNumber::new(sequence_number),
        created_ms: created.and_then(|time| time.to_millis().ok()).unwrap_or_default(),
        event_name,
        json,
    })
}

/// The key of the item that a record is about, as entries write it; empty if the record has none.
pub(super) fn item_key(record: &Record) -> String {
    let keys = record.dynamodb.as_ref().and_then(|change| change.keys.as_ref());
    let key = keys.and_then(|keys| keys.values().next()).cloned().map(AttributeValue::from);
    key.as_ref().and_then(key_text).unwrap_or_default()
}

/// Attributes sorted by name, so that a record without nested values gives the same text each time it is read.
type Image = BTreeMap<String, AttributeValue>;

fn image(attributes: HashMap<String, impl Into<AttributeValue>>) -> Image {
    item(attributes).into_iter().collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InEvent<'a> {
    #[serde(rename = "eventID", skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    event_name: String,
    event_version: String,
    event_source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_region: Option<String>,
    dynamodb: Change,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_identity: Option<UserIdentity>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_creation_date_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Image>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_image: Option<Image>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_image: Option<Image>,
    sequence_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_view_type: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserIdentity {
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodbstreams::primitives::DateTime;
    use aws_sdk_dynamodbstreams::types::{
        AttributeValue, Identity, OperationType, StreamRecord as Change, StreamViewType,
    };
    use serde_json::json;

    use std::sync::Arc;

    use config_audit_mapping::event;

    use super::*;

    fn s(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    /// The sample event, made from what the Streams API would have sent.
    #[test]
    fn the_event_is_lambdas() {
        let arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/Configuration/stream/2024-09-11T09:00:17.927";
        let change = Change::builder()
            .approximate_creation_date_time(DateTime::from_secs(1_726_045_348))
            .keys("key", s("CACHE_TTL_SEC"))
            .new_image("value", AttributeValue::N("3600".to_owned()))
            .new_image("key", s("CACHE_TTL_SEC"))
            .sequence_number("9700002673137973216305")
            .size_bytes(39)
            .stream_view_type(StreamViewType::NewAndOldImages)
            .build();
        let record = Record::builder()
            .event_id("97f346f54443196d55233e83d8b8f944")
            .event_name(OperationType::Insert)
            .event_version("1.1")
            .event_source("aws:dynamodb")
            .aws_region("eu-central-1")
            .dynamodb(change)
            .build();
        let record = stream_record(record, arn).unwrap();
        assert_eq!(record.created_ms, 1_726_045_348_000);
        assert!(record.json.contains(r#""ApproximateCreationDateTime":1726045348.0"#), "{}", record.json);
        let event: serde_json::Value = serde_json::from_str(&event(&[Arc::new(record)])).unwrap();
        let expected = json!({ "Records": [{
            "eventID": "97f346f54443196d55233e83d8b8f944",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-central-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_726_045_348.0,
                "Keys": { "key": { "S": "CACHE_TTL_SEC" } },
                "NewImage": { "value": { "N": "3600" }, "key": { "S": "CACHE_TTL_SEC" } },
                "SequenceNumber": "9700002673137973216305",
                "SizeBytes": 39,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
            "eventSourceARN": arn,
        }] });
        assert_eq!(event, expected);
    }

    #[test]
    fn a_ttl_expiry_says_who_deleted() {
        let identity = Identity::builder().principal_id("dynamodb.amazonaws.com").r#type("Service").build();
        let change = Change::builder().sequence_number("1").build();
        let record =
            Record::builder().event_name(OperationType::Remove).dynamodb(change).user_identity(identity).build();
        let record = stream_record(record, "arn").unwrap();
        let record: serde_json::Value = serde_json::from_str(&record.json).unwrap();
        assert_eq!(record["userIdentity"], json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" }));
    }

    #[test]
    fn a_record_without_a_sequence_number_is_named() {
        let record = Record::builder().dynamodb(Change::builder().build()).build();
        let error = stream_record(record, "the-arn").unwrap_err().to_string();
        assert_eq!(error, "a record of stream the-arn has no SequenceNumber");
    }
}
