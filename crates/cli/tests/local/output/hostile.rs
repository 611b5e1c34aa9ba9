//! Keys, attribute names, values, tables and paths that contain what a terminal or a spreadsheet would act on.

use std::process::Stdio;

use aws_sdk_dynamodb::types::AttributeValue;
use config_audit_local::AwsSettings;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::scene::{Scene, repository};
use crate::bootstrap::engine::Engine;
use crate::support::{GENEROUS, bootstrap, config_audit};
use crate::trail::scene::{AUDIT, EPOCH, Tables, entries, item};

const HOSTILE: &str = "x\u{1b}[2K\u{1b}]0;title\u{7}\r\u{8}\u{9b}2K\u{85}\u{7f}\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\
                       \u{200b}\n\nThe trail is intact.\n";

fn is_hostile(character: char) -> bool {
    (character.is_control() || HOSTILE.contains(character) && !character.is_ascii()) && character != '\n'
}

fn assert_harmless(what: &str, text: &str) {
    let found: Vec<_> = text.lines().filter(|line| line.contains(is_hostile)).collect();
    assert!(found.is_empty(), "{what}: {found:?}");
    assert!(!text.lines().any(|line| line == "The trail is intact."), "{what} forges a line: {text}");
}

#[tokio::test]
async fn no_result_acts_on_a_terminal() {
    let scene = Scene::about(HOSTILE).await;
    let mut keys_seen = 0;
    for line in scene.command_lines() {
        let what = line.join(" ").escape_debug().to_string();
        let mut child = scene.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = if ["tail", "local"].contains(&line[0].as_str()) {
            // They do not end on their own. Their first line is enough.
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let first = tokio::time::timeout(GENEROUS, lines.next_line()).await.unwrap().unwrap().unwrap();
            child.kill().await.unwrap();
            first
        } else {
            let output = tokio::time::timeout(GENEROUS, child.wait_with_output()).await.unwrap().unwrap();
            assert_harmless(&what, &String::from_utf8(output.stderr).unwrap());
            String::from_utf8(output.stdout).unwrap()
        };
        assert_harmless(&what, &output);
        if line.iter().any(|word| word == "json") {
            let documents: Vec<Value> =
                serde_json::Deserializer::from_str(&output).into_iter().collect::<Result<_, _>>().unwrap();
            // Tools get the text unchanged.
            keys_seen += usize::from(
                documents.iter().any(|document| document.to_string().contains(&json!(HOSTILE).to_string())),
            );
        }
    }
    // The history, the item at a time, the export, the findings, the stream, and the entries of an invocation.
    assert_eq!(keys_seen, 6);
    scene.tables.database.stop().await;
}

#[tokio::test]
async fn no_error_acts_on_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = format!("{}/{HOSTILE}", file.display());
    let option = format!("--{HOSTILE}");
    let tables = Tables::on(Engine::Embedded).await;
    let at = ["--endpoint-url", tables.database.url()];
    for (line, code) in [
        ([&["history", "K", "--audit-table", HOSTILE], &at[..]].concat(), 2),
        ([&["history", HOSTILE, "--audit-table", AUDIT], &at[..]].concat(), 1),
        (vec!["history", "K", "--audit-table", AUDIT, "--since", HOSTILE], 2),
        ([&["verify", "--configuration-table", HOSTILE, "--audit-table", AUDIT], &at[..]].concat(), 2),
        ([&["backfill", "--configuration-table", HOSTILE, "--audit-table", AUDIT], &at[..]].concat(), 2),
        ([&["tail", "--audit-table", HOSTILE], &at[..]].concat(), 2),
        (vec!["redrive", HOSTILE, "--dry-run"], 2),
        (vec!["invoke", "--data", "{}", "--bootstrap", HOSTILE], 2),
        (vec!["invoke", "--event", HOSTILE], 2),
        (vec!["invoke", "--data", "{}", "--env", HOSTILE], 2),
        (vec!["alarms", "check", "--alarms", HOSTILE], 2),
        (vec!["alarms", "check", "--fault", HOSTILE], 2),
        (vec!["dashboards", "--to", &below], 2),
        (vec!["dashboards", "--fault", HOSTILE], 2),
        (vec!["local", "--port", "0", "--directory", &below, "--bootstrap", bootstrap().to_str().unwrap()], 1),
        (vec![HOSTILE], 2),
        (vec!["history", HOSTILE, HOSTILE], 2),
        (vec!["completions", HOSTILE], 2),
        (vec!["history", &option], 2),
    ] {
        let mut command = config_audit();
        command.envs(tables.aws.environment()).args(&line).current_dir(repository());
        let output = tokio::time::timeout(GENEROUS, command.output()).await.unwrap().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{line:?}: {said}");
        assert_harmless(&format!("{line:?}"), &said);
    }
    tables.database.stop().await;
}

#[tokio::test]
async fn a_change_in_the_local_world_does_not_act_on_a_terminal() {
    for more in [&[][..], &["--verbose"]] {
        let mut command = config_audit();
        command.args(["local", "--port", "0", "--bootstrap"]).arg(bootstrap()).args(more);
        let mut world = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(world.stdout.take().unwrap()).lines();
        let shown = async {
            let mut shown = Vec::new();
            loop {
                let line = lines.next_line().await.unwrap().expect("it ended");
                assert_harmless("local", &line);
                if let Some(url) = line.strip_prefix("DynamoDB  ").and_then(|rest| rest.split(' ').next()) {
                    let text = || AttributeValue::S(HOSTILE.to_owned());
                    let put = AwsSettings::dummy().dynamodb(url).put_item().table_name("Configuration-local");
                    shown.push(put.item("key", text()).item(HOSTILE, text()));
                }
                if line.contains("Waiting for changes") {
                    shown.pop().unwrap().send().await.unwrap();
                }
                if line.ends_with("  ok") {
                    return line;
                }
            }
        };
        let line = tokio::time::timeout(GENEROUS, shown).await.unwrap();
        assert!(line.contains("  x\\u{1b}[2K") && line.contains("  (created)  {"), "{line}");
        world.kill().await.unwrap();
    }
}

/// Whoever writes configuration chooses keys and names; an auditor opens the file.
#[tokio::test]
async fn no_cell_of_csv_is_run_by_a_spreadsheet() {
    let tables = Tables::on(Engine::Embedded).await;
    for (key, cell) in [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-1+1", "'-1+1"),
        ("\t=1", "\\u0009=1"),
        ("\r=1", "\\u000d=1"),
        ("\n=1", "\\u000a=1"),
        ("a;=1,\"b\"", "a;=1,\"b\""),
        ("-5", "-5"),
        ("-1.5E-10", "-1.5E-10"),
        ("plain", "plain"),
    ] {
        tables
            .write(
                AUDIT,
                entries(key, &vec![(EPOCH, Some(item(key, &[]))), (EPOCH + 1, Some(item(key, &[(key, -5)])))]),
            )
            .await;
        let mut command = config_audit();
        command.args(["history", "--audit-table", AUDIT, "--output", "csv", "--endpoint-url", tables.database.url()]);
        let output = command.args(["--", key]).envs(tables.aws.environment()).output().await.unwrap();
        let csv = String::from_utf8(output.stdout).unwrap();
        assert_harmless(key, &csv);
        let rows: Vec<csv::StringRecord> =
            csv::Reader::from_reader(csv.as_bytes()).records().map(Result::unwrap).collect();
        assert_eq!((&rows[0][1], &rows[1][1], &rows[1][2], &rows[1][4]), (cell, cell, cell, "-5"), "{csv}");
        // Only numbers are unquoted: a semicolon could end an unquoted cell.
        assert!(!csv.contains(";=1") || csv.contains("\"a;=1,\"\"b\"\"\""), "{csv}");
    }
    tables.database.stop().await;
}
