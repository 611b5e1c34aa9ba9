//! What stands in for AWS around the process that is measured.

pub(crate) mod dynamodb;
mod http;
pub(crate) mod runtime_api;
pub(crate) mod tls;
pub(crate) mod xray;
