//! `tail`: new entries, and what happens to old ones.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::{BillingMode, GlobalSecondaryIndex, Projection, ProjectionType};
use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use config_audit_local::{AwsSettings, Database};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::scene::{AUDIT, CONFIGURATION, EPOCH, History, Tables, command, entries, id, item};
use crate::bootstrap::engine::Engine;
use crate::support::GENEROUS;

/// Starts it, and waits until it follows the stream.
async fn start(tables: &Tables, more: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let arguments = [&["tail", "--audit-table", AUDIT], more].concat();
    let mut command = command(tables.database.url(), &tables.aws, &arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = tokio::time::timeout(GENEROUS, said.next_line()).await.unwrap().unwrap().unwrap();
    assert!(first.starts_with("Following"), "{first}");
    child.stderr = Some(said.into_inner().into_inner());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    tokio::time::timeout(GENEROUS, lines.next_line()).await.unwrap().unwrap().unwrap()
}

fn history() -> History {
    vec![(EPOCH, Some(item("K", &[("a", 1)]))), (EPOCH + 60, Some(item("K", &[("a", 2)]))), (EPOCH + 120, None)]
}

#[tokio::test]
async fn new_entries_are_told_without_values_and_tampering_loudly() {
    for engine in Engine::BOTH {
        let tables = Tables::on(engine).await;
        let entries = entries("K", &history());
        let (mut child, mut lines) = start(&tables, &[]).await;
        for entry in &entries {
            tables.write(AUDIT, [entry.clone()]).await;
        }
        // A redelivery writes the same entry again.
        tables.write(AUDIT, [entries[1].clone()]).await;
        tables.alter(&id(&entries[1]), "newValue", AttributeValue::N("7777".to_owned())).await;
        tables.delete(AUDIT, "id", &id(&entries[0])).await;
        assert_eq!(next(&mut lines).await, "2024-09-11T09:02:28.000Z  K  created");
        assert_eq!(next(&mut lines).await, "2024-09-11T09:03:28.000Z  K  a changed");
        assert_eq!(next(&mut lines).await, "2024-09-11T09:04:28.000Z  K  removed");
        let altered = next(&mut lines).await;
        assert!(altered.starts_with(&format!("ALTERED (newValue) entry {} at ", id(&entries[1]))), "{altered}");
        assert!(!altered.contains("7777"), "{altered}");
        let deleted = next(&mut lines).await;
        assert!(deleted.starts_with(&format!("DELETED entry {} at ", id(&entries[0]))), "{deleted}");
        child.kill().await.unwrap();
        tables.database.stop().await;
    }
}

/// Whoever wants to delete an entry unnoticed disables the stream, deletes it, and enables the stream again.
#[tokio::test]
async fn a_stream_that_is_disabled_and_enabled_again_is_reported_and_the_new_one_is_followed() {
    use aws_sdk_dynamodb::types::{StreamSpecification, StreamViewType};
    for engine in Engine::BOTH {
        let tables = Tables::on(engine).await;
        let entries = entries("K", &history());
        tables.write(AUDIT, [entries[0].clone()]).await;
        let (mut child, mut lines) = start(&tables, &[]).await;
        let stream = async |is_enabled: bool| {
            let both = is_enabled.then_some(StreamViewType::NewAndOldImages);
            let specification = StreamSpecification::builder().stream_enabled(is_enabled).set_stream_view_type(both);
            let update = tables.database.client().update_table().table_name(AUDIT);
            update.stream_specification(specification.build().unwrap()).send().await.unwrap();
        };
        stream(false).await;
        assert!(next(&mut lines).await.starts_with("STREAM DISABLED of table Audit-trail: somebody"), "{engine:?}");
        tables.delete(AUDIT, "id", &id(&entries[0])).await;
        stream(true).await;
        assert!(next(&mut lines).await.starts_with("STREAM REPLACED of table Audit-trail: somebody"), "{engine:?}");
        tables.write(AUDIT, [entries[1].clone()]).await;
        // The embedded engine keeps the old stream's records in the new one.
        while next(&mut lines).await != "2024-09-11T09:03:28.000Z  K  a changed" {}
        child.kill().await.unwrap();
        tables.database.stop().await;
    }
}

#[tokio::test]
async fn the_stream_is_told_from_its_start_as_json_where_that_is_asked_for() {
    let tables = Tables::on(Engine::Embedded).await;
    tables.write(AUDIT, entries("K", &history()[..1].to_vec())).await;
    let (mut child, mut lines) = start(&tables, &["--since-start", "--values", "--output", "json"]).await;
    let line: Value = serde_json::from_str(&next(&mut lines).await).unwrap();
    assert_eq!((&line["event"], &line["entry"]["newValue"]), (&json!("written"), &json!({ "key": "K", "a": 1 })));
    child.kill().await.unwrap();
    tables.database.stop().await;
}

#[tokio::test]
async fn it_ends_when_nobody_reads_or_it_is_told_to() {
    let tables = Tables::on(Engine::Embedded).await;
    let (mut child, lines) = start(&tables, &[]).await;
    drop(lines);
    tables.write(AUDIT, entries("K", &history())).await;
    let status = tokio::time::timeout(GENEROUS, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(141));

    let (child, _lines) = start(&tables, &[]).await;
    let process = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = tokio::time::timeout(GENEROUS, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    tables.database.stop().await;
}

#[tokio::test]
async fn a_table_without_a_stream_says_how_to_enable_one() {
    let tables = Tables::on(Engine::Embedded).await;
    let unwatched = "Audit-unwatched";
    let description = tables.database.client().describe_table().table_name(AUDIT).send().await.unwrap().table.unwrap();
    let index = &description.global_secondary_indexes()[0];
    let index = GlobalSecondaryIndex::builder()
        .index_name(index.index_name().unwrap())
        .set_key_schema(index.key_schema.clone())
        .projection(Projection::builder().projection_type(ProjectionType::All).build());
    let create = tables.database.client().create_table().table_name(unwatched).billing_mode(BillingMode::PayPerRequest);
    let create = create.set_attribute_definitions(description.attribute_definitions.clone());
    let create = create.set_key_schema(description.key_schema.clone()).global_secondary_indexes(index.build().unwrap());
    create.send().await.unwrap();
    let ran = tables.run(&["tail", "--audit-table", unwatched]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("aws dynamodb update-table") && ran.stderr.contains("NEW_AND_OLD_IMAGES"), "{ran:?}");
    tables.database.stop().await;
}

/// Its records would be shown as entries, with configuration values as the names of attributes.
#[tokio::test]
async fn a_table_that_is_no_audit_table_is_refused() {
    for engine in Engine::BOTH {
        let tables = Tables::on(engine).await;
        // A table with the Audit table's key is just as wrong.
        let alike = "Configuration-alike";
        tables.database.ensure_configuration_table(alike, "id").await.unwrap();
        for (table, lack) in
            [(CONFIGURATION, "the key `id` of type S"), (alike, "the index itemKey-modificationTime-index")]
        {
            let ran = tables.run(&["tail", "--audit-table", table]).await;
            let said =
                format!("table {table} at {} is not an Audit table: it does not have {lack}", tables.database.url());
            assert!(ran.code == 2 && ran.stderr.contains(&said) && ran.stdout.is_empty(), "{ran:?}");
        }
        tables.database.stop().await;
    }
}

/// A stream whose shard is split while it is read: its own records come first, then those of its children, then those of a
/// grandchild. The names sort the other way round.
#[tokio::test]
async fn the_records_of_shards_come_after_those_of_the_shard_that_was_split() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let is_split = Arc::new(AtomicBool::new(false));
    let answer = move |headers: HeaderMap, body: Bytes| {
        let is_split = Arc::clone(&is_split);
        async move {
            let input: Value = serde_json::from_slice(&body).unwrap();
            let target = headers["x-amz-target"].to_str().unwrap();
            let shard = |id: &str, parent: &str| json!({ "ShardId": id, "ParentShardId": parent });
            let record = |key: &str, number: u32| {
                json!({ "eventName": "INSERT", "dynamodb": {
                    "SequenceNumber": format!("{number:021}"),
                    "NewImage": { "id": { "S": "i" }, "itemKey": { "S": key }, "newValue": { "M": {} } },
                } })
            };
            let answer = match (target.rsplit('.').next().unwrap(), input["ShardIterator"].as_str().unwrap_or_default())
            {
                ("DescribeTable", _) => json!({ "Table": {
                    "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
                    "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
                    "GlobalSecondaryIndexes": [{ "IndexName": "itemKey-modificationTime-index" }],
                    "LatestStreamArn": "arn:aws:dynamodb:eu-central-1:000000000000:table/Audit/stream/1",
                    "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES" },
                } }),
                ("DescribeStream", _) if is_split.load(Ordering::Relaxed) => json!({ "StreamDescription": { "Shards": [
                    shard("a", "b"), shard("b", "c"), shard("bb", "c"), shard("c", "left the stream"),
                ] } }),
                ("DescribeStream", _) => json!({ "StreamDescription": { "Shards": [shard("c", "left the stream")] } }),
                ("GetShardIterator", _) => json!({ "ShardIterator": input["ShardId"] }),
                ("GetRecords", "c") => json!({ "Records": [record("1st", 1)], "NextShardIterator": "end of c" }),
                ("GetRecords", "end of c") => {
                    is_split.store(true, Ordering::Relaxed);
                    json!({ "Records": [record("2nd", 2)] })
                }
                ("GetRecords", "b") => json!({ "Records": [record("child", 3)] }),
                ("GetRecords", "bb") => json!({ "Records": [record("child", 3)], "NextShardIterator": "open" }),
                ("GetRecords", "a") => json!({ "Records": [record("grandchild", 4)], "NextShardIterator": "open" }),
                _ => json!({ "Records": [], "NextShardIterator": "open" }),
            };
            answer.to_string()
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let tables = Tables { database: Database::at(&url, AwsSettings::dummy()), aws: AwsSettings::dummy() };
    let (mut child, mut lines) = start(&tables, &["--since-start", "--output", "json"]).await;
    let mut keys = Vec::new();
    for _ in 0..5 {
        let line: Value = serde_json::from_str(&next(&mut lines).await).unwrap();
        keys.push(line["entry"]["itemKey"].as_str().unwrap().to_owned());
    }
    assert_eq!(keys[..3], ["1st", "2nd", "child"]);
    keys[3..].sort();
    assert_eq!(keys[3..], ["child", "grandchild"]);
    child.kill().await.unwrap();
}
