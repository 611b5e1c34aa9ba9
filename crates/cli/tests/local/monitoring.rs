//! The commands that check what CloudWatch gets: their exit codes and what they print.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::{GENEROUS, config_audit};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs `config-audit` in a directory.
async fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let run = config_audit().args(arguments).current_dir(directory).output();
    let Output { status, stdout, stderr } = tokio::time::timeout(GENEROUS, run).await.unwrap().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn dashboards_are_drawn_or_the_error_says_why_not() {
    let pages = tempfile::tempdir().unwrap();
    let to = pages.path().to_str().unwrap();
    let fault = "the mapping is disabled for three hours";
    let (code, paths, error) = run(&repository(), &["dashboards", "--fault", fault, "--after", "60", "--to", to]).await;
    assert_eq!(code, Some(0), "{error}");
    for path in paths.lines() {
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page.contains(&format!("simulated: {fault}, 60 minutes after it began; 2026-")), "{path}");
    }
    assert_eq!(paths.lines().count(), 2);

    let (code, _, error) = run(&repository(), &["dashboards", "--fault", "rain", "--to", to]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("no fault has \"rain\" in its name") && error.contains(fault), "{error}");
    let (code, _, error) = run(pages.path(), &["dashboards"]).await;
    assert_eq!(code, Some(2));
    assert!(
        error.contains("alarms cannot be read; run this in the repository, or specify the directories: "),
        "{error}"
    );
    std::fs::write(pages.path().join("file"), "").unwrap();
    let below_a_file = pages.path().join("file/below");
    let (code, _, error) = run(&repository(), &["dashboards", "--to", below_a_file.to_str().unwrap()]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("deep-dive.html cannot be written: "), "{error}");
}

#[tokio::test]
async fn faults_can_be_checked_by_a_part_of_their_names() {
    let check = async |fault: &str, output: &str| {
        run(&repository(), &["alarms", "check", "--fault", fault, "--output", output]).await
    };
    let (code, outcome, error) = check("'s clock is ", "json").await;
    assert_eq!(code, Some(0), "{error}");
    let outcome: Value = serde_json::from_str(&outcome).unwrap();
    let played = outcome["faults"].as_array().unwrap();
    let faults: Vec<&str> = played.iter().filter_map(|it| it["fault"].as_str()).take(2).collect();
    assert_eq!(faults, ["the function's clock is an hour ahead", "the function's clock is two hours behind"]);
    assert_eq!(played.len(), 2 * 9, "at three rates with three cadences");
    assert_eq!((&played[0]["rate"], &played[0]["cadence"]), (&"quiet".into(), &"fast".into()));
    assert!(outcome.get("healthyMonths").is_none(), "{outcome}");

    let (code, text, error) = check("the mapping is disabled", "text").await;
    assert_eq!(code, Some(0), "{error}");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("the mapping is disabled (three changes a day, retries as fast as Lambda can)"));
    let fired = lines.next().unwrap();
    assert!(fired.ends_with("MappingStopped; its runbook promises 80 min"), "{text}");

    let (code, _, error) = check("rain", "text").await;
    assert_eq!(code, Some(2));
    assert!(error.contains("no fault has \"rain\" in its name") && error.contains("DynamoDB answers 500"), "{error}");
}

#[tokio::test]
async fn an_alarm_that_no_longer_fires_fails_the_check() {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(repository().join("alarms")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // The first alarm in records.yml with this is RecordsFailing.
        let text = if path.ends_with("records.yml") { text.replacen("Threshold: 0", "Threshold: 9", 1) } else { text };
        std::fs::write(copy.path().join(path.file_name().unwrap()), text).unwrap();
    }
    let alarms = copy.path().to_str().unwrap();
    let fault = "the table throttles for three hours";
    let arguments = ["alarms", "check", "--fault", fault, "--alarms", alarms, "--output", "json"];
    let (code, outcome, error) = run(&repository(), &arguments).await;
    assert_eq!(code, Some(1), "{error}");
    let outcome: Value = serde_json::from_str(&outcome).unwrap();
    let problems: Vec<&str> = outcome["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        problems.iter().any(|problem| problem.starts_with("the table throttles for three hours (")
            && problem.ends_with("RecordsFailing did not fire")),
        "{problems:?}"
    );

    std::fs::write(copy.path().join("records.yml"), "Resources: [").unwrap();
    let (code, _, error) = run(&repository(), &["alarms", "check", "--alarms", alarms]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("records.yml: not valid YAML: "), "{error}");
    let (code, _, error) = run(copy.path(), &["alarms", "check"]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("alarms cannot be read; run this in the repository"), "{error}");
}

/// Each could exhaust the command's memory, stack or time, or mislead whoever reads the error.
#[tokio::test]
async fn a_hostile_file_is_refused_in_one_line_that_names_it() {
    type Make = Box<dyn Fn(&Path)>;
    let text = |text: String| -> Make { Box::new(move |file| std::fs::write(file, &text).unwrap()) };
    let link = |to: &'static str| -> Make { Box::new(move |file| std::os::unix::fs::symlink(to, file).unwrap()) };
    let laughs = (1..10).map(|level| format!("a{level}: &a{level} [{}]", format!("*a{},", level - 1).repeat(10)));
    let laughs = laughs.collect::<Vec<_>>().join("\n");
    let resources = (0..501).map(|number| format!("  A{number}: {{ Type: AWS::SNS::Topic }}"));
    let resources = resources.collect::<Vec<_>>().join("\n");
    let rule = |id: &str, other: &str| {
        format!("  {id}: {{ Type: AWS::CloudWatch::CompositeAlarm, Properties: {{ AlarmRule: ALARM({other}) }} }}\n")
    };
    let cases: [(Make, &str); 14] = [
        (text("[".repeat(200_000)), "recursion limit exceeded"),
        (text("- ".repeat(400_000)), "nested deeper than 100 levels"),
        (text("? ".repeat(400_000)), "nested deeper than 100 levels"),
        (text(format!("a0: &a0 x\n{laughs}")), "YAML alias, which CloudFormation does not support"),
        (text(format!("Resources:\n{resources}")), "CloudFormation allows 500 resources"),
        (text(format!("Resources:\n{}{}", rule("A", "B"), rule("B", "A"))), "watches A in turn"),
        (text(format!("Resources:\n{}", rule("A", "A"))), "watches A in turn"),
        (text(" ".repeat(100_000_000)), "larger than 1 MB"),
        (Box::new(|file| std::fs::write(file, b"Resources: \xff").unwrap()), "is not UTF-8 text"),
        (Box::new(|file| std::fs::create_dir(file).unwrap()), "is not a file"),
        (
            Box::new(|file| rustix::fs::mkfifoat(rustix::fs::CWD, file, rustix::fs::Mode::RWXU).unwrap()),
            "is not a file",
        ),
        (link("/dev/zero"), "is not a file"),
        (link("no such file"), "cannot be read"),
        (link("hostile.yml"), "cannot be read"),
    ];
    for (number, (make, expected)) in cases.iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        make(&directory.path().join("hostile.yml"));
        make(&directory.path().join("hostile.json"));
        let to = directory.path().join("pages");
        let here = directory.path().to_str().unwrap();
        let alarms =
            run(&repository(), &["alarms", "check", "--fault", "the mapping is disabled", "--alarms", here]).await;
        let pages = ["dashboards", "--dashboards", here, "--to", to.to_str().unwrap()];
        for (command, (code, output, error)) in [("alarms", alarms), ("dashboards", run(&repository(), &pages).await)] {
            let what = format!("{command}, case {number}: {error}");
            assert_eq!((code, output.as_str(), error.lines().count()), (Some(2), "", 1), "{what}");
            assert!(
                command == "dashboards"
                    || error.contains("A watches A")
                    || error.contains("hostile.yml")
                    || error.contains("watches"),
                "{what}"
            );
            // A file that is not a template may be refused as a dashboard for another reason.
            assert!(command == "dashboards" || error.contains(expected), "{what}");
        }
    }
}
