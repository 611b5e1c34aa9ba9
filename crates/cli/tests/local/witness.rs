//! The witness in the local world: the real bootstrap on the Audit table's stream, on both engines, and `verify` and
//! `seal` on what it stored.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use config_audit_local::aws::tables::HISTORY_INDEX;
use config_audit_local::{AwsSettings, EventBus, Source, Store, World, WorldEvent, WorldSettings};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::bootstrap::engine::Engine;
use crate::support::{bootstrap, wait_for};
use crate::trail::scene::{Ran, command, run_at};

const CONFIGURATION: &str = "Configuration-local";
const AUDIT: &str = "Audit-local";
const WITNESS: &str = "audit-witness-local";

/// A world with a witness, and its events.
struct Scene {
    world: World,
    events: UnboundedReceiver<Arc<WorldEvent>>,
    aws: AwsSettings,
}

impl Scene {
    async fn on(engine: Engine) -> Self {
        let mut settings = WorldSettings::new(bootstrap());
        settings.source = Some(Source { witness_bucket: Some(WITNESS.to_owned()), ..Source::default() });
        if engine != Engine::Embedded {
            let (database, aws) = engine.database().await;
            (settings.store, settings.aws) = (Store::Endpoint(database.url().to_owned()), aws);
        }
        let bus = EventBus::new();
        let (events, aws) = (bus.subscribe(), settings.aws.clone());
        Self { world: World::start(settings, bus).await.unwrap(), events, aws }
    }

    fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        self.world.database().unwrap().client()
    }

    /// Changes the item with this key, and waits until as many entries have a witness.
    async fn change(&mut self, key: &str, values: &[i64]) {
        for value in values {
            let put =
                self.dynamodb().put_item().table_name(CONFIGURATION).item("key", AttributeValue::S(key.to_owned()));
            put.item("value", AttributeValue::N(value.to_string())).send().await.unwrap();
        }
        self.wait_for("EntriesWitnessed", values.len()).await;
    }

    /// Waits until the witness has counted this many.
    async fn wait_for(&mut self, metric: &str, count: usize) {
        let mut seen = 0;
        let wanted = |event: &WorldEvent| {
            let WorldEvent::Witness(event) = event else { return None };
            let WorldEvent::LogLine { line, .. } = &**event else { return None };
            assert!(!line.contains("s3cr3t"), "{line}");
            let line: Value = serde_json::from_str(line).unwrap();
            seen += usize::try_from(line[metric].as_u64().unwrap_or_default()).unwrap();
            (seen >= count).then_some(())
        };
        wait_for(&mut self.events, wanted).await;
        assert_eq!(seen, count);
    }

    /// The item's entries, in order.
    async fn entries(&self, key: &str) -> Vec<std::collections::HashMap<String, AttributeValue>> {
        let query = self.dynamodb().query().table_name(AUDIT).index_name(HISTORY_INDEX);
        let query = query.key_condition_expression("itemKey = :key");
        let query = query.expression_attribute_values(":key", AttributeValue::S(key.to_owned()));
        query.send().await.unwrap().items.unwrap()
    }

    async fn run_without_s3(&self, arguments: &[&str]) -> Ran {
        run_at(self.world.database().unwrap().url(), &self.aws, arguments).await
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let bucket = self.world.bucket().unwrap();
        let mut command = command(self.world.database().unwrap().url(), &self.aws, arguments);
        command.args(["--s3-endpoint-url", &bucket.url()]);
        Ran::from(&command.output().await.unwrap())
    }

    async fn verify(&self) -> Ran {
        let location = format!("s3://{WITNESS}");
        let verify = ["verify", "--configuration-table", CONFIGURATION, "--audit-table", AUDIT, "--settle", "0"];
        self.run(&[&verify[..], &["--output", "json", "--witness", &location]].concat()).await
    }

    async fn stop(self) {
        self.world.stop().await;
    }
}

#[tokio::test]
async fn entries_are_witnessed_and_tampering_with_them_is_counted_kept_and_named() {
    for engine in Engine::BOTH {
        let mut scene = Scene::on(engine).await;
        scene.change("K", &[1, 2, 3]).await;
        let intact = scene.verify().await;
        assert_eq!(intact.code, 0, "{engine:?}: {intact:?}");
        let (_, summary) = intact.findings();
        assert_eq!(summary["witness"]["entriesAsWitnessed"], 3);
        assert_eq!(summary["witness"]["isSound"], true);

        // The same entry written again, as by a redelivery, is no tampering; one value rewritten in two entries is, and so
        // is a deletion.
        let entries = scene.entries("K").await;
        let written = |value: &str| {
            let value = Some(AttributeValue::N(value.to_owned()));
            entries.iter().find(|entry| entry.get("newValue").cloned() == value).unwrap().clone()
        };
        let (first, second) = (written("2"), written("3"));
        let put = async |mut entry: std::collections::HashMap<String, AttributeValue>, attribute: &str| {
            if !attribute.is_empty() {
                entry.insert(attribute.to_owned(), AttributeValue::N("99".to_owned()));
            }
            scene.dynamodb().put_item().table_name(AUDIT).set_item(Some(entry)).send().await.unwrap();
        };
        put(first.clone(), "").await;
        put(first.clone(), "newValue").await;
        put(second.clone(), "oldValue").await;
        scene.wait_for("EntriesTampered", 2).await;

        let broken = scene.verify().await;
        assert_eq!(broken.code, 1, "{engine:?}: {broken:?}");
        let (found, summary) = broken.findings();
        assert!(found.iter().all(|finding| finding["finding"] == "altered" && finding["itemKey"] == "K"), "{found:?}");
        assert_eq!((found.len(), &summary["findings"]), (2, &json!(0)), "the entries fit one another");
        // Without the witness, nothing is found, and the output says that this could not have been.
        let blind = ["verify", "--configuration-table", CONFIGURATION, "--audit-table", AUDIT, "--settle", "0"];
        let blind = scene.run_without_s3(&blind).await;
        assert_eq!(blind.code, 0, "{blind:?}");
        assert!(blind.stdout.contains("This cannot detect entries that were altered"), "{blind:?}");
        let kept: Vec<String> = scene.world.failures().await.unwrap().into_iter().map(|object| object.key).collect();
        assert_eq!(kept.iter().filter(|key| key.starts_with("tampering/Audit-local/")).count(), 2, "{kept:?}");

        // What is not a change of configuration is not replayed.
        let bucket = scene.world.bucket().unwrap();
        let location = format!("s3://{}", bucket.name());
        let redriven = scene.run(&["redrive", &location, "--audit-table", AUDIT, "--output", "json"]).await;
        assert_eq!(redriven.code, 0, "{redriven:?}");
        let summary: Value = serde_json::from_str(&redriven.stdout).unwrap();
        assert_eq!(summary["tampering"], 2, "{summary}");

        let id = first["id"].clone();
        scene.dynamodb().delete_item().table_name(AUDIT).key("id", id).send().await.unwrap();
        scene.wait_for("EntriesTampered", 1).await;
        let (found, _) = scene.verify().await.findings();
        assert!(found.iter().any(|finding| finding["finding"] == "deleted"), "{found:?}");
        scene.stop().await;
    }
}

#[tokio::test]
async fn a_command_that_cannot_read_the_witnesses_says_why() {
    let mut scene = Scene::on(Engine::Embedded).await;
    scene.change("K", &[1]).await;
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("seal.json");
    let output = output.to_str().unwrap();
    let location = format!("s3://{WITNESS}");
    // What was stored within the last minute may not be complete.
    let seal = ["seal", "--witness", &location, "--audit-table", AUDIT, "--output", output];
    let early = scene.run(&seal).await;
    assert_eq!(early.code, 2, "{early:?}");
    assert!(early.stderr.contains("nothing to seal"), "{early:?}");
    let verify = ["verify", "--configuration-table", CONFIGURATION, "--audit-table", AUDIT, "--settle", "0"];
    for (more, expected) in [
        (vec!["--witness", "s3://missing"], "there is no such bucket"),
        (vec!["--witness", directory.path().to_str().unwrap()], "there is no directory"),
        (vec!["--witness", &location, "--seal", output], "reading"),
        (vec!["--seal", output], "--witness"),
    ] {
        let ran = scene.run(&[&verify[..], &more].concat()).await;
        assert_eq!(ran.code, 2, "{more:?}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{more:?}: {ran:?}");
    }
    // Without any witness, nothing is proven.
    let none = scene.run(&[&verify[..], &["--witness", &location, "--witness-table", "Other"]].concat()).await;
    assert_eq!(none.code, 1, "{none:?}");
    assert!(none.stdout.contains("There is no witness of any entry"), "{none:?}");
    scene.stop().await;
}
