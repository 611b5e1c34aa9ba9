//! `export`: every entry of the table, in chronological order, in three formats.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::AttributeValue;
use config_audit_local::Database;
use config_audit_tables::SdkItem;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::permissions::refusing;
use super::scene::{AUDIT, EPOCH, History, Ran, Tables, entries, id, item, run_at, text};
use crate::bootstrap::engine::Engine;

const EXPORT: &[&str] = &["export", "--audit-table", AUDIT];

async fn export(tables: &Tables, more: &[&str]) -> Ran {
    tables.run(&[EXPORT, more].concat()).await
}

/// Each item is created, changed several times within one second, and removed a day later.
fn trail(items: i64) -> Vec<SdkItem> {
    let entries_of = |number: i64| {
        let key = format!("{}{number}", if number % 2 == 0 { "EVEN_" } else { "=ODD_" });
        let item = |value: i64| item(&key, &[("value", value), ("other", value / 2)]);
        let changes = (0..6).map(|change| (EPOCH + 60 + number / 10, Some(item(change))));
        let history: History = changes.chain([(EPOCH + 24 * 60 * 60, None)]).collect();
        entries(&key, &history)
    };
    (0..items).flat_map(entries_of).collect()
}

#[tokio::test]
async fn an_export_is_the_whole_table_by_time_in_every_format_and_page() {
    for engine in Engine::BOTH {
        let tables = Tables::on(engine).await;
        let mut written = trail(60);
        // Nothing writes such an entry, and the index does not have it.
        written.push([("id".to_owned(), AttributeValue::S("no entry".to_owned()))].into());
        fastrand::Rng::with_seed(7).shuffle(&mut written);
        tables.write(AUDIT, written).await;
        let stored = tables.database.entries(AUDIT).await.unwrap();
        assert!(stored.len() > 500, "{}", stored.len());
        let mut expected: Vec<Value> = stored.iter().map(|entry| serde_json::to_value(entry).unwrap()).collect();
        expected.sort_by_key(|entry| entry["id"].to_string());

        let lines = export(&tables, &["--output", "jsonl"]).await;
        assert_eq!(lines.stderr, format!("{} entries exported.\n", stored.len()), "on {engine:?}");
        let lines = lines.lines();
        let seconds = lines.iter().map(|line| json!([line["modificationTime"], line["itemKey"]]).to_string());
        assert!(seconds.skip(1).is_sorted(), "on {engine:?}");
        assert_eq!(lines[0], json!({ "id": "no entry" }));
        let mut sorted = lines.clone();
        sorted.sort_by_key(|line| line["id"].to_string());
        assert_eq!(sorted, expected, "on {engine:?}");
        // Within a second, a change begins with the value that the previous one ended with, as in the history.
        let values = |lines: &[Value], key: &str| -> Vec<Value> {
            let of_value = |line: &&Value| line["itemKey"] == key && line["updatedAttribute"] == "value";
            lines.iter().filter(of_value).map(|line| line["newValue"].clone()).collect()
        };
        assert_eq!(values(&lines, "EVEN_8"), [1, 2, 3, 4, 5]);

        let array = export(&tables, &["--output", "json"]).await;
        assert_eq!(serde_json::from_str::<Vec<Value>>(&array.stdout).unwrap(), lines, "on {engine:?}");
        for (more, key) in [(&[][..], "'=ODD_1"), (&["--raw"], "=ODD_1")] {
            let csv = export(&tables, more).await;
            let mut reader = csv::Reader::from_reader(csv.stdout.as_bytes());
            let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            assert_eq!(rows.len(), lines.len());
            for (row, line) in rows.iter().zip(&lines) {
                let value = |name: &str| line.get(name).map(ToString::to_string).unwrap_or_default();
                assert_eq!(
                    (&row[6], &row[3], &row[4]),
                    (line["id"].as_str().unwrap(), &*value("oldValue"), &*value("newValue"))
                );
            }
            assert!(rows.iter().any(|row| &row[1] == key), "on {engine:?}: {more:?}");
        }
        tables.database.stop().await;
    }
}

#[tokio::test]
async fn a_part_is_what_its_options_say() {
    let tables = Tables::on(Engine::Embedded).await;
    tables.write(AUDIT, trail(4)).await;
    let part = async |more: &[&str]| {
        let ran = export(&tables, &[more, &["--output", "jsonl"]].concat()).await;
        assert_eq!(ran.code, 0, "{more:?}: {ran:?}");
        ran.lines()
    };
    let all = part(&[]).await;
    let count = |is_in: &dyn Fn(&Value) -> bool| all.iter().filter(|line| is_in(line)).count();
    let removals = part(&["--since", "2024-09-12", "--until", "2024-09-12"]).await;
    assert!(removals.len() == 4 && removals.iter().all(|line| line.get("newValue").is_none()), "{removals:?}");
    let even = part(&["--key-prefix", "EVEN_"]).await;
    assert_eq!(even.len(), count(&|line| line["itemKey"].as_str().unwrap().starts_with("EVEN_")));
    let other = part(&["--attribute", "other", "--key-prefix", "=ODD_1"]).await;
    assert_eq!(other.iter().map(|line| line["newValue"].clone()).collect::<Vec<_>>(), [1, 2]);
    for (more, exported) in [(&["--output", "json"][..], "[\n]\n"), (&["--output", "jsonl"], "")] {
        let ran = export(&tables, &[&["--key-prefix", "NONE"], more].concat()).await;
        assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (0, exported, "0 entries exported.\n"));
    }
    for (more, said) in [
        (&["--output", "json", "--raw"][..], "--raw is only for --output csv"),
        (&["--since", "2024-09-12", "--until", "2024-09-11"], "so the range is empty"),
        (&["--since", "9000-01-01"], "is in the future"),
    ] {
        let ran = export(&tables, more).await;
        assert!(ran.code == 2 && ran.stderr.contains(said) && ran.stdout.is_empty(), "{more:?}: {ran:?}");
    }
    tables.database.stop().await;
}

/// Nobody can mistake what was printed until then for the whole trail.
#[tokio::test]
async fn an_export_that_aws_interrupts_says_that_it_is_incomplete() {
    let tables = Tables::on(Engine::Embedded).await;
    tables.write(AUDIT, trail(60)).await;
    let batches = Arc::new(AtomicUsize::new(0));
    let is_refused =
        move |operation: &str, _: &str| operation == "BatchGetItem" && batches.fetch_add(1, Ordering::Relaxed) % 6 == 5;
    let (url, server) = refusing(tables.database.url(), "AccessDeniedException", is_refused).await;
    for output in ["csv", "json", "jsonl"] {
        let ran = run_at(&url, &tables.aws, &[EXPORT, &["--output", output]].concat()).await;
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(
            ran.stderr.contains("the output is incomplete") && ran.stderr.contains("dynamodb:BatchGetItem"),
            "{ran:?}"
        );
        assert!(!ran.stderr.contains("exported.") && !ran.stdout.ends_with("]\n"), "{ran:?}");
    }
    server.abort();
    tables.database.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_deleted_or_altered_meanwhile_is_named() {
    let tables = Tables::on(Engine::Embedded).await;
    let written = trail(2);
    tables.write(AUDIT, written.clone()).await;
    let [deleted, altered] = [id(&written[2]), id(&written[3])];
    let tampering = {
        let (url, aws) = (tables.database.url().to_owned(), tables.aws.clone());
        let (deleted, altered) = (deleted.clone(), altered.clone());
        async move {
            let tables = Tables { database: Database::at(&url, aws.clone()), aws };
            tables.delete(AUDIT, "id", &deleted).await;
            tables.alter(&altered, "modificationTime", AttributeValue::S(text(EPOCH + 61))).await;
        }
    };
    // The proxy has the first batch before the engine does.
    let tampering = Arc::new(Mutex::new(Some(tampering)));
    let tamper = move |operation: &str, _: &str| {
        if operation == "BatchGetItem"
            && let Some(tampering) = tampering.lock().unwrap().take()
        {
            tokio::task::block_in_place(|| Handle::current().block_on(tampering));
        }
        false
    };
    let (url, server) = refusing(tables.database.url(), "AccessDeniedException", tamper).await;
    let ran = run_at(&url, &tables.aws, &[EXPORT, &["--output", "jsonl"]].concat()).await;
    assert_eq!((ran.code, ran.lines().len()), (1, written.len() - 1), "{ran:?}");
    for line in [format!("Entry {deleted} of EVEN_0 was deleted"), format!("Entry {altered} of EVEN_0 was altered")] {
        assert!(ran.stderr.contains(&line), "{ran:?}");
    }
    server.abort();
    tables.database.stop().await;
}
