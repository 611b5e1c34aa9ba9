//! Who we are to the local services, and SDK clients made from it.

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::{Builder, tls};

use super::error_chain;

/// The credentials and the region that every client of the local world uses, the function included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`, where there is one.
    pub session_token: Option<String>,
    /// `AWS_REGION`.
    pub region: String,
}

impl Identity {
    /// The throw-away identity: good for nothing but the local world.
    #[must_use]
    pub fn throw_away() -> Self {
        Self {
            access_key_id: "local".to_owned(),
            secret_access_key: "local".to_owned(),
            session_token: None,
            region: "eu-central-1".to_owned(),
        }
    }

    /// What `lookup` (such as the process's environment) says under AWS's names, the throw-away identity for the rest.
    ///
    /// An endpoint of somebody else's may keep the tables of each access key apart, as DynamoDB Local does.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let or = |name: &str, otherwise: String| lookup(name).filter(|value| !value.is_empty()).unwrap_or(otherwise);
        let throw_away = Self::throw_away();
        Self {
            access_key_id: or("AWS_ACCESS_KEY_ID", throw_away.access_key_id),
            secret_access_key: or("AWS_SECRET_ACCESS_KEY", throw_away.secret_access_key),
            session_token: lookup("AWS_SESSION_TOKEN").filter(|value| !value.is_empty()),
            region: or("AWS_REGION", or("AWS_DEFAULT_REGION", throw_away.region)),
        }
    }

    /// The environment variables that make an AWS SDK use this identity.
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
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client(endpoint_url))
            .credentials_provider(self.credentials())
            .region(Region::new(self.region.clone()))
            .retry_config(RetryConfig::standard())
            .endpoint_url(endpoint_url);
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// A DynamoDB Streams client for this endpoint.
    #[must_use]
    pub fn streams(&self, endpoint_url: &str) -> aws_sdk_dynamodbstreams::Client {
        let config = aws_sdk_dynamodbstreams::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client(endpoint_url))
            .credentials_provider(self.credentials())
            .region(Region::new(self.region.clone()))
            .retry_config(RetryConfig::standard())
            .endpoint_url(endpoint_url);
        aws_sdk_dynamodbstreams::Client::from_conf(config.build())
    }

    /// An S3 client for this endpoint, with the bucket in the path. It does not retry: the callers do, and say so.
    #[must_use]
    pub fn s3(&self, endpoint_url: &str) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client(endpoint_url))
            .credentials_provider(self.credentials())
            .region(Region::new(self.region.clone()))
            .retry_config(RetryConfig::disabled())
            .force_path_style(true)
            .endpoint_url(endpoint_url);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(&self.access_key_id, &self.secret_access_key, self.session_token.clone(), None, "local world")
    }
}

/// Plain HTTP needs no trust store, and reading one takes a while.
#[must_use]
pub fn http_client(endpoint_url: &str) -> SharedHttpClient {
    if endpoint_url.starts_with("https:") {
        Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
    } else {
        Builder::new().build_http()
    }
}

/// What a service answered, or what kept it from answering, in one line.
pub fn refusal<E: ProvideErrorMetadata + std::error::Error + 'static, R: std::fmt::Debug + 'static>(
    error: &SdkError<E, R>,
) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => error_chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_takes_what_is_set_and_ignores_what_is_empty() {
        let identity = Identity::from_lookup(|name| match name {
            "AWS_ACCESS_KEY_ID" => Some("mine".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some(String::new()),
            "AWS_DEFAULT_REGION" => Some("us-west-2".to_owned()),
            _ => None,
        });
        assert_eq!(identity.access_key_id, "mine");
        assert_eq!(identity.secret_access_key, "local");
        assert_eq!(identity.region, "us-west-2");
        assert_eq!(Identity::from_lookup(|_| None), Identity::throw_away());
    }
}
