//! All of `config-audit alarms check`, run once: every fault at three rates with three cadences of retries, thirty
//! healthy days at each rate and with a canary, and each alarm left out once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use config_audit_cli::commands::alarms::{AlarmCheck, Played};
use config_audit_cloudwatch::alarms::Alarm;

static CHECK: LazyLock<AlarmCheck> = LazyLock::new(|| AlarmCheck::read(&alarms(), &runbooks()).unwrap());
static PLAYED: LazyLock<Played> = LazyLock::new(|| CHECK.play(None, |_, _| {}).unwrap());

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn alarms() -> PathBuf {
    repository().join("alarms")
}

fn runbooks() -> PathBuf {
    repository().join("docs/runbooks")
}

/// A check of the alarms after this change to their files.
fn changed(change: impl Fn(&str) -> String) -> Result<AlarmCheck, String> {
    static TEMPLATES: LazyLock<BTreeMap<OsString, String>> = LazyLock::new(|| {
        let files = std::fs::read_dir(alarms()).unwrap().map(Result::unwrap);
        files.map(|file| (file.file_name(), std::fs::read_to_string(file.path()).unwrap())).collect()
    });
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in TEMPLATES.iter() {
        std::fs::write(directory.path().join(name), change(text)).unwrap();
    }
    AlarmCheck::read(directory.path(), &runbooks()).map_err(|error| error.to_string())
}

/// A template without one of its resources, which the rules of other alarms no longer name either.
fn without(template: &str, id: &str) -> String {
    let template = template.replace(&format!("ALARM(\"${{{id}}}\")"), "FALSE");
    let Some(from) = template.find(&format!("\n  {id}:\n")) else { return template };
    let rest = &template[from + 1..];
    let is_next = |line: &str| line.starts_with("  ") && line.as_bytes().get(2).is_some_and(u8::is_ascii_uppercase);
    let length = rest.split_inclusive('\n').skip(1).take_while(|line| !is_next(line)).map(str::len).sum::<usize>();
    let first = rest.find('\n').unwrap_or_default() + 1;
    format!("{}{}", &template[..=from], &rest[first + length..])
}

#[test]
fn every_fault_fires_its_alarms_in_time_and_healthy_months_page_nobody() {
    let outcome = CHECK.judge(&PLAYED);
    assert_eq!(outcome.problems, [""; 0]);
    assert!(outcome.faults.len() >= 9 * 20);
    assert_eq!(outcome.healthy_months.len(), 4);
    for month in outcome.healthy_months {
        assert_eq!(month.pages, [""; 0], "{:?}", month.month);
    }
}

#[test]
fn the_documentation_has_the_tables_of_faults() {
    let tables = CHECK.judge(&PLAYED).markdown();
    let page = std::fs::read_to_string(repository().join("docs/alarms.md")).unwrap();
    for table in tables.split("\n\n") {
        assert!(page.contains(table), "docs/alarms.md must have this table:\n{table}");
    }
}

#[test]
fn no_alarm_can_be_left_out() {
    // A part of another alarm notifies nobody itself, and without it the other alarm is not valid.
    let (whole, parts): (Vec<_>, Vec<_>) =
        CHECK.alarms().all().iter().partition(|alarm| !alarm.alarm_actions.is_empty());
    for Alarm { id, .. } in &whole {
        let fewer = changed(|text| without(text, id)).unwrap();
        assert_eq!(fewer.alarms().all().len(), CHECK.alarms().all().len() - 1);
        assert_ne!(fewer.judge(&PLAYED).problems, [""; 0], "nothing is missed without {id}");
    }
    for Alarm { id, .. } in &parts {
        let error = changed(|text| text.replace(&format!("\n  {id}:\n"), "\n  Other:\n")).unwrap_err();
        assert!(error.contains(id.as_str()), "{error}");
    }
    assert!(!whole.is_empty() && !parts.is_empty());
}
