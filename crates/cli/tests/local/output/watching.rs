//! What `local` shows while it runs.

use std::process::Stdio;

use config_audit_local::{AwsSettings, Database};
use config_audit_tables::sdk_item;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::support::{GENEROUS, bootstrap, config_audit};
use crate::trail::scene::{Tables, item};

/// Starts it, and waits for changes; returns what it has printed until then.
async fn start(arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>, Vec<String>) {
    let mut command = config_audit();
    command.arg("local").args(arguments).arg("--bootstrap").arg(bootstrap());
    let mut world = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(world.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while said.last().is_none_or(|line: &String| !line.contains("Waiting for changes")) {
        said.push(next(&mut lines).await);
    }
    (world, lines, said)
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    tokio::time::timeout(GENEROUS, lines.next_line()).await.unwrap().unwrap().expect("it ended")
}

fn url(said: &[String]) -> &str {
    said.iter().find_map(|line| line.strip_prefix("DynamoDB  ")?.split(' ').next()).unwrap()
}

#[tokio::test]
async fn two_hundred_changes_are_two_hundred_lines() {
    let (mut world, mut lines, said) = start(&["--port", "0"]).await;
    let aws = AwsSettings::dummy();
    let tables = Tables { database: Database::at(url(&said), aws.clone()), aws };
    let long = |n: i64| {
        let mut item = item(&format!("KEY_{n:03}"), &[]);
        item.insert("text".to_owned(), serde_dynamo::AttributeValue::S("x".repeat(5000)));
        item
    };
    tables.write("Configuration-local", (0..200).map(|n| sdk_item(long(n)))).await;
    let mut keys = Vec::new();
    for _ in 0..200 {
        let line = next(&mut lines).await;
        let [_, key, "(created)", value, lag, "ok"] = line.split("  ").collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        assert!(line.chars().count() <= 120 && value.ends_with('…') && lag.starts_with("lag "), "{line}");
        keys.push(key.to_owned());
    }
    keys.sort();
    assert_eq!(keys, (0..200).map(|n| format!("KEY_{n:03}")).collect::<Vec<_>>());
    // The next line is the next change: nothing else was printed.
    tables.write("Configuration-local", [sdk_item(item("LAST", &[]))]).await;
    assert!(next(&mut lines).await.contains("  LAST  (created)  "));
    world.kill().await.unwrap();
}

#[tokio::test]
async fn verbose_shows_each_invocation_with_its_metrics_and_spans() {
    let (mut world, _, said) = start(&["--port", "0", "--examples", "--verbose"]).await;
    for words in ["Invocation 1 record -> {\"batchItemFailures\":[]}", "  AuditLag ", "  config-audit-local-audit  "] {
        assert_eq!(said.iter().filter(|line| line.starts_with(words)).count(), 2, "{words}: {said:#?}");
    }
    world.kill().await.unwrap();
}

#[tokio::test]
async fn the_port_is_8000_unless_that_is_in_use() {
    let notice = async |mut world: Child| {
        world.start_kill().unwrap();
        String::from_utf8(world.wait_with_output().await.unwrap().stderr).unwrap()
    };
    let in_use = "Port 8000 is in use, so the system picked another.\n";
    let (first, _, said) = start(&[]).await;
    // The port is in use now, by that world or by somebody else.
    let (second, _, said_then) = start(&[]).await;
    assert_ne!(url(&said_then), "http://127.0.0.1:8000");
    assert_eq!(notice(second).await, in_use);
    let expected = if url(&said) == "http://127.0.0.1:8000" { "" } else { in_use };
    assert_eq!(notice(first).await, expected);
}
