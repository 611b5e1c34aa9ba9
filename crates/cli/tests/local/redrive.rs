//! `redrive`: everything in the failure bucket that can be mended comes back, once, and nothing that is there is lost.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use chrono::DateTime;
use config_audit::aws::arn::StreamArn;
use config_audit::clock::Clock;
use config_audit::quarantine::{KeptRecord, omitted_key, quarantine_key};
use config_audit::store::dynamodb::DynamoDbStore;
use config_audit_cli::commands::redrive::place::Place;
use config_audit_cli::commands::redrive::summary::{Records, Summary};
use config_audit_cli::commands::redrive::{Redrive, RedriveError};
use config_audit_local::{AwsSettings, Bucket, Database};
use config_audit_mapping::destination::GivenUp;
use config_audit_mapping::{Condition, SequenceNumber, StreamRecord};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::bootstrap::engine::Engine;
use crate::bootstrap::proxy::{Fault, Proxy};
use crate::bootstrap::records::{SECRET, event, insert, invalid, key, modify, oversized, sequence_number};
use crate::bootstrap::scene::{AUDIT_TABLE, FAILURE_BUCKET, Scene, assert_keeps_secrets};
use crate::support::{GENEROUS, config_audit, scripted_function};

/// An object's key and what is in it.
type Object = (String, Vec<u8>);

fn stream_arn() -> String {
    insert(0)["eventSourceARN"].as_str().unwrap().to_owned()
}

fn raw(record: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(record).unwrap()
}

/// What the function makes of a record that it keeps.
fn body(reason: &str, record: &RawValue) -> Vec<u8> {
    KeptRecord { reason, detail: "why it was kept", request_id: "request", function_arn: "function", record }.body()
}

fn quarantined(reason: &str, record: &Value) -> Object {
    let raw = raw(record);
    (quarantine_key(Some(&StreamArn::parse(stream_arn())), &raw), body(reason, &raw))
}

fn omitted(record: &Value) -> Object {
    (
        omitted_key(Some(&StreamArn::parse(stream_arn())), record["eventID"].as_str().unwrap()),
        body("value_omitted", &raw(record)),
    )
}

/// What Lambda makes of a batch that it gives up.
fn given_up(records: &[Value], request_id: &str, function_arn: &str) -> Object {
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

fn batch(numbers: impl IntoIterator<Item = usize>) -> Object {
    let records: Vec<Value> = numbers.into_iter().map(insert).collect();
    given_up(&records, "request", "function")
}

/// Objects that nothing can be made of, each with a secret in it where it has anything, and words that say why.
fn damaged() -> Vec<(Vec<u8>, &'static str)> {
    let (_, kept) = quarantined("no_key", &insert(999_999));
    let (_, batch) = batch([999_998]);
    let document = |document: Value| document.to_string().into_bytes();
    vec![
        (Vec::new(), "empty"),
        (kept[..kept.len() / 2].to_vec(), "cut short"),
        (batch[..batch.len() - 1].to_vec(), "cut short"),
        (SECRET.as_bytes().to_vec(), "no JSON"),
        ([kept.as_slice(), SECRET.as_bytes()].concat(), "no JSON"),
        ([b"{\"record\":\"".as_slice(), &[0xff], b"\"}"].concat(), "no JSON"),
        (document(json!(SECRET)), "neither a `record`"),
        (document(json!([SECRET])), "neither a `record`"),
        (document(json!({ "reason": [SECRET], "record": insert(1) })), "neither a `record`"),
        // As Lambda's SQS and SNS destinations deliver it: without the records.
        (
            document(json!({ "requestContext": { "condition": SECRET }, "DDBStreamBatchInfo": {} })),
            "neither a `record`",
        ),
        (document(json!({ "payload": SECRET })), "payload is no DynamoDB Streams event"),
        (document(json!({ "payload": { "Records": SECRET } })), "payload is no DynamoDB Streams event"),
        (
            document(json!({ "payload": format!("{{\"Records\":[{{\"{SECRET}") })),
            "payload is no DynamoDB Streams event",
        ),
    ]
}

/// A database behind a proxy, and a bucket.
struct Ground {
    database: Database,
    proxy: Proxy,
    bucket: Bucket,
    directory: TempDir,
}

impl Ground {
    async fn new(objects: impl IntoIterator<Item = Object>) -> Self {
        let aws = AwsSettings::dummy();
        let database = Database::memory(0, aws.clone()).await.unwrap();
        database.ensure_audit_table(AUDIT_TABLE).await.unwrap();
        let mut proxy = Proxy::down(database.url());
        proxy.up();
        let directory = tempfile::tempdir().unwrap();
        let bucket = Bucket::start(directory.path(), FAILURE_BUCKET, &aws).await.unwrap();
        let ground = Self { database, proxy, bucket, directory };
        write(&ground.files(), objects);
        ground
    }

    /// Where the bucket's objects are.
    fn files(&self) -> std::path::PathBuf {
        self.directory.path().join(FAILURE_BUCKET)
    }

    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        read(&self.files())
    }

    async fn entries(&self) -> Vec<String> {
        entries(&self.database).await
    }

    fn place(&self) -> Place {
        place(&self.bucket)
    }

    fn redrive(&self) -> Redrive {
        Redrive::new(self.place(), Some(store(&AwsSettings::dummy(), &self.proxy.url())))
    }

    /// The command, as a user runs it on this bucket.
    async fn command(&self, arguments: &[&str]) -> Said {
        let url = format!("s3://{FAILURE_BUCKET}");
        let arguments = [&[&url, "--audit-table", AUDIT_TABLE], arguments].concat();
        command(&self.proxy.url(), &self.bucket.url(), &arguments).await
    }
}

/// What a command printed, and its exit code.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Fails unless the command ended so, and said all of these words.
    fn assert(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stdout.contains(word) || self.stderr.contains(word), "{word:?} is not in {self:#?}");
        }
    }
}

/// Runs `config-audit redrive`. Whatever it is about, it says no value.
async fn command(endpoint: &str, s3_endpoint: &str, arguments: &[&str]) -> Said {
    let mut command = config_audit();
    command.arg("redrive").args(arguments).args(["--endpoint-url", endpoint, "--s3-endpoint-url", s3_endpoint]);
    let output = command.envs(AwsSettings::dummy().environment()).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let said = Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    assert_keeps_secrets(&format!("{said:?}"));
    said
}

/// As the command makes it: it does not retry.
fn store(aws: &AwsSettings, url: &str) -> DynamoDbStore {
    let config = aws.dynamodb(url).config().to_builder().retry_config(RetryConfig::disabled());
    DynamoDbStore::new(aws_sdk_dynamodb::Client::from_conf(config.build()), AUDIT_TABLE)
}

/// As the command makes it: it does retry, like on a file that goes away while the embedded S3 reads it.
fn place(bucket: &Bucket) -> Place {
    let config = bucket.client().config().to_builder();
    let config = config.retry_config(RetryConfig::standard().with_max_attempts(8));
    let client = aws_sdk_s3::Client::from_conf(config.build());
    Place::Bucket { client, bucket: bucket.name().to_owned(), prefix: String::new() }
}

async fn try_run(redrive: &Redrive) -> Result<Summary, RedriveError> {
    let mut summary = Summary::default();
    let mut objects = std::pin::pin!(redrive.objects());
    while let Some(object) = objects.try_next().await? {
        summary.add(object);
    }
    assert_keeps_secrets(&format!("{summary:?}"));
    Ok(summary)
}

async fn run(redrive: &Redrive) -> Summary {
    try_run(redrive).await.unwrap()
}

/// All items of the Audit table, to the letter.
async fn entries(database: &Database) -> Vec<String> {
    let entries = database.entries(AUDIT_TABLE).await.unwrap();
    entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect()
}

/// Fails unless each of these records, all insertions, has its one entry, and there are no others.
async fn assert_entries(database: &Database, numbers: impl IntoIterator<Item = usize>) {
    let entries = database.entries(AUDIT_TABLE).await.unwrap();
    let mut found: Vec<_> = entries.iter().map(|entry| entry.text("itemKey").to_owned()).collect();
    found.sort();
    let mut expected: Vec<_> = numbers.into_iter().map(key).collect();
    expected.sort();
    assert_eq!(found, expected);
}

fn write(directory: &Path, objects: impl IntoIterator<Item = Object>) {
    for (key, body) in objects {
        let file = directory.join(key);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, body).unwrap();
    }
}

fn read(directory: &Path) -> BTreeMap<String, Vec<u8>> {
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

fn archived(objects: &[Object]) -> BTreeMap<String, Vec<u8>> {
    objects.iter().map(|(key, body)| (format!("redriven/{key}"), body.clone())).collect()
}

#[tokio::test]
async fn every_record_of_a_thousand_objects_comes_back_and_the_damaged_ones_are_named() {
    let reasons = ["no_key", "undecodable", "invalid_value", "rejected_by_dynamodb", "panic"];
    let mut good: Vec<Object> = (0..650).map(|n| quarantined(reasons[n % reasons.len()], &insert(n))).collect();
    good.extend((0..100).map(|n| batch(1000 + 5 * n..1005 + 5 * n)));
    // Not as a string.
    let payload = event((1500..1503).map(insert));
    good.push(("aws/lambda/another".to_owned(), json!({ "payload": payload }).to_string().into_bytes()));
    let evidence: Vec<Object> = (2000..2150).map(|n| omitted(&insert(n))).collect();
    let kinds = damaged();
    let bad: Vec<(String, &(Vec<u8>, &str))> = (good.len() + evidence.len()..1000)
        .map(|n| {
            let place = ["quarantined/Configuration-dev/", "aws/lambda/m/s/2026/11/22/", ""][n % 3];
            (format!("{place}damaged-{n}"), &kinds[n % kinds.len()])
        })
        .collect();
    let bad_objects = bad.iter().map(|(key, (body, _))| (key.clone(), body.clone()));
    let ground = Ground::new(good.iter().cloned().chain(evidence.iter().cloned()).chain(bad_objects.clone())).await;
    assert_eq!(ground.objects().len(), 1000);

    let began = Clock::System.instant();
    let said = ground.command(&["--output", "json"]).await;
    let took = Clock::System.instant() - began;
    said.assert(1, &["100 objects replayed"]);
    let numbers = (0..650).chain(1000..1503);
    assert_entries(&ground.database, numbers.clone()).await;
    let summary = said.json();
    let count = numbers.count();
    assert_eq!((&summary["objects"], &summary["archived"]), (&json!(good.len()), &json!(good.len())));
    println!(
        "redrive of 1000 objects: {} replayed with {count} records, {} damaged, {} full records left alone, {:.1} s",
        good.len(),
        bad.len(),
        evidence.len(),
        took.as_secs_f64()
    );
    let records = json!({ "received": count, "audited": count, "unchanged": 0, "quarantined": 0, "failed": 0 });
    assert_eq!((&summary["records"], &summary["entriesWritten"]), (&records, &json!(count)));
    assert_eq!((&summary["omitted"], &summary["left"]), (&json!(evidence.len()), &json!({})));
    let named = summary["damaged"].as_object().unwrap();
    assert_eq!(named.len(), bad.len());
    for (key, (_, words)) in &bad {
        assert!(named[key].as_str().unwrap().contains(words), "{key}: {}", named[key]);
    }
    let mut expected = archived(&good);
    expected.extend(evidence.into_iter().chain(bad_objects));
    assert_eq!(ground.objects(), expected, "an object is lost, or another");

    let before = ground.entries().await;
    let writes = ground.proxy.writes();
    let again = ground.command(&[]).await;
    again.assert(
        1,
        &[
            "Objects  0 replayed, 0 archived",
            "150 full records",
            "Damaged  99",
            "quarantined/Configuration-dev/damaged-",
        ],
    );
    assert_eq!((ground.entries().await, ground.proxy.writes()), (before, writes));
    assert_eq!(ground.objects(), expected);
}

#[tokio::test]
async fn a_replay_of_what_the_function_stored_changes_nothing() {
    for engine in Engine::BOTH {
        let mut play = Scene::on(engine).start().await;
        let value = |text: &str| json!({ "S": text });
        let unchanged = modify(3, &value("x"), &value("x"));
        let records = [insert(1), modify(2, &value("x"), &value("y")), unchanged, oversized(4), invalid(5), insert(6)];
        let told = play.invoke(&event(records.clone())).await;
        assert_eq!(told.failed(), [""; 0]);
        let (entries_before, objects_before) = (play.entries().await, play.objects().await);
        assert_eq!((entries_before.len(), objects_before.len()), (4, 2), "on {engine:?}");
        // The very batch, as Lambda would have given it up after the same invocation.
        let function = serde_json::from_slice::<Value>(&objects_before[0].body).unwrap();
        let (key, body) = given_up(&records, &told.request_id, function["functionArn"].as_str().unwrap());
        let bucket = play.world.bucket().unwrap();
        bucket.put(&key, &body).await.unwrap();

        let client = play.database.client().clone();
        let summary = run(&Redrive::new(place(bucket), Some(DynamoDbStore::new(client, AUDIT_TABLE)))).await;
        let Records { audited, unchanged, failed, .. } = summary.records;
        assert_eq!((audited, unchanged, failed, summary.archived), (4, 1, 0, 1), "on {engine:?}");
        let quarantined = &objects_before[1];
        assert_eq!(summary.left.keys().collect::<Vec<_>>(), [&quarantined.key]);
        assert_eq!(play.entries().await, entries_before, "on {engine:?}");
        let mut objects = play.objects().await;
        let moved = objects.pop().unwrap();
        assert_eq!((moved.key, moved.body), (format!("redriven/{key}"), body));
        assert_eq!(objects, objects_before);
        play.stop().await;
    }
}

#[tokio::test]
async fn what_fails_again_stays_with_the_new_reason() {
    let (bad, nonsense) = (quarantined("no_key", &invalid(1)), raw(&Value::Null));
    let nonsense = (quarantine_key(None, &nonsense), body("no_key", &nonsense));
    let ground = Ground::new([bad.clone(), nonsense.clone(), batch([2]), quarantined("no_key", &insert(3))]).await;
    let summary = run(&ground.redrive()).await;
    assert_eq!(summary.records, Records { received: 4, audited: 2, unchanged: 0, quarantined: 2, failed: 0 });
    assert_eq!((summary.objects, summary.archived, summary.left.len()), (4, 2, 2));
    let objects = ground.objects();
    for ((key, before), reason) in [(bad, "invalid_value"), (nonsense, "undecodable")] {
        let [mut before, mut after]: [Value; 2] =
            [&before, &objects[&key]].map(|body| serde_json::from_slice(body).unwrap());
        assert_eq!(after["reason"].take(), reason);
        let words = after["detail"].take();
        assert!(summary.left[&key].contains(words.as_str().unwrap()), "{words}");
        // The record is the same, and so is who failed on it first.
        (before["reason"], before["detail"]) = (Value::Null, Value::Null);
        assert_eq!(after, before);
    }
    // Another run finds the same, and changes nothing.
    let again = run(&ground.redrive()).await;
    assert_eq!((again.records.quarantined, again.left), (2, summary.left));
    assert_eq!(ground.objects(), objects);
}

#[tokio::test]
async fn a_batch_with_bad_records_is_archived_and_they_are_kept_apart() {
    let objects = [given_up(&[insert(1), invalid(2), insert(3)], "request", "function")];
    let ground = Ground::new(objects.clone()).await;
    let said = ground.command(&[]).await;
    let kept = quarantine_key(Some(&StreamArn::parse(stream_arn())), &raw(&invalid(2)));
    said.assert(1, &["3 = 2 audited + 0 unchanged + 1 quarantined again", &kept, "quarantined again: an attribute"]);
    assert_entries(&ground.database, [1, 3]).await;
    let mut keys: Vec<String> = archived(&objects).into_keys().collect();
    keys.insert(0, kept);
    assert_eq!(ground.objects().into_keys().collect::<Vec<_>>(), keys);
}

#[tokio::test]
async fn a_batch_of_lambdas_largest_size_comes_back_whole() {
    let ground = Ground::new([batch(0..10_000)]).await;
    let summary = run(&ground.redrive()).await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!((summary.records.audited, summary.entries_written), (10_000, 10_000));
    assert_entries(&ground.database, 0..10_000).await;
}

#[tokio::test]
async fn a_dry_run_says_what_is_there_and_writes_nothing() {
    let mut objects = vec![batch([1, 2]), quarantined("no_key", &insert(3)), omitted(&insert(4))];
    objects.extend([quarantined("no_key", &invalid(5)), quarantined("rejected_by_dynamodb", &oversized(6))]);
    objects.extend(damaged().into_iter().enumerate().map(|(n, (body, _))| (format!("damaged-{n}"), body)));
    let ground = Ground::new(objects).await;
    let before = ground.objects();
    let said = ground.command(&["--dry-run"]).await;
    let words = [
        "RetryAttemptsExhausted: 2 records of KEY_1, KEY_2; would be 2 audited",
        "no_key: 1 record of KEY_3; would be 1 audited",
        "no_key: 1 record; would be 1 quarantined again",
        "rejected_by_dynamodb: 1 record of KEY_6; would be 1 audited",
        "0 min old",
        "2 RetryAttemptsExhausted, 2 no_key, 1 rejected_by_dynamodb",
        "damaged-3",
        "a dry run: nothing was written",
    ];
    said.assert(1, &words);
    let url = format!("s3://{FAILURE_BUCKET}/quarantined/");
    let said = command(&ground.proxy.url(), &ground.bucket.url(), &[&url, "--dry-run", "--output", "json"]).await;
    assert_eq!((&said.json()["dryRun"], &said.json()["objects"]), (&json!(true), &json!(3)), "{said:?}");
    assert_eq!(ground.objects(), before);
    assert_eq!((ground.entries().await.len(), ground.proxy.writes()), (0, 0));
}

/// A record that would be quarantined again has the key of an object that is there: in a dry run that one is untouched.
#[tokio::test]
async fn a_dry_run_tells_of_an_object_that_a_run_would_have_replaced() {
    let (_, body) = given_up(&[invalid(5)], "request", "function");
    // More than are under way at once, so that the first is done before the last is looked at.
    let between = (10..30).map(|n| batch([n]));
    let kept = quarantined("no_key", &invalid(5));
    let objects = between.chain([("aws/lambda/0".to_owned(), body), kept.clone()]);
    let ground = Ground::new(objects).await;
    let said = ground.command(&["--dry-run"]).await;
    said.assert(1, &["Objects  22 replayed", "22 = 20 audited + 0 unchanged + 2 quarantined again", &kept.0]);
}

#[tokio::test]
async fn a_directory_is_replayed_like_the_bucket_that_it_is_a_copy_of() {
    let good = [batch([1, 2]), quarantined("no_key", &insert(3)), quarantined("no_key", &oversized(4))];
    let others = [quarantined("no_key", &invalid(5)), ("damaged".to_owned(), Vec::new()), omitted(&insert(6))];
    let objects: Vec<Object> = good.iter().chain(&others).cloned().collect();
    let ground = Ground::new(objects.clone()).await;
    let of_bucket = run(&ground.redrive()).await;

    let copied = Ground::new([]).await;
    let copy = tempfile::tempdir().unwrap();
    write(copy.path(), objects);
    let directory = copy.path().to_str().unwrap();
    let arguments = [directory, "--audit-table", AUDIT_TABLE];
    // Entries name where a full record is, and nothing says which bucket this is a copy of.
    let said = command(&copied.proxy.url(), "http://127.0.0.1:1", &arguments).await;
    said.assert(
        1,
        &["give --failure-bucket", &good[2].0, "5 = 3 audited + 0 unchanged + 1 quarantined again + 1 failed"],
    );
    assert_entries(&copied.database, [1, 2, 3]).await;
    assert!(read(copy.path()).contains_key(&good[2].0));

    let arguments = [&arguments[..], &["--failure-bucket", FAILURE_BUCKET]].concat();
    command(&copied.proxy.url(), "http://127.0.0.1:1", &arguments)
        .await
        .assert(1, &["1 audited", "damaged  it is empty"]);
    assert_eq!(copied.entries().await, ground.entries().await);
    assert_eq!(read(copy.path()), ground.objects());
    let again = command(&copied.proxy.url(), "http://127.0.0.1:1", &arguments).await;
    again.assert(1, &["1 = 0 audited + 0 unchanged + 1 quarantined again"]);
    assert_eq!(read(copy.path()), ground.objects());
    assert_eq!(of_bucket.omitted, 1);
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_costs_nothing_but_another_run() {
    let objects: Vec<Object> = (0..20).map(|n| batch(3 * n..3 * n + 3)).collect();
    let ground = Ground::new(objects.clone()).await;
    ground.proxy.next(vec![Fault::LetThrough; 4]);
    // One that is not tried again at once; those that are take a minute.
    ground.proxy.always(Fault::Refuse(400, "Puzzling"));
    let summary = run(&ground.redrive()).await;
    assert_eq!((summary.objects, summary.archived), (20, 4), "{summary:?}");
    assert_eq!((summary.records.audited, summary.records.failed), (12, 48));
    assert_eq!(summary.left.len(), 16);
    assert!(summary.left.values().all(|reason| reason.contains("(Puzzling, HTTP status 400)")), "{:?}", summary.left);
    assert!(summary.left.keys().all(|key| ground.objects().contains_key(key)));

    ground.proxy.always(Fault::LetThrough);
    let summary = run(&ground.redrive()).await;
    assert_eq!((summary.archived, summary.is_complete()), (16, true));
    assert_entries(&ground.database, 0..60).await;
    assert_eq!(ground.objects(), archived(&objects));
}

#[tokio::test]
async fn faults_on_the_way_are_retried_like_the_functions() {
    use Fault::{Drop, GiveBack, LoseAnswer, Refuse};
    let objects: Vec<Object> = (0..20).map(|n| batch(3 * n..3 * n + 3)).collect();
    let ground = Ground::new(objects).await;
    ground.proxy.next([Drop, LoseAnswer, GiveBack(2), Refuse(500, "InternalServerError"), LoseAnswer, GiveBack(1)]);
    let summary = run(&ground.redrive()).await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_entries(&ground.database, 0..60).await;
}

#[tokio::test]
async fn a_run_that_is_cut_short_is_gone_on_with_by_the_next() {
    let objects: Vec<Object> = (0..40).map(|n| quarantined("no_key", &insert(n))).collect();
    let ground = Ground::new(objects.clone()).await;
    for seen in [0, 1, 5, 13] {
        // Dropped with eight objects under way.
        let redrive = ground.redrive();
        assert_eq!(redrive.objects().take(seen).count().await, seen);
    }
    // A crash between copy and deletion leaves both.
    let (key, body) = ground.objects().into_iter().find(|(key, _)| key.starts_with("quarantined/")).unwrap();
    write(&ground.files(), [(format!("redriven/{key}"), body)]);
    let summary = run(&ground.redrive()).await;
    assert!(summary.is_complete() && summary.objects <= 21, "{summary:?}");
    assert_entries(&ground.database, 0..40).await;
    assert_eq!(ground.objects(), archived(&objects));
}

#[tokio::test]
async fn ctrl_c_ends_a_run_with_a_summary_and_loses_nothing() {
    let objects: Vec<Object> = (0..20).map(|n| quarantined("no_key", &insert(n))).collect();
    let ground = Ground::new(objects.clone()).await;
    ground.proxy.next(vec![Fault::Silence; 1000]);
    let mut command = config_audit();
    command.args(["redrive", &format!("s3://{FAILURE_BUCKET}"), "--audit-table", AUDIT_TABLE]);
    command.args(["--endpoint-url", &ground.proxy.url(), "--s3-endpoint-url", &ground.bucket.url()]);
    command.envs(AwsSettings::dummy().environment()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = tokio::time::timeout(GENEROUS, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.contains("Ctrl-C ends it"), "{line}");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut said = String::new();
    let ended = async {
        child.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(GENEROUS, ended).await.unwrap();
    assert!(status.code() == Some(1) && said.contains("ended early"), "{status} {said}");
    assert_eq!(ground.objects(), objects.into_iter().collect());
}

#[tokio::test]
async fn two_runs_and_the_function_at_once_change_nothing_of_the_outcome() {
    for engine in Engine::BOTH {
        let mut play = Scene::on(engine).start().await;
        let mut objects: Vec<Object> = (0..60).map(|n| quarantined("no_key", &insert(n))).collect();
        objects.extend((0..20).map(|n| batch(3 * n..3 * n + 3)));
        let bucket = play.world.bucket().unwrap();
        for (key, body) in &objects {
            bucket.put(key, body).await.unwrap();
        }
        let (one, other) = [(); 2]
            .map(|()| {
                let store = DynamoDbStore::new(play.database.client().clone(), AUDIT_TABLE);
                Redrive::new(place(bucket), Some(store))
            })
            .into();
        let event = event((0..60).map(insert).chain([invalid(60)]));
        let (one, other, told) = tokio::join!(run(&one), run(&other), play.invoke(&event));
        assert_eq!(told.failed(), [""; 0]);
        for summary in [one, other] {
            assert!(summary.damaged.is_empty(), "{summary:?}");
            // The function may quarantine its record before a run lists it.
            assert!(summary.left.values().all(|reason| reason.starts_with("quarantined again")), "{summary:?}");
        }
        assert_entries(&play.database, 0..60).await;
        let found: BTreeMap<_, _> = play.objects().await.into_iter().map(|object| (object.key, object.body)).collect();
        let mut expected: Vec<String> = archived(&objects).into_keys().collect();
        expected.push(quarantine_key(Some(&StreamArn::parse(stream_arn())), &raw(&invalid(60))));
        expected.sort();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), expected, "on {engine:?}");
        play.stop().await;
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_written_to_ends_the_run_before_anything_is_moved() {
    let ground = Ground::new([batch([1])]).await;
    let before = ground.objects();
    let said = ground.command(&["--audit-table", "Missing-test"]).await;
    assert_eq!(said.code, Some(2), "an option twice: {said:?}");
    let url = format!("s3://{FAILURE_BUCKET}");
    let missing = [url.as_str(), "--audit-table", "Missing-test"];
    let said = command(&ground.proxy.url(), &ground.bucket.url(), &missing).await;
    said.assert(1, &["the Audit table Missing-test", "no such table", "--region"]);
    for (code, words) in [
        ("AccessDeniedException", "dynamodb:BatchWriteItem"),
        ("UnrecognizedClientException", "credentials are not accepted"),
        ("ExpiredTokenException", "log in again"),
    ] {
        ground.proxy.always(Fault::Refuse(400, code));
        ground.command(&[]).await.assert(1, &[AUDIT_TABLE, words]);
        // The same where it comes up later.
        let error = try_run(&ground.redrive()).await.unwrap_err();
        assert!(matches!(&error, RedriveError::Table(error) if error.to_string().contains(words)), "{error}");
    }
    assert_eq!(ground.objects(), before);
}

#[tokio::test]
async fn a_command_line_that_is_wrong_is_said_so() {
    let ground = Ground::new([]).await;
    let url = format!("s3://{FAILURE_BUCKET}");
    let bucket = |name: &'static str| [name, "--audit-table", AUDIT_TABLE];
    let (database, s3) = (ground.proxy.url(), ground.bucket.url());
    command(&database, &s3, &[&url]).await.assert(2, &["--audit-table"]);
    command(&database, &s3, &bucket("no such directory")).await.assert(2, &["no such directory", "s3://BUCKET"]);
    command(&database, &s3, &bucket("https://example.com/")).await.assert(2, &["s3://BUCKET"]);
    command(&database, &s3, &bucket("s3:///prefix")).await.assert(2, &["a bucket's name"]);
    ground.command(&["--failure-bucket", "other"]).await.assert(2, &["--failure-bucket is for a directory"]);
    command(&database, &s3, &bucket("s3://missing-test")).await.assert(1, &["missing-test", "no such bucket"]);
    ground.command(&[]).await.assert(0, &["Objects  0 replayed"]);
}

/// An S3 with one object that denies one thing.
async fn denying(denied: &'static str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |method: Method, uri: Uri, headers: HeaderMap| {
        let body = body.clone();
        async move {
            let action = match method {
                Method::GET if uri.query().is_some_and(|query| query.contains("list-type")) => "list",
                Method::GET => "get",
                Method::PUT if headers.contains_key("x-amz-copy-source") => "copy",
                Method::PUT => "put",
                _ => "delete",
            };
            let text = match action {
                // AWS's message names who asked for what; here it is a secret, so that every print of it is a leak.
                _ if action == denied => {
                    let error = format!("<Error><Code>AccessDenied</Code><Message>{SECRET}</Message></Error>");
                    return (StatusCode::FORBIDDEN, error.into_bytes());
                }
                "list" => {
                    "<ListBucketResult><Contents><Key>an object</Key><Size>9</Size></Contents></ListBucketResult>"
                }
                "copy" => "<CopyObjectResult><ETag>e</ETag></CopyObjectResult>",
                "get" => return (StatusCode::OK, body),
                _ => "",
            };
            (StatusCode::OK, text.as_bytes().to_vec())
        }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    url
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named() {
    let ground = Ground::new([]).await;
    let url = format!("s3://{FAILURE_BUCKET}");
    for (denied, record, permission) in [
        ("list", insert(1), "s3:ListBucket on the bucket failures-test"),
        ("get", insert(1), "s3:GetObject on the objects of the bucket failures-test"),
        ("copy", insert(1), "s3:GetObject and s3:PutObject on the objects"),
        ("delete", insert(1), "s3:DeleteObject on the objects"),
        ("put", invalid(1), "s3:PutObject on the objects"),
        // It has no sequence number, without which Lambda could not be told.
        ("put", json!({ "nonsense": SECRET }), "s3:PutObject on the objects"),
    ] {
        let s3 = denying(denied, body("no_key", &raw(&record))).await;
        let said = command(&ground.proxy.url(), &s3, &[&url, "--audit-table", AUDIT_TABLE]).await;
        said.assert(1, &[permission]);
        assert!(denied == "list" || said.stdout.contains("an object  "), "{said:?}");
    }
}

#[tokio::test]
async fn the_key_and_the_provenance_are_set_like_the_functions() {
    let mut record = insert(1);
    record["dynamodb"]["Keys"] = json!({ "name": { "S": "another" } });
    let ground = Ground::new([quarantined("no_key", &record)]).await;
    ground.command(&["--key-attribute", "name", "--provenance"]).await.assert(0, &["1 audited"]);
    let entry: Value = serde_json::from_str(&ground.entries().await[0]).unwrap();
    assert_eq!(entry["itemKey"], "another");
    assert_eq!(entry["provenance"]["sequenceNumber"], sequence_number(1).as_str());
}

#[tokio::test]
async fn the_local_world_prints_the_command_that_replays_its_bucket() {
    let mut command = config_audit();
    command.arg("local").arg("--bootstrap").arg(scripted_function()).stdout(Stdio::piped());
    let mut world = command.spawn().unwrap();
    let mut lines = BufReader::new(world.stdout.take().unwrap()).lines();
    let printed = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it ended");
            if line.contains(" redrive ") {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(GENEROUS, printed).await.unwrap();
    let output = tokio::process::Command::new("sh").arg("-c").arg(&line).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Objects  0 replayed"), "{line}: {output:?}");
}
