//! Everything at once, with real components: changes in a real table go through its stream and the mapping to the real
//! bootstrap, while writes are dropped, delayed, cut off, throttled, refused, returned unprocessed, or done without an
//! answer, and the process is killed in between. Then the trail is compared with what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use config_audit_local::{Database, Source, WorldEvent};
use config_audit_mapping::{MappingSettings, SequenceNumber};
use serde_json::{Value, json};

use super::engine::Engine;
use super::proxy::Fault;
use super::scene::Scene;
use crate::support::GENEROUS;

/// How many changes are made, to how many items, by how many concurrent writers.
const CHANGES: usize = 400;
const ITEMS: usize = 24;
const WRITERS: usize = 4;
/// How many writes of entries fail, one way or another.
const FAULTS: usize = 110;

type Item = BTreeMap<&'static str, u64>;

/// An entry that must exist: the item, the attribute, and the values before and after.
type Expected = (String, Value, Value, Value);

#[tokio::test]
async fn what_is_written_is_in_the_trail_once_whatever_fails() {
    let (embedded, local) = tokio::join!(endure(Engine::Embedded), endure(Engine::DynamoDbLocalAlone));
    println!("embedded: {embedded}\nDynamoDB Local: {local}");
}

async fn endure(engine: Engine) -> String {
    let mut random = fastrand::Rng::with_seed(20_261_123);
    let mapping = MappingSettings {
        batch_size: 10,
        first_retry_delay: Duration::from_millis(1),
        longest_retry_delay: Duration::from_millis(50),
        ..MappingSettings::default()
    };
    let source = Source { mapping, ..Source::default() };
    let (table, key) = (source.table.clone(), source.key_attribute.clone());
    let faults: Vec<Fault> = (0..FAULTS).map(|_| fault(&mut random)).collect();
    let mut kinds = BTreeMap::<String, usize>::new();
    for fault in &faults {
        let name = format!("{fault:?}");
        *kinds.entry(name.split('(').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert_eq!(kinds.len(), 10, "not every kind is there, choose another seed: {kinds:?}");
    let scene = Scene::on(engine).fed_by(source).failing_first(faults).allowing(Duration::from_secs(4));
    let mut play = scene.start().await;

    let writers: Vec<_> =
        (0..WRITERS).map(|writer| write_all(&play.database, &table, &key, writer, random.fork())).collect();
    let mut writing = Box::pin(futures_util::future::join_all(writers));
    let mut expected: Option<Vec<Expected>> = None;
    let mut delivered = BTreeMap::<String, BTreeSet<SequenceNumber>>::new();
    let mut done = BTreeMap::<String, SequenceNumber>::new();
    let (mut invocations, mut deliveries, mut kills) = (0_usize, 0_usize, 0_usize);
    let settled = async {
        loop {
            tokio::select! {
                written = &mut writing, if expected.is_none() => {
                    expected = Some(written.into_iter().flatten().collect());
                }
                event = play.events.recv() => {
                    match &*event.expect("the world ended") {
                        WorldEvent::ProcessStarted { pid } => play.proxy.aim_at(*pid),
                        WorldEvent::ProcessExited { status } => kills += usize::from(status.contains("signal: 9")),
                        WorldEvent::InvocationStarted { .. } => invocations += 1,
                        WorldEvent::RecordDelivered { shard_id, sequence_number, .. } => {
                            deliveries += 1;
                            delivered.entry(shard_id.clone()).or_default().insert(sequence_number.clone());
                        }
                        WorldEvent::CheckpointAdvanced { shard_id, sequence_number } => {
                            done.insert(shard_id.clone(), sequence_number.clone());
                        }
                        WorldEvent::SentToDestination { key, .. } => panic!("given up: {key}"),
                        _ => {}
                    }
                }
            }
            // The last write may end after its record was audited.
            let records: usize = delivered.values().map(BTreeSet::len).sum();
            let is_done = delivered.iter().all(|(shard, records)| done.get(shard) == records.last());
            if expected.is_some() && records == CHANGES && is_done {
                return;
            }
        }
    };
    // On a busy machine, each of the many processes takes a while to start.
    tokio::time::timeout(5 * GENEROUS, settled).await.expect("it does not settle");

    let entry = |text: String| {
        let mut entry: Value = serde_json::from_str(&text).unwrap();
        let mut take = |name: &str| entry[name].take();
        let item_key = take("itemKey").as_str().unwrap_or_default().to_owned();
        (item_key, take("updatedAttribute"), take("oldValue"), take("newValue"))
    };
    let in_order = |mut entries: Vec<Expected>| {
        entries.sort_by_key(|entry| format!("{entry:?}"));
        entries
    };
    let stored = in_order(play.entries().await.into_iter().map(entry).collect());
    let expected = in_order(expected.unwrap_or_default());
    assert_eq!(stored, expected, "on {engine:?}");
    assert_eq!(play.proxy.to_come(), 0, "not every fault struck on {engine:?}");
    assert!(kills > 0 && deliveries > CHANGES, "{kills} kills, {deliveries} deliveries on {engine:?}");
    assert!(play.objects().await.is_empty());
    drop(writing);
    play.stop().await;
    format!(
        "{CHANGES} changes, {} entries, {invocations} invocations, {deliveries} deliveries, {kills} kills, faults {kinds:?}",
        stored.len()
    )
}

fn fault(random: &mut fastrand::Rng) -> Fault {
    match random.u8(..100) {
        ..30 => Fault::LetThrough,
        30..40 => Fault::Drop,
        40..50 => Fault::LoseAnswer,
        50..60 => Fault::GiveBack(random.usize(1..25)),
        60..66 => Fault::Refuse(400, "ProvisionedThroughputExceededException"),
        66..72 => Fault::Refuse(500, "InternalServerError"),
        72..80 => Fault::CutAnswer,
        80..86 => Fault::Delay(Duration::from_millis(random.u64(1..50))),
        86..88 => Fault::Silence,
        88..94 => Fault::Kill,
        _ => Fault::KillAfterWriting,
    }
}

/// For a client that retries when DynamoDB fails, as clients do: DynamoDB Local fails when it is busy. Making the same
/// change twice is one change.
fn patient() -> Builder {
    Builder::new().retry_config(RetryConfig::standard().with_max_attempts(10))
}

/// What one writer does to its items. Returns the entries that must result.
async fn write_all(
    database: &Database,
    table: &str,
    key: &str,
    writer: usize,
    mut random: fastrand::Rng,
) -> Vec<Expected> {
    let client = database.client().clone();
    let mut items = BTreeMap::<String, Item>::new();
    let mut expected = Vec::new();
    // No value occurs twice, so each entry shows which change it belongs to.
    let mut values = (writer as u64 + 1) * 1_000_000..;
    for _ in 0..CHANGES / WRITERS {
        let name = format!("KEY_{writer}_{}", random.usize(..ITEMS / WRITERS));
        let whole = |item: &Item| {
            let mut whole = json!({ key: name });
            for (attribute, value) in item {
                whole[*attribute] = json!(value);
            }
            whole
        };
        let old = items.remove(&name);
        if let Some(old) = old.as_ref().filter(|_| random.u8(..100) < 15) {
            let request = client.delete_item().table_name(table).key(key, AttributeValue::S(name.clone()));
            request.customize().config_override(patient()).send().await.unwrap();
            expected.push((name.clone(), Value::Null, whole(old), Value::Null));
            continue;
        }
        let mut new = old.clone().unwrap_or_default();
        let (first, second) = (["value", "limit"], ["owner", "rank"]);
        new.insert(first[random.usize(..2)], values.next().unwrap_or_default());
        if random.bool() {
            let attribute = second[random.usize(..2)];
            if new.remove(attribute).is_none() {
                new.insert(attribute, values.next().unwrap_or_default());
            }
        }
        let mut request = client.put_item().table_name(table).item(key, AttributeValue::S(name.clone()));
        for (attribute, value) in &new {
            request = request.item(*attribute, AttributeValue::N(value.to_string()));
        }
        request.customize().config_override(patient()).send().await.unwrap();
        match &old {
            None => expected.push((name.clone(), Value::Null, Value::Null, whole(&new))),
            Some(old) => {
                for attribute in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                    let (old, new) = (old.get(attribute), new.get(attribute));
                    if old != new {
                        expected.push((name.clone(), json!(attribute), json!(old), json!(new)));
                    }
                }
            }
        }
        items.insert(name, new);
    }
    expected
}
