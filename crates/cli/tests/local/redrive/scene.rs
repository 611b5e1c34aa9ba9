//! Objects as the function and Lambda write them, a database behind a proxy, a bucket, and the command.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use chrono::DateTime;
use config_audit::aws::arn::StreamArn;
use config_audit::quarantine::{StoredRecord, omitted_key, quarantine_key};
use config_audit::store::dynamodb::DynamoDbStore;
use config_audit_cli::commands::redrive::summary::Summary;
use config_audit_cli::commands::redrive::{Redrive, RedriveError};
use config_audit_cli::place::Place;
use config_audit_local::{AwsSettings, Breaker, Bucket, Database};
use config_audit_mapping::destination::GivenUp;
use config_audit_mapping::{Condition, SequenceNumber, StreamRecord};
use futures_util::TryStreamExt;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::bootstrap::proxy::Proxy;
use crate::bootstrap::records::{SECRET, insert, key};
use crate::bootstrap::scene::{AUDIT_TABLE, FAILURE_BUCKET, assert_keeps_secrets};
use crate::support::config_audit;

/// An object's key and its content.
pub(crate) type Object = (String, Vec<u8>);

pub(crate) fn stream_arn() -> String {
    insert(0)["eventSourceARN"].as_str().unwrap().to_owned()
}

pub(crate) fn raw(record: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(record).unwrap()
}

/// The object that the function stores for a record.
pub(crate) fn body(reason: &str, record: &RawValue) -> Vec<u8> {
    StoredRecord { reason, detail: "why it was kept", request_id: "request", function_arn: "function", record }.body()
}

pub(crate) fn quarantined(reason: &str, record: &Value) -> Object {
    let raw = raw(record);
    (quarantine_key(Some(&StreamArn::new(stream_arn())), &raw), body(reason, &raw))
}

pub(crate) fn omitted(record: &Value) -> Object {
    (
        omitted_key(Some(&StreamArn::new(stream_arn())), record["eventID"].as_str().unwrap()),
        body("value_omitted", &raw(record)),
    )
}

/// The object that Lambda stores for a batch that it gives up on.
pub(crate) fn given_up(records: &[Value], request_id: &str, function_arn: &str) -> Object {
    let record = |record: &Value| {
        Arc::new(StreamRecord {
            sequence_number: SequenceNumber::new(record["dynamodb"]["SequenceNumber"].as_str().unwrap_or("1")),
            created_ms: 1_726_045_348_000,
            event_name: "INSERT".to_owned(),
            json: record.to_string(),
        })
    };
    let records: Vec<_> = records.iter().map(record).collect();
    let given_up = GivenUp {
        mapping: Uuid::nil(),
        stream_arn: &stream_arn(),
        shard_id: "shardId-00000001726045348000-a1b2c3d4",
        function_arn,
        records: &records,
        condition: Condition::RetryAttemptsExhausted,
        invocations: 9,
        request_id,
        function_error: false,
    };
    let now = DateTime::from_timestamp_millis(1_726_045_450_000).unwrap();
    (given_up.key(now, Uuid::new_v4()), given_up.body(now).unwrap())
}

pub(crate) fn batch(numbers: impl IntoIterator<Item = usize>) -> Object {
    let records: Vec<Value> = numbers.into_iter().map(insert).collect();
    given_up(&records, "request", "function")
}

/// Objects that nothing can be read from, each with a secret in it unless it is empty, and words that say why.
pub(crate) fn damaged() -> Vec<(Vec<u8>, &'static str)> {
    let (_, kept) = quarantined("no_key", &insert(999_999));
    let (_, batch) = batch([999_998]);
    let document = |document: Value| document.to_string().into_bytes();
    vec![
        (Vec::new(), "empty"),
        (kept[..kept.len() / 2].to_vec(), "cut short"),
        (batch[..batch.len() - 1].to_vec(), "cut short"),
        (SECRET.as_bytes().to_vec(), "not valid JSON"),
        ([kept.as_slice(), SECRET.as_bytes()].concat(), "not valid JSON"),
        ([b"{\"record\":\"".as_slice(), &[0xff], b"\"}"].concat(), "not valid JSON"),
        (document(json!(SECRET)), "neither a `record`"),
        (document(json!([SECRET])), "neither a `record`"),
        (document(json!({ "reason": [SECRET], "record": insert(1) })), "neither a `record`"),
        // As Lambda's SQS and SNS destinations deliver it: without the records.
        (
            document(json!({ "requestContext": { "condition": SECRET }, "DDBStreamBatchInfo": {} })),
            "neither a `record`",
        ),
        (document(json!({ "payload": SECRET })), "payload is not a DynamoDB Streams event"),
        (document(json!({ "payload": { "Records": SECRET } })), "payload is not a DynamoDB Streams event"),
        (
            document(json!({ "payload": format!("{{\"Records\":[{{\"{SECRET}") })),
            "payload is not a DynamoDB Streams event",
        ),
    ]
}

/// A database behind a proxy, and a bucket.
pub(crate) struct Ground {
    pub(crate) database: Database,
    pub(crate) proxy: Proxy,
    pub(crate) bucket: Bucket,
    directory: TempDir,
}

impl Ground {
    pub(crate) async fn new(objects: impl IntoIterator<Item = Object>) -> Self {
        let aws = AwsSettings::dummy();
        let database = Database::memory(0, aws.clone()).await.unwrap();
        database.ensure_audit_table(AUDIT_TABLE).await.unwrap();
        let mut proxy = Proxy::down(database.url());
        proxy.up();
        let directory = tempfile::tempdir().unwrap();
        let bucket = Bucket::start(directory.path(), FAILURE_BUCKET, &aws, Breaker::default()).await.unwrap();
        let ground = Self { database, proxy, bucket, directory };
        write(&ground.files(), objects);
        ground
    }

    /// Where the bucket's objects are.
    pub(crate) fn files(&self) -> std::path::PathBuf {
        self.directory.path().join(FAILURE_BUCKET)
    }

    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        read(&self.files())
    }

    pub(crate) async fn entries(&self) -> Vec<String> {
        entries(&self.database).await
    }

    /// Deletes all entries, as if the table had been restored from a backup that is older.
    pub(crate) async fn empty_table(&self) {
        for entry in self.database.entries(AUDIT_TABLE).await.unwrap() {
            let id = aws_sdk_dynamodb::types::AttributeValue::S(entry.text("id").to_owned());
            self.database.client().delete_item().table_name(AUDIT_TABLE).key("id", id).send().await.unwrap();
        }
    }

    pub(crate) fn place(&self) -> Place {
        place(&self.bucket)
    }

    pub(crate) fn redrive(&self) -> Redrive {
        Redrive::new(self.place(), Some(store(&AwsSettings::dummy(), &self.proxy.url())))
    }

    /// The command, as a user runs it on this bucket.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Said {
        let url = format!("s3://{FAILURE_BUCKET}");
        let arguments = [&[&url, "--audit-table", AUDIT_TABLE], arguments].concat();
        command(&self.proxy.url(), &self.bucket.url(), &arguments).await
    }
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("not valid JSON: {self:?}"))
    }

    /// Fails unless the command exited with this code, and printed all of these words.
    pub(crate) fn assert(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stdout.contains(word) || self.stderr.contains(word), "{word:?} is not in {self:#?}");
        }
    }
}

/// Runs `config-audit redrive`. Whatever the test is about, the command must not print a value.
pub(crate) async fn command(endpoint: &str, s3_endpoint: &str, arguments: &[&str]) -> Said {
    let mut command = config_audit();
    command.arg("redrive").args(arguments).args(["--endpoint-url", endpoint, "--s3-endpoint-url", s3_endpoint]);
    let output = command.envs(AwsSettings::dummy().environment()).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let said = Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    assert_keeps_secrets(&format!("{said:?}"));
    said
}

/// Like the command's own, it does not retry.
pub(crate) fn store(aws: &AwsSettings, url: &str) -> DynamoDbStore {
    let config = aws.dynamodb(url).config().to_builder().retry_config(RetryConfig::disabled());
    DynamoDbStore::new(aws_sdk_dynamodb::Client::from_conf(config.build()), AUDIT_TABLE)
}

/// Like the command's own, it retries, for example if a file disappears while the embedded S3 reads it.
pub(crate) fn place(bucket: &Bucket) -> Place {
    let config = bucket.client().config().to_builder();
    let config = config.retry_config(RetryConfig::standard().with_max_attempts(8));
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let address = format!("at {}", bucket.url());
    Place::Bucket { client, bucket: bucket.name().to_owned(), prefix: String::new(), address }
}

pub(crate) async fn try_run(redrive: &Redrive) -> Result<Summary, RedriveError> {
    let mut summary = Summary::default();
    let mut objects = std::pin::pin!(redrive.objects());
    while let Some(object) = objects.try_next().await? {
        summary.add(object);
    }
    assert_keeps_secrets(&format!("{summary:?}"));
    Ok(summary)
}

pub(crate) async fn run(redrive: &Redrive) -> Summary {
    try_run(redrive).await.unwrap()
}

/// All items of the Audit table, byte for byte.
pub(crate) async fn entries(database: &Database) -> Vec<String> {
    let entries = database.entries(AUDIT_TABLE).await.unwrap();
    entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect()
}

/// Fails unless each of these records, all insertions, has exactly one entry, and there are no others.
pub(crate) async fn assert_entries(database: &Database, numbers: impl IntoIterator<Item = usize>) {
    let entries = database.entries(AUDIT_TABLE).await.unwrap();
    let mut found: Vec<_> = entries.iter().map(|entry| entry.text("itemKey").to_owned()).collect();
    found.sort();
    let mut expected: Vec<_> = numbers.into_iter().map(key).collect();
    expected.sort();
    assert_eq!(found, expected);
}

pub(crate) fn write(directory: &Path, objects: impl IntoIterator<Item = Object>) {
    for (key, body) in objects {
        let file = directory.join(key);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, body).unwrap();
    }
}

pub(crate) fn read(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let key = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                found.insert(key, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

pub(crate) fn archived(objects: &[Object]) -> BTreeMap<String, Vec<u8>> {
    objects.iter().map(|(key, body)| (format!("redriven/{key}"), body.clone())).collect()
}
