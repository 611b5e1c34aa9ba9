//! The whole local world with the scripted function: stream, mapping, retries, destination, restarts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::bootstrap::engine::Engine;
use crate::support::{scripted, wait_for};
use aws_sdk_dynamodb::types::AttributeValue;
use config_audit_local::{EventBus, Source, Store, World, WorldEvent, WorldSettings};
use config_audit_mapping::{Condition, MappingSettings, SequenceNumber};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

const TABLE: &str = "Configuration-local";

fn settings(directory: &Path, script: &[&str], mapping: MappingSettings) -> WorldSettings {
    let function = scripted(directory, script);
    let mut settings = WorldSettings::new(&function.bootstrap);
    settings.function = function;
    settings.source = Some(Source { mapping, ..Source::default() });
    settings
}

/// Retries immediately: the tests are about their order, not their timing.
fn impatient() -> MappingSettings {
    MappingSettings {
        first_retry_delay: Duration::from_millis(1),
        longest_retry_delay: Duration::from_millis(10),
        ..MappingSettings::default()
    }
}

async fn start(settings: WorldSettings) -> (World, UnboundedReceiver<Arc<WorldEvent>>) {
    let bus = EventBus::new();
    let events = bus.subscribe();
    (World::start(settings, bus).await.unwrap(), events)
}

/// Changes items in a row. All of the changes are in the stream before the mapping reads it again.
async fn change(world: &World, keys: &[&str]) {
    let client = world.database().unwrap().client();
    for key in keys {
        let put = client.put_item().table_name(TABLE).item("key", AttributeValue::S((*key).to_owned()));
        put.item("value", AttributeValue::N("1".to_owned())).send().await.unwrap();
    }
}

fn advanced(event: &WorldEvent) -> Option<SequenceNumber> {
    match event {
        WorldEvent::CheckpointAdvanced { sequence_number, .. } => Some(sequence_number.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn a_change_is_delivered_and_the_checkpoint_moves() {
    let directory = tempfile::tempdir().unwrap();
    let (world, mut events) = start(settings(directory.path(), &[], impatient())).await;
    change(&world, &["a"]).await;
    let (to, observed) = wait_for(&mut events, advanced).await;
    let delivered = observed.iter().find_map(|event| match &**event {
        WorldEvent::RecordDelivered { sequence_number, event_name, .. } => {
            Some((sequence_number.clone(), event_name.clone()))
        }
        _ => None,
    });
    assert_eq!(delivered, Some((to, "INSERT".to_owned())));
    world.stop().await;
}

#[tokio::test]
async fn a_reported_failure_a_crash_and_an_error_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let script = ["fail 0", "exit 1", "error Kind message"];
    let (world, mut events) = start(settings(directory.path(), &script, impatient())).await;
    change(&world, &["a"]).await;
    let (_, observed) = wait_for(&mut events, advanced).await;
    let retries = observed.iter().filter(|event| matches!(&***event, WorldEvent::RetryScheduled { .. })).count();
    assert_eq!(retries, 3, "{observed:#?}");
    assert!(world.failures().await.unwrap().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_given_up_is_in_the_bucket_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mapping = MappingSettings { maximum_retry_attempts: Some(1), ..impatient() };
    let script = ["error Kind one", "error Kind two"];
    let (world, mut events) = start(settings(directory.path(), &script, mapping)).await;
    change(&world, &["a"]).await;
    let (key, _) = wait_for(&mut events, |event| match event {
        WorldEvent::SentToDestination { key, condition: Condition::RetryAttemptsExhausted, records: 1 } => {
            Some(key.clone())
        }
        _ => None,
    })
    .await;
    let (to, _) = wait_for(&mut events, advanced).await;
    let objects = world.failures().await.unwrap();
    assert_eq!(objects.iter().map(|object| &object.key).collect::<Vec<_>>(), [&key]);
    let record: Value = serde_json::from_slice(&objects[0].body).unwrap();
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 2);
    assert_eq!(record["responseContext"]["functionError"], "Unhandled");
    assert_eq!(record["DDBStreamBatchInfo"]["endSequenceNumber"], to.as_str());
    let payload: Value = serde_json::from_str(record["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["Records"][0]["dynamodb"]["NewImage"]["key"]["S"], "a");
    // The shard continues after it.
    change(&world, &["b"]).await;
    let (next, _) = wait_for(&mut events, advanced).await;
    assert!(next > to);
    world.stop().await;
}

#[tokio::test]
async fn a_destination_that_refuses_keeps_the_batch_until_it_takes_it() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let mapping = MappingSettings { maximum_retry_attempts: Some(0), ..impatient() };
    let mut settings = settings(directory.path(), &["error Kind message"], mapping);
    settings.directory = Some(kept.clone());
    let (world, mut events) = start(settings).await;
    let bucket = kept.join("s3").join("audit-failures-local");
    std::fs::remove_dir(&bucket).unwrap();
    let missing = format!("{} is missing", bucket.display());
    change(&world, &["a"]).await;
    wait_for(&mut events, |event| match event {
        WorldEvent::DestinationFailed { message } => message.contains(&missing).then_some(()),
        _ => None,
    })
    .await;
    std::fs::create_dir(&bucket).unwrap();
    wait_for(&mut events, advanced).await;
    assert_eq!(world.failures().await.unwrap().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_world_in_a_directory_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let in_directory = |script: &[&str]| {
        let mut settings = settings(directory.path(), script, impatient());
        settings.directory = Some(kept.clone());
        settings
    };
    let (world, mut events) = start(in_directory(&[])).await;
    change(&world, &["a"]).await;
    let (first, _) = wait_for(&mut events, advanced).await;
    world.stop().await;

    // The change of this world is not delivered: the function never answers.
    let (world, mut events) = start(in_directory(&["hang"])).await;
    change(&world, &["b"]).await;
    wait_for(&mut events, |event| matches!(event, WorldEvent::LogLine { line, .. } if line == "hanging").then_some(()))
        .await;
    world.stop().await;

    let (world, mut events) = start(in_directory(&[])).await;
    let (second, observed) = wait_for(&mut events, advanced).await;
    let delivered: Vec<_> = observed
        .iter()
        .filter_map(|event| match &**event {
            WorldEvent::RecordDelivered { sequence_number, .. } => Some(sequence_number.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(delivered, std::slice::from_ref(&second));
    assert!(second > first);
    world.stop().await;
}

/// A number that no record of the shard has says nothing about what was delivered. So everything is delivered again, which
/// changes no entry.
#[tokio::test]
async fn a_checkpoint_with_a_number_that_it_cannot_have_delivers_from_the_oldest_record() {
    let numbers =
        ["", "x", "-1", "1", "9999999999999999999999", "100009000000000000000", &"9".repeat(40), &"9".repeat(41)];
    for engine in Engine::BOTH {
        let (database, aws) = engine.database().await;
        let directory = tempfile::tempdir().unwrap();
        let in_directory = || {
            let mut settings = settings(directory.path(), &[], impatient());
            settings.directory = Some(directory.path().join("kept"));
            (settings.store, settings.aws) = (Store::Endpoint(database.url().to_owned()), aws.clone());
            settings
        };
        let (world, mut events) = start(in_directory()).await;
        change(&world, &["a"]).await;
        let (first, _) = wait_for(&mut events, advanced).await;
        world.stop().await;
        let file = directory.path().join("kept/checkpoint.json");
        for number in numbers {
            let what = format!("{number:?} on {engine:?}");
            let mut checkpoint: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            *checkpoint["shards"].as_object_mut().unwrap().values_mut().next().unwrap() = number.into();
            std::fs::write(&file, checkpoint.to_string()).unwrap();

            let (world, mut events) = start(in_directory()).await;
            let (to, observed) = wait_for(&mut events, advanced).await;
            assert!(to >= first, "{what}");
            let delivered = observed.iter().find_map(|event| match &**event {
                WorldEvent::RecordDelivered { sequence_number, .. } => Some(sequence_number.clone()),
                _ => None,
            });
            assert_eq!(delivered.as_ref(), Some(&first), "{what}: {observed:#?}");
            let warnings = observed.iter().filter_map(|event| match &**event {
                WorldEvent::Warning { message } => Some(message.as_str()),
                _ => None,
            });
            let warnings: Vec<&str> = warnings.collect();
            assert_eq!(warnings.len(), 1, "{what}: {warnings:?}");
            assert!(warnings[0].contains(&format!("has no record {number},")), "{what}: {warnings:?}");
            world.stop().await;
        }
        database.stop().await;
    }
}

#[tokio::test]
async fn an_event_can_be_sent_without_the_mapping() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path(), &["return [1]"], impatient());
    settings.source = None;
    let (world, _heard) = start(settings).await;
    let invoked = world.invoke(b"{}".to_vec()).await.unwrap();
    assert_eq!(invoked.outcome, Ok("[1]".into()));
    world.stop().await;
}
