//! The on-failure destination: where Lambda writes a batch that it gives up on, and what it writes.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Condition, StreamRecord, event};

/// A batch that Lambda gave up on, and everything known about it.
#[derive(Debug)]
pub struct GivenUp<'a> {
    /// The event source mapping's UUID.
    pub mapping: Uuid,
    /// The stream.
    pub stream_arn: &'a str,
    /// The shard.
    pub shard_id: &'a str,
    /// The function, without a version.
    pub function_arn: &'a str,
    /// The records.
    pub records: &'a [Arc<StreamRecord>],
    /// Why Lambda gave up on it.
    pub condition: Condition,
    /// How often the function was invoked with them.
    pub invocations: u32,
    /// The request ID of the last invocation.
    pub request_id: &'a str,
    /// Whether that invocation failed, rather than reporting failed records.
    pub function_error: bool,
}

impl GivenUp<'_> {
    /// The object's key, in Lambda's layout.
    #[must_use]
    pub fn key(&self, now: DateTime<Utc>, id: Uuid) -> String {
        let (day, second) = (now.format("%Y/%m/%d"), now.format("%Y-%m-%dT%H.%M.%S"));
        format!("aws/lambda/{}/{}/{day}/{second}-{id}", self.mapping, self.shard_id)
    }

    /// The object: Lambda's invocation record, with the whole event in `payload`.
    ///
    /// # Errors
    /// None in practice: JSON can represent everything in the record.
    pub fn body(&self, now: DateTime<Utc>) -> Result<Vec<u8>, serde_json::Error> {
        let (first, last) = (self.records.first(), self.records.last());
        let arrival = |record: Option<&Arc<StreamRecord>>| {
            let time = record.and_then(|record| DateTime::from_timestamp_millis(record.created_ms)).unwrap_or_default();
            time.to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        let number = |record: Option<&Arc<StreamRecord>>| {
            record.map(|record| record.sequence_number.to_string()).unwrap_or_default()
        };
        serde_json::to_vec(&InvocationRecord {
            request_context: RequestContext {
                request_id: self.request_id,
                function_arn: self.function_arn,
                condition: self.condition.as_str(),
                approximate_invoke_count: self.invocations,
            },
            response_context: ResponseContext {
                status_code: 200,
                executed_version: "$LATEST",
                function_error: self.function_error.then_some("Unhandled"),
            },
            version: "1.0",
            timestamp: now.to_rfc3339_opts(SecondsFormat::Millis, true),
            batch_info: BatchInfo {
                shard_id: self.shard_id,
                start_sequence_number: number(first),
                end_sequence_number: number(last),
                approximate_arrival_of_first_record: arrival(first),
                approximate_arrival_of_last_record: arrival(last),
                batch_size: self.records.len(),
                stream_arn: self.stream_arn,
            },
            payload: event(self.records),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InvocationRecord<'a> {
    request_context: RequestContext<'a>,
    response_context: ResponseContext,
    version: &'static str,
    timestamp: String,
    #[serde(rename = "DDBStreamBatchInfo")]
    batch_info: BatchInfo<'a>,
    payload: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: &'a str,
    condition: &'static str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: u16,
    executed_version: &'static str,
    function_error: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo<'a> {
    shard_id: &'a str,
    start_sequence_number: String,
    end_sequence_number: String,
    approximate_arrival_of_first_record: String,
    approximate_arrival_of_last_record: String,
    batch_size: usize,
    stream_arn: &'a str,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::SequenceNumber;

    #[test]
    fn the_object_is_lambdas_invocation_record_with_the_event() {
        let record = |number: &str, created_ms| {
            Arc::new(StreamRecord {
                sequence_number: SequenceNumber::new(number),
                created_ms,
                event_name: "INSERT".to_owned(),
                json: format!("{{\"n\":{number}}}"),
            })
        };
        let records = [record("800000000003126276362", 1_573_690_399_000), record("9", 1_573_690_400_000)];
        let given_up = GivenUp {
            mapping: Uuid::nil(),
            stream_arn: "stream",
            shard_id: "shardId-1",
            function_arn: "function",
            records: &records,
            condition: Condition::RetryAttemptsExhausted,
            invocations: 3,
            request_id: "request",
            function_error: true,
        };
        let now = DateTime::from_timestamp_millis(1_573_690_429_717).unwrap();
        let nil = "00000000-0000-0000-0000-000000000000";
        let key = format!("aws/lambda/{nil}/shardId-1/2019/11/14/2019-11-14T00.13.49-{nil}");
        assert_eq!(given_up.key(now, Uuid::nil()), key);
        let expected = json!({
            "requestContext": {
                "requestId": "request",
                "functionArn": "function",
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 3,
            },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
            "version": "1.0",
            "timestamp": "2019-11-14T00:13:49.717Z",
            "DDBStreamBatchInfo": {
                "shardId": "shardId-1",
                "startSequenceNumber": "800000000003126276362",
                "endSequenceNumber": "9",
                "approximateArrivalOfFirstRecord": "2019-11-14T00:13:19Z",
                "approximateArrivalOfLastRecord": "2019-11-14T00:13:20Z",
                "batchSize": 2,
                "streamArn": "stream",
            },
            "payload": r#"{"Records":[{"n":800000000003126276362},{"n":9}]}"#,
        });
        assert_eq!(serde_json::from_slice::<Value>(&given_up.body(now).unwrap()).unwrap(), expected);
    }
}
