//! The same audit with unmodified `lambda_runtime` and AWS SDK, without telemetry: the handler that a good engineer
//! would write from their documentation.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use chrono::SecondsFormat;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_dynamo::Item;
use sha2::{Digest, Sha256};
use uuid::Builder;

/// The most items that `BatchWriteItem` accepts.
const ITEMS_IN_A_REQUEST: usize = 25;
/// How often unprocessed items are sent again.
const RETRIES: u32 = 5;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let client = Client::new(&config);
    let table = std::env::var("AUDIT_TABLE")?;
    run(service_fn(|event: LambdaEvent<Event>| handle(&client, &table, event.payload))).await
}

async fn handle(client: &Client, table: &str, event: Event) -> Result<DynamoDbEventResponse, Error> {
    let mut failed = HashSet::new();
    let mut entries = Vec::new();
    for record in event.records {
        let Some(sequence_number) = record.change.sequence_number.clone() else {
            return Err("a record has no sequence number".into());
        };
        match audit(record) {
            Ok(of_record) => entries.extend(of_record.into_iter().map(|entry| (sequence_number.clone(), entry))),
            Err(_) => drop(failed.insert(sequence_number)),
        }
    }
    for chunk in entries.chunks(ITEMS_IN_A_REQUEST) {
        for id in write(client, table, chunk).await {
            failed.extend(
                chunk.iter().filter(|(_, entry)| entry.get("id") == Some(&id)).map(|(number, _)| number.clone()),
            );
        }
    }
    let mut response = DynamoDbEventResponse::default();
    response.batch_item_failures.extend(failed.into_iter().map(|sequence_number| {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = Some(sequence_number);
        failure
    }));
    Ok(response)
}

/// The entries of a record.
fn audit(record: EventRecord) -> Result<Vec<HashMap<String, AttributeValue>>, Error> {
    let source = record.event_source_arn.unwrap_or_default();
    let event_id = record.event_id;
    let key = attributes(record.change.keys).remove("key").ok_or("a record has no key")?;
    let time = record.change.approximate_creation_date_time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let entry = |attribute: Option<&str>, old: Option<AttributeValue>, new: Option<AttributeValue>| {
        let mut entry = HashMap::from([
            ("id".to_owned(), AttributeValue::S(entry_id(&source, &event_id, attribute.unwrap_or_default()))),
            ("itemKey".to_owned(), key.clone()),
            ("modificationTime".to_owned(), AttributeValue::S(time.clone())),
        ]);
        if let Some(attribute) = attribute {
            entry.insert("updatedAttribute".to_owned(), AttributeValue::S(attribute.to_owned()));
        }
        entry.extend(old.map(|old| ("oldValue".to_owned(), old)));
        entry.extend(new.map(|new| ("newValue".to_owned(), new)));
        entry
    };
    let mut old = attributes(record.change.old_image);
    let mut new = attributes(record.change.new_image);
    match record.event_name.as_str() {
        "INSERT" => Ok(vec![entry(None, None, Some(AttributeValue::M(new)))]),
        "REMOVE" => Ok(vec![entry(None, Some(AttributeValue::M(old)), None)]),
        "MODIFY" => {
            let names: HashSet<String> = old.keys().chain(new.keys()).cloned().collect();
            let changed = names.into_iter().filter(|name| old.get(name) != new.get(name)).collect::<Vec<_>>();
            Ok(changed.into_iter().map(|name| entry(Some(&name), old.remove(&name), new.remove(&name))).collect())
        }
        name => Err(format!("{name} is not an event of a stream").into()),
    }
}

/// Writes up to 25 entries. Returns the IDs of those that are not stored.
async fn write(
    client: &Client,
    table: &str,
    entries: &[(String, HashMap<String, AttributeValue>)],
) -> Vec<AttributeValue> {
    let put = |entry: &HashMap<String, AttributeValue>| {
        let put = PutRequest::builder().set_item(Some(entry.clone())).build()?;
        Ok::<_, Error>(WriteRequest::builder().put_request(put).build())
    };
    let ids = || entries.iter().filter_map(|(_, entry)| entry.get("id").cloned()).collect();
    let Ok(mut requests) = entries.iter().map(|(_, entry)| put(entry)).collect::<Result<Vec<_>, _>>() else {
        return ids();
    };
    for retry in 0..=RETRIES {
        let Ok(output) = client.batch_write_item().request_items(table, requests).send().await else { return ids() };
        requests = output.unprocessed_items.and_then(|mut items| items.remove(table)).unwrap_or_default();
        if requests.is_empty() {
            return Vec::new();
        }
        tokio::time::sleep(Duration::from_millis(50 << retry)).await;
    }
    let put_requests = requests.iter().filter_map(WriteRequest::put_request);
    put_requests.filter_map(|put| put.item().get("id").cloned()).collect()
}

/// The same ID each time a record is delivered, formatted as a version 4 UUID.
fn entry_id(source: &str, event_id: &str, attribute: &str) -> String {
    let digest = Sha256::digest(format!("{source}\0{event_id}\0{attribute}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn attributes(item: Item) -> HashMap<String, AttributeValue> {
    item.into()
}
