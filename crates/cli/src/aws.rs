//! The user's AWS account, or an endpoint in its place: the options that the commands share, and the one place that builds
//! their SDK clients.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use clap::Args;
use config_audit::settings::{Environment, ProcessEnvironment};
use config_audit_local::aws::http_client;

/// The account, or the endpoint in its place.
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

/// AWS refused, or could not be asked. Quotes AWS only where no value can be in it.
#[derive(Debug, thiserror::Error)]
#[error("{action} failed: {reason}")]
pub struct AwsError {
    /// What was asked, such as "reading table Audit".
    pub action: String,
    /// AWS's error code, where it answered.
    pub code: Option<String>,
    /// Why it was refused, and what to do.
    pub reason: String,
}

impl AwsError {
    /// The error of a request. `permission` is what the request needs, such as `dynamodb:Query on table Audit and its indexes`.
    pub fn new<E, R>(action: impl Into<String>, permission: &str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        match (error.code(), error) {
            (Some(code), _) => Self::of_code(action, permission, code),
            // An answer without a code does not come from AWS, and could contain anything.
            (None, SdkError::ServiceError(_) | SdkError::ResponseError(_)) => Self {
                action: action.into(),
                code: None,
                reason: "the answer does not come from AWS; check --endpoint-url and proxies".to_owned(),
            },
            (None, _) => Self { action: action.into(), code: None, reason: DisplayErrorContext(error).to_string() },
        }
    }

    /// The error that has this code at AWS.
    pub fn of_code(action: impl Into<String>, permission: &str, code: &str) -> Self {
        let reason = match code {
            "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => {
                format!("your credentials lack a permission; this needs {permission}")
            }
            "ResourceNotFoundException" => {
                "there is no such table or index in this region; check --region and the name".to_owned()
            }
            "NoSuchBucket" => "there is no such bucket; check the name".to_owned(),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => {
                format!("the bucket is in another region ({code}); check --region")
            }
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "ExpiredTokenException" => {
                format!("your credentials are not accepted ({code}); check --profile, or log in again")
            }
            // A validation message can quote the item.
            _ => format!("AWS answered {code}"),
        };
        Self { action: action.into(), code: Some(code.to_owned()), reason }
    }

    /// Whether DynamoDB refused the request because of what is in it, and would again.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.code.as_deref() == Some("ValidationException")
    }
}

impl AwsArguments {
    /// Finds the region and credentials as every AWS tool does. Sends no request yet.
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
    /// A DynamoDB client.
    #[must_use]
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    /// A DynamoDB client that does not retry, for the function's own writer: it retries itself, and counts that.
    #[must_use]
    pub fn dynamodb_without_retries(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.config).retry_config(RetryConfig::disabled());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// An S3 client for the service behind `endpoint_url`; without one, behind `AWS_ENDPOINT_URL_S3`; without both, like the
    /// other clients.
    #[must_use]
    pub fn s3(&self, endpoint_url: Option<String>) -> aws_sdk_s3::Client {
        let from_environment = || ProcessEnvironment.get("AWS_ENDPOINT_URL_S3").filter(|url| !url.is_empty());
        let endpoint_url = endpoint_url.or_else(from_environment);
        let mut config = aws_sdk_s3::config::Builder::from(&self.config);
        // Behind such a URL, no bucket has a host name of its own.
        config = config.force_path_style(endpoint_url.is_some() || self.config.endpoint_url().is_some());
        if let Some(url) = endpoint_url {
            config = config.endpoint_url(url);
        }
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// A client for DynamoDB's streams.
    #[must_use]
    pub fn streams(&self) -> aws_sdk_dynamodbstreams::Client {
        aws_sdk_dynamodbstreams::Client::new(&self.config)
    }
}
