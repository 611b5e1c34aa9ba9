//! The commands, with the scripted function: exit codes, where the event comes from, the output, and a clean exit.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::support::{GENEROUS, config_audit, scripted, scripted_function};

const EVENT: &str = r#"{"Records":[{"dynamodb":{"SequenceNumber":"100000000000000000001"}}]}"#;

/// Runs `config-audit invoke` on the scripted function.
async fn invoke(script: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let settings = scripted(directory.path(), &[script]);
    let mut command = config_audit();
    command.arg("invoke").arg("--bootstrap").arg(settings.bootstrap);
    command.arg("--env").arg(format!("SCRIPT={}", settings.environment["SCRIPT"])).args(arguments);
    command.output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn the_exit_code_says_how_it_went() {
    let data = ["--data", EVENT];
    let cases: [(&str, &[&str], i32); 12] = [
        ("", &data, 0),
        ("return null", &data, 0),
        ("return \"text\"", &data, 0),
        // Whether a function without a failure bucket is acceptable is up to the function.
        ("", &["--data", EVENT, "--env", "FAILURE_BUCKET="], 0),
        ("fail 0", &data, 1),
        ("error Kind message", &data, 1),
        ("exit 0", &data, 1),
        ("hang", &["--data", EVENT, "--timeout", "1"], 1),
        ("", &["--data", "{"], 2),
        ("", &["--event", "no such file"], 2),
        ("", &["--data", "{}", "--bootstrap", "no such file"], 2),
        ("", &["--data", "{}", "--env", "NO_VALUE"], 2),
    ];
    for (script, arguments, code) in cases {
        let output = invoke(script, arguments).await;
        assert_eq!(output.status.code(), Some(code), "{script:?} {arguments:?}\n{}", text(&output.stderr));
        // Standard error says what is wrong with the command line; standard output is for results.
        assert_eq!(code == 2, output.stdout.is_empty() && !output.stderr.is_empty(), "{script:?} {arguments:?}");
    }
}

#[tokio::test]
async fn tools_get_one_document() {
    let output = invoke("error Kind what went wrong", &["--data", EVENT, "--output", "json"]).await;
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["response"], Value::Null);
    assert_eq!(document["error"]["errorMessage"], "what went wrong");
    assert_eq!(document["logs"][0]["line"], "{\"handled\":1}");
    assert_eq!(document["segments"][0]["name"], "scripted");
    for member in ["entries", "failures", "metrics"] {
        assert_eq!(document[member], Value::Array(Vec::new()), "{member}");
    }
}

#[tokio::test]
async fn the_event_may_come_from_a_file_or_from_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("event.json"), EVENT).unwrap();
    let mut command = config_audit();
    command.args(["invoke", "--event", "event.json", "--bootstrap"]).arg(scripted_function());
    let output = command.current_dir(directory.path()).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let mut command = config_audit();
    command.args(["invoke", "--bootstrap"]).arg(scripted_function());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(EVENT.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("Answer {\"batchItemFailures\":[]}"), "{}", text(&output.stdout));
}

#[tokio::test]
async fn the_local_world_ends_cleanly_when_it_is_told_to() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = config_audit();
    command.args(["local", "--port", "0", "--bootstrap"]).arg(scripted_function()).env("TMPDIR", temporary.path());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let up = async {
        while !said.contains("Waiting for changes") {
            said.push_str(&lines.next_line().await.unwrap().expect("it ended"));
        }
    };
    tokio::time::timeout(GENEROUS, up).await.unwrap();
    assert!(said.contains("AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws dynamodb put-item"), "{said}");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::time::timeout(GENEROUS, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "a file was left behind");
}
