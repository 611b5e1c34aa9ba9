//! The bucket's directory. Each object is a file; each part of its key before the last is a directory.
//!
//! Names that begin with a dot are not objects: s3s-fs and unfinished writes use them.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

/// The directory that holds the buckets' directories.
#[derive(Debug, Clone)]
pub(super) struct Root(PathBuf);

/// An object of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its key.
    pub key: String,
    /// Its content.
    pub body: Vec<u8>,
}

/// Why an object has no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    /// The key leads out of the bucket, or to a name that no object can have.
    #[error("a part of the key {0:?} is empty or begins with a dot")]
    Part(String),
    /// The bucket has no directory.
    #[error("the bucket's directory {} is missing", .0.display())]
    NoBucket(PathBuf),
}

impl Root {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The bucket's directory.
    pub(super) fn bucket(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Creates the bucket's directory and writes a file in it, so that an error appears now, not at the first failure.
    pub(super) async fn create_bucket(&self, name: &str) -> io::Result<()> {
        let directory = self.bucket(name);
        fs::create_dir_all(&directory).await?;
        let file = directory.join(format!(".probe-{}", Uuid::new_v4()));
        let written = fs::write(&file, b"a byte or two").await;
        let removed = fs::remove_file(&file).await;
        written.and(removed)
    }

    /// The object's file.
    pub(super) fn file(&self, bucket: &str, key: &str) -> Result<PathBuf, KeyError> {
        let is_valid = |part: &str| !part.is_empty() && !part.starts_with('.');
        if !is_valid(bucket) || !key.split('/').all(is_valid) {
            return Err(KeyError::Part(format!("{bucket}/{key}")));
        }
        let directory = self.bucket(bucket);
        if !directory.is_dir() {
            return Err(KeyError::NoBucket(directory));
        }
        Ok(directory.join(key))
    }

    /// Writes a file atomically.
    pub(super) async fn write<F>(&self, file: &Path, content: F) -> io::Result<()>
    where
        F: AsyncFnOnce(&mut fs::File) -> io::Result<()>,
    {
        // Under another name first, so that a listing contains only whole objects.
        let part = self.0.join(format!(".part-{}", Uuid::new_v4()));
        let written = async {
            let mut output = fs::File::create(&part).await?;
            content(&mut output).await?;
            output.sync_all().await?;
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent).await?;
            }
            fs::rename(&part, file).await
        }
        .await;
        if written.is_err() {
            let _ = fs::remove_file(&part).await;
        }
        written
    }

    /// Writes these bytes to a file atomically.
    pub(super) async fn write_all(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write(file, async |output| output.write_all(bytes).await).await
    }

    /// All objects of a bucket, by key. An object that is deleted meanwhile is left out.
    pub(super) async fn objects(&self, bucket: &str) -> io::Result<Vec<StoredObject>> {
        let bucket = self.bucket(bucket);
        let mut objects = Vec::new();
        let mut directories = vec![bucket.clone()];
        while let Some(directory) = directories.pop() {
            let mut entries = fs::read_dir(&directory).await?;
            while let Some(entry) = entries.next_entry().await? {
                let path = entry.path();
                // Keys are UTF-8, so a file with any other name is not an object.
                let Some(key) = path.strip_prefix(&bucket).ok().and_then(Path::to_str) else { continue };
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                if entry.file_type().await?.is_dir() {
                    directories.push(path);
                    continue;
                }
                match fs::read(&path).await {
                    Ok(body) => objects.push(StoredObject { key: key.to_owned(), body }),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(objects)
    }
}
