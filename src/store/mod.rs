//! The Audit table behind a small trait; [`dynamodb`] is its client.

mod answer;
mod connection;
pub mod dynamodb;

use crate::audit::EncodedEntry;

/// The maximum number of entries in one request (Amazon DynamoDB API Reference, `BatchWriteItem`).
pub const MAX_BATCH: usize = 25;

/// Where entries are written.
pub trait Store {
    /// Writes up to [`MAX_BATCH`] entries with different IDs in one request, once, without retrying.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; it is then unknown what was written.
    fn put(&self, entries: &[&EncodedEntry]) -> impl Future<Output = Result<Put, StoreError>>;
}

/// What an answered request did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Put {
    /// The indices of the entries that DynamoDB returned unprocessed.
    pub unprocessed: Vec<usize>,
    /// AWS's request ID.
    pub request_id: Option<String>,
    /// The write capacity units consumed.
    pub consumed_capacity: Option<f64>,
}

/// What a failed request means for the entries in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// DynamoDB is throttling. A retry helps.
    Throttled,
    /// DynamoDB failed, or could not be reached, or did not answer. A retry helps; the entries may be written already.
    Unavailable,
    /// DynamoDB finds an entry invalid. Retrying that entry does not help; the request's other entries may be fine.
    Rejected,
    /// The table, its key or the function's permissions are wrong. Nothing can be written until someone changes that.
    Misconfigured,
    /// DynamoDB rejects the request for another reason. Retrying at once does not help.
    Refused,
}

/// A failed request. Never quotes DynamoDB if that could quote an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What it means.
    pub failure: Failure,
    /// AWS's error code, or the code of a `Reason`; for metrics and spans.
    pub code: String,
    /// What was wrong, and what to do.
    pub message: String,
    /// AWS's request ID, if there was an answer.
    pub request_id: Option<String>,
}
