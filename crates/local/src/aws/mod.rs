//! AWS clients, and the two tables as they are in any account: nothing here knows the local world.

pub mod entry;
pub mod settings;
pub mod stream;
pub mod tables;

use std::error::Error;
use std::fmt::Debug;

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::{Builder, tls};
use config_audit::aws::error_chain;

pub use settings::AwsSettings;
pub use tables::{Item, item};

/// An HTTP client for this endpoint. Plain HTTP needs no trust store, and reading one takes a while.
#[must_use]
pub fn http_client(endpoint_url: &str) -> SharedHttpClient {
    if endpoint_url.starts_with("https:") {
        Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
    } else {
        Builder::new().build_http()
    }
}

/// Why a request failed, in one line: the service's error code and message, or what kept it from answering.
pub fn error_message<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
    R: Debug + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => error_chain(error),
    }
}
