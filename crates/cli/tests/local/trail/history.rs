//! `history`: an item at any time, and its changes between two times.

use aws_sdk_dynamodb::types::AttributeValue;
use config_audit_cli::tables::sdk_item;
use config_audit_cli::trail::backfill_plan;
use serde_json::{Value, json};

use super::scene::{AUDIT, CONFIGURATION, EPOCH, History, Tables, entries, id, item, text};
use crate::bootstrap::engine::Engine;

#[tokio::test]
async fn an_item_at_any_time_is_what_it_was() {
    let tables = Tables::on(Engine::Embedded).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut history: History = Vec::new();
    let mut time = EPOCH;
    for _ in 0..60 {
        let numbers = [("a", random.i64(0..3)), ("b", random.i64(0..3)), ("c", random.i64(0..3))];
        let there: Vec<_> = numbers.into_iter().filter(|_| random.u8(0..3) > 0).collect();
        let is_there = history.is_empty() || random.u8(0..8) > 0;
        history.push((time, is_there.then(|| item("K", &there))));
        time += random.i64(0..3) * random.i64(0..90);
    }
    let mut entries = entries("K", &history);
    random.shuffle(&mut entries);
    tables.write(AUDIT, entries).await;
    for _ in 0..40 {
        let at = random.i64(EPOCH - 100..time + 100);
        let ran = tables.history("K", &["--at", &text(at)]).await;
        let truth = history.iter().rev().find(|(since, _)| *since <= at).and_then(|(_, item)| item.as_ref());
        let Some(item) = truth else {
            assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "at {at}");
            assert!(ran.stderr.contains("did not exist"), "{ran:?}");
            continue;
        };
        let plain = |value: &serde_dynamo::AttributeValue| match value {
            serde_dynamo::AttributeValue::N(digits) => json!(digits.parse::<i64>().unwrap()),
            serde_dynamo::AttributeValue::S(text) => json!(text),
            other => panic!("{other:?}"),
        };
        let expected: Value = item.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
        assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), expected, "at {at}");
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "at {at}");
    }
    tables.database.stop().await;
}

#[tokio::test]
async fn a_history_is_cut_by_time_and_printed_three_ways() {
    let tables = Tables::on(Engine::Embedded).await;
    let day = 24 * 60 * 60;
    let long = |number: i64| {
        let mut item = item("K", &[("number", number)]);
        item.insert("long".to_owned(), serde_dynamo::AttributeValue::S("x,\"".repeat(100)));
        item
    };
    let history: History = (0..4).map(|n| (EPOCH + n * day, (n < 3).then(|| long(n)))).collect();
    let entries = entries("K", &history);
    tables.write(AUDIT, entries.clone()).await;
    let lines = |since: &'static str, until: &'static str| {
        let tables = &tables;
        async move {
            let ran = tables.history("K", &["--since", since, "--until", until, "--output", "json"]).await;
            ran.lines().iter().map(|line| line["newValue"].clone()).collect::<Vec<_>>()
        }
    };
    assert_eq!(lines("2024-09-12", "2024-09-13").await, [json!(1), json!(2)]);
    assert_eq!(lines("2024-09-12T09:02:28Z", "2024-09-12T10:02:28+01:00").await, [json!(1)]);
    assert_eq!(tables.history("K", &["--until", "2024-09-10"]).await.code, 1);
    assert_eq!(tables.history("K", &["--since", "yesterday"]).await.code, 2);

    let table = tables.history("K", &[]).await.stdout;
    assert!(table.lines().count() == 5 && table.lines().all(|line| line.chars().count() < 140), "{table}");
    assert!(table.contains("(created)") && table.contains("(removed)") && table.contains('…'), "{table}");
    let csv = tables.history("K", &["--output", "csv"]).await.stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(serde_json::from_str::<Value>(&rows[0][4]).unwrap()["long"], "x,\"".repeat(100));
    assert_eq!((&rows[1][2], &rows[1][3], &rows[1][4]), ("number", "0", "1"));
    for output in ["table", "json", "csv"] {
        let names = tables.history("K", &["--names-only", "--output", output]).await.stdout;
        assert!(names.contains("number") && !names.contains("x,"), "{names}");
    }
    tables.database.stop().await;
}

/// A backfilled entry may be timed some minutes before the item was read. If the changes of these minutes are cut off, what it
/// shows still happened.
#[tokio::test]
async fn a_cut_history_is_intact_beside_a_backfilled_entry() {
    let tables = Tables::on(Engine::Embedded).await;
    let history: History = (0..4).map(|n| (EPOCH + n * 60, Some(item("K", &[("a", n)])))).collect();
    tables.write(AUDIT, entries("K", &history).split_off(1)).await;
    // The item was read after its last change.
    let time = chrono::DateTime::from_timestamp(EPOCH + 90, 0).unwrap();
    let plan = backfill_plan(CONFIGURATION, "K", item("K", &[("a", 3)]), time);
    tables.write(AUDIT, plan.entries.iter().map(|entry| sdk_item(entry.item().into_inner()))).await;
    for cut in [["--until", &text(EPOCH + 120)], ["--since", &text(EPOCH + 90)], ["--until", &text(EPOCH + 90)]] {
        let ran = tables.history("K", &[&cut[..], &["--output", "json"]].concat()).await;
        assert_eq!((ran.code, ran.stderr.as_str(), ran.lines().is_empty()), (0, "", false), "{cut:?}: {ran:?}");
    }
    // A change that is missing between those that are shown is still said, and one beyond them is not.
    tables.delete(AUDIT, "id", &id(&entries("K", &history)[2])).await;
    let (shown, cut) = (text(EPOCH + 180), text(EPOCH + 60));
    let ran = tables.history("K", &["--until", &shown]).await;
    assert!(ran.code == 0 && ran.stderr.contains("The trail is not intact: a change of attribute a"), "{ran:?}");
    let ran = tables.history("K", &["--until", &cut]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    tables.database.stop().await;
}

/// More orders than the command tries: it says so instead of searching on, and shows what there is.
#[tokio::test]
async fn a_second_with_too_many_orders_is_undecided_and_shown() {
    let tables = Tables::on(Engine::Embedded).await;
    let mut history: History = Vec::new();
    for n in 0..12 {
        history.push((EPOCH, Some(item("K", &[("a", n)]))));
        history.push((EPOCH, None));
    }
    let mut entries = entries("K", &history);
    for (number, entry) in entries.iter_mut().filter(|entry| entry.contains_key("oldValue")).enumerate() {
        // The last one is of an item that was never there.
        let number = i64::try_from(if number == 11 { 1000 } else { number }).unwrap();
        let removed = serde_dynamo::AttributeValue::M(item("K", &[("a", number)]));
        let note = [
            ("omitted", "too large"),
            ("bytes", "1"),
            ("sha256", &config_audit::value::canonical_hash(&removed)),
            ("record", "s3://b/k"),
        ];
        let note = note.map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned())));
        entry.insert("oldValue".to_owned(), AttributeValue::M(note.into()));
    }
    let count = entries.len();
    tables.write(AUDIT, entries).await;
    let ran = tables.verify().await;
    let (found, summary) = ran.findings();
    assert_eq!(
        (ran.code, &found[0]["itemKey"], &found[0]["finding"]),
        (1, &json!("K"), &json!("undecided")),
        "{ran:?}"
    );
    assert_eq!((found.len(), &summary["findings"], &summary["undecided"]), (1, &json!(1), &json!(1)));
    let verify = ["verify", "--configuration-table", CONFIGURATION, "--audit-table", AUDIT, "--settle", "0"];
    let ran = tables.run(&verify).await;
    assert!(ran.stdout.contains("Nobody can tell whether the trail is intact: 1 undecided."), "{ran:?}");
    let ran = tables.history("K", &["--output", "json"]).await;
    assert_eq!((ran.code, ran.lines().len()), (0, count), "{ran:?}");
    assert!(
        ran.stderr.starts_with("The trail may not be intact: ") && ran.stderr.contains("too many changes"),
        "{ran:?}"
    );
    tables.database.stop().await;
}
