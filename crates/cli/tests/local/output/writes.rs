//! A failed write is an error, for every command and every output format.

use std::fs::File;
use std::process::Stdio;

use super::scene::Scene;
use crate::support::GENEROUS;

/// Runs each command with this as its standard output; returns exit codes and what it printed to standard error.
async fn run_all(output: impl Fn() -> Stdio) -> Vec<(String, Option<i32>, String)> {
    let mut ended = Vec::new();
    let scene = Scene::about("K").await;
    for line in scene.command_lines() {
        let child = scene.command(&line).stdout(output()).stderr(Stdio::piped()).spawn().unwrap();
        let result = tokio::time::timeout(GENEROUS, child.wait_with_output()).await;
        let result = result.unwrap_or_else(|_| panic!("{line:?} does not end")).unwrap();
        ended.push((line.join(" "), result.status.code(), String::from_utf8(result.stderr).unwrap()));
    }
    scene.tables.database.stop().await;
    ended
}

#[tokio::test]
async fn a_full_disk_is_an_error() {
    for (line, code, said) in run_all(|| File::options().write(true).open("/dev/full").unwrap().into()).await {
        let error = "config-audit: cannot write to standard output: No space left on device (os error 28)";
        assert_eq!((code, said.lines().last()), (Some(2), Some(error)), "{line}: {said}");
    }
}

#[tokio::test]
async fn a_closed_pipe_ends_the_command_quietly() {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer.into()
    };
    for (line, code, said) in run_all(closed).await {
        assert_eq!(code, Some(141), "{line}: {said}");
        assert!(!said.contains("config-audit:") && !said.contains("cannot write"), "{line}: {said}");
    }
}
