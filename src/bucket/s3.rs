//! S3's `PutObject`, the one operation of S3 that the function uses: signed by `aws-sigv4`, sent and retried by the SDK's
//! runtime.
//!
//! The SDK's own S3 crate would be a quarter of the binary, most of it tables of checksums (docs/decisions.md has the
//! figures). The tests check the signature against it.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::{Bucket, BucketError, Purpose};
use crate::aws::partition::domain;
use crate::aws::{error_chain, is_error_code};
use crate::clock::Clock;
use crate::value::base64_text;

/// The characters of a key that its path encodes: all but slashes and RFC 3986's unreserved characters.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// How long one attempt may take before the request is sent again.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// A bucket in S3.
#[derive(Debug)]
pub struct S3Bucket {
    config: SdkConfig,
    bucket: String,
    purpose: Purpose,
    address: Address,
    clock: Clock,
    operation: Operation<Put, (), PutError>,
}

/// Why an object is not known to be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum PutError {
    /// S3 refused the request with this error code.
    #[error("{0}")]
    Refused(String),
    /// The request could not be sent, or was not answered.
    #[error("{0}")]
    Unanswered(String),
    /// Something answered with success, but it was not S3 storing an object.
    #[error("the response does not confirm that S3 stored the object")]
    NotStored,
}

/// A signed request. Its `Debug` form leaves out the body, which is a record.
struct Put {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl std::fmt::Debug for Put {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Put").field("path", &self.path).finish_non_exhaustive()
    }
}

impl S3Bucket {
    /// A client for `bucket`, with the region, the credentials, the HTTP client and the time-outs of `config`. `endpoint` is
    /// the URL of S3, unless it is AWS's own.
    #[must_use]
    pub fn new(config: SdkConfig, endpoint: Option<&str>, bucket: &str, purpose: Purpose, clock: Clock) -> Self {
        let region = config.region().map(AsRef::as_ref).unwrap_or_default();
        let address = Address::new(endpoint, region, bucket);
        let mut operation = Operation::builder()
            .service_name("S3")
            .operation_name("PutObject")
            .endpoint_url(&address.origin)
            .no_auth()
            .with_connection_poisoning()
            .standard_retry(&RetryConfig::standard())
            .retry_classifier(TransientErrorClassifier::<PutError>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .serializer(request)
            .deserializer(response);
        let timeouts = config.timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
        operation = operation.timeout_config(timeouts.operation_attempt_timeout(ATTEMPT_TIMEOUT).build());
        if let Some(client) = config.http_client() {
            operation = operation.http_client(client);
        }
        if let Some(sleep) = config.sleep_impl() {
            operation = operation.sleep_impl(sleep);
        }
        Self { operation: operation.build(), config, bucket: bucket.to_owned(), purpose, address, clock }
    }

    /// Puts a JSON document, with retries.
    async fn put_object(&self, key: &str, body: Vec<u8>) -> Result<(), PutError> {
        let put = self.signed(key, body).await?;
        match self.operation.invoke(put).await {
            Ok(()) => Ok(()),
            Err(SdkError::ServiceError(error)) => match error.into_err() {
                PutError::Refused(code) if self.purpose == Purpose::Witness && code == "PreconditionFailed" => Ok(()),
                error => Err(error),
            },
            Err(other) => Err(PutError::Unanswered(error_chain(&other))),
        }
    }

    /// Signs a request (AWS Identity and Access Management User Guide, "Create a signed AWS API request"; S3
    /// wants the path encoded once, and the body's hash as a header).
    async fn signed(&self, key: &str, body: Vec<u8>) -> Result<Put, PutError> {
        let failed = |what: &str| PutError::Unanswered(format!("the request could not be signed: {what}"));
        let region = self.config.region().ok_or_else(|| failed("no region is configured; set AWS_REGION"))?.as_ref();
        let credentials = self.config.credentials_provider().ok_or_else(|| failed("there are no credentials"))?;
        let credentials = credentials.provide_credentials().await.map_err(|error| failed(&error.to_string()))?;
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("s3")
            .time(self.clock.now().into())
            .settings(settings)
            .build()
            .map_err(|error| failed(&error.to_string()))?;
        let path = format!("{}/{}", self.address.path, utf8_percent_encode(key, &ENCODED));
        let url = format!("{}{path}", self.address.origin);
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if self.purpose == Purpose::Witness {
            headers.push(("if-none-match".to_owned(), "*".to_owned()));
            // S3 requires a checksum for each object in a bucket whose objects are locked (Amazon S3 API Reference,
            // `PutObject`).
            headers.push(("x-amz-checksum-sha256".to_owned(), base64_text(&Sha256::digest(&body))));
        }
        let signable = SignableRequest::new(
            "PUT",
            &url,
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Bytes(&body),
        )
        .map_err(|error| failed(&error.to_string()))?;
        let (signed, _) = sign(signable, &parameters.into()).map_err(|error| failed(&error.to_string()))?.into_parts();
        headers.extend(signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Put { path, headers, body })
    }
}

impl Bucket for S3Bucket {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), BucketError> {
        let Err(error) = self.put_object(key, body).await else { return Ok(()) };
        let (name, setting, bucket) = (self.purpose.name(), self.purpose.setting(), &self.bucket);
        let (code, message) = match error {
            PutError::Unanswered(cause) => {
                ("unavailable".to_owned(), format!("the {name} {bucket} could not be reached: {cause}"))
            }
            PutError::NotStored => {
                let message = format!("the response of the {name} {bucket} does not confirm that the object is stored");
                ("response".to_owned(), message)
            }
            PutError::Refused(code) => {
                let message = match code.as_str() {
                    "NoSuchBucket" => format!("the {name} {bucket} does not exist; create it, or set {setting}"),
                    "AccessDenied" => {
                        format!("the function may not write to the {name} {bucket}; allow its role s3:PutObject on it")
                    }
                    _ => format!("the {name} {bucket} rejected the object ({code})"),
                };
                (code, message)
            }
        };
        Err(BucketError { code, message })
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

/// The address of a bucket: an object's URL is the origin, the path, a slash and the key. AWS has a host for each
/// bucket, but its certificate does not cover a bucket with a dot in its name, and a custom endpoint has no such hosts
/// (Amazon S3 User Guide, "Methods for accessing a general purpose bucket").
#[derive(Debug, PartialEq, Eq)]
struct Address {
    origin: String,
    path: String,
}

impl Address {
    fn new(endpoint: Option<&str>, region: &str, bucket: &str) -> Self {
        let domain = domain(region);
        match endpoint {
            Some(endpoint) => Self { origin: endpoint.trim_end_matches('/').to_owned(), path: format!("/{bucket}") },
            None if bucket.contains('.') => {
                Self { origin: format!("https://s3.{region}.{domain}"), path: format!("/{bucket}") }
            }
            None => Self { origin: format!("https://{bucket}.s3.{region}.{domain}"), path: String::new() },
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn request(put: Put) -> Result<HttpRequest, BoxError> {
    let mut request = HttpRequest::new(SdkBody::from(put.body));
    request.set_method("PUT")?;
    request.set_uri(put.path)?;
    for (name, value) in put.headers {
        request.headers_mut().try_insert(name, value)?;
    }
    Ok(request)
}

/// Reads an answer. For a stored object it is a 200 with the object's `ETag` (Amazon S3 API Reference, `PutObject`); an
/// error's code is in its XML (the same, "Error responses").
fn response(response: &HttpResponse) -> Result<(), OrchestratorError<PutError>> {
    if response.status().is_success() {
        let is_stored = response.status().as_u16() == 200 && response.headers().contains_key("etag");
        return if is_stored { Ok(()) } else { Err(OrchestratorError::operation(PutError::NotStored)) };
    }
    let text = response.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
    let code = text.split_once("<Code>").and_then(|(_, rest)| Some(rest.split_once("</Code>")?.0));
    let code = code
        .filter(|code| is_error_code(code))
        .map_or_else(|| format!("Http{}", response.status().as_u16()), str::to_owned);
    Err(OrchestratorError::operation(PutError::Refused(code)))
}

#[cfg(test)]
mod tests;
