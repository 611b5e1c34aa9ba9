//! The alarms, from the files that are deployed.

use std::path::Path;

use config_audit_cloudwatch::alarms::{Alarms, AlarmsError};
use config_audit_simulator::scenario::Scenario;

use super::received::resolve;
use crate::files::{Unreadable, read_all};

/// The file with the alarms that are deployed only with a canary.
const CANARY: &str = "canary.yml";

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

/// The alarms that can be deployed.
#[derive(Debug)]
pub struct DeployedAlarms {
    /// All of them.
    pub all: Alarms,
    /// Those that are deployed without a canary.
    without_canary: Alarms,
}

impl DeployedAlarms {
    /// Reads the templates in a directory.
    ///
    /// # Errors
    /// When a file cannot be read, or an alarm in it is not valid.
    pub fn read(directory: &Path) -> Result<Self, ReadAlarmsError> {
        let templates = read_all(directory, "yml")?;
        let read = |is_read: &dyn Fn(&Path) -> bool| {
            let files = templates.iter().filter(|(path, _)| is_read(path));
            let files: Vec<_> = files.map(|(path, text)| (path.display().to_string(), text.as_str())).collect();
            let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
            Alarms::read(&files, &|name| Some(resolve(name)))
        };
        Ok(Self { all: read(&|_| true)?, without_canary: read(&|path| !path.ends_with(CANARY))? })
    }

    /// Those that are deployed where this is played.
    #[must_use]
    pub fn of(&self, scenario: &Scenario) -> &Alarms {
        if scenario.has_canary() { &self.all } else { &self.without_canary }
    }
}
