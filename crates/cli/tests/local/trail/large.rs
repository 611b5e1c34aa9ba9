//! A hundred thousand entries.

use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use config_audit::clock::Clock;
use config_audit_tables::{SdkItem, sdk_item};
use serde_json::{Value, json};

use super::scene::{AUDIT, CONFIGURATION, EPOCH, History, Ran, Tables, VERIFY, command, entries, id, item};

const ITEMS: i64 = 10_000;
const CHANGES: i64 = 10;
/// How much memory a verification may use, in kB. It is the same for any number of entries.
const MOST_MEMORY: u64 = 128 * 1024;
/// How much memory an export may use: about 200 bytes for each entry, and the batches that it reads.
const MOST_MEMORY_OF_EXPORT: u64 = 128 * 1024;

fn key(number: i64) -> String {
    format!("SETTING_{number:05}")
}

/// Created, changed eight times, several times within the same second, and changed once more or removed.
fn history(number: i64) -> History {
    let item = |value| item(&key(number), &[("value", value), ("fixed", number)]);
    let mut history: History = (0..CHANGES).map(|n| (EPOCH + number + n / 3 * 60, Some(item(n % 4)))).collect();
    if number % 10 == 0 {
        history.last_mut().unwrap().1 = None;
    }
    history
}

/// Fills the tables without DynamoDB's API, which would take a minute for as many entries.
async fn import(directory: &Path, tables: [(&str, Vec<SdkItem>); 2]) {
    // Creates the tables.
    Tables::in_directory(directory).await.database.stop().await;
    let database = dynoxide::Database::new(directory.join("dynamodb.sqlite").to_str().unwrap()).unwrap();
    database.enable_bulk_loading().unwrap();
    for (table, items) in tables {
        let json = |item| serde_json::to_value(config_audit_local::aws::item(item)).unwrap();
        let items = items.into_iter().map(|item| serde_json::from_value(json(item)).unwrap()).collect();
        database.import_items(table, items, dynoxide::ImportOptions::default()).unwrap();
    }
    database.disable_bulk_loading().unwrap();
}

/// The peak memory of the process so far, in kB; `None` once it has ended.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// Runs the command, and watches its peak memory until it ends. Also returns how long it took, in words.
async fn measured(tables: &Tables, arguments: &[&str]) -> (Ran, u64, String) {
    let began = Clock::System.instant();
    let (ran, memory) = with_peak(tables, arguments).await;
    let (command, seconds) = (arguments[0], (Clock::System.instant() - began).as_secs_f64());
    let entries = ITEMS * CHANGES;
    let took = format!("{command} of {entries} entries: {seconds:.1} s, at most {} MB in memory", memory / 1024);
    (ran, memory, took)
}

async fn with_peak(tables: &Tables, arguments: &[&str]) -> (Ran, u64) {
    let mut command = command(tables.database.url(), &tables.aws, arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = child.id().unwrap();
    let mut output = pin!(child.wait_with_output());
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let mut peak = 0;
    loop {
        tokio::select! {
            output = &mut output => return (Ran::from(&output.unwrap()), peak),
            _ = looks.tick() => peak = peak_memory(process).unwrap_or(peak),
        }
    }
}

fn findings(found: &[Value]) -> Vec<Value> {
    let short =
        |finding: &Value| json!([finding["itemKey"], finding["finding"], finding["attribute"], finding["entry"]]);
    found.iter().map(short).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_altered_or_missing_among_a_hundred_thousand_entries_is_named() {
    let histories: Vec<History> = (0..ITEMS).map(history).collect();
    let entries: Vec<Vec<SdkItem>> = (0..ITEMS).zip(&histories).map(|(n, history)| entries(&key(n), history)).collect();
    let items = histories.iter().filter_map(|history| history.last().unwrap().1.clone()).map(sdk_item);
    let directory = tempfile::tempdir().unwrap();
    import(directory.path(), [(CONFIGURATION, items.collect()), (AUDIT, entries.concat())]).await;
    let tables = Tables::in_directory(directory.path()).await;

    let (exported, memory, took) = measured(&tables, &["export", "--audit-table", AUDIT]).await;
    println!("{took}");
    assert!(memory < MOST_MEMORY_OF_EXPORT, "{memory} kB");
    assert_eq!((exported.code, &*exported.stderr), (0, "100,000 entries exported.\n"));
    let rows: Vec<&str> = exported.stdout.lines().skip(1).collect();
    assert_eq!(i64::try_from(rows.len()), Ok(ITEMS * CHANGES));
    // The time is the first cell.
    assert!(rows.is_sorted_by_key(|row| row.split(',').next()));

    let (intact, memory, took) = measured(&tables, &[VERIFY, &["--settle", "0", "--output", "json"]].concat()).await;
    println!("{took}");
    assert!(memory < MOST_MEMORY, "{memory} kB");
    assert_eq!(intact.code, 0, "{intact:?}");
    let (found, summary) = intact.findings();
    assert_eq!(found, [] as [Value; 0]);
    let (items, deleted) = (ITEMS / 10 * 9, ITEMS / 10);
    assert_eq!(
        summary,
        json!({
            "items": items, "deletedItems": deleted, "entries": ITEMS * CHANGES, "provenFromCreation": ITEMS,
            "provenFromBackfill": 0, "olderThanTheTrail": 0, "itemsWithFindings": 0, "findings": 0, "undecided": 0,
        })
    );

    let entry = |item: usize, number: usize| id(&entries[item][number]);
    // Deleted in the middle; altered; the last one never written; a removal never written.
    tables.delete(AUDIT, "id", &entry(1234, 4)).await;
    tables.alter(&entry(4321, 6), "newValue", AttributeValue::N("99".to_owned())).await;
    tables.delete(AUDIT, "id", &entry(7777, 9)).await;
    tables.delete(AUDIT, "id", &entry(8000, 9)).await;
    // A deleted creation: the first second has more changes, which show what the item was, but not that it was new.
    tables.delete(AUDIT, "id", &entry(5555, 0)).await;
    // And an item about which no entry says anything.
    tables.write(CONFIGURATION, [sdk_item(item("UNTOLD", &[("value", 1)]))]).await;

    let broken = tables.verify().await;
    assert_eq!(broken.code, 1, "{broken:?}");
    let (found, summary) = broken.findings();
    let mut short = findings(&found);
    // A break within a second with several changes may be reported for any of its entries.
    for finding in &mut short {
        finding[3] = json!(finding[3].is_string());
    }
    let named = |number: i64| key(number);
    assert_eq!(
        short,
        [
            json!([named(5555), "older", null, false]),
            json!([named(1234), "attribute", "value", true]),
            json!([named(4321), "attribute", "value", true]),
            json!([named(7777), "attribute", "value", false]),
            json!(["UNTOLD", "noEntry", null, false]),
            json!([named(8000), "removal", null, false]),
        ],
        "{found:#?}"
    );
    assert_eq!(summary["findings"], 5);
    assert_eq!((&summary["provenFromCreation"], &summary["olderThanTheTrail"]), (&json!(ITEMS - 5), &json!(1)));
    tables.database.stop().await;
}
