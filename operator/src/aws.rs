//! The user's AWS account, or an endpoint in its place: the options that every command has for it, and its clients.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use clap::Args;

use crate::local::clients::http_client;

/// Which account, or which endpoint.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "AWS")]
pub struct AwsArguments {
    /// The profile of your AWS configuration [default: `AWS_PROFILE`, or the usual chain of credentials]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The region [default: `AWS_REGION`, or the profile's]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Use the service behind this URL instead of AWS, such as the local world's
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
}

/// Clients for the account.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
}

/// AWS refused, or could not be asked. Never quotes AWS where that could quote a value.
#[derive(Debug, thiserror::Error)]
#[error("{action} is not possible: {reason}")]
pub struct AwsError {
    /// What was asked, such as "reading table Audit".
    pub action: String,
    /// AWS's error code, where it answered.
    pub code: Option<String>,
    /// Why it was refused, and what to do.
    pub reason: String,
}

impl AwsError {
    /// The error of a request. `permission` is what the caller needs for it, such as `dynamodb:Query on table Audit and its
    /// indexes`.
    pub fn new<E, R>(action: impl Into<String>, permission: &str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let code = error.code().map(str::to_owned);
        let reason = match code.as_deref() {
            Some("AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation") => {
                format!("your credentials lack a permission; it needs {permission}")
            }
            Some("ResourceNotFoundException") => {
                "there is no such table or index in this region; check --region and the name".to_owned()
            }
            Some("NoSuchBucket") => "there is no such bucket; check the name".to_owned(),
            Some(
                code @ ("UnrecognizedClientException"
                | "InvalidSignatureException"
                | "InvalidClientTokenId"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "ExpiredTokenException"),
            ) => {
                format!("your credentials are not accepted ({code}); check --profile, or log in again")
            }
            // A validation message can quote the item.
            Some(code) => format!("AWS answers {code}"),
            None => DisplayErrorContext(error).to_string(),
        };
        Self { action: action.into(), code, reason }
    }
}

impl AwsArguments {
    /// Finds region and credentials, as every AWS tool does. Nothing is asked of AWS yet.
    pub async fn load(&self) -> Aws {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http_client("https:"))
            .retry_config(RetryConfig::adaptive().with_max_attempts(8));
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        Aws { config: loader.load().await }
    }
}

impl Aws {
    /// Where requests go, for messages.
    #[must_use]
    pub fn region(&self) -> &str {
        self.config.region().map_or("(no region)", AsRef::as_ref)
    }

    /// A DynamoDB client.
    #[must_use]
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    /// A client for DynamoDB's streams.
    #[must_use]
    pub fn streams(&self) -> aws_sdk_dynamodbstreams::Client {
        aws_sdk_dynamodbstreams::Client::new(&self.config)
    }
}
