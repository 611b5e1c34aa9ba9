//! The alarms that operators deploy and the runbooks that they read, embedded in the binary.

use config_audit_cloudwatch::alarms::{Alarm, Alarms, AlarmsError, Kind, Promise, runbook_name};
use config_audit_faults::DeployedAlarms;

/// The files of the alarms that are evaluated in the local world.
const TEMPLATES: &[(&str, &str)] = &[
    ("alarms/freshness.yml", include_str!("../../../../alarms/freshness.yml")),
    ("alarms/incident.yml", include_str!("../../../../alarms/incident.yml")),
    ("alarms/lambda.yml", include_str!("../../../../alarms/lambda.yml")),
    ("alarms/policy.yml", include_str!("../../../../alarms/policy.yml")),
    ("alarms/records.yml", include_str!("../../../../alarms/records.yml")),
    ("alarms/telemetry.yml", include_str!("../../../../alarms/telemetry.yml")),
    ("alarms/topics.yml", include_str!("../../../../alarms/topics.yml")),
    ("alarms/witness.yml", include_str!("../../../../alarms/witness.yml")),
];

/// The file of the alarms on what the local world does not have: a canary.
const NOT_LOCAL: &[(&str, &str)] = &[("alarms/canary.yml", include_str!("../../../../alarms/canary.yml"))];

macro_rules! runbooks {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../docs/runbooks/", $name, ".md")))),*]
    };
}

/// The runbooks by file name.
const RUNBOOKS: &[(&str, &str)] = runbooks![
    "README",
    "audit-policy-changed",
    "audit-table-throttled",
    "books-do-not-balance",
    "canary-missing",
    "destination-refused",
    "duration-high",
    "emf-refused",
    "freshness-burn-fast",
    "freshness-burn-slow",
    "incident",
    "invocation-errors",
    "invocation-throttles",
    "invocations-blocked",
    "iterator-age-critical",
    "iterator-age-high",
    "loss-imminent",
    "mapping-stopped",
    "records-dropped",
    "records-failing",
    "records-given-up",
    "records-quarantined",
    "telemetry-missing",
    "telemetry-missing-hourly",
    "trail-tampered",
    "witness-behind",
    "write-latency-high",
];

/// The bundled alarms, with the names and defaults of the deployed stack.
///
/// # Errors
/// If a file is not valid; the tests check that all are.
pub(super) fn alarms() -> Result<Alarms, AlarmsError> {
    Alarms::read(TEMPLATES, &|name| Some(value(name)))
}

/// All bundled alarms, as they are deployed where incidents are simulated.
///
/// # Errors
/// If a file is not valid; the tests check that all are.
pub(crate) fn deployed() -> Result<DeployedAlarms, AlarmsError> {
    DeployedAlarms::read(&TEMPLATES.iter().chain(NOT_LOCAL).copied().collect::<Vec<_>>())
}

/// The value of a name in a template or a dashboard: the default of the deploy parameter, or else the name itself.
pub(crate) fn value(name: &str) -> String {
    match name {
        "Service" => "config-audit",
        "Stage" => "dev",
        "AWS::Region" => "local",
        "RunbookUrl" => "/runbooks",
        "ConfigurationTableName" => "Configuration-local",
        "AuditTableName" => "Audit-local",
        "LateMinutes" => "5",
        "CriticalAgeMinutes" => "120",
        "CriticalAgeMilliseconds" => "7200000",
        other => other,
    }
    .to_owned()
}

/// A runbook's text.
pub(crate) fn runbook(name: &str) -> Option<&'static str> {
    RUNBOOKS.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
}

/// The names of all runbooks, without the page that lists them.
pub(crate) fn runbooks() -> impl Iterator<Item = &'static str> {
    RUNBOOKS.iter().map(|(name, _)| *name).filter(|name| *name != "README")
}

/// How soon an alarm fires, according to its own runbook.
pub(super) fn promise(alarm: &str) -> Option<Promise> {
    runbook(&runbook_name(alarm)).and_then(Promise::read)
}

/// The name of an alarm's runbook. An alarm that only others watch shares that of the alarm whose name is its prefix.
pub(crate) fn runbook_of(alarm: &Alarm) -> Option<&'static str> {
    let name = runbook_name(&alarm.id);
    let matching = RUNBOOKS.iter().map(|(other, _)| *other).filter(|other| name.starts_with(other));
    matching.max_by_key(|other| other.len())
}

/// Whether an alarm pages.
pub(crate) fn pages(alarm: &Alarm) -> bool {
    alarm.alarm_actions.iter().any(|action| action == "PageTopic")
}

/// Whether an alarm notifies. An alarm that does not is part of another alarm's rule.
pub(crate) fn notifies(alarm: &Alarm) -> bool {
    !alarm.alarm_actions.is_empty()
}

/// The alarm that watches this one, if this one does not page; preferably an alarm that pages.
pub(super) fn watcher<'a>(alarms: &'a Alarms, alarm: &Alarm) -> Option<&'a Alarm> {
    let watches = |other: &&Alarm| watched(other).contains(&alarm.name.as_str());
    alarms.all().iter().filter(watches).max_by_key(|other| pages(other)).filter(|_| !pages(alarm))
}

/// The alarms that an alarm watches, by name.
pub(super) fn watched(alarm: &Alarm) -> Vec<&str> {
    match &alarm.kind {
        Kind::Metric(_) => Vec::new(),
        Kind::Composite(rule) => rule.alarms(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn files(directory: &str, extension: &str) -> BTreeSet<String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(directory);
        let names = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
        let files = names.filter(|path| path.extension().is_some_and(|other| other == extension));
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_file_is_bundled() {
        let templates = TEMPLATES.iter().chain(NOT_LOCAL);
        let templates = templates.map(|(path, _)| path.trim_start_matches("alarms/").trim_end_matches(".yml"));
        let deployed = files("alarms", "yml");
        assert_eq!(templates.map(str::to_owned).collect::<BTreeSet<_>>(), deployed);
        let runbooks: BTreeSet<String> = RUNBOOKS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(runbooks, files("docs/runbooks", "md"));
    }

    #[test]
    fn every_alarm_is_valid_and_has_a_runbook() {
        let alarms = alarms().unwrap();
        assert!(alarms.all().len() > 20);
        for alarm in alarms.all() {
            assert!(runbook_of(alarm).and_then(runbook).is_some(), "{}", alarm.id);
        }
        let pages: BTreeSet<_> =
            alarms.all().iter().filter(|alarm| pages(alarm)).map(|alarm| alarm.id.as_str()).collect();
        assert_eq!(
            pages,
            BTreeSet::from(["Incident", "LossImminent", "TelemetryMissing", "TrailTampered", "WitnessBehind"])
        );
    }

    #[test]
    fn the_defaults_are_those_of_a_deployment() {
        let read = |file: &str| {
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)).unwrap()
        };
        let between = |text: &str, before: &str, after: &str| {
            let start = text.find(before).unwrap_or_else(|| panic!("{before}")) + before.len();
            text[start..].split(after).next().unwrap().to_owned()
        };
        let (service, deployed) = (read("serverless.yml"), read("serverless/parameters.js"));
        let default = |name: &str| between(&deployed, &format!("  {name}: {{ default: "), ",");
        for (name, expected) in [
            ("Service", between(&service, "\nservice: ", "\n")),
            ("Stage", between(&service, "stage: ${opt:stage, '", "'")),
            ("LateMinutes", default("lateMinutes")),
            ("CriticalAgeMinutes", default("criticalAgeMinutes")),
            ("CriticalAgeMilliseconds", format!("{}0000", 6 * default("criticalAgeMinutes").parse::<u32>().unwrap())),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
        // A parameter that is new in the templates needs a decision. These have no value in the local world.
        let names = ["PageEmail", "NotifyEmail"];
        let parameters = read("serverless/parameters.yml");
        for name in
            parameters.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(": {")).map(|(name, _)| name)
        {
            assert_eq!(value(name) == name, names.contains(&name), "{name}");
        }
    }
}
