//! DynamoDB's HTTP API over dynoxide's operations.
//!
//! dynoxide has a server of its own. That one lets web pages of every origin read its answers, and it listens by itself, so
//! nothing can stand before it; its operations can be called.

use std::collections::HashMap;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::routing::post;
use dynoxide::auth_material::{self, AuthMaterial};
use dynoxide::{Database, DynoxideError};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Connections, embedded};
use crate::event::WorldEvent;
use crate::faults::{SLOW, TableFault};

/// The largest request that DynamoDB accepts, in bytes.
const MAX_REQUEST: usize = 16 << 20;
/// What `x-amz-target` has before the operation, by service.
const SERVICES: [&str; 2] = ["DynamoDB_20120810.", "DynamoDBStreams_20120810."];

/// The API of this database.
pub(super) fn router(database: Database, connections: Connections) -> Router {
    Router::new()
        .route("/", post(answer).get(async || "healthy"))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state((database, connections))
}

async fn answer(
    State((database, Connections { breaker, bus, source })): State<(Database, Connections)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let credentials = AuthMaterial {
        authorization: text(AUTHORIZATION.as_str()),
        query: uri.query().unwrap_or_default(),
        has_date_header: headers.contains_key("x-amz-date") || headers.contains_key(DATE),
    };
    // Whether the signature is right is not checked: everybody knows the credentials.
    if let Some(refusal) = auth_material::validate(credentials) {
        return response(StatusCode::BAD_REQUEST, refusal);
    }
    let target = text("x-amz-target").unwrap_or_default();
    let operation = SERVICES.iter().find_map(|service| target.strip_prefix(service)).unwrap_or_default();
    // Only the function writes in batches; what people and the console do is not disturbed.
    let fault = breaker.faults().table.filter(|_| operation == "BatchWriteItem");
    match fault {
        Some(TableFault::Throttles) => {
            return response(StatusCode::BAD_REQUEST, error("ProvisionedThroughputExceededException"));
        }
        Some(TableFault::Fails) => return response(StatusCode::INTERNAL_SERVER_ERROR, error("InternalServerError")),
        Some(TableFault::Slow) => tokio::time::sleep(SLOW).await,
        // Until the client gives up and closes the connection.
        Some(TableFault::Silent) => std::future::pending().await,
        Some(TableFault::LosesAnswers) | None => {}
    }
    let result = run(&database, operation, &body);
    if let (Ok(_), Some(table)) = (&result, &source) {
        let items = written(operation, &body, table);
        if items > 0 {
            bus.publish(WorldEvent::TableWritten { items });
        }
    }
    if fault == Some(TableFault::LosesAnswers) {
        std::future::pending::<()>().await;
    }
    match result {
        Ok(answer) => response(StatusCode::OK, answer),
        Err(error) => {
            let status = StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            response(status, error.to_json())
        }
    }
}

/// An error as DynamoDB answers it.
fn error(code: &str) -> String {
    serde_json::json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "broken on purpose" })
        .to_string()
}

/// An answer with the headers that DynamoDB sends.
fn response(status: StatusCode, body: String) -> Response<Body> {
    let (request_id, checksum) = (Uuid::new_v4().simple().to_string(), crc32fast::hash(body.as_bytes()));
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    headers.insert("x-amz-crc32", HeaderValue::from(checksum));
    if let Ok(request_id) = HeaderValue::try_from(request_id.to_uppercase()) {
        headers.insert("x-amzn-requestid", request_id);
    }
    response
}

/// Runs an operation of DynamoDB or of its streams.
fn run(database: &Database, operation: &str, body: &[u8]) -> dynoxide::Result<String> {
    match operation {
        "BatchExecuteStatement" => call(body, |request| database.batch_execute_statement(request)),
        "BatchGetItem" => call(body, |request| database.batch_get_item(request)),
        "BatchWriteItem" => call(body, |request| database.batch_write_item(request)),
        "CreateTable" => call(body, |request| database.create_table(request)),
        "DeleteItem" => call(body, |request| database.delete_item(request)),
        "DeleteTable" => call(body, |request| database.delete_table(request)),
        "DescribeStream" => call(body, |request| embedded::describe_stream(database, request)),
        "DescribeTable" => call(body, |request| database.describe_table(request)),
        "DescribeTimeToLive" => call(body, |request| database.describe_time_to_live(request)),
        "ExecuteStatement" => call(body, |request| database.execute_statement(request)),
        "ExecuteTransaction" => call(body, |request| database.execute_transaction(request)),
        "GetItem" => call(body, |request| database.get_item(request)),
        "GetRecords" => call(body, |request| database.get_records(request)),
        "GetShardIterator" => call(body, |request| database.get_shard_iterator(request)),
        "ListStreams" => call(body, |request| database.list_streams(request)),
        "ListTables" => call(body, |request| database.list_tables(request)),
        "ListTagsOfResource" => call(body, |request| database.list_tags_of_resource(request)),
        "PutItem" => call(body, |request| database.put_item(request)),
        "Query" => call(body, |request| database.query(request)),
        "Scan" => call(body, |request| database.scan(request)),
        "TagResource" => call(body, |request| database.tag_resource(request)),
        "TransactGetItems" => call(body, |request| database.transact_get_items(request)),
        "TransactWriteItems" => call(body, |request| database.transact_write_items(request)),
        "UntagResource" => call(body, |request| database.untag_resource(request)),
        "UpdateItem" => call(body, |request| database.update_item(request)),
        "UpdateTable" => call(body, |request| database.update_table(request)),
        "UpdateTimeToLive" => call(body, |request| database.update_time_to_live(request)),
        _ => Err(DynoxideError::UnsupportedCapability(operation.to_owned())),
    }
}

fn call<Request: DeserializeOwned, Answer: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Request) -> dynoxide::Result<Answer>,
) -> dynoxide::Result<String> {
    let answer = operation(serde_json::from_slice(body).map_err(|error| unreadable(&error))?)?;
    serde_json::to_string(&answer).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// The tables of a write request, without the items.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Write {
    table_name: String,
    request_items: HashMap<String, Vec<IgnoredAny>>,
    /// Each is an object with one member, whose name is the action.
    transact_items: Vec<HashMap<String, Write>>,
}

/// The number of items that a request writes to this table, changed or not: each consumes write capacity. `PartiQL` statements
/// are not counted.
fn written(operation: &str, body: &[u8], table: &str) -> usize {
    if !["BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"].contains(&operation) {
        return 0;
    }
    let write: Write = serde_json::from_slice(body).unwrap_or_default();
    let transaction = write.transact_items.iter().flatten();
    let is_written =
        |(action, target): &(&String, &Write)| action.as_str() != "ConditionCheck" && target.table_name == table;
    usize::from(write.table_name == table)
        + write.request_items.get(table).map_or(0, Vec::len)
        + transaction.filter(is_written).count()
}

/// DynamoDB tells text that is not JSON from JSON that is not a request. A value that is not one, such as `{"N": "x"}`, is the
/// latter; dynoxide says so by a marker in front of the message.
fn unreadable(error: &serde_json::Error) -> DynoxideError {
    let message = error.to_string();
    match message.split_once(':') {
        Some((marker, message)) if marker.starts_with("SERIALIZATION") => {
            DynoxideError::SerializationException(message.to_owned())
        }
        Some((marker, message)) if marker.starts_with("VALIDATION") => {
            DynoxideError::ValidationException(message.to_owned())
        }
        _ if error.is_data() => DynoxideError::ValidationException(message),
        _ => DynoxideError::SerializationException(message),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_write_to_the_table_is_counted_and_nothing_else() {
        let item = json!({ "key": { "S": "FLAG" } });
        let put = |table: &str| json!({ "TableName": table, "Item": item });
        let request = json!({ "PutRequest": { "Item": item } });
        for (operation, body, items) in [
            ("PutItem", put("Configuration"), 1),
            ("UpdateItem", json!({ "TableName": "Configuration", "Key": item }), 1),
            ("DeleteItem", json!({ "TableName": "Configuration", "Key": item }), 1),
            ("PutItem", put("Audit"), 0),
            ("GetItem", json!({ "TableName": "Configuration", "Key": item }), 0),
            (
                "BatchWriteItem",
                json!({ "RequestItems": { "Configuration": [request, request], "Audit": [request] } }),
                2,
            ),
            ("BatchGetItem", json!({ "RequestItems": { "Configuration": { "Keys": [item] } } }), 0),
            (
                "TransactWriteItems",
                json!({ "TransactItems": [
                    { "Put": put("Configuration") }, { "ConditionCheck": put("Configuration") }, { "Put": put("Audit") },
                ] }),
                1,
            ),
        ] {
            assert_eq!(written(operation, body.to_string().as_bytes(), "Configuration"), items, "{operation} {body}");
        }
    }
}
