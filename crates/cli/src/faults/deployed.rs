//! The alarms, from the files that are deployed.

use std::path::Path;

use config_audit_cloudwatch::alarms::{Alarms, AlarmsError};

use super::received::resolve;
use crate::files::{Unreadable, read_all};

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

/// Reads the templates in a directory.
///
/// # Errors
/// When a file cannot be read, or an alarm in it is not valid.
pub fn read_alarms(directory: &Path) -> Result<Alarms, ReadAlarmsError> {
    let templates = read_all(directory, "yml")?;
    let files: Vec<_> = templates.iter().map(|(path, text)| (path.display().to_string(), text.as_str())).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    Ok(Alarms::read(&files, &|name| Some(resolve(name)))?)
}
