//! The alarms, from the deployed files.

use config_audit_cloudwatch::alarms::{Alarms, AlarmsError};
use config_audit_simulator::scenario::Scenario;

use super::received::resolve;

/// The file with the alarms that are deployed only with a canary.
const CANARY: &str = "canary.yml";

/// The alarms that can be deployed.
#[derive(Debug)]
pub struct DeployedAlarms {
    /// All alarms.
    pub all: Alarms,
    /// Those that are deployed without a canary.
    without_canary: Alarms,
}

impl DeployedAlarms {
    /// The alarms in these templates: their paths and texts.
    ///
    /// # Errors
    /// When an alarm is not valid.
    pub fn read(templates: &[(&str, &str)]) -> Result<Self, AlarmsError> {
        let read = |files: &[(&str, &str)]| Alarms::read(files, &|name| Some(resolve(name)));
        let others = templates.iter().copied().filter(|(path, _)| !path.ends_with(CANARY));
        Ok(Self { all: read(templates)?, without_canary: read(&others.collect::<Vec<_>>())? })
    }

    /// The alarms that are deployed where this scenario is played.
    #[must_use]
    pub fn of(&self, scenario: &Scenario) -> &Alarms {
        if scenario.has_canary() { &self.all } else { &self.without_canary }
    }
}
