//! The digest of everything witnessed so far, for somebody outside the account.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use config_audit::clock::timestamp;
use config_audit::value::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::merkle::Tree;

/// How long an object may be on its way into the bucket, with time to spare for the clock of whoever seals: S3's own says
/// when an object was stored.
const IN_TRANSIT: TimeDelta = TimeDelta::minutes(15);
/// The form of the file.
const VERSION: u32 = 1;

/// A seal, as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seal {
    /// The form of the file: 1.
    version: u32,
    /// The Audit table's name.
    pub table: String,
    /// The seal covers the objects that S3 stored until then.
    pub until: String,
    /// How many different witnesses these have.
    pub witnesses: usize,
    /// The root of the Merkle tree over them (RFC 6962, section 2.1), in hexadecimal.
    pub root: String,
    /// The SHA-256 of the previous seal's file, in hexadecimal; `None` for the first.
    pub previous: Option<String>,
}

/// A file is not a seal.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It has another form.
    #[error("it is not a seal: {0}")]
    Form(serde_json::Error),
    /// A later release wrote it.
    #[error("it is a seal of version {0}; this release knows version {VERSION}")]
    Version(u32),
}

impl Seal {
    /// Until when a seal made now can cover objects.
    #[must_use]
    pub fn limit(now: DateTime<Utc>) -> DateTime<Utc> {
        (now - IN_TRANSIT).trunc_subsecs(0)
    }

    /// A seal of the witnesses in the tree; `previous` is the file of the seal before it.
    #[must_use]
    pub fn new(table: &str, until: DateTime<Utc>, tree: &Tree, previous: Option<&[u8]>) -> Self {
        Self {
            version: VERSION,
            table: table.to_owned(),
            until: timestamp(until),
            witnesses: tree.leaves(),
            root: hex(&tree.root()),
            previous: previous.map(|file| hex(&Sha256::digest(file))),
        }
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// [`SealError`] if it is not a seal that this release knows.
    pub fn read(file: &[u8]) -> Result<Self, SealError> {
        let seal: Self = serde_json::from_slice(file).map_err(SealError::Form)?;
        if seal.version == VERSION { Ok(seal) } else { Err(SealError::Version(seal.version)) }
    }

    /// The content of its file.
    #[must_use]
    pub fn file(&self) -> String {
        // Text and numbers can always be written as JSON.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Whether it covers an object that S3 stored at this time.
    #[must_use]
    pub fn covers(&self, stored: DateTime<Utc>) -> bool {
        timestamp(stored) <= self.until
    }

    /// Whether these are the witnesses that were sealed.
    #[must_use]
    pub fn agrees_with(&self, tree: &Tree) -> bool {
        self.witnesses == tree.leaves() && self.root == hex(&tree.root())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(leaves: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.add(leaf.as_bytes());
        }
        tree
    }

    #[test]
    fn a_seal_is_read_as_it_was_written() {
        let time = DateTime::from_timestamp(1_726_045_348, 900_000_000).unwrap();
        let until = Seal::limit(time);
        let first = Seal::new("Audit", until, &tree(&["a"]), None);
        let second = Seal::new("Audit", until, &tree(&["a", "b"]), Some(first.file().as_bytes()));
        assert_eq!(Seal::read(second.file().as_bytes()).unwrap(), second);
        assert_eq!(second.previous, Some(hex(&Sha256::digest(first.file()))));
        assert_eq!(second.until, "2024-09-11T08:47:28.000Z");
        assert!(second.covers(until) && !second.covers(until + TimeDelta::milliseconds(1)));
        assert!(second.agrees_with(&tree(&["a", "b"])) && !second.agrees_with(&tree(&["a", "c"])));
        assert!(!second.agrees_with(&tree(&["a"])));
    }

    #[test]
    fn another_file_is_not_a_seal() {
        for text in ["", "{}", "null", r#"{"version":1}"#] {
            assert!(matches!(Seal::read(text.as_bytes()), Err(SealError::Form(_))), "{text}");
        }
        let later = Seal { version: 2, ..Seal::new("Audit", DateTime::UNIX_EPOCH, &tree(&[]), None) };
        assert!(matches!(Seal::read(later.file().as_bytes()), Err(SealError::Version(2))));
    }
}
