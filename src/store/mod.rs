//! The Audit table behind a small trait; [`dynamodb`] is its client.

mod answer;
mod connection;
pub mod dynamodb;

use crate::audit::EncodedEntry;

/// The most entries in one request (Amazon DynamoDB API Reference, `BatchWriteItem`).
pub const MAX_BATCH: usize = 25;

/// Where entries are written.
pub trait Store {
    /// Writes up to [`MAX_BATCH`] entries with different IDs in one request, once, without retrying.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what was written then is not known.
    fn put(&self, entries: &[&EncodedEntry]) -> impl Future<Output = Result<Put, StoreError>>;
}

/// What an answered request did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Put {
    /// The indices of the entries that DynamoDB gave back unwritten.
    pub unprocessed: Vec<usize>,
    /// AWS's name of the request.
    pub request_id: Option<String>,
    /// The write capacity units that it took.
    pub consumed_capacity: Option<f64>,
}

/// What a failed request means for the entries in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// DynamoDB asks to be called less. A retry helps.
    Throttled,
    /// DynamoDB failed, or could not be reached, or did not answer. A retry helps; the entries may be written already.
    Unavailable,
    /// DynamoDB finds an entry invalid. No retry helps that entry; the others of the request are not to blame.
    Rejected,
    /// The table, its key or the function's permissions are wrong. Nothing can be written until somebody changes that.
    Misconfigured,
    /// DynamoDB refuses the request for another reason. Retrying at once is of no use.
    Refused,
}

/// A request that failed. Never quotes DynamoDB where that could quote an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What it means.
    pub failure: Failure,
    /// AWS's error code, or the code of a `Reason`; for metrics and spans.
    pub code: String,
    /// What was wrong, and what to do.
    pub message: String,
    /// AWS's name of the request, where it was answered.
    pub request_id: Option<String>,
}
