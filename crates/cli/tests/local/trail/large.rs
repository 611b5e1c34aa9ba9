//! A hundred thousand entries, or as many as `TRAIL_ENTRIES` says (`make trail`).

use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::DateTime;
use config_audit::aws::arn::StreamArn;
use config_audit::clock::Clock;
use config_audit::settings::{Environment, ProcessEnvironment};
use config_audit::witness::{Fingerprint, Witness, WitnessObject, object_key};
use config_audit_cloudwatch::units::thousands;
use config_audit_tables::{SdkItem, sdk_item};
use serde_json::{Value, json};

use super::scene::{AUDIT, CONFIGURATION, EPOCH, History, Ran, Tables, VERIFY, command, entries, id, item, text};

const CHANGES: i64 = 10;
/// How much memory a verification may use, in kB. It is the same for any number of entries.
const MOST_MEMORY: u64 = 128 * 1024;

/// How many items there are.
fn items() -> i64 {
    let entries = ProcessEnvironment.get("TRAIL_ENTRIES").map_or(100_000, |entries| entries.parse().unwrap());
    assert!(entries >= 100_000, "the test alters entries of the 10,000th item");
    entries / CHANGES
}

/// How much memory an export may use, in kB: about 200 bytes for each entry, and the batches that it reads.
fn most_memory_of_export() -> u64 {
    100 * 1024 + u64::try_from(items() * CHANGES).unwrap() / 4
}

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
    let entries = items() * CHANGES;
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

/// Stores the witnesses of these entries in a copy of the witness bucket, as the witness function does.
fn witness(directory: &Path, entries: &[SdkItem]) {
    let arn = StreamArn::new(format!("arn:aws:dynamodb:eu-central-1:1:table/{AUDIT}/stream/2024-09-11T09:00:17.927"));
    for batch in entries.chunks(1000) {
        let entry = |entry: &SdkItem| {
            let fingerprint = Fingerprint::of(config_audit_local::aws::item(entry.clone()));
            let stored = entry["modificationTime"].as_s().unwrap().clone();
            Witness { id: id(entry), fingerprint, stored: Some(stored) }
        };
        let body = WitnessObject { entries: batch.iter().map(entry).collect() }.body();
        let file = directory.join(object_key(Some(&arn), DateTime::from_timestamp(EPOCH, 0), &body));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, body).unwrap();
    }
}

/// Replaces this attribute's value in an entry, wherever the value is.
async fn alter(tables: &Tables, entry: &SdkItem, attribute: &str, value: i64) {
    tables.alter(&id(entry), attribute, AttributeValue::N(value.to_string())).await;
}

fn findings(found: &[Value]) -> Vec<Value> {
    let short =
        |finding: &Value| json!([finding["itemKey"], finding["finding"], finding["attribute"], finding["entry"]]);
    found.iter().map(short).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_altered_or_missing_among_a_hundred_thousand_entries_is_named() {
    let count = items();
    let histories: Vec<History> = (0..count).map(history).collect();
    let entries: Vec<Vec<SdkItem>> = (0..count).zip(&histories).map(|(n, history)| entries(&key(n), history)).collect();
    let items = histories.iter().filter_map(|history| history.last().unwrap().1.clone()).map(sdk_item);
    let directory = tempfile::tempdir().unwrap();
    import(directory.path(), [(CONFIGURATION, items.collect()), (AUDIT, entries.concat())]).await;
    let tables = Tables::in_directory(directory.path()).await;

    let (exported, memory, took) = measured(&tables, &["export", "--audit-table", AUDIT]).await;
    println!("{took}");
    assert!(memory < most_memory_of_export(), "{memory} kB");
    assert_eq!(
        (exported.code, &*exported.stderr),
        (0, &*format!("{} entries exported.\n", thousands(usize::try_from(count * CHANGES).unwrap())))
    );
    let rows: Vec<&str> = exported.stdout.lines().skip(1).collect();
    assert_eq!(i64::try_from(rows.len()), Ok(count * CHANGES));
    // The time is the first cell.
    assert!(rows.is_sorted_by_key(|row| row.split(',').next()));

    // What nothing in the trail reveals: one value rewritten consistently in two entries, a deletion with its neighbours
    // mended, a time altered, and a whole life forged.
    let bucket = tempfile::tempdir().unwrap();
    witness(bucket.path(), &entries.concat());
    let location = bucket.path().to_str().unwrap();
    let with_witness = [VERIFY, &["--settle", "0", "--output", "json", "--witness", location]].concat();
    let originals = [&entries[100][3], &entries[100][4], &entries[200][4], &entries[200][5], &entries[300][9]];
    alter(&tables, originals[0], "newValue", 99).await;
    alter(&tables, originals[1], "oldValue", 99).await;
    tables.delete(AUDIT, "id", &id(originals[2])).await;
    tables.alter(&id(originals[3]), "oldValue", originals[2]["oldValue"].clone()).await;
    tables.alter(&id(originals[4]), "modificationTime", AttributeValue::S(text(EPOCH + 3600))).await;
    let life = vec![(EPOCH + 7200, Some(item("NEVER", &[("value", 1)]))), (EPOCH + 7260, None)];
    let forged = super::scene::entries("NEVER", &life);
    tables.write(AUDIT, forged.clone()).await;
    let (found, memory, took) = measured(&tables, &with_witness).await;
    println!("with witnesses, {took}");
    assert!(memory < MOST_MEMORY, "{memory} kB");
    assert_eq!(found.code, 1, "{found:?}");
    let (named, summary) = found.findings();
    assert_eq!(summary["witness"]["entriesAsWitnessed"], json!(count * CHANGES - 5));
    let mut without_witness = summary.clone();
    without_witness.as_object_mut().unwrap().remove("witness");
    assert_eq!(
        without_witness,
        json!({
            "items": count / 10 * 9, "deletedItems": count / 10 + 1, "entries": count * CHANGES + 1,
            "provenFromCreation": count + 1, "provenFromBackfill": 0, "olderThanTheTrail": 0, "itemsWithFindings": 0,
            "findings": 0, "undecided": 0,
        }),
        "the entries fit one another"
    );
    let mut named: Vec<Value> = named.iter().map(|finding| json!([finding["entry"], finding["finding"]])).collect();
    let mut expected: Vec<Value> = [
        (originals[0], "altered"),
        (originals[1], "altered"),
        (originals[2], "deleted"),
        (originals[3], "altered"),
        (originals[4], "altered"),
        (&forged[0], "forged"),
        (&forged[1], "forged"),
    ]
    .map(|(entry, kind)| json!([id(entry), kind]))
    .into();
    named.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(named, expected);
    // Everything is restored.
    for entry in &forged {
        tables.delete(AUDIT, "id", &id(entry)).await;
    }
    tables.write(AUDIT, originals.map(Clone::clone)).await;

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
    assert_eq!((&summary["provenFromCreation"], &summary["olderThanTheTrail"]), (&json!(count - 5), &json!(1)));
    tables.database.stop().await;
}
