//! Tables, a bucket and events with the same texts everywhere, and a command line for each command and output format.

use std::path::{Path, PathBuf};

use config_audit_tables::sdk_item;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::bootstrap::engine::Engine;
use crate::redrive::scene::{quarantined, write};
use crate::support::{bootstrap, config_audit};
use crate::trail::scene::{AUDIT, CONFIGURATION, EPOCH, History, Tables, entries, item};

/// A fault that is played quickly.
const FAULT: &str = "the mapping is disabled for three hours";

pub(super) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(super) struct Scene {
    pub(super) tables: Tables,
    /// A copy of a failure bucket, an event, and where pages go.
    pub(super) directory: TempDir,
    /// The key of the item that everything is about.
    key: String,
}

impl Scene {
    /// A scene about an item with this key, which has an attribute and a value of the same text. The trail misses a change.
    pub(super) async fn about(key: &str) -> Self {
        let tables = Tables::on(Engine::Embedded).await;
        let with = |number: i64| {
            let mut item = item(key, &[(key, number)]);
            item.insert("text".to_owned(), serde_dynamo::AttributeValue::S(key.to_owned()));
            item
        };
        let history: History = vec![(EPOCH, Some(with(1))), (EPOCH + 60, Some(with(2)))];
        tables.write(AUDIT, entries(key, &history)).await;
        let older = format!("older {key}");
        tables.write(CONFIGURATION, [sdk_item(with(3)), sdk_item(item(&older, &[]))]).await;

        let directory = tempfile::tempdir().unwrap();
        let image = json!({ "key": { "S": key }, "text": { "S": key } });
        let record = json!({
            "eventID": "e", "eventName": "INSERT", "eventSourceARN": "arn:aws:dynamodb:eu-central-1:000000000000:table/C/stream/s",
            "dynamodb": {
                "ApproximateCreationDateTime": EPOCH, "Keys": { "key": { "S": key } }, "NewImage": image,
                "SequenceNumber": "9700002673137973216305", "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        });
        write(&directory.path().join("bucket"), [quarantined("no_key", &record)]);
        write(&directory.path().join("bucket"), [(format!("damaged {key}"), b"{".to_vec())]);
        std::fs::write(directory.path().join("event.json"), json!({ "Records": [record] }).to_string()).unwrap();
        Self { tables, directory, key: key.to_owned() }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    /// Each command, in each of its output formats.
    pub(super) fn command_lines(&self) -> Vec<Vec<String>> {
        let (bucket, event, pages) = (self.path("bucket"), self.path("event.json"), self.path("pages"));
        let (url, bootstrap) = (self.tables.database.url(), bootstrap());
        let at = ["--endpoint-url", url];
        let both = ["--configuration-table", CONFIGURATION, "--audit-table", AUDIT];
        let history = ["history", &self.key, "--audit-table", AUDIT];
        let export = [&["export", "--audit-table", AUDIT], &at[..]].concat();
        let verify = [&["verify", "--settle", "0"], &both[..], &at[..]].concat();
        let tail = [&["tail", "--audit-table", AUDIT, "--since-start"], &at[..]].concat();
        let redrive = ["redrive", &bucket, "--failure-bucket", "b", "--audit-table", AUDIT];
        let invoke = ["invoke", "--event", &event, "--bootstrap", bootstrap.to_str().unwrap()];
        let check = ["alarms", "check", "--fault", FAULT];
        let lines: Vec<Vec<&str>> = vec![
            [&history[..], &at[..]].concat(),
            [&history[..], &at[..], &["--output", "json"]].concat(),
            [&history[..], &at[..], &["--output", "csv"]].concat(),
            [&history[..], &at[..], &["--at", "2024-09-12"]].concat(),
            [&history[..], &at[..], &["--at", "2024-09-12", "--output", "json"]].concat(),
            [&history[..], &at[..], &["--at", "2024-09-12", "--output", "csv"]].concat(),
            [&history[..], &at[..], &["--at", "2024-09-12", "--names-only"]].concat(),
            export.clone(),
            [&export[..], &["--raw"]].concat(),
            [&export[..], &["--output", "json"]].concat(),
            [&export[..], &["--output", "jsonl"]].concat(),
            verify.clone(),
            [&verify[..], &["--output", "json"]].concat(),
            [&["backfill", "--dry-run"], &both[..], &at[..]].concat(),
            tail.clone(),
            [&tail[..], &["--values"]].concat(),
            [&tail[..], &["--values", "--output", "json"]].concat(),
            [&redrive[..], &at[..], &["--dry-run"]].concat(),
            [&redrive[..], &at[..], &["--dry-run", "--output", "json"]].concat(),
            [&redrive[..], &at[..]].concat(),
            invoke.to_vec(),
            [&invoke[..], &["--output", "json"]].concat(),
            check.to_vec(),
            [&check[..], &["--output", "json"]].concat(),
            [&check[..], &["--output", "markdown"]].concat(),
            vec!["dashboards", "--to", &pages],
            vec!["local", "--port", "0", "--bootstrap", bootstrap.to_str().unwrap()],
            vec!["completions", "bash"],
            vec!["completions", "zsh"],
            vec!["completions", "fish"],
            vec!["--help"],
            vec!["history", "--help"],
            vec!["--version"],
        ];
        lines.into_iter().map(|line| line.into_iter().map(str::to_owned).collect()).collect()
    }

    /// The command with these arguments and the credentials for the tables.
    pub(super) fn command(&self, arguments: &[String]) -> Command {
        let mut command = config_audit();
        command.envs(self.tables.aws.environment()).args(arguments).current_dir(repository());
        command
    }
}
