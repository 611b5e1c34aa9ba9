//! Hostile input: records, events and answers that nobody sends on purpose. Whatever arrives, the process survives,
//! nothing is acknowledged unless it is stored or in the failure bucket, and every line is JSON. Amazon's DynamoDB
//! Local decides which items are legal.

use std::collections::{HashMap, HashSet};

use axum::body::Body;
use axum::http::Request;
use fastrand::Rng;
use futures_util::{StreamExt, stream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::engine::Engine;
use super::proxy::Fault;
use super::records::{event, insert, key, record, sequence_number};
use super::scene::Scene;

/// The oracle's table.
const ORACLE: &str = "Oracle";
/// What the function lets DynamoDB refuse: empty members of sets, and members of maps without a name.
const ODD: [&str; 3] = [r#"{"SS":[""]}"#, r#"{"BS":[""]}"#, r#"{"":"#];
/// The beginning of a record with a duplicate ID.
const TWICE: &str = r#"{"eventID":"twice","#;

// ---- records -------------------------------------------------------------------------------------------------------------

/// Values to put in a record in place of the right ones.
fn hostile_values() -> Vec<Value> {
    let mut values = vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(1_726_045_348_000_i64),
        json!(""),
        json!(" "),
        json!("\u{0}"),
        json!("\u{202e}\u{1b}[31m"),
        json!([]),
        json!({}),
        json!([[[[[[[[]]]]]]]]),
        json!({ "S": 1 }),
        json!({ "S": "x", "N": "1" }),
        json!({ "X": "x" }),
        json!({ "NULL": false }),
        json!({ "BOOL": "true" }),
        json!({ "B": "not base64!" }),
        json!({ "B": "QQ" }),
        json!({ "SS": [] }),
        json!({ "NS": ["1", "x"] }),
        json!({ "BS": [""] }),
        json!({ "L": {} }),
        json!({ "M": [] }),
        json!({ "M": { "": { "S": "" } } }),
        json!({ "L": [{ "L": [{ "N": "-0.0" }] }, { "NULL": true }] }),
        json!({ "SS": [""] }),
        json!({ "S": "x".repeat(2_049) }),
        json!({ "B": "/".repeat(2_052) }),
    ];
    let numbers = [
        "1", "-1", "1.0", "+1", "01", "1.", ".5", "1e5", "1E+125", "9.9E125", "1E126", "1E-130", "1E-131", "-0",
        "0E999", "NaN", "Infinity", "0x10", "1_000", " 1", "1 ", "", "-", ".", "1e", "١", "--1", "1.2.3",
    ];
    values.extend(numbers.map(|text| json!({ "N": text })));
    values.extend([38, 39].map(|digits| json!({ "N": "7".repeat(digits) })));
    values
}

/// A record like those of the stream, with or without something wrong in it.
fn hostile_record(n: usize, rng: &mut Rng) -> String {
    const PLACES: [&str; 13] = [
        "/eventID",
        "/eventName",
        "/eventSourceARN",
        "/dynamodb",
        "/dynamodb/ApproximateCreationDateTime",
        "/dynamodb/Keys",
        "/dynamodb/Keys/key",
        "/dynamodb/NewImage",
        "/dynamodb/OldImage",
        "/dynamodb/NewImage/value",
        "/dynamodb/OldImage/value",
        "/dynamodb/NewImage/key",
        "/userIdentity",
    ];
    let image = |value: Value| json!({ "key": { "S": key(n) }, "value": value });
    let (old, new) = (image(json!({ "N": "1" })), image(json!({ "S": "new" })));
    let mut record = match rng.u8(..3) {
        0 => record(n, "INSERT", &json!({ "NewImage": new })),
        1 => record(n, "MODIFY", &json!({ "OldImage": old, "NewImage": new })),
        _ => record(n, "REMOVE", &json!({ "OldImage": old })),
    };
    let place = rng.choice(PLACES).unwrap();
    // A place that this kind of record does not have is left alone.
    if let Some(found) = record.pointer_mut(place) {
        *found = rng.choice(hostile_values()).unwrap();
        // Two records with the same ID have the same entries.
        if let (&"/eventID", Some(text)) = (&place, found.as_str().filter(|text| !text.is_empty())) {
            *found = json!(format!("{text}{n}"));
        }
    }
    let text = record.to_string();
    match rng.u8(..20) {
        // A member that is duplicated or missing.
        0 => text.replacen('{', TWICE, 1),
        1 => text.replacen(r#""SequenceNumber""#, r#""Other""#, 1),
        2 => text.replacen(r#""eventName""#, r#""Other""#, 1),
        _ => text,
    }
}

/// An attribute value has one member, named after its type. DynamoDB Local accepts some that do not.
fn is_well_formed(value: &Value) -> bool {
    let Some(members) = value.as_object().filter(|members| members.len() == 1) else { return false };
    match members.iter().next().unwrap() {
        (name, Value::Array(members)) if name == "L" => members.iter().all(is_well_formed),
        (name, Value::Object(members)) if name == "M" => members.values().all(is_well_formed),
        (name, Value::Array(_)) => ["SS", "NS", "BS"].contains(&name.as_str()),
        (name, Value::Bool(_)) => ["BOOL", "NULL"].contains(&name.as_str()),
        // It accepts the digits of every script.
        (name, Value::String(text)) => ["S", "B"].contains(&name.as_str()) || name == "N" && text.is_ascii(),
        _ => false,
    }
}

/// The values in a record: each image, and the key.
fn values(record: &Value) -> [Value; 3] {
    let stream = &record["dynamodb"];
    ["OldImage", "NewImage", "Keys"].map(|name| json!({ "M": stream[name] }))
}

/// Whether the contract requires this record to be audited. `is_legal` says whether DynamoDB accepts a value.
fn is_change(record: &Value, is_legal: impl Fn(&Value) -> bool) -> bool {
    let stream = &record["dynamodb"];
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let is_absent_or_text = |value: &Value| value.is_null() || value.is_string();
    let has = |name: &str| stream[name].is_object() && is_legal(&json!({ "M": stream[name] }));
    let has_images = match record["eventName"].as_str() {
        Some("INSERT") => has("NewImage"),
        Some("MODIFY") => has("OldImage") && has("NewImage"),
        Some("REMOVE") => has("OldImage"),
        _ => false,
    };
    let is_key = |key: &Value| {
        let text = key.as_object().and_then(|key| ["S", "N", "B"].iter().find_map(|name| key.get(*name)?.as_str()));
        text.is_some_and(|text| (1..=2_048).contains(&text.len()))
    };
    let image = if stream["OldImage"].is_object() { &stream["OldImage"] } else { &stream["NewImage"] };
    let has_key =
        if stream["Keys"].is_null() { is_key(&image["key"]) } else { has("Keys") && is_key(&stream["Keys"]["key"]) };
    let time = &stream["ApproximateCreationDateTime"];
    // From the year 1971 to the year 9999.
    let has_time =
        time.is_null() || time.as_f64().is_some_and(|seconds| (31_536_000.0..253_402_300_800.0).contains(&seconds));
    has_images && has_key && has_time && is_text(&record["eventID"]) && is_absent_or_text(&record["eventSourceARN"])
}

/// Asks DynamoDB Local directly, with a value's JSON as a record has it.
struct Oracle {
    client: Client<HttpConnector, Body>,
    url: String,
    access_key_id: String,
}

impl Oracle {
    async fn takes(&self, value: &Value) -> bool {
        let item = json!({ "key": { "S": "oracle" }, "value": value });
        let body = json!({ "TableName": ORACLE, "Item": item }).to_string();
        let credential = format!("{}/20260101/eu-central-1/dynamodb/aws4_request", self.access_key_id);
        let authorization = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0");
        // A busy engine may answer with InternalFailure, and this one always does so for a few values.
        for _ in 0..20 {
            let request = Request::post(&self.url)
                .header("x-amz-target", "DynamoDB_20120810.PutItem")
                .header("content-type", "application/x-amz-json-1.0")
                .header("authorization", &authorization)
                .body(Body::from(body.clone()));
            match self.client.request(request.unwrap()).await.unwrap().status().as_u16() {
                200 => return true,
                400 => return false,
                _ => {}
            }
        }
        false
    }

    /// Which of these values DynamoDB accepts, by their text.
    async fn all(&self, values: HashSet<String>) -> HashMap<String, bool> {
        let asked = stream::iter(values).map(|text| async move {
            let value = serde_json::from_str(&text).unwrap();
            let takes = is_well_formed(&value) && self.takes(&value).await;
            (text, takes)
        });
        asked.buffer_unordered(8).collect().await
    }
}

#[tokio::test]
async fn each_hostile_record_is_audited_if_it_is_a_change_and_kept_whole_if_it_is_not() {
    let rng = &mut Rng::with_seed(20_261_124);
    let mut play = Scene::on(Engine::DynamoDbLocalAlone).start().await;
    play.database.ensure_configuration_table(ORACLE, "key").await.unwrap();
    let oracle = Oracle {
        client: Client::builder(TokioExecutor::new()).build_http(),
        url: play.database.url().to_owned(),
        access_key_id: play.access_key_id.clone(),
    };
    let records: Vec<String> = (0..3_000).map(|n| hostile_record(n, rng)).collect();
    let parsed: Vec<Value> = records.iter().map(|record| serde_json::from_str(record).unwrap()).collect();
    let values: HashSet<String> = parsed.iter().flat_map(values).map(|value| value.to_string()).collect();
    let legal = oracle.all(values).await;

    let (mut audited, mut unchanged, mut quarantined, mut written) = (0, 0, 0, 0);
    for batch in records.chunks(100) {
        let observed = play.invoke_with(format!(r#"{{"Records":[{}]}}"#, batch.join(","))).await;
        assert_eq!(observed.failed(), [""; 0]);
        assert!(!observed.has_exited);
        audited += observed.count("RecordsAudited");
        unchanged += observed.count("RecordsUnchanged");
        quarantined += observed.count("RecordsQuarantined");
        written += observed.count("AuditsWritten");
    }
    let objects = play.objects().await;
    let kept: HashSet<&str> = objects
        .iter()
        .filter(|object| object.key.starts_with("quarantined/"))
        .map(|object| {
            let (_, record) = std::str::from_utf8(&object.body).unwrap().split_once(r#","record":"#).unwrap();
            record.strip_suffix('}').unwrap()
        })
        .collect();
    for (text, record) in records.iter().zip(&parsed) {
        let is_twice = text.starts_with(TWICE);
        // What DynamoDB refuses for these reasons is still audited, with a note in its place.
        let is_left_to_dynamodb = |text: &str| ODD.iter().any(|odd| text.contains(odd));
        let is_taken = |value: &Value| {
            legal[&value.to_string()] || is_well_formed(value) && is_left_to_dynamodb(&value.to_string())
        };
        let is_change = !is_twice && is_change(record, is_taken);
        assert_eq!(kept.contains(text.as_str()), !is_change, "{text}");
    }
    assert_eq!(written, play.item_keys().await.len() as u64);
    assert_eq!(quarantined, records.iter().filter(|record| kept.contains(record.as_str())).count() as u64);
    assert_eq!(audited + unchanged + quarantined, records.len() as u64);
    println!("{audited} audited, {unchanged} unchanged, {quarantined} quarantined");
    play.stop().await;
}

// ---- events --------------------------------------------------------------------------------------------------------------

/// Bytes that are not an event, and events whose records are not records.
fn hostile_events() -> Vec<Vec<u8>> {
    let mut events: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "true",
        "0",
        "\"\"",
        "[]",
        "{}",
        "{",
        "}",
        "{\"Records\"}",
        "{\"Records\":}",
        "{\"Records\":null}",
        "{\"Records\":{}}",
        "{\"Records\":\"x\"}",
        "{\"Records\":[}",
        "{\"Records\":[1,]}",
        "{\"records\":[]}",
        "{\"Records\":[],\"Records\":[]}",
        "{\"Records\":[]} x",
        "\u{feff}{\"Records\":[]}",
        "{\"Records\":[1e999]}",
        "{\"Records\":[null,true,1,\"x\",[],{}]}",
        "{\"Records\":[\"\\ud800\"]}",
        "{\"Records\":[{\"eventName\":\"\\ud800\"}]}",
        "{\"Records\":[{\"dynamodb\":{\"SequenceNumber\":\"\"}}]}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    events.push(b"{\"Records\":[\"\xff\xfe\"]}".to_vec());
    events.push(b"\x00".to_vec());
    events.push([b"{\"Records\":[", "[".repeat(100_000).as_bytes()].concat());
    events.push(["{\"Records\":[", &"[".repeat(5_000), &"]".repeat(5_000), "]}"].concat().into_bytes());
    events.push(["{\"Records\":[", &"{\"a\":".repeat(5_000), "1", &"}".repeat(5_000), "]}"].concat().into_bytes());
    events.push([" ".repeat(6_000_000).as_bytes(), b"{\"Records\":[]}"].concat());
    events
}

#[tokio::test]
async fn a_hostile_event_fails_or_is_kept_and_the_next_one_is_audited() {
    let mut play = Scene::on(Engine::Embedded).start().await;
    for (n, hostile) in hostile_events().into_iter().enumerate() {
        let before = play.objects().await.len() as u64;
        let observed = play.invoke_with(hostile).await;
        assert!(!observed.has_exited, "event {n}");
        match &observed.outcome {
            // None has a record that could be audited, and each record has its own object.
            Ok(_) => {
                assert_eq!(observed.failed(), [""; 0], "event {n}");
                assert_eq!(observed.count("RecordsReceived"), observed.count("RecordsQuarantined"), "event {n}");
                let new = play.objects().await.len() as u64 - before;
                assert!(new <= observed.count("RecordsQuarantined"), "event {n}");
            }
            Err(_) => assert_eq!(observed.error().error_type, "NotAnEvent", "event {n}"),
        }
        let observed = play.invoke(&event([insert(n)])).await;
        assert_eq!((observed.failed(), observed.count("RecordsAudited")), (Vec::new(), 1), "after event {n}");
    }
    play.stop().await;
}

// ---- answers -------------------------------------------------------------------------------------------------------------

/// Bodies of answers that prove nothing about what is stored.
const BODIES: [&str; 14] = [
    "",
    " ",
    "null",
    "[]",
    "{}",
    "ok",
    "<html><body>Welcome to the hotel</body></html>",
    r#"{"message":"ok"}"#,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"x"}"#,
    r#"{"UnprocessedItems":null}"#,
    r#"{"UnprocessedItems":{"Audit-test":[{"DeleteRequest":{"Key":{"id":{"S":"x"}}}}]}}"#,
    r#"{"UnprocessedItems":{"Audit-test":[{"PutRequest":{"Item":{"id":{"S":"x"}}}}]}}"#,
    r#"{"UnprocessedItems":{"Other":[{"PutRequest":{"Item":{}}}]}}"#,
    r#"{"UnprocessedItems":{}"#,
];

/// Nothing was written for these answers, so what is acknowledged was sent again.
#[tokio::test]
async fn a_hostile_answer_stores_nothing() {
    let mut play = Scene::on(Engine::Embedded).start().await;
    let mut n = 0;
    for status in [200, 201, 204, 206, 299, 301, 304, 400, 404, 407, 500, 502] {
        // With any status but 200, even the body of an answer that stored everything.
        let stored = (status != 200).then_some(r#"{"UnprocessedItems":{}}"#);
        for body in BODIES.into_iter().chain(stored) {
            n += 1;
            play.proxy.next([Fault::Answer(status, body)]);
            let observed = play.invoke(&event([insert(n)])).await;
            let is_stored = play.item_keys().await.contains(&key(n));
            let failed = observed.failed();
            assert_eq!(failed.is_empty(), is_stored, "{status} {body}");
            assert!(is_stored || failed == [sequence_number(n)], "{status} {body}");
            assert!(!observed.has_exited, "{status} {body}");
        }
    }
    play.stop().await;
}
