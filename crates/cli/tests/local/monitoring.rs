//! The commands that try what CloudWatch is given: exit codes, and what is said.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::config_audit;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs `config-audit` in a directory.
async fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        config_audit().args(arguments).current_dir(directory).output().await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn dashboards_are_drawn_or_it_is_said_why_not() {
    let pages = tempfile::tempdir().unwrap();
    let to = pages.path().to_str().unwrap();
    let fault = "the mapping is disabled for three hours";
    let (code, paths, error) = run(&repository(), &["dashboards", "--fault", fault, "--after", "60", "--to", to]).await;
    assert_eq!(code, Some(0), "{error}");
    for path in paths.lines() {
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page.contains(&format!("<b>{fault}</b>, 60 minutes after it began")), "{path}");
    }
    assert_eq!(paths.lines().count(), 2);

    let (code, _, error) = run(&repository(), &["dashboards", "--fault", "rain", "--to", to]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("0 faults are called \"rain\"") && error.contains(fault), "{error}");
    let (code, _, error) = run(pages.path(), &["dashboards"]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("alarms can't be read; run this in the repository, or name the directories: "), "{error}");
    std::fs::write(pages.path().join("file"), "").unwrap();
    let below_a_file = pages.path().join("file/below");
    let (code, _, error) = run(&repository(), &["dashboards", "--to", below_a_file.to_str().unwrap()]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("deep-dive.html can't be written: "), "{error}");
}

#[tokio::test]
async fn an_alarm_that_no_longer_fires_fails_the_check() {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(repository().join("alarms")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // The first alarm of records.yml with this is RecordsFailing.
        let text = if path.ends_with("records.yml") { text.replacen("Threshold: 0", "Threshold: 9", 1) } else { text };
        std::fs::write(copy.path().join(path.file_name().unwrap()), text).unwrap();
    }
    let alarms = copy.path().to_str().unwrap();
    let (code, checked, error) = run(&repository(), &["alarms", "check", "--alarms", alarms, "--output", "json"]).await;
    assert_eq!(code, Some(1), "{error}");
    let checked: Value = serde_json::from_str(&checked).unwrap();
    let problems: Vec<&str> = checked["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(problems.contains(&"the table throttles for three hours: RecordsFailing does not fire"), "{problems:?}");

    std::fs::write(copy.path().join("records.yml"), "Resources: [").unwrap();
    let (code, _, error) = run(&repository(), &["alarms", "check", "--alarms", alarms]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("records.yml: it is no YAML: "), "{error}");
    let (code, _, error) = run(copy.path(), &["alarms", "check"]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("alarms can't be read; run this in the repository"), "{error}");
}
