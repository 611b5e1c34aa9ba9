//! Why a replay fails.

use std::path::PathBuf;

use crate::aws::AccountError;
use crate::place::PlaceError;
use crate::terminal::WriteError;
use config_audit_tables::AwsError;

/// Why the command cannot replay anything, or anything more.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// There is no account to ask.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The Audit table rejects all entries until someone changes something.
    #[error("{0}")]
    Table(AwsError),
    /// The objects cannot be listed.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// There is no such directory.
    #[error("{} is not a directory; give a directory, or a bucket as s3://BUCKET", .0.display())]
    NoDirectory(PathBuf),
    /// The option does not apply to a bucket.
    #[error("--failure-bucket is for a directory; here the failure bucket is {0}")]
    FailureBucket(String),
    /// The command cannot wait for signals.
    #[error("cannot wait for Ctrl-C")]
    Signal(#[source] std::io::Error),
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
}

impl RedriveError {
    /// 2 where the command line is to blame, 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Account(_) | Self::NoDirectory(_) | Self::FailureBucket(_)) { 2 } else { 1 }
    }
}
