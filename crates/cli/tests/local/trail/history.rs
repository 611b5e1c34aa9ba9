//! `history`: an item at any time, and its changes between two times.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, FixedOffset};
use config_audit::clock::Clock;
use config_audit_tables::sdk_item;
use config_audit_trail::backfill_plan;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::scene::{AUDIT, CONFIGURATION, EPOCH, History, Tables, VERIFY, entries, id, item, text};
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
        let ran = tables.history("K", &["--at", &text(at), "--output", "json"]).await;
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

#[tokio::test]
async fn times_are_given_as_people_give_them_and_what_cannot_be_meant_is_said() {
    let tables = Tables::on(Engine::Embedded).await;
    let hour = 60 * 60;
    let now = Clock::System.now().timestamp();
    let history: History = [50, 40, 30, 3].map(|ago| (now - ago * hour, Some(item("K", &[("a", ago)])))).to_vec();
    tables.write(AUDIT, entries("K", &history)).await;
    let count = async |cut: &[&str]| {
        let ran = tables.history("K", &[cut, &["--output", "json"]].concat()).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{cut:?}: {ran:?}");
        ran.lines().len()
    };
    let with_offset = DateTime::from_timestamp(now - 40 * hour, 0).unwrap();
    let with_offset = with_offset.with_timezone(&FixedOffset::west_opt(7 * 3600).unwrap()).to_rfc3339();
    assert!(with_offset.ends_with("-07:00"), "{with_offset}");
    assert_eq!(count(&["--since", "7d"]).await, 4);
    assert_eq!(count(&["--since", "35h"]).await, 2);
    assert_eq!(count(&["--since", "45h", "--until", "1d"]).await, 2);
    assert_eq!(count(&["--since", &with_offset, "--until", &with_offset]).await, 1);
    assert_eq!(count(&["--since", "2024-09-11", "--until", "9999-12-31"]).await, 4);
    let ran = tables.history("K", &["--at", "36h", "--output", "json"]).await;
    assert_eq!(ran.lines(), [json!({ "key": "K", "a": 40 })]);

    for (cut, said) in [
        (&["--since", "1h"][..], "K has no entries in this range; there are 4 before it."),
        (&["--until", "9d"], "K has no entries in this range; there are 4 after it."),
        (&["--since", "1h", "--until", "1h"], "K has no entries in this range; there are 4 before it."),
        (
            &["--since", "39h", "--until", "31h"],
            "K has no entries in this range; there are 2 before it and 2 after it.",
        ),
    ] {
        let ran = tables.history("K", cut).await;
        assert_eq!((ran.code, ran.stderr.trim_end(), ran.stdout.as_str()), (1, said, ""), "{cut:?}");
    }
    for (cut, said) in [
        (&["--since", "1h", "--until", "2h"][..], "--since 1h is after --until 2h"),
        (&["--since", "9000-01-01"], "--since 9000-01-01 is in the future"),
        (&["--at", "9000-01-01T00:00:00Z"], "--at 9000-01-01T00:00:00Z is in the future"),
        (&["--since", "yesterday"], "expected a time such as 2026-03-03T10:00:00Z"),
        (&["--at", "2026-03-03T10:00:00"], "or how long ago, such as 90s, 1h or 7d"),
        (&["--at", "1h", "--since", "2h"], "cannot be used with"),
    ] {
        let ran = tables.history("K", cut).await;
        assert!(ran.code == 2 && ran.stderr.contains(said), "{cut:?}: {ran:?}");
    }
    let help = tables.run(&["history", "--help"]).await.stdout;
    for form in ["2026-03-03T10:00:00Z", "+02:00", "a day in UTC", "7d"] {
        assert!(help.contains(form), "{help}");
    }
    tables.database.stop().await;
}

#[tokio::test]
async fn an_item_at_a_time_is_printed_three_ways() {
    let tables = Tables::on(Engine::Embedded).await;
    let mut then = item("K", &[("number", 1)]);
    then.insert("text".to_owned(), serde_dynamo::AttributeValue::S("x,\"\u{1b}".repeat(100)));
    let history: History = vec![(EPOCH, Some(then)), (EPOCH + 60, Some(item("K", &[("number", 2)])))];
    tables.write(AUDIT, entries("K", &history)).await;
    let at = async |output: &str, more: &[&str]| {
        let ran = tables.history("K", &[&["--at", "2024-09-11T09:03:00Z", "--output", output], more].concat()).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        ran.stdout
    };
    let plain = json!({ "key": "K", "number": 1, "text": "x,\"\u{1b}".repeat(100) });
    let table = at("table", &[]).await;
    let rows: Vec<_> = table.lines().map(|line| line.split_once("  ").unwrap()).collect();
    assert_eq!(rows[0].0, "attribute");
    assert_eq!((rows[1].0.trim(), rows[1].1.trim(), rows[2].1.trim()), ("key", "\"K\"", "1"));
    assert!(table.lines().all(|line| line.chars().count() <= 120) && !table.contains('\u{1b}'), "{table}");
    assert_eq!(serde_json::from_str::<Value>(&at("json", &[]).await).unwrap(), plain);
    let csv = at("csv", &[]).await;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.headers().unwrap(), vec!["attribute", "value"]);
    let values: Value = reader
        .records()
        .map(Result::unwrap)
        .map(|row| (row[0].to_owned(), serde_json::from_str::<Value>(&row[1]).unwrap()))
        .collect();
    assert_eq!(values, plain);
    // The item as it is now.
    assert_eq!(tables.history("K", &["--at", "0s", "--output", "json"]).await.lines()[0]["number"], 2);
    for output in ["table", "json", "csv"] {
        let names = at(output, &["--names-only"]).await;
        assert!(names.contains("number") && !names.contains("x,") && !names.contains('1'), "{names}");
    }
    tables.database.stop().await;
}

/// A backfilled entry may have a time some minutes before the item was read. If the changes in these minutes are cut
/// off, what the entry shows still happened.
#[tokio::test]
async fn a_cut_history_is_intact_beside_a_backfilled_entry() {
    let tables = Tables::on(Engine::Embedded).await;
    let history: History = (0..4).map(|n| (EPOCH + n * 60, Some(item("K", &[("a", n)])))).collect();
    tables.write(AUDIT, entries("K", &history).split_off(1)).await;
    // The item was read after its last change.
    let time = DateTime::from_timestamp(EPOCH + 90, 0).unwrap();
    let json = to_raw_value(&item("K", &[("a", 3)])).unwrap();
    let plan = backfill_plan(CONFIGURATION, "K", serde_json::from_str(json.get()).unwrap(), time);
    tables.write(AUDIT, plan.entries.iter().map(|entry| sdk_item(entry.item().into_inner()))).await;
    for cut in [["--until", &text(EPOCH + 120)], ["--since", &text(EPOCH + 90)], ["--until", &text(EPOCH + 90)]] {
        let ran = tables.history("K", &[&cut[..], &["--output", "json"]].concat()).await;
        assert_eq!((ran.code, ran.stderr.as_str(), ran.lines().is_empty()), (0, "", false), "{cut:?}: {ran:?}");
    }
    // A missing change between those that are shown is still reported, but one beyond them is not.
    tables.delete(AUDIT, "id", &id(&entries("K", &history)[2])).await;
    let (shown, cut) = (text(EPOCH + 180), text(EPOCH + 60));
    let ran = tables.history("K", &["--until", &shown]).await;
    assert!(ran.code == 3 && ran.stdout.contains("\nThe trail is not intact: a change of attribute a"), "{ran:?}");
    let ran = tables.history("K", &["--until", &cut]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    tables.database.stop().await;
}

#[tokio::test]
async fn a_history_of_a_broken_trail_says_so_where_it_is_printed() {
    let tables = Tables::on(Engine::Embedded).await;
    let history: History = (0..4).map(|n| (EPOCH + n * 60, (n < 3).then(|| item("K", &[("a", n)])))).collect();
    let written = entries("K", &history);
    tables.write(AUDIT, written.clone()).await;
    let (last, end, at) = (id(&written[3]), text(EPOCH + 180), text(EPOCH + 60));
    for more in [&[][..], &["--at", &at], &["--output", "json"], &["--output", "csv"]] {
        assert_eq!(tables.history("K", more).await.code, 0, "{more:?}");
    }
    assert_eq!(tables.history("K", &["--at", &end]).await.code, 1);
    tables.delete(AUDIT, "id", &id(&written[2])).await;

    let finding = format!("a change of attribute a between {at} and {end} is missing, or an entry was altered");
    let said = format!("The trail is not intact: {finding}.\n");
    for more in [&[][..], &["--at", &at], &["--at", &end]] {
        let ran = tables.history("K", more).await;
        assert!(ran.code == 3 && ran.stdout.ends_with(&said) && !ran.stderr.contains(&said), "{more:?}: {ran:?}");
    }
    for output in ["json", "csv"] {
        for more in [&[][..], &["--at", &at]] {
            let ran = tables.history("K", &[more, &["--output", output]].concat()).await;
            assert!(ran.code == 3 && ran.stderr == said && !ran.stdout.contains(&said), "{more:?}: {ran:?}");
        }
    }
    let lines = tables.history("K", &["--output", "json"]).await.lines();
    let with_findings: Vec<_> = lines.iter().filter(|line| line.get("findings").is_some()).collect();
    assert_eq!(with_findings.len(), 1, "{lines:?}");
    assert_eq!((&with_findings[0]["id"], &with_findings[0]["findings"]), (&json!(last), &json!([finding])));
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
    // The rest of an undecided trail is unknown too.
    let later = EPOCH + 1_000_000;
    history.push((later, Some(item("K", &[("a", 1)]))));
    let mut entries = entries("K", &history);
    for (number, entry) in entries.iter_mut().filter(|entry| entry.contains_key("oldValue")).enumerate() {
        // The last one is for an item that never existed.
        let number = i64::try_from(if number == 11 { 1000 } else { number }).unwrap();
        let removed = serde_dynamo::AttributeValue::M(item("K", &[("a", number)]));
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let note = [
            ("omitted", text("DynamoDB rejects the entry with this value")),
            ("bytes", AttributeValue::N("1".to_owned())),
            ("sha256", text(&config_audit::value::canonical_hash(&removed))),
            ("record", text("s3://b/k")),
        ];
        let note = note.map(|(name, member)| (name.to_owned(), member));
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
    let verify = [VERIFY, &["--settle", "0"]].concat();
    let ran = tables.run(&verify).await;
    assert!(ran.stdout.contains("It cannot be determined whether the trail is intact: 1 undecided."), "{ran:?}");
    let ran = tables.history("K", &["--output", "json"]).await;
    assert_eq!((ran.code, ran.lines().len()), (3, count), "{ran:?}");
    assert!(
        ran.stderr.starts_with("The trail may not be intact: ") && ran.stderr.contains("too many changes"),
        "{ran:?}"
    );
    let since = DateTime::from_timestamp(later, 0).unwrap().to_rfc3339();
    let ran = tables.history("K", &["--output", "json", "--since", &since]).await;
    assert_eq!((ran.code, ran.lines().len()), (3, 1), "{ran:?}");
    assert!(ran.stderr.starts_with("The trail may not be intact: "), "{ran:?}");
    tables.database.stop().await;
}
