//! An AWS service for tests. The SDK's client signs, sends and parses as always; a function in the test replaces the
//! network.
//!
//! AWS's own crate for this, aws-smithy-mocks, enables features of shipped crates, such as `serde_json/preserve_order`:
//! the tests would not test the program that is deployed, and cargo would build everything twice.

use std::fmt;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

/// An HTTP status and a JSON body; null stands for an empty body.
pub type Answer = (u16, Value);

/// The configuration of a DynamoDB or DynamoDB Streams client. `answer` answers its requests, given the operation's
/// name and input. Each answer has a checksum, like DynamoDB's. The client does not retry.
#[must_use]
pub fn service(answer: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static) -> SdkConfig {
    let connector = SharedHttpConnector::new(Connector(answer));
    let client: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(client)
        .region(Region::from_static("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("fake", "fake", None, None, "fake")))
        .retry_config(RetryConfig::disabled())
        .build()
}

/// The answer to a request that the service rejects with this code.
#[must_use]
pub fn refusal(code: &str) -> Answer {
    (400, json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}") }))
}

struct Connector<F>(F);

impl<F> fmt::Debug for Connector<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl<F: Fn(&str, &Value) -> Answer + Send + Sync> HttpConnector for Connector<F> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(self.answer(&request).map_err(|error| ConnectorError::other(error, None)))
    }
}

impl<F: Fn(&str, &Value) -> Answer> Connector<F> {
    fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, Box<dyn std::error::Error + Send + Sync>> {
        let target = request.headers().get("x-amz-target").ok_or("the request names no operation")?;
        let operation = target.rsplit('.').next().unwrap_or(target);
        let input = serde_json::from_slice(request.body().bytes().ok_or("the request's body is a stream")?)?;
        let (status, output) = (self.0)(operation, &input);
        let body = if output.is_null() { String::new() } else { output.to_string() };
        let checksum = crc32fast::hash(body.as_bytes()).to_string();
        let mut response = HttpResponse::new(StatusCode::try_from(status)?, SdkBody::from(body));
        response.headers_mut().insert("x-amz-crc32", checksum);
        Ok(response)
    }
}
