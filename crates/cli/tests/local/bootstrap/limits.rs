//! Items at and around DynamoDB's limits of size and depth, of all ten types. Whatever an engine accepts into a table
//! is audited, with a note if an entry cannot hold the value, and a redrive restores it. Sizes, depths and hashes are
//! computed here independently of the function.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::AttributeValue as SdkValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config_audit::store::dynamodb::DynamoDbStore;
use config_audit_cli::commands::redrive::Redrive;
use fastrand::Rng;
use futures_util::{StreamExt, stream};
use serde_dynamo::AttributeValue::{self, B, Bool, Bs, L, M, N, Ns, Null, S, Ss};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::engine::Engine;
use super::entries::decimal;
use super::records::{TABLE, record};
use super::scene::{AUDIT_TABLE, FAILURE_BUCKET, Play, Scene};
use crate::redrive::scene::{Ground, run};

/// The size of the largest item, in bytes.
const MAX_BYTES: usize = 400 * 1024;
/// Lambda accepts events of 6 MB. As many of the largest items at once keep an engine busy for longer than the function
/// waits for an answer, so an event has only a few of them.
const MAX_EVENT_BYTES: usize = 1_500_000;
/// The number of types of values.
const TYPES: usize = 10;

type Item = HashMap<String, AttributeValue>;

// ---- items ---------------------------------------------------------------------------------------------------------------

/// A small value of a type.
fn value(of: usize, rng: &mut Rng) -> AttributeValue {
    let text = |rng: &mut Rng| {
        let length = rng.usize(1..12);
        (0..length).map(|_| *rng.choice(&["a", "Z", "é", "漢", "🦀"]).unwrap()).collect::<String>()
    };
    let bytes = |rng: &mut Rng| (0..rng.usize(1..12)).map(|_| rng.u8(..)).collect::<Vec<u8>>();
    match of {
        0 => S(text(rng)),
        1 => N(number(rng)),
        2 => B(bytes(rng)),
        3 => Bool(rng.bool()),
        4 => Null(true),
        5 => Ss(vec![format!("1{}", text(rng)), format!("2{}", text(rng))]),
        6 => Ns(vec![format!("1{}", rng.u32(..)), format!("2{}", rng.u32(..))]),
        7 => Bs(vec![[bytes(rng), vec![1]].concat(), [bytes(rng), vec![2]].concat()]),
        8 => L(vec![N(number(rng)), Bool(true)]),
        _ => M(HashMap::from([("name".to_owned(), S(text(rng))), ("n".to_owned(), N(number(rng)))])),
    }
}

/// Up to 38 digits, with zeros among them and at both ends, a point anywhere, and sometimes an exponent.
fn number(rng: &mut Rng) -> String {
    let digits = rng.usize(1..=38);
    let mut text: String = (0..digits).map(|_| *rng.choice(&['0', '0', '1', '5', '9']).unwrap()).collect();
    if digits > 1 && rng.bool() {
        text.insert(rng.usize(1..digits), '.');
    }
    if rng.u8(..4) == 0 {
        text += "E";
        text += &rng.i8(-40..40).to_string();
    }
    if rng.bool() { format!("-{text}") } else { text }
}

/// This many levels of lists and maps around a value of this type.
fn nested(levels: usize, of: usize, rng: &mut Rng) -> AttributeValue {
    let innermost = value(of, rng);
    let own = usize::from(matches!(innermost, L(_) | M(_)));
    (own..levels).fold(
        innermost,
        |inner, _| {
            if rng.bool() { L(vec![inner]) } else { M(HashMap::from([("m".to_owned(), inner)])) }
        },
    )
}

/// A value of this type with many members, of about this many bytes.
fn filled(of: usize, bytes: usize, rng: &mut Rng) -> AttributeValue {
    match of {
        0 => S("é".repeat(bytes / 2)),
        2 => B((0..bytes).map(|_| rng.u8(..)).collect()),
        5 => Ss((0..bytes / 10).map(|n| format!("{n:010}")).collect()),
        6 => Ns((0..bytes / 9).map(|n| format!("{}{n:06}1", 1_234_567 + n)).collect()),
        7 => Bs((0..bytes / 4).map(|n| u32::try_from(n).unwrap().to_be_bytes().to_vec()).collect()),
        9 => M((0..bytes / 14).map(|n| (format!("{n:09}"), N(format!("{}.5", n % 90 + 10)))).collect()),
        _ => {
            let (mut members, mut size) = (Vec::new(), 0);
            while size < bytes {
                members.push(value(of, rng));
                size += 1 + bytes_of(&members[members.len() - 1]);
            }
            L(members)
        }
    }
}

/// The size of a value (Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats").
fn bytes_of(value: &AttributeValue) -> usize {
    match value {
        S(text) => text.len(),
        N(text) => number_bytes(text),
        B(bytes) => bytes.len(),
        Bool(_) | Null(_) => 1,
        Ss(members) => members.iter().map(String::len).sum(),
        Ns(members) => members.iter().map(|member| number_bytes(member)).sum(),
        Bs(members) => members.iter().map(Vec::len).sum(),
        L(members) => 3 + members.iter().map(|member| 1 + bytes_of(member)).sum::<usize>(),
        M(members) => 3 + members.iter().map(|(name, member)| 1 + name.len() + bytes_of(member)).sum::<usize>(),
    }
}

/// A number takes one byte for each pair of digits from the first to the last that is not zero, with pairs counted from
/// the point, one more byte, and one for a minus sign. Zero takes one byte.
fn number_bytes(text: &str) -> usize {
    let (mantissa, power) = text.split_once('E').unwrap_or((text, "0"));
    let unsigned = mantissa.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).unwrap() + power.parse::<i64>().unwrap();
    let pair = |at: usize| (i64::try_from(at).unwrap() - point).div_euclid(2);
    let (first, last) = (digits.find(|digit| digit != '0'), digits.rfind(|digit| digit != '0'));
    first.zip(last).map_or(1, |(first, last)| {
        usize::try_from(pair(last) - pair(first)).unwrap() + 2 + usize::from(text.starts_with('-'))
    })
}

/// SHA-256 of a value's JSON with names and members in order.
fn hash(value: &AttributeValue) -> String {
    fn write(text: &mut String, value: &AttributeValue) {
        let strings = |text: &mut String, name: &str, mut members: Vec<String>| {
            members.sort_unstable();
            text.push_str(&json!({ name: members }).to_string());
        };
        let separator = |n: usize| if n > 0 { "," } else { "" };
        match value {
            Ss(members) => strings(text, "SS", members.clone()),
            Ns(members) => strings(text, "NS", members.clone()),
            Bs(members) => strings(text, "BS", members.iter().map(|member| STANDARD.encode(member)).collect()),
            L(members) => {
                text.push_str(r#"{"L":["#);
                for (n, member) in members.iter().enumerate() {
                    text.push_str(separator(n));
                    write(text, member);
                }
                text.push_str("]}");
            }
            M(members) => {
                text.push_str(r#"{"M":{"#);
                for (n, (name, member)) in members.iter().collect::<BTreeMap<_, _>>().into_iter().enumerate() {
                    text.push_str(separator(n));
                    text.push_str(&json!(name).to_string());
                    text.push(':');
                    write(text, member);
                }
                text.push_str("}}");
            }
            scalar => text.push_str(&serde_json::to_string(scalar).unwrap()),
        }
    }
    let mut text = String::new();
    write(&mut text, value);
    let bytes: [u8; 32] = Sha256::digest(text).into();
    let [one, other] = [&bytes[..16], &bytes[16..]].map(|half| u128::from_be_bytes(half.try_into().unwrap()));
    format!("{one:032x}{other:032x}")
}

fn key(n: usize) -> String {
    format!("LIMIT_{n:05}")
}

/// Items around the depth limit: small ones, with one attribute of 27 to 34 levels.
fn deep_items(rng: &mut Rng) -> Vec<Item> {
    let item = |n: usize| {
        let (of, levels) = (n % TYPES, 27 + n / TYPES % 8);
        HashMap::from([("value".to_owned(), nested(levels, of, rng)), ("other".to_owned(), value(of, rng))])
    };
    (0..800).map(item).collect()
}

/// Items around the size limit. In the first third, the item itself is about as large as an item may be; in the second,
/// the entry of its creation is; in the last, the entry of its change into the next one.
fn large_items(rng: &mut Rng) -> Vec<Item> {
    let names = |names: &[&str]| names.iter().map(|name| name.len()).sum::<usize>();
    let item = MAX_BYTES - names(&["key", &key(0), "value"]);
    let entry = names(&["id", "itemKey", &key(0), "modificationTime"]) + 36 + 24;
    let created = item - entry - names(&["newValue"]) - 3 - 2;
    let changed = MAX_BYTES - entry - names(&["updatedAttribute", "value", "oldValue", "newValue"]);
    let bands = [item, created, changed / 2].map(|bytes| std::iter::repeat_n(bytes, TYPES));
    let item = |(n, limit): (usize, usize)| {
        let small = filled(n % TYPES, limit / 8 * (4 + rng.usize(..3)), rng);
        // From 40 bytes below the limit to 39 above.
        let pad = (limit + rng.usize(..80)).saturating_sub(40 + 3 + 2 + bytes_of(&small));
        HashMap::from([("value".to_owned(), L(vec![small, S("x".repeat(pad))]))])
    };
    bands.into_iter().flatten().enumerate().map(item).collect()
}

/// Puts the items into a table of this engine, each with its own key, and returns those that the engine accepted.
async fn taken(play: &Play, items: Vec<Item>, first: usize) -> Vec<Item> {
    let client = play.database.client();
    let put = |(n, mut item): (usize, Item)| async move {
        item.insert("key".to_owned(), S(key(first + n)));
        let attributes: HashMap<String, SdkValue> = serde_dynamo::Item::from(item.clone()).into();
        client.put_item().table_name(TABLE).set_item(Some(attributes)).send().await.is_ok().then_some(item)
    };
    let taken = stream::iter(items.into_iter().enumerate()).map(put).buffered(4);
    taken.filter_map(async |item| item).collect().await
}

// ---- records -------------------------------------------------------------------------------------------------------------

struct Change {
    name: &'static str,
    key: String,
    old: Option<Item>,
    new: Option<Item>,
    json: String,
}

/// The lives of these items: each is created, becomes the next one, and is deleted.
fn changes(items: &[Item]) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for (n, item) in items.iter().enumerate() {
        let mut next = items[(n + 1) % items.len()].clone();
        next.insert("key".to_owned(), item["key"].clone());
        let S(key) = &item["key"] else { panic!("keys are text") };
        for (name, old, new) in [
            ("INSERT", None, Some(item.clone())),
            ("MODIFY", Some(item.clone()), Some(next)),
            ("REMOVE", Some(item.clone()), None),
        ] {
            // The images are far larger as `Value`s than as text.
            let mut json = record(changes.len(), name, &json!({ "Keys": { "key": { "S": key } } })).to_string();
            for (image, item) in [("OldImage", &old), ("NewImage", &new)] {
                if let Some(item) = item {
                    let image = format!(r#""dynamodb":{{"{image}":{},"#, serde_json::to_string(item).unwrap());
                    json = json.replacen(r#""dynamodb":{"#, &image, 1);
                }
            }
            changes.push(Change { name, key: key.clone(), old, new, json });
        }
    }
    changes
}

/// As many records in one event as Lambda would deliver.
fn events(changes: &[Change]) -> Vec<String> {
    let mut events: Vec<String> = Vec::new();
    for change in changes {
        match events.last_mut() {
            Some(records) if records.len() + change.json.len() < MAX_EVENT_BYTES => {
                records.extend([",", &change.json]);
            }
            _ => events.push(change.json.clone()),
        }
    }
    events.into_iter().map(|records| format!(r#"{{"Records":[{records}]}}"#)).collect()
}

impl Change {
    /// What its entries describe, with the values before and after: the whole item, or an attribute that differs.
    fn entries(&self) -> Vec<(&str, Option<AttributeValue>, Option<AttributeValue>)> {
        let whole = |item: &Option<Item>| item.clone().map(M);
        let (Some(old), Some(new)) = (&self.old, &self.new) else {
            return vec![(self.name, whole(&self.old), whole(&self.new))];
        };
        let values = ["value", "other"].map(|name| (name, old.get(name).cloned(), new.get(name).cloned()));
        values.into_iter().filter(|(_, old, new)| old != new).collect()
    }
}

// ---- entries -------------------------------------------------------------------------------------------------------------

/// The items of the Audit table, by what they describe.
async fn entries(play: &Play) -> BTreeMap<(String, String), HashMap<String, SdkValue>> {
    let pages = play.database.client().scan().table_name(AUDIT_TABLE).into_paginator().items().send();
    let items: Vec<_> = pages.try_collect().await.unwrap();
    let about = |item: &HashMap<String, SdkValue>| {
        let text = |name: &str| item.get(name)?.as_s().ok().cloned();
        let whole = if item.contains_key("newValue") { "INSERT" } else { "REMOVE" };
        (text("itemKey").unwrap(), text("updatedAttribute").unwrap_or_else(|| whole.to_owned()))
    };
    items.into_iter().map(|item| (about(&item), item)).collect()
}

/// Whether an engine has this value, in whatever notation and order it returns it.
fn is(found: &SdkValue, expected: &AttributeValue) -> bool {
    fn sorted(members: impl Iterator<Item = String>) -> Vec<String> {
        let mut members: Vec<_> = members.collect();
        members.sort_unstable();
        members
    }
    let decimals = |members: &[String]| sorted(members.iter().map(|member| decimal(member)));
    match (found, expected) {
        (SdkValue::N(found), N(expected)) => decimal(found) == decimal(expected),
        (SdkValue::Ns(found), Ns(expected)) => decimals(found) == decimals(expected),
        (SdkValue::Ss(found), Ss(expected)) => sorted(found.iter().cloned()) == sorted(expected.iter().cloned()),
        (SdkValue::Bs(found), Bs(expected)) => {
            let found = sorted(found.iter().map(|member| STANDARD.encode(member)));
            found == sorted(expected.iter().map(|member| STANDARD.encode(member)))
        }
        (SdkValue::L(found), L(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(found, expected)| is(found, expected))
        }
        (SdkValue::M(found), M(expected)) => {
            found.len() == expected.len()
                && found.iter().all(|(name, found)| expected.get(name).is_some_and(|expected| is(found, expected)))
        }
        (found, expected) => *found == expected.clone().into(),
    }
}

/// Checks that an entry has the value, or a note whose full record is in the failure bucket. Returns whether it has a
/// note because DynamoDB rejected the value.
fn check(found: &SdkValue, expected: &AttributeValue, objects: &HashMap<String, String>, record: &str) -> bool {
    let note = found.as_m().ok().filter(|members| members.contains_key("omitted"));
    let Some(note) = note else {
        assert!(is(found, expected), "a value is another");
        return false;
    };
    let text = |name: &str| note[name].as_s().unwrap().as_str();
    assert_eq!(text("sha256"), hash(expected));
    assert_eq!(note["bytes"].as_n().unwrap().parse::<usize>().unwrap(), bytes_of(expected));
    let object = &objects[text("record")];
    assert!(object.ends_with(&format!(r#","record":{record}}}"#)), "{} is not the full record", text("record"));
    text("omitted").contains("rejects")
}

#[tokio::test]
async fn whatever_the_embedded_engine_takes_is_audited_and_comes_back_by_a_redrive() {
    println!("{}", whatever_is_taken_is_audited_and_comes_back_by_a_redrive(Engine::Embedded).await);
}

#[tokio::test]
async fn whatever_dynamodb_local_takes_is_audited_and_comes_back_by_a_redrive() {
    println!("{}", whatever_is_taken_is_audited_and_comes_back_by_a_redrive(Engine::DynamoDbLocal).await);
}

/// Returns the figures.
async fn whatever_is_taken_is_audited_and_comes_back_by_a_redrive(engine: Engine) -> String {
    let rng = &mut Rng::with_seed(73);
    let mut play = Scene::on(engine).start().await;
    play.database.ensure_configuration_table(TABLE, "key").await.unwrap();
    let deep = taken(&play, deep_items(rng), 0).await;
    let large = taken(&play, large_items(rng), 10_000).await;
    assert!((400..800).contains(&deep.len()), "{} deep items are taken on {engine:?}", deep.len());
    assert!((20..30).contains(&large.len()), "{} large items are taken on {engine:?}", large.len());
    let changes = changes(&[deep, large].concat());
    let events = events(&changes);
    for event in &events {
        // Lambda redelivers what a busy engine does not accept before the deadline.
        let mut deliveries = 0;
        loop {
            let observed = play.invoke_with(event.clone()).await;
            assert_eq!(observed.count("RecordsQuarantined"), 0, "on {engine:?}: {:?}", observed.stdout);
            if observed.outcome.is_ok() && observed.failed().is_empty() {
                break;
            }
            deliveries += 1;
            assert!(deliveries < 5, "on {engine:?}: {observed:#?}");
        }
    }

    let written = entries(&play).await;
    let text = |body: Vec<u8>| String::from_utf8(body).unwrap();
    let objects = play.objects().await.into_iter();
    let objects: HashMap<String, String> =
        objects.map(|object| (format!("s3://{FAILURE_BUCKET}/{}", object.key), text(object.body))).collect();
    let (mut checked, mut rejected) = (0, 0);
    for change in &changes {
        for (about, old, new) in change.entries() {
            let entry = &written[&(change.key.clone(), about.to_owned())];
            for (attribute, expected) in [("oldValue", old), ("newValue", new)] {
                assert_eq!(entry.contains_key(attribute), expected.is_some());
                if let Some(expected) = expected {
                    rejected += usize::from(check(&entry[attribute], &expected, &objects, &change.json));
                }
            }
            checked += 1;
        }
    }
    assert_eq!(checked, written.len(), "on {engine:?}");
    let figures = format!(
        "{engine:?}: {} changes, {checked} entries, {} full records, {rejected} values rejected",
        changes.len(),
        objects.len()
    );
    assert_eq!(rejected, 0, "sizes and depths are not reckoned as {engine:?} does");

    let given_up = |(n, event): (usize, &String)| {
        (format!("aws/lambda/batch-{n}"), format!(r#"{{"payload":{event}}}"#).into_bytes())
    };
    let ground = Ground::new(events.iter().enumerate().map(given_up)).await;
    let client = play.database.client().config().to_builder().retry_config(RetryConfig::disabled());
    let client = Client::from_conf(client.build());
    // What a busy engine does not accept within a minute is left for the next redrive.
    let (mut audited, mut left) = (0, events.len());
    while left > 0 {
        let store = DynamoDbStore::new(client.clone(), AUDIT_TABLE);
        let summary = run(&Redrive::new(ground.place(), Some(store))).await;
        assert!(summary.left.len() < left, "on {engine:?}: {:?}", summary.left);
        left = summary.left.len();
        audited += summary.records.audited;
    }
    assert!(audited >= changes.len(), "{audited} of {} changes on {engine:?}", changes.len());
    assert!(entries(&play).await == written, "a redrive changed an entry on {engine:?}");
    play.stop().await;
    figures
}
