//! The stand-ins for AWS around the measured process.

pub(crate) mod dynamodb;
mod http;
pub(crate) mod runtime_api;
pub(crate) mod tls;
pub(crate) mod xray;
