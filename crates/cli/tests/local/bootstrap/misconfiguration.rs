//! A wrong setup costs no record, and the error says what to change.

use ScalarAttributeType::{B, N, S};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PutRequest, ScalarAttributeType, WriteRequest,
};
use config_audit_local::Database;

use super::engine::Engine;
use super::proxy::Fault;
use super::records::{event, inserts};
use super::scene::{AUDIT_TABLE, Observed, Play, Scene};

/// A table that exists but is not an Audit table.
const OTHER_TABLE: &str = "Other-test";

/// Keys other than `id` of type S alone.
const WRONG_KEYS: [&[(&str, ScalarAttributeType)]; 4] =
    [&[("pk", S)], &[("id", N)], &[("id", B)], &[("id", S), ("sort", S)]];

async fn create(database: &Database, key: &[(&str, ScalarAttributeType)]) {
    let mut request = database.client().create_table().table_name(OTHER_TABLE).billing_mode(BillingMode::PayPerRequest);
    for ((name, kind), role) in key.iter().zip([KeyType::Hash, KeyType::Range]) {
        let attribute = AttributeDefinition::builder().attribute_name(*name).attribute_type(kind.clone());
        let element = KeySchemaElement::builder().attribute_name(*name).key_type(role);
        request = request.attribute_definitions(attribute.build().unwrap()).key_schema(element.build().unwrap());
    }
    request.send().await.unwrap();
}

async fn count(database: &Database, table: &str) -> i32 {
    database.client().scan().table_name(table).send().await.unwrap().count
}

/// Fails unless the invocation failed as a whole, said `words`, and reported all its records as failed.
fn assert_fails_and_says(observed: &Observed, words: &[&str], what: &str) {
    let error = observed.error();
    assert_eq!(error.error_type, "AuditTable", "{what}");
    for word in words {
        assert!(error.message.contains(word), "{what}: {:?} is not in {:?}", word, error.message);
    }
    assert!(!error.message.contains('\n'), "{what}: {}", error.message);
    assert_eq!((observed.count("RecordsReceived"), observed.count("RecordsFailed")), (30, 30), "{what}");
    assert_eq!((observed.count("AuditsWritten"), observed.wide()["outcome"].as_str()), (0, Some("error")), "{what}");
}

#[tokio::test]
async fn a_missing_table_is_named_with_its_setting() {
    for engine in Engine::BOTH {
        let mut play = Scene::on(engine).with("AUDIT_TABLE", "Missing-test").start().await;
        let observed = play.invoke(&inserts(0..30)).await;
        let words = ["Missing-test", "does not exist", "eu-central-1", "AUDIT_TABLE"];
        assert_fails_and_says(&observed, &words, &format!("on {engine:?}"));
        play.stop().await;
    }
}

#[tokio::test]
async fn a_table_with_another_key_is_named_with_its_setting() {
    for engine in Engine::BOTH {
        for key in WRONG_KEYS {
            let scene = Scene::on(engine).with("AUDIT_TABLE", OTHER_TABLE);
            let mut play = scene.start_after(async |database| create(database, key).await).await;
            let observed = play.invoke(&inserts(0..30)).await;
            assert_fails_and_says(&observed, &[OTHER_TABLE, "key", "AUDIT_TABLE"], &format!("{key:?} on {engine:?}"));
            assert_eq!(count(&play.database, OTHER_TABLE).await, 0, "{key:?} on {engine:?}");
            assert!(play.objects().await.is_empty(), "{key:?} on {engine:?}");
            play.stop().await;
        }
    }
}

#[tokio::test]
async fn a_denied_access_is_named_with_the_permission() {
    for code in ["AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"] {
        let mut play = Scene::on(Engine::Embedded).start().await;
        play.proxy.always(Fault::Refuse(400, code));
        let observed = play.invoke(&inserts(0..30)).await;
        let word = if code == "AccessDeniedException" { "dynamodb:BatchWriteItem" } else { "credentials" };
        assert_fails_and_says(&observed, &[word, "eu-central-1"], code);
        assert!(play.entries().await.is_empty(), "{code}");
        play.stop().await;
    }
}

#[tokio::test]
async fn what_was_set_right_needs_no_new_process() {
    let mut play = Scene::on(Engine::Embedded).start().await;
    play.proxy.always(Fault::Refuse(400, "AccessDeniedException"));
    play.invoke(&inserts(0..30)).await.error();
    play.proxy.always(Fault::LetThrough);
    assert_eq!(play.invoke(&inserts(0..30)).await.failed(), [""; 0]);
    assert_eq!(play.entries().await.len(), 30);
    play.stop().await;
}

#[tokio::test]
async fn a_setting_that_is_missing_or_wrong_is_named_in_one_line() {
    for (variable, value, accepted) in [
        ("AUDIT_TABLE", "", "ARN of the Audit table"),
        ("AUDIT_TABLE", "no table", "ARN of the Audit table"),
        ("AUDIT_PROVENANCE", "perhaps", "on or off"),
        ("FAILURE_BUCKET", "No_Bucket", "S3 bucket"),
        ("AWS_LAMBDA_LOG_LEVEL", "LOUD", "TRACE"),
        ("PROMETHEUS_LISTEN", "nowhere", "127.0.0.1:9464"),
    ] {
        let mut play = Scene::on(Engine::Embedded).with(variable, value).start().await;
        let observed = play.invoke(&inserts(0..30)).await;
        assert_eq!(observed.lines().len(), 1, "{variable}: {:?}", observed.stdout);
        let message = observed.lines()[0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(variable) && message.contains(accepted), "{message}");
        assert_eq!(observed.lines()[0]["level"], "ERROR");
        assert!(observed.refusal_to_start().message.contains(variable), "{observed:?}");
        assert_eq!(observed.stderr, [""; 0], "{variable}");
        play.stop().await;
    }
}

/// The request that `redrive` sends before it begins: an item without attributes, which no table stores.
async fn probe(play: &Play, table: &str) -> (Option<String>, String) {
    let put = PutRequest::builder().set_item(Some(std::collections::HashMap::new())).build().unwrap();
    let request = WriteRequest::builder().put_request(put).build();
    let error = play.database.client().batch_write_item().request_items(table, vec![request]).send().await;
    let error = error.expect_err("the probe is stored");
    (error.code().map(str::to_owned), error.message().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn the_probe_of_redrive_writes_nothing_and_tells_a_right_table_from_a_missing_one() {
    for engine in Engine::BOTH {
        let mut play = Scene::on(engine).start().await;
        assert_eq!(probe(&play, AUDIT_TABLE).await.0.as_deref(), Some("ValidationException"), "{engine:?}");
        assert_eq!(probe(&play, "Missing-test").await.0.as_deref(), Some("ResourceNotFoundException"), "{engine:?}");
        let observed = play.invoke(&event([])).await;
        assert_eq!(observed.lines().len(), 1, "init logged something: {:?}", observed.stdout);
        assert_eq!(play.proxy.writes(), 0);
        assert!(play.entries().await.is_empty(), "on {engine:?}");
        play.stop().await;
    }
}
