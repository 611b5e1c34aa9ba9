//! What is stored, and that it is the same on both engines and after each delivery.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use config_audit_local::{Source, WorldEvent};
use config_audit_mapping::MappingSettings;
use serde_json::Value;

use super::engine::Engine;
use super::proxy::Fault;
use super::records::samples;
use super::scene::{AUDIT_TABLE, Scene};
use crate::support::wait_for;

/// Fails if an entry does not have one of the contract's four shapes.
fn assert_has_the_contracts_shape(entry: &str) {
    let entry: Value = serde_json::from_str(entry).unwrap();
    let text = |member: &str| entry[member].as_str().unwrap_or_else(|| panic!("no {member}: {entry}"));
    let id: uuid::Uuid = text("id").parse().unwrap();
    assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122), "{entry}");
    assert_eq!(text("id"), id.hyphenated().to_string());
    assert!(!text("itemKey").is_empty(), "{entry}");
    let time = chrono::NaiveDateTime::parse_from_str(text("modificationTime"), "%Y-%m-%dT%H:%M:%S%.3fZ");
    assert!(time.is_ok() && text("modificationTime").len() == 24, "{entry}");
    let members: BTreeSet<_> = entry.as_object().unwrap().keys().map(String::as_str).collect();
    let rest: Vec<_> =
        members.into_iter().filter(|name| !["id", "itemKey", "modificationTime"].contains(name)).collect();
    let shapes: [&[&str]; 5] = [
        &["newValue"],
        &["oldValue"],
        &["newValue", "oldValue", "updatedAttribute"],
        &["newValue", "updatedAttribute"],
        &["oldValue", "updatedAttribute"],
    ];
    assert!(shapes.contains(&rest.as_slice()), "{entry}");
}

/// A stored value in a normal form, because each engine has its own notation for numbers and its own order for sets.
fn by_value(value: &AttributeValue) -> String {
    let sorted = |mut values: Vec<String>| {
        values.sort();
        values
    };
    match value {
        AttributeValue::N(number) => decimal(number),
        AttributeValue::Ns(numbers) => format!("{:?}", sorted(numbers.iter().map(|number| decimal(number)).collect())),
        AttributeValue::Ss(texts) => format!("{:?}", sorted(texts.clone())),
        AttributeValue::Bs(blobs) => format!("{:?}", sorted(blobs.iter().map(|blob| format!("{blob:?}")).collect())),
        AttributeValue::L(values) => format!("{:?}", values.iter().map(by_value).collect::<Vec<_>>()),
        AttributeValue::M(members) => item_by_value(members),
        scalar => format!("{scalar:?}"),
    }
}

fn item_by_value(item: &HashMap<String, AttributeValue>) -> String {
    format!("{:?}", item.iter().map(|(name, value)| (name, by_value(value))).collect::<BTreeMap<_, _>>())
}

/// A number's digits, and the power of ten of the last one.
pub(crate) fn decimal(text: &str) -> String {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let short = digits.trim_end_matches('0');
    if short.is_empty() {
        return "0".to_owned();
    }
    let power = |length: usize| i64::try_from(length).unwrap();
    let power = exponent.parse::<i64>().unwrap() + power(digits.len() - short.len()) - power(fraction.len());
    format!("{sign}{}E{power}", short.trim_start_matches('0'))
}

#[tokio::test]
async fn each_sample_event_leaves_the_same_entries_on_both_engines() {
    for (name, event) in samples() {
        let mut on_each = Vec::new();
        for engine in Engine::BOTH {
            let mut play = Scene::on(engine).start().await;
            let observed = play.invoke(&event).await;
            assert_eq!(observed.failed(), [""; 0], "{name} on {engine:?}");
            let entries = play.entries().await;
            for entry in &entries {
                assert_has_the_contracts_shape(entry);
            }
            assert_eq!(observed.count("AuditsWritten"), entries.len() as u64, "{name} on {engine:?}");
            assert_eq!(entries.is_empty(), name == "unchanged", "{name} on {engine:?}");
            let items = play.database.client().scan().table_name(AUDIT_TABLE).send().await.unwrap().items.unwrap();
            on_each.push(items.iter().map(item_by_value).collect::<BTreeSet<_>>());
            play.stop().await;
        }
        assert_eq!(on_each[0], on_each[1], "{name}");
    }
}

#[tokio::test]
async fn an_event_that_comes_three_times_leaves_the_same_bytes() {
    for engine in Engine::BOTH {
        let mut play = Scene::on(engine).start().await;
        for (name, event) in samples() {
            let mut after = Vec::new();
            for _ in 0..3 {
                assert_eq!(play.invoke(&event).await.failed(), [""; 0], "{name}");
                after.push((play.entries().await, play.objects().await));
            }
            assert_eq!(after[0].0, after[1].0, "{name} on {engine:?}");
            assert_eq!(after[1].0, after[2].0, "{name} on {engine:?}");
            let keys = |at: usize| after[at].1.iter().map(|object| object.key.clone()).collect::<Vec<_>>();
            assert_eq!((keys(0), keys(1)), (keys(1), keys(2)), "{name} on {engine:?}");
        }
        play.stop().await;
    }
}

/// The stream has more changes than fit in one request. The second request is refused, so only its records are
/// reported, and the mapping redelivers from the lowest of them on, including records that were stored.
#[tokio::test]
async fn a_batch_of_the_stream_that_comes_again_in_part_leaves_each_entry_once() {
    const CHANGES: usize = 60;
    for engine in Engine::BOTH {
        let mapping = MappingSettings { first_retry_delay: Duration::from_millis(1), ..MappingSettings::default() };
        let source = Source { mapping, ..Source::default() };
        let (table, key) = (source.table.clone(), source.key_attribute.clone());
        let scene = Scene::on(engine).fed_by(source).failing_first([Fault::LetThrough, Fault::Refuse(400, "Puzzling")]);
        let mut play = scene
            .start_after(async |database| {
                database.ensure_configuration_table(&table, &key).await.unwrap();
                for n in 0..CHANGES {
                    let put = database.client().put_item().table_name(&table);
                    put.item(&key, AttributeValue::S(format!("KEY_{n}"))).send().await.unwrap();
                }
            })
            .await;
        // The records before the lowest failure are done, and the rest are redelivered.
        let again = |event: &WorldEvent| matches!(event, WorldEvent::BatchBisected { .. }).then_some(());
        wait_for(&mut play.events, again).await;
        let first = play.entries().await;
        while play.entries().await.len() < CHANGES {
            let advanced = |event: &WorldEvent| matches!(event, WorldEvent::CheckpointAdvanced { .. }).then_some(());
            wait_for(&mut play.events, advanced).await;
        }
        let entries = play.entries().await;
        assert_eq!(entries.len(), CHANGES, "on {engine:?}");
        assert!(!first.is_empty() && first.iter().all(|entry| entries.contains(entry)), "on {engine:?}");
        play.stop().await;
    }
}
