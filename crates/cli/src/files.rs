//! Files of the repository: all of one kind in a directory, and the alarms in them.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use config_audit_cloudwatch::alarms::AlarmsError;
use config_audit_faults::DeployedAlarms;

/// The maximum file size in bytes, which is `CloudFormation`'s limit for a template.
const MAX_SIZE: u64 = 1 << 20;

/// A file or a directory that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The operating system's error.
    #[error("{} cannot be read; run this in the repository, or specify the directories", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// A directory, a pipe or a device, which might never end.
    #[error("{} is not a file; remove it, or specify another directory", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
    },
    /// It would take much time and memory.
    #[error("{} is larger than 1 MB, CloudFormation's limit", path.display())]
    TooLarge {
        /// Its path.
        path: PathBuf,
    },
    /// It is not text.
    #[error("{} is not UTF-8 text", path.display())]
    NotText {
        /// Its path.
        path: PathBuf,
    },
}

/// The texts of all files with this extension, by their paths.
///
/// # Errors
/// The first file that cannot be read.
pub fn read_all(directory: &Path, extension: &str) -> Result<BTreeMap<PathBuf, String>, Unreadable> {
    let mut texts = BTreeMap::new();
    for file in std::fs::read_dir(directory).map_err(io(directory))? {
        let path = file.map_err(io(directory))?.path();
        if path.extension().is_some_and(|other| other == extension) {
            let text = read(&path)?;
            texts.insert(path, text);
        }
    }
    Ok(texts)
}

/// Alarms that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadAlarmsError {
    /// A file or the directory.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// The alarms in the files.
    #[error(transparent)]
    Alarms(#[from] AlarmsError),
}

/// The alarms in a directory's templates.
///
/// # Errors
/// When a file cannot be read, or an alarm in it is not valid.
pub fn read_alarms(directory: &Path) -> Result<DeployedAlarms, ReadAlarmsError> {
    let templates = read_all(directory, "yml")?;
    let files: Vec<_> = templates.iter().map(|(path, text)| (path.display().to_string(), text.as_str())).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    Ok(DeployedAlarms::read(&files)?)
}

/// The text of a file.
///
/// # Errors
/// If it cannot be read, or is not a text file of a sensible size.
pub fn read(file: &Path) -> Result<String, Unreadable> {
    let path = file.to_owned();
    let metadata = std::fs::metadata(file).map_err(io(file))?;
    if !metadata.is_file() {
        return Err(Unreadable::NotAFile { path });
    }
    if metadata.len() > MAX_SIZE {
        return Err(Unreadable::TooLarge { path });
    }
    std::fs::read_to_string(file).map_err(|source| match source.kind() {
        ErrorKind::InvalidData => Unreadable::NotText { path },
        _ => Unreadable::Io { path, source },
    })
}

fn io(path: &Path) -> impl Fn(Error) -> Unreadable {
    let path = path.to_owned();
    move |source| Unreadable::Io { path: path.clone(), source }
}
