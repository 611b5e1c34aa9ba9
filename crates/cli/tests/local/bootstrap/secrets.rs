//! A configuration's values are in the Audit table and in the failure bucket, and nowhere else. `scene` checks in every
//! invocation that nothing the function prints or sends contains a value from its event. Here are the events that are
//! most likely to leak one, at the most verbose level.

use serde_json::{Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::engine::Engine;
use super::proxy::Fault;
use super::records::{SECRET, SECRET_DIGITS, event, insert, inserts, invalid, modify, oversized};
use super::scene::{Scene, assert_keeps_secrets};

/// Changes whose values are secrets, of every type.
fn secrets() -> Vec<Value> {
    let secret = || json!({ "S": SECRET });
    let bytes = || json!({ "B": STANDARD.encode(SECRET) });
    let digits = || json!({ "N": SECRET_DIGITS });
    let nothing = json!({ "NULL": true });
    let values = [
        secret(),
        bytes(),
        digits(),
        json!({ "M": { "member": secret(), "deeper": { "L": [secret(), bytes(), digits()] } } }),
        json!({ "SS": [SECRET, "other"] }),
        json!({ "NS": [SECRET_DIGITS, "1"] }),
        json!({ "BS": [STANDARD.encode(SECRET)] }),
    ];
    let changes = values.iter().enumerate();
    changes.flat_map(|(n, value)| [modify(2 * n, &nothing, value), modify(2 * n + 1, value, &nothing)]).collect()
}

/// Records that cannot be audited, each with secrets in it.
fn broken() -> Vec<Value> {
    let with = |n: usize, pointer: &str, value: Value| {
        let mut record = insert(n);
        *record.pointer_mut(pointer).unwrap() = value;
        record
    };
    let value = "/dynamodb/NewImage/value";
    vec![
        invalid(100),
        with(101, value, json!({ "N": format!("{SECRET_DIGITS}x") })),
        with(102, value, json!({ "B": format!("{SECRET}!") })),
        with(103, value, json!({ SECRET: SECRET })),
        with(104, value, json!(SECRET)),
        with(105, value, json!({ "BOOL": SECRET })),
        with(106, value, json!({ "SS": [SECRET, SECRET] })),
        with(107, "/dynamodb/NewImage", json!(SECRET)),
        with(108, "/dynamodb", json!({ "NewImage": SECRET, "SequenceNumber": "0000000000000001000108" })),
        with(109, "/eventName", json!(SECRET)),
        with(110, "/dynamodb/NewImage/key", json!({ "BOOL": SECRET })),
    ]
}

#[tokio::test]
async fn values_are_stored_and_nothing_says_them() {
    let mut play = Scene::on(Engine::Embedded).with("AWS_LAMBDA_LOG_LEVEL", "TRACE").start().await;
    let good = secrets();
    let records = good.iter().cloned().chain(broken()).chain([oversized(200)]);
    let observed = play.invoke(&event(records)).await;
    assert_eq!(observed.failed(), [""; 0]);
    // DynamoDB refuses a set with a duplicate member; its record is still audited, with a note.
    assert_eq!((observed.count("RecordsQuarantined"), observed.count("ValuesOmitted")), (broken().len() as u64 - 1, 2));
    // Without this, silence would prove nothing.
    let stored = play.entries().await.concat();
    for form in [SECRET, SECRET_DIGITS, &STANDARD.encode(SECRET)] {
        assert!(stored.contains(form), "{form} is not stored");
    }
    for object in play.objects().await {
        let body = String::from_utf8(object.body).unwrap();
        assert!(body.contains(SECRET) || body.contains(SECRET_DIGITS), "{body}");
        assert_keeps_secrets(&object.key);
    }
    play.stop().await;
}

#[tokio::test]
async fn records_that_nothing_keeps_are_not_said_either() {
    let scene =
        Scene::on(Engine::Embedded).with("AWS_LAMBDA_LOG_LEVEL", "TRACE").with("FAILURE_BUCKET", "missing-test");
    let mut play = scene.start().await;
    let observed = play.invoke(&event(broken().into_iter().chain([oversized(200)]))).await;
    assert_eq!(observed.failed().len(), broken().len() + 1);
    play.stop().await;
}

/// The proxy's refusals quote the whole request.
#[tokio::test]
async fn what_dynamodb_quotes_is_not_said() {
    for (status, code) in [
        (400, "ValidationException"),
        (400, "AccessDeniedException"),
        (400, "Puzzling"),
        (400, "ThrottlingException"),
        (413, "RequestTooLarge"),
        (500, "InternalServerError"),
    ] {
        let mut play = Scene::on(Engine::Embedded).with("AWS_LAMBDA_LOG_LEVEL", "TRACE").start().await;
        play.proxy.next(vec![Fault::Refuse(status, code); 3]);
        let observed = play.invoke(&inserts(0..60)).await;
        assert!(observed.samples("WriteLatency").len() >= 3 || !observed.error().message.is_empty(), "{code}");
        play.stop().await;
    }
}

#[tokio::test]
async fn an_event_that_is_none_is_not_quoted() {
    let mut play = Scene::on(Engine::Embedded).with("AWS_LAMBDA_LOG_LEVEL", "TRACE").start().await;
    let whole = inserts(0..2).to_string();
    for event in [
        json!({ "value": SECRET }).to_string(),
        json!(SECRET).to_string(),
        json!([SECRET]).to_string(),
        json!({ "Records": SECRET }).to_string(),
        json!({ "Records": { "value": SECRET } }).to_string(),
        // Not JSON.
        SECRET.to_owned(),
        format!("{{\"Records\":[{{\"value\":{SECRET}}}]}}"),
        format!("{{\"Records\":[{{\"value\":\"{SECRET}}}]}}"),
        format!("{{\"{SECRET}\":\"\\{SECRET}\"}}"),
        format!("{{\"Records\":[{SECRET_DIGITS}x]}}"),
        whole[..whole.len() / 2].to_owned(),
    ] {
        let observed = play.invoke_with(event.clone()).await;
        assert!(!observed.error().message.is_empty(), "{event}");
    }
    assert!(play.entries().await.is_empty());
    play.stop().await;
}
