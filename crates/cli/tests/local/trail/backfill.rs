//! `backfill` on items that DynamoDB accepts, but whose entries it refuses.

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_dynamodb::types::{AttributeValue, ScalarAttributeType};
use config_audit::value::base64_text;
use config_audit_tables::{SdkItem, sdk_item};
use serde_json::json;

use super::permissions::refusing;
use super::scene::{AUDIT, CONFIGURATION, EPOCH, Ran, Tables, entries, item, run_at};
use crate::bootstrap::engine::Engine;

/// A value that only `history` may print.
const SECRET: &str = "s3cr3t-c0nfigurati0n";

fn with(key: &str, value: AttributeValue) -> SdkItem {
    let mut item = sdk_item(item(key, &[]));
    item.insert("value".to_owned(), value);
    item
}

/// As many levels as an item may have under an attribute, around a secret.
fn deep() -> AttributeValue {
    let secret = AttributeValue::S(SECRET.to_owned());
    (0..31).fold(secret, |inner, _| AttributeValue::M([("m".to_owned(), inner)].into()))
}

/// Numbers whose digits are split by the point, which take one byte more than others with the same number of digits.
fn decimals(count: usize) -> AttributeValue {
    AttributeValue::L(vec![AttributeValue::N("1.2".to_owned()); count])
}

/// As many of them as an item of this engine has room for, or a few fewer.
async fn put_decimals(tables: &Tables) {
    let (mut fits, mut too_many) = (100_000, 105_000);
    while fits + 16 < too_many {
        let count = usize::midpoint(fits, too_many);
        let put = tables.database.client().put_item().table_name(CONFIGURATION);
        match put.set_item(Some(with("DECIMALS", decimals(count)))).send().await {
            Ok(_) => fits = count,
            Err(error) if error.code() == Some("ValidationException") => too_many = count,
            Err(error) => panic!("{count} decimals: {}", DisplayErrorContext(error)),
        }
    }
    assert!(fits > 100_000, "no item was small enough");
}

/// Backfills, and proves that all but these items have an entry.
async fn backfill_all_but(tables: &Tables, refused: &[&str], items: usize) -> Ran {
    let ran = tables.backfill(&[]).await;
    assert!(!ran.text().contains(SECRET), "{ran:?}");
    assert_eq!(ran.code, i32::from(!refused.is_empty()), "{ran:?}");
    let proven = tables.verify().await;
    let (found, summary) = proven.findings();
    let mut unproven: Vec<_> = found.iter().map(|line| line["itemKey"].as_str().unwrap()).collect();
    unproven.sort_unstable();
    assert_eq!(unproven, refused, "{proven:?}");
    assert_eq!(summary["provenFromBackfill"], json!(items - refused.len()));
    ran
}

#[tokio::test]
async fn no_item_stops_a_backfill_and_what_has_no_room_gets_a_note() {
    // Large items keep a JVM busy, and other tests would have to wait for it.
    for engine in [Engine::Embedded, Engine::DynamoDbLocalAlone] {
        let tables = Tables::on(engine).await;
        let plain = (0..299).map(|n| sdk_item(item(&format!("K{n}"), &[("a", n)])));
        tables.write(CONFIGURATION, plain.chain([with("DEEP", deep())])).await;
        put_decimals(&tables).await;
        let ran = backfill_all_but(&tables, &[], 301).await;
        assert!(ran.stdout.ends_with("301 items: 301 backfilled\n"), "on {engine:?}: {ran:?}");
        for key in ["DEEP", "DECIMALS"] {
            assert!(ran.stdout.contains(&format!("{key}: backfilled, by its hash")), "on {engine:?}: {ran:?}");
            let history = tables.history(key, &["--output", "json"]).await;
            let record = &history.lines()[0]["newValue"]["record"];
            assert_eq!(record, &json!(format!("dynamodb:{CONFIGURATION}/{key}")), "on {engine:?}");
        }
        assert_eq!(tables.backfill(&[]).await.stdout, "301 items: 0 backfilled\n");
        tables.database.stop().await;
    }
}

/// A binary key of 1,536 bytes has 2,048 bytes as text, and the index accepts no more.
#[tokio::test]
async fn an_item_that_cannot_have_an_entry_is_named_and_the_others_get_theirs() {
    let tables = Tables::with_key(ScalarAttributeType::B).await;
    let keys = (0..300_u32).map(|n| n.to_be_bytes().to_vec()).chain([vec![7; 1_536], vec![9; 1_537]]);
    tables.write(CONFIGURATION, keys.map(|key| [("id".to_owned(), AttributeValue::B(key.into()))].into())).await;
    let refused = base64_text(&[9; 1_537]);
    let line = format!("{refused}: cannot be backfilled: its key is longer than 2,048 bytes as text");
    let dry = tables.backfill(&["--dry-run"]).await;
    assert!(dry.code == 1 && dry.stdout.contains(&line), "{dry:?}");
    assert!(dry.stdout.ends_with("302 items: 301 would be backfilled, 1 cannot be\n"), "{dry:?}");
    assert_eq!(tables.database.entries(AUDIT).await.unwrap().len(), 0);
    for backfilled in ["301", "0"] {
        let ran = backfill_all_but(&tables, &[&refused], 302).await;
        assert!(ran.stdout.contains(&line), "{ran:?}");
        assert!(ran.stdout.ends_with(&format!("302 items: {backfilled} backfilled, 1 cannot be\n")), "{ran:?}");
    }
    tables.database.stop().await;
}

/// Whatever DynamoDB refuses, and for whatever reason, the other items get their entries.
#[tokio::test]
async fn what_dynamodb_refuses_gets_a_note_and_what_it_refuses_even_so_is_named() {
    let tables = Tables::on(Engine::Embedded).await;
    let plain = (0..30).map(|n| sdk_item(item(&format!("K{n}"), &[("a", n)])));
    let secret = || AttributeValue::S(SECRET.to_owned());
    tables.write(CONFIGURATION, plain.chain([with("VALUE", secret()), with("ALWAYS", secret())])).await;
    let is_refused = |operation: &str, body: &str| {
        operation == "PutItem" && (body.contains(SECRET) || body.contains("\"itemKey\":{\"S\":\"ALWAYS\"}"))
    };
    let (url, server) = refusing(tables.database.url(), "ValidationException", is_refused).await;
    let backfill = ["backfill", "--configuration-table", CONFIGURATION, "--audit-table", AUDIT];
    let ran = run_at(&url, &tables.aws, &backfill).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    for line in ["VALUE: backfilled, by its hash", "ALWAYS: cannot be backfilled: DynamoDB rejects its entry"] {
        assert!(ran.stdout.contains(line), "{ran:?}");
    }
    assert!(ran.stdout.ends_with("32 items: 31 backfilled, 1 cannot be\n") && !ran.text().contains(SECRET), "{ran:?}");
    server.abort();
    // Once the reason is gone, the next run has only that one to do.
    let ran = tables.backfill(&[]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "ALWAYS: backfilled\n32 items: 1 backfilled\n"));
    let proven = tables.verify().await;
    assert_eq!((proven.code, &proven.findings().1["provenFromBackfill"]), (0, &json!(32)), "{proven:?}");
    tables.database.stop().await;
}

#[tokio::test]
async fn the_canary_is_neither_backfilled_nor_missed_and_what_only_looks_like_it_is_both() {
    let canary = |value: &str| {
        let mut canary = with(config_audit::canary::KEY, AttributeValue::N(value.to_owned()));
        canary.insert("scheduledTime".to_owned(), AttributeValue::S("2026-03-03T10:15:00Z".to_owned()));
        canary
    };
    let tables = Tables::on(Engine::Embedded).await;
    tables.write(CONFIGURATION, [sdk_item(item("K", &[("a", 1)])), canary("0")]).await;
    let ran = backfill_all_but(&tables, &[], 1).await;
    assert!(!ran.stdout.contains("canary"), "{ran:?}");
    tables.write(CONFIGURATION, [canary("1")]).await;
    let proven = tables.verify().await;
    assert!(proven.text().contains("canary"), "{proven:?}");
    backfill_all_but(&tables, &[], 2).await;
    tables.database.stop().await;
}

/// The function writes an entry for the change to the canary, but none for the canary's removal.
#[tokio::test]
async fn the_canary_may_be_deleted_after_another_item_had_its_key() {
    let tables = Tables::on(Engine::Embedded).await;
    let key = config_audit::canary::KEY;
    let other = item(key, &[("value", 1)]);
    let mut canary = item(key, &[("value", 0)]);
    canary.insert("scheduledTime".to_owned(), serde_dynamo::AttributeValue::S("2026-03-03T10:15:00Z".to_owned()));
    let written = entries(key, &vec![(EPOCH, Some(other)), (EPOCH + 1, Some(canary))]);
    assert_eq!(written.len(), 3, "the item, and two attributes");
    tables.write(AUDIT, written[..1].iter().cloned()).await;
    let missing = tables.verify().await;
    assert!(missing.code == 1 && missing.text().contains(key), "{missing:?}");
    tables.write(AUDIT, written[1..].iter().cloned()).await;
    let proven = tables.verify().await;
    assert_eq!((proven.code, proven.findings().0), (0, vec![]), "{proven:?}");
    tables.database.stop().await;
}
