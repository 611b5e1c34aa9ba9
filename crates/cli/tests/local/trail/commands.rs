//! `history`, `verify` and `backfill`: what they print, and how they end.

use aws_sdk_dynamodb::types::AttributeValue;
use config_audit::clock::Clock;
use config_audit_local::{EventBus, WorldEvent};
use config_audit_local::{Source, Store, World, WorldSettings};
use config_audit_tables::sdk_item;
use serde_json::{Value, json};

use super::scene::{AUDIT, CONFIGURATION, EPOCH, History, Tables, VERIFY, entries, id, item, text};
use crate::bootstrap::engine::Engine;
use crate::support::{GENEROUS, bootstrap, wait_for};

/// A value that only `history` may print.
const SECRET: &str = "s3cr3t-c0nfigurati0n";

/// Changes to the table go through the stream, the mapping and the real function, on both engines.
#[tokio::test]
async fn what_the_function_writes_is_proven_and_what_is_older_is_backfilled() {
    for engine in Engine::BOTH {
        let tables = Tables::on(engine).await;
        let mut settings = WorldSettings::new(bootstrap());
        settings.store = Store::Endpoint(tables.database.url().to_owned());
        settings.aws = tables.aws.clone();
        AUDIT.clone_into(&mut settings.audit_table);
        settings.function.init_timeout = GENEROUS;
        settings.function.timeout = GENEROUS;
        settings.source = Some(Source { table: CONFIGURATION.to_owned(), ..Source::default() });
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let world = World::start(settings, bus).await.unwrap();
        let client = tables.database.client();
        let put = async |key: &str, number: &str| {
            let put = client.put_item().table_name(CONFIGURATION).item("key", AttributeValue::S(key.to_owned()));
            let put = put.item("secret", AttributeValue::S(SECRET.to_owned()));
            put.item("number", AttributeValue::N(number.to_owned())).send().await.unwrap();
        };
        // Most of it within one second.
        for number in ["1", "2", "1", "3", "38.50"] {
            put("CHANGED", number).await;
        }
        put("OLDER", "1").await;
        put("GONE", "1").await;
        tables.delete(CONFIGURATION, "key", "GONE").await;
        put("GONE", "2").await;
        tables.delete(CONFIGURATION, "key", "GONE").await;
        let mut stored = 0;
        wait_for(&mut events, |event| {
            stored += usize::from(matches!(event, WorldEvent::EntryStored { .. }));
            (stored == 10).then_some(())
        })
        .await;

        let proven = tables.verify().await;
        assert_eq!(proven.code, 0, "{proven:?}");
        assert_eq!(proven.findings().1["provenFromCreation"], 3);
        let history = tables.history("CHANGED", &["--output", "json"]).await;
        let values: Vec<Value> = history.lines()[1..].iter().map(|line| line["newValue"].clone()).collect();
        assert_eq!(Value::from(values).to_string(), "[2,1,3,38.5]", "{history:?}");

        // As if the function had been deployed after OLDER was created.
        let history = tables.history("OLDER", &["--output", "json"]).await;
        tables.delete(AUDIT, "id", history.lines()[0]["id"].as_str().unwrap()).await;
        let unproven = tables.verify().await;
        assert_eq!(unproven.code, 1, "{unproven:?}");
        assert_eq!(unproven.findings().0[0]["finding"], "noEntry");
        let dry = tables.backfill(&["--dry-run"]).await;
        assert_eq!(
            (dry.code, dry.stdout.as_str()),
            (0, "OLDER: would be backfilled\n2 items: 1 would be backfilled\n")
        );
        let backfilled = tables.backfill(&[]).await;
        assert_eq!((backfilled.code, backfilled.stdout.as_str()), (0, "OLDER: backfilled\n2 items: 1 backfilled\n"));
        let again = tables.backfill(&[]).await;
        assert_eq!((again.code, again.stdout.as_str()), (0, "2 items: 0 backfilled\n"));
        put("OLDER", "2").await;
        wait_for(&mut events, |event| match event {
            WorldEvent::EntryStored { entry } => (entry.text("updatedAttribute") == "number").then_some(()),
            _ => None,
        })
        .await;
        let proven = tables.verify().await;
        assert_eq!(proven.code, 0, "{proven:?}");
        let summary = proven.findings().1;
        assert_eq!((&summary["provenFromCreation"], &summary["provenFromBackfill"]), (&json!(2), &json!(1)));
        let history = tables.history("OLDER", &[]).await;
        assert!(history.stdout.contains("(backfilled)") && history.stdout.contains("s3c"), "{history:?}");
        for silent in [unproven, proven, dry, backfilled] {
            assert!(!silent.text().contains(SECRET), "{silent:?}");
        }
        world.stop().await;
        tables.database.stop().await;
    }
}

/// The text of verify's findings is for people, but contains no value either.
#[tokio::test]
async fn findings_name_the_item_the_attribute_and_the_times_but_no_value() {
    let tables = Tables::on(Engine::Embedded).await;
    let secret = |number: i64| {
        let mut item = item("K", &[("number", number)]);
        item.insert("secret".to_owned(), serde_dynamo::AttributeValue::S(format!("{SECRET}{number}")));
        item
    };
    let history: History = (0..4).map(|n| (EPOCH + n * 60, Some(secret(n)))).collect();
    let mut entries = entries("K", &history);
    entries.retain(|entry| entry["modificationTime"].as_s().unwrap() != &text(EPOCH + 120));
    tables.write(AUDIT, entries).await;
    tables.write(CONFIGURATION, [sdk_item(secret(4))]).await;
    let verify = [VERIFY, &["--settle", "0"]].concat();
    let ran = tables.run(&verify).await;
    assert_eq!(ran.code, 1);
    for attribute in ["number", "secret"] {
        let between = format!("attribute {attribute} between {} and {}", text(EPOCH + 60), text(EPOCH + 180));
        assert!(ran.stdout.contains(&between), "{ran:?}");
        assert!(ran.stdout.contains(&format!("attribute {attribute} after {}", text(EPOCH + 180))), "{ran:?}");
    }
    assert!(ran.stdout.contains("The trail is not intact: 4 findings."), "{ran:?}");
    assert!(!ran.text().contains(SECRET), "{ran:?}");
    tables.database.stop().await;
}

#[tokio::test]
async fn what_the_function_never_writes_is_named_and_what_cannot_be_found_is_said() {
    let tables = Tables::on(Engine::Embedded).await;
    let history: History = (0..2).map(|n| (EPOCH + n * 60, Some(item("K", &[("a", n)])))).collect();
    let written = entries("K", &history);
    tables.write(AUDIT, written.clone()).await;
    tables.write(CONFIGURATION, [sdk_item(history[1].1.clone().unwrap())]).await;
    let ran = tables.run(&[VERIFY, &["--settle", "0"]].concat()).await;
    assert!(
        ran.code == 0 && ran.stdout.contains("the other entries and the items; docs/semantics.md lists the cases."),
        "{ran:?}"
    );

    let one = serde_dynamo::AttributeValue::N("1".to_owned());
    let note = [
        ("omitted", AttributeValue::S("the entry would be larger than 400 KB".to_owned())),
        ("bytes", AttributeValue::N("500000".to_owned())),
        ("sha256", AttributeValue::S(config_audit::value::canonical_hash(&one))),
        ("record", AttributeValue::S("s3://b/k".to_owned())),
    ];
    let note = AttributeValue::M(note.map(|(name, member)| (name.to_owned(), member)).into());
    let time = AttributeValue::S(text(EPOCH + 60).to_lowercase());
    let [_, changed] = &written[..] else { panic!("{written:?}") };
    for (attribute, value, finding) in [
        ("newValue", note, "note"),
        ("newValue", changed["oldValue"].clone(), "unreadable"),
        ("modificationTime", time, "unreadable"),
    ] {
        tables.write(AUDIT, [changed.clone()]).await;
        tables.alter(&id(changed), attribute, value).await;
        let ran = tables.verify().await;
        let (found, _) = ran.findings();
        let is_named = found.iter().any(|line| line["finding"] == finding && line["entry"] == id(changed));
        assert!(ran.code == 1 && is_named, "{attribute}, {finding}: {ran:?}");
    }
    tables.database.stop().await;
}

#[tokio::test]
async fn what_predates_the_trail_is_said_to_be_unknown() {
    let tables = Tables::on(Engine::Embedded).await;
    let history: History =
        vec![(EPOCH, Some(item("K", &[("a", 1), ("b", 1)]))), (EPOCH + 60, Some(item("K", &[("a", 2), ("b", 1)])))];
    tables.write(AUDIT, entries("K", &history).split_off(1)).await;
    tables.write(CONFIGURATION, [sdk_item(history[1].1.clone().unwrap())]).await;
    let before = tables.history("K", &["--at", &text(EPOCH), "--output", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&before.stdout).unwrap(), json!({ "a": 1 }));
    assert!(before.stderr.contains("the trail records only these: a; it may"), "{before:?}");
    assert_eq!(tables.verify().await.findings().1["olderThanTheTrail"], 1);
    // Its snapshot shows the rest, even for the time before the change.
    assert!(tables.backfill(&[]).await.stdout.starts_with("K: backfilled"));
    let before = tables.history("K", &["--at", &text(EPOCH), "--output", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&before.stdout).unwrap(), json!({ "key": "K", "a": 1, "b": 1 }));
    assert_eq!(tables.verify().await.findings().1["provenFromBackfill"], 1);
    // The first of its real entries is lost, which shows at the snapshot.
    tables.delete(AUDIT, "id", &id(&entries("K", &history)[1])).await;
    assert_eq!(tables.verify().await.code, 0, "nothing contradicts a snapshot alone");
    tables.database.stop().await;
}

/// Nothing shows whether an item is older than the trail or its creation was deleted, so the command does not say that
/// all is well.
#[tokio::test]
async fn an_item_whose_creation_is_missing_is_named_and_a_finding_where_the_trail_is_complete() {
    let tables = Tables::on(Engine::Embedded).await;
    for key in ["CHANGED", "GONE", "WHOLE"] {
        let last = (key != "GONE").then(|| item(key, &[("a", 2)]));
        let history: History = vec![(EPOCH, Some(item(key, &[("a", 1)]))), (EPOCH + 60, last.clone())];
        tables.write(AUDIT, entries(key, &history).split_off(usize::from(key != "WHOLE"))).await;
        tables.write(CONFIGURATION, last.map(sdk_item)).await;
    }
    let ran = tables.verify().await;
    let (older, summary) = ran.findings();
    let mut named: Vec<_> =
        older.iter().map(|line| json!([line["itemKey"], line["finding"], line["before"]])).collect();
    named.sort_by_key(Value::to_string);
    let since = text(EPOCH + 60);
    assert_eq!(named, [json!(["CHANGED", "older", since]), json!(["GONE", "older", since])]);
    assert_eq!((ran.code, &summary["olderThanTheTrail"], &summary["findings"]), (0, &json!(2), &json!(0)));
    assert_eq!(summary["provenFromCreation"], 1);

    let verify = [VERIFY, &["--settle", "0"]].concat();
    let ran = tables.run(&verify).await;
    let doubt = "intact, but 2 items look older than the trail: they are older, or their creation is missing";
    assert!(ran.stdout.contains(doubt) && ran.stdout.contains("CHANGED: it looks older"), "{ran:?}");
    assert!(!ran.stdout.contains("The trail is intact."), "{ran:?}");

    let ran = tables.run(&[&verify[..], &["--complete"]].concat()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("GONE: it looks older") && ran.stdout.contains("not intact: 2 findings"), "{ran:?}");
    tables.database.stop().await;
}

#[tokio::test]
async fn an_item_too_large_for_an_entry_is_backfilled_and_proven_by_its_hash() {
    let tables = Tables::on(Engine::Embedded).await;
    // The item is within the limit; the entry around it is not.
    let large = |byte: &str| {
        let mut large = item("LARGE", &[]);
        large.insert("x".to_owned(), serde_dynamo::AttributeValue::S(byte.repeat(400 * 1024 - 20)));
        sdk_item(large)
    };
    tables.write(CONFIGURATION, [large("x"), sdk_item(item("SMALL", &[]))]).await;
    let ran = tables.backfill(&[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.contains("LARGE: backfilled, by its hash") && ran.stdout.contains("SMALL: backfilled\n"),
        "{ran:?}"
    );
    let history = tables.history("LARGE", &["--output", "json"]).await;
    let [entry] = &history.lines()[..] else { panic!("{history:?}") };
    assert_eq!(entry["newValue"]["record"], format!("dynamodb:{CONFIGURATION}/LARGE"));
    assert_eq!(tables.backfill(&[]).await.stdout, "2 items: 0 backfilled\n");
    let proven = tables.verify().await;
    assert_eq!((proven.code, &proven.findings().1["provenFromBackfill"]), (0, &json!(2)), "{proven:?}");
    // A change that nothing records.
    tables.write(CONFIGURATION, [large("y")]).await;
    let (found, _) = tables.verify().await.findings();
    assert_eq!((&found[0]["itemKey"], &found[0]["finding"]), (&json!("LARGE"), &json!("item")));
    tables.database.stop().await;
}

/// Whoever writes configuration chooses keys and attribute names.
#[tokio::test]
async fn no_key_and_no_name_hides_or_forges_a_line() {
    let tables = Tables::on(Engine::Embedded).await;
    let evil = "x\u{1b}[2K\n\u{9b}2KThe trail is intact.";
    let history: History = vec![(EPOCH, Some(item(evil, &[(evil, 1)])))];
    tables.write(AUDIT, entries(evil, &history)).await;
    tables.write(CONFIGURATION, [sdk_item(item(evil, &[(evil, 2)])), sdk_item(item("y\u{1b}\n", &[]))]).await;
    let verify = [VERIFY, &["--settle", "0"]].concat();
    for (ran, lines) in [
        (tables.run(&verify).await, 4),
        (tables.backfill(&["--dry-run"]).await, 2),
        (tables.history(evil, &[]).await, 2),
        (tables.history("no\u{1b}\n", &[]).await, 0),
    ] {
        assert!(!ran.text().contains(|c: char| c.is_control() && c != '\n'), "{ran:?}");
        assert_eq!(ran.stdout.lines().count(), lines, "{ran:?}");
    }
    tables.database.stop().await;
}

/// A table that was created by hand may lack it.
#[tokio::test]
async fn an_audit_table_without_the_index_is_said_so() {
    use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
    for engine in Engine::BOTH {
        let (database, aws) = engine.database().await;
        database.ensure_configuration_table(CONFIGURATION, "key").await.unwrap();
        let attribute = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
        let element = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
        let create = database.client().create_table().table_name(AUDIT).billing_mode(BillingMode::PayPerRequest);
        create.attribute_definitions(attribute.build().unwrap()).key_schema(element).send().await.unwrap();
        let tables = Tables { database, aws };
        for ran in [tables.history("K", &[]).await, tables.verify().await] {
            let said = ran.stderr.contains("it has no index itemKey-modificationTime-index; docs/security.md");
            assert!(ran.code == 2 && said, "on {engine:?}: {ran:?}");
        }
        tables.database.stop().await;
    }
}

/// An item that changes while it is verified is not a finding, however often it changes.
#[tokio::test]
async fn an_item_that_is_being_changed_is_no_finding() {
    let tables = Tables::on(Engine::Embedded).await;
    let now = Clock::System.now().timestamp();
    let history: History = (0..400).map(|n| (now + n / 50, Some(item("HOT", &[("a", n), ("b", -n)])))).collect();
    let mut remaining = history.clone();
    let all = entries("HOT", &history);
    tables.write(AUDIT, all[..1].to_vec()).await;
    tables.write(CONFIGURATION, [sdk_item(remaining.remove(0).1.unwrap())]).await;
    let changing = async {
        for (number, (_, item)) in remaining.into_iter().enumerate() {
            // The item first, its entries later, as a stream does.
            tables.write(CONFIGURATION, [sdk_item(item.unwrap())]).await;
            tables.write(AUDIT, all[1 + 2 * number..3 + 2 * number].to_vec()).await;
        }
    };
    let verify = [VERIFY, &["--settle", "6", "--output", "json"]].concat();
    let verifying = tables.run(&verify);
    let ((), ran) = tokio::time::timeout(GENEROUS, async { tokio::join!(changing, verifying) }).await.unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    tables.database.stop().await;
}
