//! A bucket of S3 behind a small trait: the failure bucket, and the witness bucket.

pub mod s3;

/// Stores objects.
pub trait Bucket {
    /// Puts a JSON document.
    ///
    /// # Errors
    ///
    /// [`BucketError`]. It is then unknown whether the object was stored.
    fn put(&self, key: &str, body: Vec<u8>) -> impl Future<Output = Result<(), BucketError>>;

    /// The `s3://` URL of the object with this key.
    fn url(&self, key: &str) -> String;
}

/// What a bucket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Records that could not be audited, and the full records of values that were too large for an entry. An object
    /// replaces any with the same key.
    Failures,
    /// The witnesses of entries. An object is never replaced: one that has the same key already has the same content.
    Witness,
}

impl Purpose {
    /// The bucket's name for people.
    const fn name(self) -> &'static str {
        match self {
            Self::Failures => "failure bucket",
            Self::Witness => "witness bucket",
        }
    }

    /// The setting that names the bucket.
    const fn setting(self) -> &'static str {
        match self {
            Self::Failures => "FAILURE_BUCKET",
            Self::Witness => "WITNESS_BUCKET",
        }
    }
}

/// Why an object is not known to be in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BucketError {
    /// AWS's error code, `unavailable` if there was no answer, or `response` if the answer was not S3's.
    pub code: String,
    /// What was wrong, and what to do.
    pub message: String,
}
