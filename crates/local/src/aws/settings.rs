//! Credentials, region and endpoint, and SDK clients made from them.

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::{Builder, tls};
use aws_types::SdkConfig;

/// The maximum number of attempts of a request. DynamoDB Local answers `InternalFailure` while it gives two stream
/// records the same sequence number, which happens when two of its tables are written at the same moment.
const MAX_ATTEMPTS: u32 = 8;

/// The credentials and the region that every client of the local world uses, the function included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSettings {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`, if it is set.
    pub session_token: Option<String>,
    /// `AWS_REGION`.
    pub region: String,
}

impl AwsSettings {
    /// Dummy credentials: only the local world accepts them.
    #[must_use]
    pub fn dummy() -> Self {
        Self {
            access_key_id: "local".to_owned(),
            secret_access_key: "local".to_owned(),
            session_token: None,
            region: "eu-central-1".to_owned(),
        }
    }

    /// What `lookup` (such as the process's environment) returns for AWS's names; dummy settings for the rest.
    ///
    /// Another endpoint may keep separate tables for each access key, as DynamoDB Local does.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let or = |name: &str, default: String| lookup(name).filter(|value| !value.is_empty()).unwrap_or(default);
        let dummy = Self::dummy();
        Self {
            access_key_id: or("AWS_ACCESS_KEY_ID", dummy.access_key_id),
            secret_access_key: or("AWS_SECRET_ACCESS_KEY", dummy.secret_access_key),
            session_token: lookup("AWS_SESSION_TOKEN").filter(|value| !value.is_empty()),
            region: or("AWS_REGION", or("AWS_DEFAULT_REGION", dummy.region)),
        }
    }

    /// The environment variables from which an AWS SDK reads these settings.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut variables = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), self.secret_access_key.clone()),
            ("AWS_REGION".to_owned(), self.region.clone()),
            ("AWS_DEFAULT_REGION".to_owned(), self.region.clone()),
        ];
        if let Some(token) = &self.session_token {
            variables.push(("AWS_SESSION_TOKEN".to_owned(), token.clone()));
        }
        variables
    }

    /// A DynamoDB client for this endpoint.
    #[must_use]
    pub fn dynamodb(&self, endpoint_url: &str) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk_config(endpoint_url))
    }

    /// A DynamoDB Streams client for this endpoint.
    #[must_use]
    pub fn streams(&self, endpoint_url: &str) -> aws_sdk_dynamodbstreams::Client {
        aws_sdk_dynamodbstreams::Client::new(&self.sdk_config(endpoint_url))
    }

    /// An S3 client for this endpoint, with the bucket in the path.
    #[must_use]
    pub fn s3(&self, endpoint_url: &str) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.sdk_config(endpoint_url)).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    fn sdk_config(&self, endpoint_url: &str) -> SdkConfig {
        let token = self.session_token.clone();
        let credentials = Credentials::new(&self.access_key_id, &self.secret_access_key, token, None, "AwsSettings");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client(endpoint_url))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .region(Region::new(self.region.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
            .endpoint_url(endpoint_url)
            .build()
    }
}

/// An HTTP client for this endpoint. Plain HTTP needs no trust store, and reading one takes a while.
#[must_use]
pub fn http_client(endpoint_url: &str) -> SharedHttpClient {
    if endpoint_url.starts_with("https:") {
        Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
    } else {
        Builder::new().build_http()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_missing_or_empty_are_dummies() {
        let settings = AwsSettings::from_lookup(|name| match name {
            "AWS_ACCESS_KEY_ID" => Some("mine".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some(String::new()),
            "AWS_DEFAULT_REGION" => Some("us-west-2".to_owned()),
            _ => None,
        });
        assert_eq!(settings.access_key_id, "mine");
        assert_eq!(settings.secret_access_key, "local");
        assert_eq!(settings.region, "us-west-2");
        assert_eq!(AwsSettings::from_lookup(|_| None), AwsSettings::dummy());
    }
}
