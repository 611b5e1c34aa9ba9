//! The mapping's position in its stream; stored in a file if the world is stored in a directory.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use config_audit_mapping::SequenceNumber;

/// The last processed record of each shard. If it is lost, records are delivered again, and nothing else happens.
#[derive(Debug)]
pub struct Checkpoint {
    file: Option<PathBuf>,
    content: Content,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    mapping: Uuid,
    stream_arn: String,
    shards: BTreeMap<String, SequenceNumber>,
}

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error("the checkpoint {} cannot be read or written", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file's content is not a checkpoint.
    #[error("{} is not a valid checkpoint; remove it to start with the oldest record of the stream", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Checkpoint {
    /// A checkpoint that is lost when the process ends.
    #[must_use]
    pub fn in_memory(stream_arn: &str) -> Self {
        let content = Content { mapping: Uuid::new_v4(), stream_arn: stream_arn.to_owned(), shards: BTreeMap::new() };
        Self { file: None, content }
    }

    /// The checkpoint in this file, which may not exist yet. A position in another stream is ignored.
    ///
    /// # Errors
    /// When the file exists but cannot be read, or is not a checkpoint.
    pub fn in_file(file: PathBuf, stream_arn: &str) -> Result<Self, CheckpointError> {
        let mut this = Self::in_memory(stream_arn);
        match std::fs::read(&file) {
            Ok(content) => {
                let content: Content = serde_json::from_slice(&content)
                    .map_err(|source| CheckpointError::Content { file: file.clone(), source })?;
                this.content.mapping = content.mapping;
                if content.stream_arn == stream_arn {
                    this.content.shards = content.shards;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CheckpointError::File { file, source }),
        }
        this.file = Some(file);
        Ok(this)
    }

    /// The mapping's UUID: the same for as long as the checkpoint exists.
    #[must_use]
    pub fn mapping(&self) -> Uuid {
        self.content.mapping
    }

    /// The last processed record of each shard.
    #[must_use]
    pub fn shards(&self) -> &BTreeMap<String, SequenceNumber> {
        &self.content.shards
    }

    /// Moves a shard's checkpoint.
    ///
    /// # Errors
    /// When the file cannot be written. The checkpoint in memory has moved nevertheless.
    pub fn advance(&mut self, shard_id: &str, to: SequenceNumber) -> Result<(), CheckpointError> {
        self.content.shards.insert(shard_id.to_owned(), to);
        let Some(file) = &self.file else { return Ok(()) };
        let content = serde_json::to_vec_pretty(&self.content)
            .map_err(|source| CheckpointError::Content { file: file.clone(), source })?;
        // If the process ends halfway, the old checkpoint is still there.
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
    fn a_checkpoint_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = Checkpoint::in_file(directory.path().join("checkpoint.json"), "stream").unwrap();
        first.advance("shard", SequenceNumber::new("100")).unwrap();
        let second = Checkpoint::in_file(directory.path().join("checkpoint.json"), "stream").unwrap();
        assert_eq!((second.mapping(), second.shards()), (first.mapping(), first.shards()));
        let other = Checkpoint::in_file(directory.path().join("checkpoint.json"), "another stream").unwrap();
        assert!(other.shards().is_empty());
    }

    #[test]
    fn a_file_that_is_not_a_checkpoint_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("checkpoint.json"), "{").unwrap();
        let error = Checkpoint::in_file(directory.path().join("checkpoint.json"), "stream").unwrap_err().to_string();
        assert!(error.contains("checkpoint.json is not a valid checkpoint"), "{error}");
    }
}
