//! All files of one kind in a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file or a directory that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{} can't be read; run this in the repository, or name the directories", path.display())]
pub struct Unreadable {
    path: PathBuf,
    source: std::io::Error,
}

/// The texts of all files with this extension, by their paths.
///
/// # Errors
/// The first that can't be read.
pub fn read_all(directory: &Path, extension: &str) -> Result<BTreeMap<PathBuf, String>, Unreadable> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| Unreadable { path, source }
    };
    let mut texts = BTreeMap::new();
    for file in std::fs::read_dir(directory).map_err(unreadable(directory))? {
        let path = file.map_err(unreadable(directory))?.path();
        if path.extension().is_some_and(|other| other == extension) {
            let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
            texts.insert(path, text);
        }
    }
    Ok(texts)
}
