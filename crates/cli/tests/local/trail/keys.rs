//! Keys that are not text, and entries whose key was forged.

use aws_sdk_dynamodb::types::{AttributeValue, ScalarAttributeType};
use config_audit_trail::{Item, backfill_id};
use serde_json::json;

use super::scene::{AUDIT, CONFIGURATION, EPOCH, Tables, entries};

/// Numbers and bytes are keys too; entries write them as text.
#[tokio::test]
async fn keys_of_every_type_are_found() {
    for (key_type, key, text) in [
        (ScalarAttributeType::N, AttributeValue::N("17".to_owned()), "17"),
        (ScalarAttributeType::B, AttributeValue::B([0, 1].to_vec().into()), "AAE="),
    ] {
        let tables = Tables::with_key(key_type).await;
        tables.write(CONFIGURATION, [[("id".to_owned(), key.clone())].into()]).await;
        assert_eq!(tables.backfill(&[]).await.stdout, format!("{text}: backfilled\n1 item: 1 backfilled\n"));
        assert_eq!(tables.verify().await.code, 0);
        let delete = tables.database.client().delete_item().table_name(CONFIGURATION).key("id", key);
        delete.send().await.unwrap();
        let (found, _) = tables.verify().await.findings();
        assert_eq!((&found[0]["itemKey"], &found[0]["finding"]), (&json!(text), &json!("removal")));
        assert_eq!(backfill_id(text).get_version_num(), 4);
    }
}

/// 1.0 is the number 1, but entries of the item 1 never say 1.0. DynamoDB refuses a batch that asks for both.
#[tokio::test]
async fn a_forged_spelling_of_a_number_key_is_a_finding() {
    let tables = Tables::with_key(ScalarAttributeType::N).await;
    tables.write(CONFIGURATION, [[("id".to_owned(), AttributeValue::N("1".to_owned()))].into()]).await;
    assert_eq!(tables.backfill(&[]).await.code, 0);
    for key in ["1.0", "1E0"] {
        let forged = Item::from([("id".to_owned(), serde_dynamo::AttributeValue::N("1".to_owned()))]);
        tables.write(AUDIT, entries(key, &vec![(EPOCH, Some(forged))])).await;
    }
    let ran = tables.verify().await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let (found, summary) = ran.findings();
    let mut named: Vec<_> = found.iter().map(|line| json!([line["itemKey"], line["finding"]])).collect();
    named.sort_by_key(ToString::to_string);
    assert_eq!(named, [json!(["1.0", "removal"]), json!(["1E0", "removal"])]);
    assert_eq!((&summary["items"], &summary["deletedItems"]), (&json!(1), &json!(2)));
    tables.database.stop().await;
}
