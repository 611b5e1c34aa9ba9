//! DynamoDB's HTTP API over dynoxide's operations.
//!
//! dynoxide has its own server, but that lets web pages of every origin read its answers, and it listens on its own, so
//! no check can run before it. So this module calls dynoxide's operations.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::routing::post;
use config_audit::clock::Clock;
use dynoxide::auth_material::{self, AuthMaterial};
use dynoxide::{Database, DynoxideError};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Connections, embedded};
use crate::event::{WorldEvent, WorldTable};
use crate::faults::{SLOW, TableFault};

/// The largest request that DynamoDB accepts, in bytes.
const MAX_REQUEST: usize = 16 << 20;
/// The prefix of the operation in `x-amz-target`, by service.
const SERVICES: [&str; 2] = ["DynamoDB_20120810.", "DynamoDBStreams_20120810."];

/// The API of this database.
pub(super) fn router(database: Database, connections: Connections) -> Router {
    Router::new()
        .route("/", post(answer).get(async || "healthy"))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state((database, connections))
}

async fn answer(
    State((database, connections)): State<(Database, Connections)>,
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
    // The signature is not verified, because everybody knows the credentials.
    if let Some(refusal) = auth_material::validate(credentials) {
        return response(StatusCode::BAD_REQUEST, refusal);
    }
    let target = text("x-amz-target").unwrap_or_default();
    let operation = SERVICES.iter().find_map(|service| target.strip_prefix(service)).unwrap_or_default();
    // Only the function writes in batches, so requests by people and the console are not affected.
    let fault = connections.breaker.faults().table.filter(|_| operation == "BatchWriteItem");
    let started = Clock::System.instant();
    match fault {
        Some(TableFault::Throttles) => {
            connections.refused(operation, &body, true);
            return response(StatusCode::BAD_REQUEST, error("ProvisionedThroughputExceededException"));
        }
        Some(TableFault::Fails) => {
            connections.refused(operation, &body, false);
            return response(StatusCode::INTERNAL_SERVER_ERROR, error("InternalServerError"));
        }
        Some(TableFault::Slow) => tokio::time::sleep(SLOW).await,
        // Until the client gives up and closes the connection.
        Some(TableFault::Silent) => std::future::pending().await,
        Some(TableFault::LosesAnswers) | None => {}
    }
    let result = run(&database, operation, &body);
    if result.is_ok() {
        connections.written(operation, &body, Clock::System.instant() - started);
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

impl Connections {
    /// Publishes which items a request wrote.
    fn written(&self, operation: &str, body: &[u8], took: Duration) {
        for (table, items) in self.writes(operation, body) {
            self.bus.publish(WorldEvent::TableWritten { table, operation: operation.to_owned(), items, took });
        }
    }

    /// Publishes which items a request would have written.
    fn refused(&self, operation: &str, body: &[u8], is_throttled: bool) {
        for (table, items) in self.writes(operation, body) {
            let operation = operation.to_owned();
            self.bus.publish(WorldEvent::TableRefused { table, operation, items, is_throttled });
        }
    }

    /// How many items of each table of the world a request writes.
    fn writes(&self, operation: &str, body: &[u8]) -> impl Iterator<Item = (WorldTable, usize)> {
        let writes = if self.tables.is_empty() { HashMap::new() } else { writes(operation, body) };
        self.tables.iter().filter_map(move |(name, table)| Some((*table, *writes.get(name)?)))
    }
}

/// An error in DynamoDB's format.
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

/// The number of items of each table that a request writes, changed or not: each consumes write capacity. `PartiQL` statements
/// are not counted.
fn writes(operation: &str, body: &[u8]) -> HashMap<String, usize> {
    let mut writes: HashMap<String, usize> = HashMap::new();
    if !["BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"].contains(&operation) {
        return writes;
    }
    let write: Write = serde_json::from_slice(body).unwrap_or_default();
    let transaction = write.transact_items.into_iter().flatten().filter(|(action, _)| action != "ConditionCheck");
    let single = transaction.map(|(_, target)| target.table_name).chain([write.table_name]);
    let batches = write.request_items.into_iter().map(|(table, requests)| (table, requests.len()));
    for (table, items) in single.map(|table| (table, 1)).chain(batches).filter(|(table, _)| !table.is_empty()) {
        *writes.entry(table).or_default() += items;
    }
    writes
}

/// DynamoDB distinguishes text that is not JSON from JSON that is not a request. An invalid value, such as
/// `{"N": "x"}`, is the latter; dynoxide puts a marker in front of the message of such an error.
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
    fn every_way_to_write_to_a_table_is_counted_and_nothing_else() {
        let item = json!({ "key": { "S": "FLAG" } });
        let put = |table: &str| json!({ "TableName": table, "Item": item });
        let request = json!({ "PutRequest": { "Item": item } });
        for (operation, body, [configuration, audit]) in [
            ("PutItem", put("Configuration"), [1, 0]),
            ("UpdateItem", json!({ "TableName": "Configuration", "Key": item }), [1, 0]),
            ("DeleteItem", json!({ "TableName": "Configuration", "Key": item }), [1, 0]),
            ("PutItem", put("Audit"), [0, 1]),
            ("GetItem", json!({ "TableName": "Configuration", "Key": item }), [0, 0]),
            (
                "BatchWriteItem",
                json!({ "RequestItems": { "Configuration": [request, request], "Audit": [request] } }),
                [2, 1],
            ),
            ("BatchGetItem", json!({ "RequestItems": { "Configuration": { "Keys": [item] } } }), [0, 0]),
            (
                "TransactWriteItems",
                json!({ "TransactItems": [
                    { "Put": put("Configuration") }, { "ConditionCheck": put("Configuration") }, { "Put": put("Audit") },
                ] }),
                [1, 1],
            ),
        ] {
            let writes = writes(operation, body.to_string().as_bytes());
            let of = |table: &str| writes.get(table).copied().unwrap_or_default();
            assert_eq!([of("Configuration"), of("Audit")], [configuration, audit], "{operation} {body}");
            assert!(writes.keys().all(|table| !table.is_empty()), "{operation}");
        }
    }
}
