//! The user's AWS account, or an endpoint instead of it: the options that the commands share, and the one place that
//! builds their SDK clients.
//!
//! [`error`] says in one line why a request failed; [`retry`] retries, and tells the user about it.

mod retry;

use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::service_config::ServiceConfigKey;
use clap::Args;
use config_audit::aws::error_chain;
use config_audit::settings::{Environment, ProcessEnvironment};
use config_audit_local::aws::http_client;
use config_audit_tables::{AuditTable, ConfigurationTable, TableError, without_credentials};

use self::retry::Unreachable;
use crate::terminal::Terminal;

pub use self::retry::RetryNotice;

/// The connect timeout and the read timeout, the same as in the AWS CLI.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The timeout for getting the account ID, which is only displayed.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of attempts, unless `AWS_MAX_ATTEMPTS` overrides it.
const MAX_ATTEMPTS: u32 = 8;

/// The account, or the endpoint to use instead.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "AWS")]
pub struct AwsArguments {
    /// The profile in your AWS configuration, even if the environment has credentials [default: `AWS_PROFILE`, or the
    /// usual chain of credentials]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The region [default: `AWS_REGION`, or the profile's]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Use the service behind this URL instead of AWS, such as the local world's
    #[arg(long, value_name = "URL", value_parser = url)]
    pub endpoint_url: Option<String>,
}

/// Clients for the account.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
    /// The endpoint from the command line, which overrides those in the environment.
    endpoint_url: Option<String>,
    retries: RetryNotice,
}

/// Why the account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// No region is configured.
    #[error("no region is configured; use --region, or set AWS_REGION, or `region` in your profile")]
    NoRegion,
    /// The profile is in neither file.
    #[error(
        "there is no profile {0} in your AWS configuration; check --profile and AWS_PROFILE (`aws configure list-profiles`)"
    )]
    NoProfile(String),
    /// The profile files cannot be read.
    #[error("your AWS configuration cannot be read: {0}")]
    Profiles(String),
    /// There are no credentials.
    #[error("{0}")]
    NoCredentials(String),
    /// The endpoint is not a URL.
    #[error("the endpoint {0} in your environment or profile is not a URL; add its scheme, such as http://{0}")]
    Endpoint(String),
}

/// A URL on the command line.
///
/// # Errors
/// If it has no scheme, or one other than HTTP or HTTPS.
pub fn url(text: &str) -> Result<String, &'static str> {
    if is_url(text) { Ok(text.to_owned()) } else { Err("expected a URL with a scheme, such as http://127.0.0.1:8000") }
}

fn is_url(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
}

impl AwsArguments {
    /// Finds the region and credentials as the AWS CLI does. Sends no request yet.
    ///
    /// # Errors
    /// When there is no region, no such profile, or no valid endpoint.
    pub async fn load(&self, terminal: Terminal) -> Result<Aws, AccountError> {
        self.check_profile().await?;
        let http_client = http_client("https:");
        let attempts = ProcessEnvironment.get("AWS_MAX_ATTEMPTS").and_then(|number| number.parse().ok());
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http_client.clone())
            .timeout_config(TimeoutConfig::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT).build())
            .retry_config(RetryConfig::adaptive().with_max_attempts(attempts.unwrap_or(MAX_ATTEMPTS).max(1)));
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let mut config = loader.load().await;
        let Some(region) = config.region().cloned() else { return Err(AccountError::NoRegion) };
        if let Some(profile) = &self.profile {
            // The SDK's own chain prefers the keys in the environment.
            let conf = ProviderConfig::without_region().with_region(Some(region)).with_http_client(http_client);
            let of_profile = ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&conf).build();
            let chain = CredentialsProviderChain::first_try("Profile", of_profile)
                .or_else("EcsContainer", EcsCredentialsProvider::builder().configure(&conf).build())
                .or_else("Ec2InstanceMetadata", ImdsCredentialsProvider::builder().configure(&conf).build());
            config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(chain)).build();
        }
        let retries = RetryNotice::new(terminal);
        let aws = Aws { config, endpoint_url: self.endpoint_url.clone(), retries };
        let endpoints = ["DynamoDB", "DynamoDB Streams", "S3", "STS"].into_iter().filter_map(|id| aws.endpoint(id));
        match endpoints.into_iter().find(|url| !is_url(url)) {
            Some(url) => Err(AccountError::Endpoint(url)),
            None => Ok(aws),
        }
    }

    /// If the profile does not exist, the SDK would use other credentials.
    async fn check_profile(&self) -> Result<(), AccountError> {
        #[allow(clippy::default_trait_access, reason = "these SDK types are not meant to be named")]
        let (fs, environment, files) = (Default::default(), Default::default(), Default::default());
        let profiles = aws_config::profile::load(&fs, &environment, &files, None).await.map_err(|error| {
            // The SDK's text has a line break.
            let text = error_chain(&error);
            AccountError::Profiles(text.split_whitespace().collect::<Vec<_>>().join(" "))
        })?;
        let of_environment = || ProcessEnvironment.get("AWS_PROFILE").filter(|name| !name.is_empty());
        match self.profile.clone().or_else(of_environment) {
            Some(name) if profiles.get_profile(&name).is_none() => Err(AccountError::NoProfile(name)),
            _ => Ok(()),
        }
    }
}

impl Aws {
    /// A DynamoDB client.
    #[must_use]
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.config);
        let config = config.interceptor(self.retries.clone()).retry_classifier(Unreachable);
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// The Audit table of this name.
    #[must_use]
    pub fn audit_table(&self, name: &str) -> AuditTable {
        AuditTable::new(self.dynamodb(), name, self.place())
    }

    /// The Configuration table of this name. Asks AWS for its key.
    ///
    /// # Errors
    /// If AWS returns an error, or the table has a sort key.
    pub async fn configuration_table(&self, name: &str) -> Result<ConfigurationTable, TableError> {
        ConfigurationTable::find(self.dynamodb(), name, self.place()).await
    }

    /// A DynamoDB client that does not retry, for the function's own writer, which retries itself and counts retries.
    #[must_use]
    pub fn dynamodb_without_retries(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.config).retry_config(RetryConfig::disabled());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// Tells the user about retries outside the SDK.
    #[must_use]
    pub fn retry_notice(&self) -> &RetryNotice {
        &self.retries
    }

    /// An S3 client for the service behind `endpoint_url`; without one, behind S3's own endpoint in the environment or the
    /// profile; without both, like the other clients.
    #[must_use]
    pub fn s3(&self, endpoint_url: Option<String>) -> aws_sdk_s3::Client {
        let endpoint_url = endpoint_url.or_else(|| self.endpoint_of("S3"));
        let mut config = aws_sdk_s3::config::Builder::from(&self.config);
        config = config.interceptor(self.retries.clone()).retry_classifier(Unreachable);
        // Behind such a URL, buckets do not have their own host names.
        config = config.force_path_style(endpoint_url.is_some() || self.config.endpoint_url().is_some());
        if let Some(url) = endpoint_url {
            config = config.endpoint_url(url);
        }
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// A client for DynamoDB's streams.
    #[must_use]
    pub fn streams(&self) -> aws_sdk_dynamodbstreams::Client {
        let config = aws_sdk_dynamodbstreams::config::Builder::from(&self.config);
        let config = config.interceptor(self.retries.clone()).retry_classifier(Unreachable);
        aws_sdk_dynamodbstreams::Client::from_conf(config.build())
    }

    /// Fails if there are no credentials. The error of the function's own writer, which `redrive` uses, is meant for
    /// operators of the function.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn check_credentials(&self) -> Result<(), AccountError> {
        let Some(provider) = self.config.credentials_provider() else { return Ok(()) };
        let loaded = provider.provide_credentials().await;
        loaded.map(drop).map_err(|error| AccountError::NoCredentials(without_credentials(&error)))
    }

    /// Where DynamoDB is, for error messages: `in eu-central-1`, or `at http://127.0.0.1:8000`.
    #[must_use]
    pub fn place(&self) -> String {
        self.place_of(self.endpoint("DynamoDB"))
    }

    /// The same for S3.
    #[must_use]
    pub fn place_of_s3(&self, endpoint_url: Option<&str>) -> String {
        let configured = || self.endpoint_of("S3").or_else(|| self.endpoint("S3"));
        self.place_of(endpoint_url.map(str::to_owned).or_else(configured))
    }

    /// Whose tables the user is about to write to: the account and the region, or the endpoint and the region. Asks AWS
    /// for the account.
    pub async fn whose(&self) -> String {
        let region = self.region();
        match (self.endpoint("DynamoDB"), self.endpoint("STS")) {
            (Some(url), sts) if sts.is_none() || sts.as_ref() == Some(&url) => format!("at {url}, region {region}"),
            (url, _) => {
                let place = url.map_or_else(String::new, |url| format!(" at {url}"));
                match self.account().await {
                    Some(account) => format!("of account {account} in {region}{place}"),
                    None => format!("in {region}{place} (account unknown: sts:GetCallerIdentity failed)"),
                }
            }
        }
    }

    async fn account(&self) -> Option<String> {
        let timeouts = TimeoutConfig::builder().operation_timeout(IDENTITY_TIMEOUT).build();
        let config = aws_sdk_sts::config::Builder::from(&self.config).timeout_config(timeouts);
        let client = aws_sdk_sts::Client::from_conf(config.retry_config(RetryConfig::disabled()).build());
        client.get_caller_identity().send().await.ok()?.account
    }

    fn region(&self) -> &str {
        self.config.region().map(AsRef::as_ref).unwrap_or_default()
    }

    fn place_of(&self, endpoint: Option<String>) -> String {
        endpoint.map_or_else(|| format!("in {}", self.region()), |url| format!("at {url}"))
    }

    /// The endpoint that replaces AWS for this service, by the SDK's rules.
    fn endpoint(&self, service: &str) -> Option<String> {
        let shared = || self.config.endpoint_url().map(str::to_owned);
        self.endpoint_url.clone().or_else(|| self.endpoint_of(service)).or_else(shared)
    }

    /// The endpoint that the environment (`AWS_ENDPOINT_URL_…`) or the profile sets for this service only.
    fn endpoint_of(&self, service: &str) -> Option<String> {
        let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
        let url = self.config.service_config()?.load_config(key.build().ok()?);
        url.filter(|url| !url.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_must_have_a_scheme() {
        for valid in ["http://127.0.0.1:8000", "https://dynamodb.example.com", "http://localhost/"] {
            assert_eq!(url(valid).as_deref(), Ok(valid));
        }
        for invalid in
            ["", "localhost", "127.0.0.1:8000", "localhost:8000", "http://", "http:///x", "ftp://host", "//host"]
        {
            assert!(url(invalid).is_err(), "{invalid}");
        }
    }

    /// A test that waits for the timeouts would take a minute.
    #[tokio::test]
    async fn the_timeouts_are_those_of_the_aws_cli() {
        let arguments = AwsArguments { region: Some("eu-central-1".to_owned()), ..AwsArguments::default() };
        let aws = arguments.load(Terminal::new()).await.unwrap();
        let timeouts = aws.config.timeout_config().unwrap();
        assert_eq!((timeouts.connect_timeout(), timeouts.read_timeout()), (Some(TIMEOUT), Some(TIMEOUT)));
        assert_eq!(timeouts.operation_timeout(), None);
    }
}
