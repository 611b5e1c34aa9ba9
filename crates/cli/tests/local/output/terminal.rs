//! What is for terminals only: progress, colours, the width.

use std::process::Stdio;

use super::pseudo_terminal::PseudoTerminal;
use super::scene::{Scene, repository};
use crate::bootstrap::engine::Engine;
use crate::trail::scene::{AUDIT, EPOCH, History, Tables, command, entries, item};

/// How progress starts the line again.
const CLEAR_LINE: &str = "\r\u{1b}[K";

#[tokio::test]
async fn long_work_shows_its_progress_on_a_terminal_and_ends_with_a_verdict() {
    let scene = Scene::about("K").await;
    let bucket = scene.directory.path().join("bucket");
    let url = scene.tables.database.url();
    let tables = ["--configuration-table", "Configuration-trail", "--audit-table", AUDIT, "--endpoint-url", url];
    let redrive = ["redrive", bucket.to_str().unwrap(), "--audit-table", AUDIT, "--endpoint-url", url];
    for (line, progress, verdict) in [
        (
            [&["verify", "--settle", "0"], &tables[..]].concat(),
            "entries; 1 item to recheck",
            "The trail is not intact: 2 findings.",
        ),
        ([&["backfill", "--dry-run"], &tables[..]].concat(), "1 item: ", "2 items: 1 would be backfilled"),
        (redrive.to_vec(), " replayed, ", "1 object is left; it is named above, with the reason."),
        (redrive.to_vec(), "0 objects replayed, ", "1 object is left; it is named above, with the reason."),
        (
            vec!["alarms", "check", "--fault", "the mapping is disabled for three hours"],
            " of 9 runs played",
            "The alarms are right for 1 fault in 9 runs.",
        ),
    ] {
        let line: Vec<String> = line.into_iter().map(str::to_owned).collect();
        let terminal = PseudoTerminal::with_columns(80);
        let child = scene.command(&line).stdout(Stdio::piped()).stderr(terminal.output()).spawn().unwrap();
        let output = child.wait_with_output().await.unwrap();
        let shown = terminal.into_text();
        assert!(shown.contains(CLEAR_LINE) && shown.contains(progress), "{line:?}: {shown:?}");
        // Nothing of it remains.
        assert!(shown.ends_with(CLEAR_LINE) || shown.ends_with('\n'), "{line:?}: {shown:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().last(), Some(verdict), "{line:?}");

        let output = scene.command(&line).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains(progress) && !said.contains('\r'), "{line:?}: {said:?}");
    }
    scene.tables.database.stop().await;
}

#[tokio::test]
async fn a_table_is_as_wide_as_the_terminal_and_wide_shows_all() {
    let tables = Tables::on(Engine::Embedded).await;
    let long = |number: i64| {
        let mut item = item("K", &[("number", number)]);
        item.insert("long".to_owned(), serde_dynamo::AttributeValue::S("y".repeat(300)));
        item
    };
    let history: History = (0..3).map(|n| (EPOCH + n, Some(long(n)))).collect();
    tables.write(AUDIT, entries("K", &history)).await;
    let shown = async |columns: u16, more: &[&str]| {
        let terminal = PseudoTerminal::with_columns(columns);
        let line = [&["history", "K", "--audit-table", AUDIT], more].concat();
        let mut command = command(tables.database.url(), &tables.aws, &line);
        let status = command.stdout(terminal.output()).env("NO_COLOR", "1").status().await.unwrap();
        assert_eq!(status.code(), Some(0));
        drop(command);
        terminal.into_text()
    };
    for columns in [80, 100, 160] {
        let text = shown(columns, &[]).await;
        let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert_eq!((widths.len(), widths.iter().max()), (4, Some(&columns.into())), "{text}");
        assert!(text.contains('…') && text.contains("  number "), "{text}");
    }
    let text = shown(80, &["--wide"]).await;
    assert!(text.contains(&"y".repeat(300)), "{text}");
    tables.database.stop().await;
}

#[tokio::test]
async fn colours_are_for_terminals_that_want_them() {
    let shown = async |variable: &str, value: &str| {
        let terminal = PseudoTerminal::with_columns(80);
        let mut command = crate::support::config_audit();
        command
            .args(["alarms", "check", "--fault", "the mapping is disabled for three hours"])
            .current_dir(repository());
        command.env("TERM", "xterm").env_remove("NO_COLOR").env(variable, value).stdout(terminal.output());
        assert!(command.status().await.unwrap().success());
        drop(command);
        terminal.into_text()
    };
    assert!(shown("TERM", "xterm").await.contains("\u{1b}[32mThe alarms are right"));
    for (variable, value) in [("TERM", "dumb"), ("NO_COLOR", "1")] {
        assert!(!shown(variable, value).await.contains('\u{1b}'), "{variable}");
    }
}
