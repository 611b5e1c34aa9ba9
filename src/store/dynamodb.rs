//! The Audit table in DynamoDB: one `BatchWriteItem`, and what each of its errors means.

use std::collections::HashSet;
use std::error::Error;

use aws_config::retry::RetryConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_sdk_dynamodb::operation::batch_write_item::{BatchWriteItemError, BatchWriteItemOutput};
use aws_sdk_dynamodb::types::{ConsumedCapacity, WriteRequest};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ReconnectMode;
use bytes::Bytes;
use tokio::task::JoinHandle;

use serde_json::Value;

use super::answer::AnswerInterceptor;
use super::connection::open;
use super::{Failure, Put, Store, StoreError};
use crate::audit::EncodedEntry;
use crate::aws::{causes, is_error_code, root_cause};

/// What DynamoDB's error codes mean (Amazon DynamoDB Developer Guide, "Error handling with DynamoDB", and the common
/// errors of AWS's APIs). `docs/semantics.md` explains each and says what helps; a test enforces that.
const CODES: [(&str, Failure); 21] = [
    ("ProvisionedThroughputExceededException", Failure::Throttled),
    ("ThrottlingException", Failure::Throttled),
    ("Throttling", Failure::Throttled),
    ("RequestLimitExceeded", Failure::Throttled),
    ("RequestThrottled", Failure::Throttled),
    ("TooManyRequestsException", Failure::Throttled),
    ("InternalServerError", Failure::Unavailable),
    ("ServiceUnavailable", Failure::Unavailable),
    ("ReplicatedWriteConflictException", Failure::Unavailable),
    ("RequestTimeout", Failure::Unavailable),
    ("RequestTimeoutException", Failure::Unavailable),
    ("ValidationException", Failure::Rejected),
    ("ResourceNotFoundException", Failure::Misconfigured),
    ("AccessDeniedException", Failure::Misconfigured),
    ("AccessDenied", Failure::Misconfigured),
    ("UnrecognizedClientException", Failure::Misconfigured),
    ("InvalidSignatureException", Failure::Misconfigured),
    ("IncompleteSignatureException", Failure::Misconfigured),
    ("MissingAuthenticationTokenException", Failure::Misconfigured),
    ("InvalidClientTokenId", Failure::Misconfigured),
    ("ExpiredTokenException", Failure::Misconfigured),
];

/// The meaning of an error with this code and HTTP status.
fn failure_of(code: &str, status: u16) -> Failure {
    let known = CODES.iter().find(|(known, _)| *known == code).map(|(_, failure)| *failure);
    known.unwrap_or(match status {
        429 => Failure::Throttled,
        500.. => Failure::Unavailable,
        _ => Failure::Refused,
    })
}

/// The Audit table in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoDbStore {
    client: Client,
    table: String,
    region: String,
}

impl DynamoDbStore {
    /// A store that writes to `table`. The client must not retry, because the writer does, and counts retries.
    #[must_use]
    pub fn new(client: Client, table: &str) -> Self {
        let region = client.config().region().map_or_else(|| "(none)".to_owned(), ToString::to_string);
        Self { client, table: table.to_owned(), region }
    }

    /// The table's name or ARN.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Opens the connection without waiting for DynamoDB's answer. Returns the task that reads the answer, if it has
    /// not arrived yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if no connection can be opened, or there are no credentials.
    pub async fn connect(&self) -> Result<Option<JoinHandle<()>>, StoreError> {
        // It is not an answer to the operation, so the SDK treats it as an error, and would close the connection.
        let retries = RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections);
        let request = self.client.batch_write_item().request_items(&self.table, Vec::new()).customize();
        let request = request.config_override(aws_sdk_dynamodb::config::Builder::new().retry_config(retries));
        match open(|health_check| request.interceptor(health_check).send()).await {
            Err(answer) => Ok(Some(answer)),
            // Any answer shows that the connection is open.
            Ok(Ok(_) | Err(SdkError::ServiceError(_) | SdkError::ResponseError(_))) => Ok(None),
            Ok(Err(error)) => Err(self.classify_unanswered(&error)),
        }
    }

    /// Checks whether entries can be written, without writing any.
    ///
    /// The request puts an item without attributes, which no table can store. DynamoDB checks the caller's permission
    /// and the table before the item, so the answer that the item is invalid shows that everything else is right.
    ///
    /// # Errors
    ///
    /// [`StoreError`], with [`Failure::Misconfigured`] if the table or the permission is missing, or DynamoDB names
    /// another key than `id`.
    pub async fn probe(&self) -> Result<(), StoreError> {
        match self.send(["{}"]).await {
            Err(SdkError::ServiceError(error)) if error.err().code() == Some("ValidationException") => {
                match error.err().message() {
                    Some(message)
                        if message.contains("Missing the key") && !message.contains("Missing the key id in") =>
                    {
                        Err(self.wrong_key("ValidationException"))
                    }
                    _ => Ok(()),
                }
            }
            Err(error) => Err(self.classify(&error)),
            Ok(_) => Ok(()),
        }
    }

    /// Puts items that are already DynamoDB JSON. The SDK makes a request without items, and this replaces its body.
    async fn send<'a>(
        &self,
        items: impl IntoIterator<Item = &'a str>,
    ) -> Result<BatchWriteItemOutput, SdkError<BatchWriteItemError>> {
        let body = Bytes::from(self.body(items));
        let length = body.len().to_string();
        self.client
            .batch_write_item()
            .request_items(&self.table, Vec::new())
            .customize()
            .mutate_request(move |request| {
                request.headers_mut().insert("content-length", length.clone());
                *request.body_mut() = SdkBody::from(body.clone());
            })
            .interceptor(AnswerInterceptor)
            .send()
            .await
    }

    /// The body of a request that puts these items (Amazon DynamoDB API Reference, `BatchWriteItem`).
    fn body<'a>(&self, items: impl IntoIterator<Item = &'a str>) -> String {
        let mut body =
            format!(r#"{{"ReturnConsumedCapacity":"TOTAL","RequestItems":{{{}:["#, Value::from(&*self.table));
        for (index, item) in items.into_iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            body.extend([separator, r#"{"PutRequest":{"Item":"#, item, "}}"]);
        }
        body.push_str("]}}");
        body
    }

    fn classify(&self, error: &SdkError<BatchWriteItemError>) -> StoreError {
        let SdkError::ServiceError(service) = error else { return self.classify_unanswered(error) };
        let status = service.raw().status().as_u16();
        if service.raw().status().is_success() {
            return self.unreadable_answer();
        }
        let http = format!("Http{status}");
        let code = service.err().code().filter(|code| is_error_code(code)).unwrap_or(&http);
        if code == "ValidationException" && service.err().message().is_some_and(is_about_the_key) {
            return self.wrong_key(code);
        }
        let (table, region) = (&self.table, &self.region);
        let failure = failure_of(code, status);
        let message = match (failure, code) {
            (_, "ResourceNotFoundException") => format!(
                "the Audit table {table} does not exist in {region}; create it, or set AUDIT_TABLE to the table that does"
            ),
            (_, "AccessDeniedException" | "AccessDenied") => format!(
                "the function may not write to the Audit table {table} in {region}; \
                 allow its role dynamodb:BatchWriteItem on the table (and the use of its KMS key, if it has one)"
            ),
            (Failure::Misconfigured, _) => {
                format!("DynamoDB in {region} does not accept the function's credentials ({code})")
            }
            (Failure::Rejected, _) => "DynamoDB finds the entry invalid (ValidationException)".to_owned(),
            (Failure::Throttled, _) => {
                format!("DynamoDB is throttling writes to the Audit table {table} ({code}, HTTP status {status})")
            }
            (Failure::Unavailable, _) => {
                format!("DynamoDB could not write to the Audit table {table} ({code}, HTTP status {status})")
            }
            (Failure::Refused, _) => format!("DynamoDB rejected the request ({code}, HTTP status {status})"),
        };
        let request_id = service.err().meta().request_id().map(str::to_owned);
        StoreError { failure, code: code.to_owned(), message, request_id }
    }

    fn wrong_key(&self, code: &str) -> StoreError {
        let message = format!(
            "the key of the table {} in {} is not only `id` of type S, so it is not an Audit table; set AUDIT_TABLE to an Audit table",
            self.table, self.region
        );
        StoreError { failure: Failure::Misconfigured, code: code.to_owned(), message, request_id: None }
    }

    fn unreadable_answer(&self) -> StoreError {
        let message = format!("DynamoDB in {} sent an answer that cannot be read", self.region);
        StoreError { failure: Failure::Unavailable, code: "response".to_owned(), message, request_id: None }
    }

    /// Failures in transit, before or after DynamoDB's own work. Their texts come only from the client and quote no
    /// entry, except for an unreadable response.
    fn classify_unanswered(&self, error: &SdkError<BatchWriteItemError>) -> StoreError {
        let region = &self.region;
        let misconfigured = |message: &str| (Failure::Misconfigured, "request", message.to_owned());
        let (failure, code, message) = match error {
            SdkError::TimeoutError(_) => {
                (Failure::Unavailable, "timeout", format!("DynamoDB in {region} did not answer in time"))
            }
            _ if causes(error).any(<dyn Error>::is::<CredentialsError>) => {
                misconfigured("the function has no credentials; check that its role exists and Lambda can assume it")
            }
            _ if self.client.config().region().is_none() => {
                misconfigured("no region is configured for the Audit table; set AWS_REGION")
            }
            SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() || dispatch.is_io() => (
                Failure::Unavailable,
                "connection",
                format!("DynamoDB in {region} could not be reached: {}", root_cause(error)),
            ),
            SdkError::ResponseError(_) => return self.unreadable_answer(),
            SdkError::ConstructionFailure(_) => misconfigured(
                "the request to DynamoDB could not be built; check AWS_REGION and the function's credentials",
            ),
            _ => (
                Failure::Unavailable,
                "dispatch",
                format!("the request to DynamoDB in {region} could not be sent: {}", root_cause(error)),
            ),
        };
        StoreError { failure, code: code.to_owned(), message, request_id: None }
    }
}

/// Whether a validation message is about the table's key: entries always have an `id` that is text, so the fault is the
/// table's, not an entry's. The wordings are those of DynamoDB, DynamoDB Local and its imitations.
fn is_about_the_key(message: &str) -> bool {
    let wordings = [
        "does not match the schema",
        "Missing the key",
        "required keys was not given",
        "Type mismatch for key",
        "Type mismatch for attribute to update",
        "Type mismatch for Index Key",
    ];
    wordings.iter().any(|wording| message.contains(wording))
}

impl Store for DynamoDbStore {
    async fn put(&self, entries: &[&EncodedEntry]) -> Result<Put, StoreError> {
        let items = entries.iter().map(|entry| &*entry.json);
        let output = self.send(items).await.map_err(|error| self.classify(&error))?;
        // Only an answer that lists unwritten items confirms the others.
        let Some(unprocessed_items) = output.unprocessed_items() else { return Err(self.unreadable_answer()) };
        let given_back: Vec<&WriteRequest> = unprocessed_items.values().flatten().collect();
        let consumed = output.consumed_capacity().iter().filter_map(ConsumedCapacity::capacity_units);
        let put = Put {
            consumed_capacity: consumed.reduce(|one, other| one + other),
            request_id: output.request_id().map(str::to_owned),
            unprocessed: Vec::new(),
        };
        if given_back.is_empty() {
            return Ok(put);
        }
        let id = |request: &&'_ WriteRequest| request.put_request()?.item().get("id")?.as_s().ok().cloned();
        let ids: HashSet<String> = given_back.iter().filter_map(id).collect();
        let unprocessed: Vec<usize> =
            (0..entries.len()).filter(|index| ids.contains(&entries[*index].id.to_string())).collect();
        Ok(Put {
            // If a returned item cannot be matched, nothing in the request is known to be stored.
            unprocessed: if unprocessed.len() == given_back.len() { unprocessed } else { (0..entries.len()).collect() },
            ..put
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::credential_fn::provide_credentials_fn;

    use super::*;
    use crate::testing::entries;
    use serde_json::{Value, json};

    /// The result for these entries if `output` is the answer to the store's one request.
    async fn put_and_get(output: Value, entries: &[EncodedEntry]) -> Put {
        let wanted: Vec<String> = entries.iter().map(|entry| entry.id.to_string()).collect();
        let config = config_audit_fake_aws::service(move |operation, input| {
            let requests = input["RequestItems"]["Audit"].as_array().unwrap();
            let ids: Vec<_> =
                requests.iter().map(|request| request["PutRequest"]["Item"]["id"]["S"].as_str().unwrap()).collect();
            assert_eq!((operation, ids), ("BatchWriteItem", wanted.iter().map(String::as_str).collect()));
            (200, output.clone())
        });
        let store = DynamoDbStore::new(Client::new(&config), "Audit");
        store.put(&entries.iter().collect::<Vec<_>>()).await.unwrap()
    }

    fn given_back(requests: &[Value]) -> Value {
        json!({ "UnprocessedItems": { "Audit": requests } })
    }

    fn put_request(entry: &EncodedEntry) -> Value {
        json!({ "PutRequest": { "Item": serde_json::from_str::<Value>(&entry.json).unwrap() } })
    }

    #[tokio::test]
    async fn an_answer_without_leftovers_stores_all() {
        let output =
            json!({ "ConsumedCapacity": [{ "TableName": "Audit", "CapacityUnits": 4.0 }], "UnprocessedItems": {} });
        let put = put_and_get(output, &entries(3)).await;
        assert_eq!((put.unprocessed.as_slice(), put.consumed_capacity), (&[][..], Some(4.0)));
    }

    #[tokio::test]
    async fn unprocessed_items_are_identified_by_index() {
        let entries = entries(5);
        let put = put_and_get(given_back(&[put_request(&entries[4]), put_request(&entries[1])]), &entries).await;
        assert_eq!(put.unprocessed, [1, 4]);
    }

    #[tokio::test]
    async fn if_an_item_cannot_be_matched_nothing_is_known_to_be_stored() {
        let nobodys = json!({ "DeleteRequest": { "Key": { "id": { "S": "x" } } } });
        let put = put_and_get(given_back(&[nobodys]), &entries(3)).await;
        assert_eq!(put.unprocessed, [0, 1, 2]);
    }

    /// A proxy in between may answer like this.
    #[tokio::test]
    async fn an_answer_without_a_list_confirms_nothing() {
        for body in [Value::Null, json!({}), json!({ "message": "ok" }), json!("ok"), json!([])] {
            let answer = body.clone();
            let config = config_audit_fake_aws::service(move |_, _| (200, answer.clone()));
            let store = DynamoDbStore::new(Client::new(&config), "Audit");
            let error = store.put(&[&entries(1)[0]]).await.unwrap_err();
            assert_eq!((error.failure, error.code.as_str()), (Failure::Unavailable, "response"), "{body}");
        }
    }

    /// The error that a client makes from an answer with this status, code and message.
    async fn error(status: u16, code: &str, message: &str) -> StoreError {
        let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message });
        let config = config_audit_fake_aws::service(move |_, _| (status, body.clone()));
        let entries = entries(1);
        DynamoDbStore::new(Client::new(&config), "Audit").put(&[&entries[0]]).await.unwrap_err()
    }

    /// Operators look codes up there.
    #[test]
    fn each_error_code_has_its_row_in_the_documents() {
        let page = include_str!("../../docs/semantics.md");
        let (_, table) = page.split_once("### Entries could not be written").unwrap();
        let (records, invocations) = table.split_once("### The invocation fails as a whole").unwrap();
        for (code, failure) in CODES {
            let section =
                if matches!(failure, Failure::Misconfigured | Failure::Rejected) { invocations } else { records };
            let row = section.lines().find(|line| line.starts_with(&format!("| `{code}` | ")));
            let cells = row.map(|row| row.split('|').filter(|cell| cell.trim().len() > 2).count());
            assert_eq!(cells, Some(3), "docs/semantics.md has no complete row for {code} in its place");
        }
    }

    #[tokio::test]
    async fn each_error_of_dynamodb_is_classified() {
        for (status, code, message, failure) in [
            (400, "ProvisionedThroughputExceededException", "", Failure::Throttled),
            (400, "ThrottlingException", "", Failure::Throttled),
            (400, "RequestLimitExceeded", "", Failure::Throttled),
            (429, "SomethingNew", "", Failure::Throttled),
            (500, "InternalServerError", "", Failure::Unavailable),
            (503, "ServiceUnavailable", "", Failure::Unavailable),
            (400, "ReplicatedWriteConflictException", "", Failure::Unavailable),
            (400, "ValidationException", "Item size has exceeded the maximum allowed size", Failure::Rejected),
            (400, "ValidationException", "The provided key element does not match the schema", Failure::Misconfigured),
            (400, "ValidationException", "invalid: Missing the key pk in the item", Failure::Misconfigured),
            (400, "ValidationException", "invalid: Type mismatch for key id", Failure::Misconfigured),
            (400, "ResourceNotFoundException", "", Failure::Misconfigured),
            (400, "AccessDeniedException", "", Failure::Misconfigured),
            (400, "UnrecognizedClientException", "", Failure::Misconfigured),
            (400, "ExpiredTokenException", "", Failure::Misconfigured),
            (400, "ItemCollectionSizeLimitExceededException", "", Failure::Refused),
            (418, "SomethingNew", "", Failure::Refused),
            (418, "Http418", "", Failure::Refused),
        ] {
            let error = error(status, code, message).await;
            assert_eq!((error.failure, error.code.as_str()), (failure, code), "{message}");
        }
    }

    #[tokio::test]
    async fn an_invalid_error_code_is_not_passed_on() {
        assert_eq!(error(418, "a secret, not a code", "").await.code, "Http418");
    }

    /// DynamoDB quotes values in messages such as these.
    #[tokio::test]
    async fn no_message_of_dynamodb_is_passed_on() {
        for code in ["ValidationException", "SomethingNew", "InternalServerError", "AccessDeniedException"] {
            let error = error(400, code, "cannot be converted to a number: secret").await;
            assert!(!format!("{error:?}{error}").contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_failure_to_send_is_described_in_one_line() {
        let refused = crate::aws::tls::http_client(crate::aws::tls::Trust::System).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version_latest()
            .http_client(refused)
            .endpoint_url(endpoint)
            .retry_config(RetryConfig::disabled());
        let credentials = aws_sdk_dynamodb::config::Credentials::for_tests();
        let region = aws_sdk_dynamodb::config::Region::new("eu-central-1");
        let missing = provide_credentials_fn(async || Err(CredentialsError::not_loaded("nothing\nhas any")));
        for (config, failure, words) in [
            (
                config.clone().region(region.clone()).credentials_provider(credentials.clone()),
                Failure::Unavailable,
                "Connection refused",
            ),
            (
                config.clone().region(region).credentials_provider(missing),
                Failure::Misconfigured,
                "no credentials; check that its role",
            ),
            (config.credentials_provider(credentials), Failure::Misconfigured, "set AWS_REGION"),
        ] {
            let store = DynamoDbStore::new(Client::from_conf(config.build()), "Audit");
            let error = store.put(&[&entries(1)[0]]).await.unwrap_err();
            assert!(error.failure == failure && error.message.contains(words), "{error}");
            assert!(!error.message.contains('\n') && !error.message.contains("dispatch failure"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_misconfiguration_says_what_to_change() {
        for (code, advice) in [
            ("ResourceNotFoundException", "set AUDIT_TABLE"),
            ("AccessDeniedException", "allow its role dynamodb:BatchWriteItem"),
        ] {
            let message = error(400, code, "").await.message;
            assert!(message.contains(advice) && message.contains("table Audit"), "{message}");
        }
    }
}
