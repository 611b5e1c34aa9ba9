//! Where the mapping is in its stream, kept in a file where the world is kept in a directory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use config_audit_mapping::SequenceNumber;

/// The last record of each shard that is done. Losing it costs nothing but redeliveries.
#[derive(Debug)]
pub struct Checkpoint {
    file: Option<PathBuf>,
    kept: Kept,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    mapping: Uuid,
    stream_arn: String,
    shards: BTreeMap<String, SequenceNumber>,
}

/// Why a checkpoint can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file can't be read or written.
    #[error("the checkpoint {} can't be read or written", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is no checkpoint; remove it to begin with the oldest record of the stream", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Checkpoint {
    /// A checkpoint that is gone with the process.
    #[must_use]
    pub fn in_memory(stream_arn: &str) -> Self {
        let kept = Kept { mapping: Uuid::new_v4(), stream_arn: stream_arn.to_owned(), shards: BTreeMap::new() };
        Self { file: None, kept }
    }

    /// The checkpoint kept in `checkpoint.json` of this directory. One of another stream counts as none.
    ///
    /// # Errors
    /// When the file is there and can't be read, or is no checkpoint.
    pub fn in_directory(directory: &Path, stream_arn: &str) -> Result<Self, CheckpointError> {
        let file = directory.join("checkpoint.json");
        let mut this = Self::in_memory(stream_arn);
        match std::fs::read(&file) {
            Ok(content) => {
                let kept: Kept = serde_json::from_slice(&content)
                    .map_err(|source| CheckpointError::Content { file: file.clone(), source })?;
                this.kept.mapping = kept.mapping;
                if kept.stream_arn == stream_arn {
                    this.kept.shards = kept.shards;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CheckpointError::File { file, source }),
        }
        this.file = Some(file);
        Ok(this)
    }

    /// The mapping's UUID: the same for as long as the checkpoint is kept.
    #[must_use]
    pub fn mapping(&self) -> Uuid {
        self.kept.mapping
    }

    /// The last record of each shard that is done.
    #[must_use]
    pub fn shards(&self) -> &BTreeMap<String, SequenceNumber> {
        &self.kept.shards
    }

    /// Moves a shard's checkpoint.
    ///
    /// # Errors
    /// When the file can't be written; in memory it has moved then.
    pub fn advance(&mut self, shard_id: &str, to: SequenceNumber) -> Result<(), CheckpointError> {
        self.kept.shards.insert(shard_id.to_owned(), to);
        let Some(file) = &self.file else { return Ok(()) };
        let content = serde_json::to_vec_pretty(&self.kept)
            .map_err(|source| CheckpointError::Content { file: file.clone(), source })?;
        // A process that ends half-way leaves the old one.
        let part = file.with_extension("json.part");
        std::fs::write(&part, content)
            .and_then(|()| std::fs::rename(&part, file))
            .map_err(|source| CheckpointError::File { file: file.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_there_again_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = Checkpoint::in_directory(directory.path(), "stream").unwrap();
        first.advance("shard", SequenceNumber::new("100")).unwrap();
        let second = Checkpoint::in_directory(directory.path(), "stream").unwrap();
        assert_eq!((second.mapping(), second.shards()), (first.mapping(), first.shards()));
        let other = Checkpoint::in_directory(directory.path(), "another stream").unwrap();
        assert!(other.shards().is_empty());
    }

    #[test]
    fn a_file_that_is_no_checkpoint_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("checkpoint.json"), "{").unwrap();
        let error = Checkpoint::in_directory(directory.path(), "stream").unwrap_err().to_string();
        assert!(error.contains("checkpoint.json is no checkpoint"), "{error}");
    }
}
