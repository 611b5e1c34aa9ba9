//! What is recovered, and what stays.

use config_audit::aws::arn::StreamArn;
use config_audit::clock::Clock;
use config_audit::quarantine::quarantine_key;
use config_audit::store::dynamodb::DynamoDbStore;
use config_audit_cli::commands::redrive::Redrive;
use config_audit_cli::commands::redrive::summary::Records;
use serde_json::{Value, json};

use super::scene::{
    Ground, Object, archived, assert_entries, batch, body, command, damaged, given_up, omitted, place, quarantined,
    raw, read, run, stream_arn, write,
};
use crate::bootstrap::engine::Engine;
use crate::bootstrap::records::{event, insert, invalid, modify, oversized, sequence_number};
use crate::bootstrap::scene::{AUDIT_TABLE, FAILURE_BUCKET, Scene};

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
    said.assert(1, &[]);
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
        let observed = play.invoke(&event(records.clone())).await;
        assert_eq!(observed.failed(), [""; 0]);
        let (entries_before, objects_before) = (play.entries().await, play.objects().await);
        assert_eq!((entries_before.len(), objects_before.len()), (4, 2), "on {engine:?}");
        // The same batch, as Lambda would have stored it after giving up on the same invocation.
        let function = serde_json::from_slice::<Value>(&objects_before[0].body).unwrap();
        let (key, body) = given_up(&records, &observed.request_id, function["functionArn"].as_str().unwrap());
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
        // The record is the same, and so is what says which invocation first failed on it.
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
    let kept = quarantine_key(Some(&StreamArn::new(stream_arn())), &raw(&invalid(2)));
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
    // Entries say where a full record is, but nothing says which bucket this is a copy of.
    let said = command(&copied.proxy.url(), "http://127.0.0.1:1", &arguments).await;
    said.assert(
        1,
        &["use --failure-bucket", &good[2].0, "5 = 3 audited + 0 unchanged + 1 quarantined again + 1 failed"],
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

/// After the Audit table was restored from a backup, it lacks the entries of records that were replayed since.
#[tokio::test]
async fn the_archive_is_replayed_where_it_is_named_and_stays_as_it_is() {
    let objects = [batch([1, 2]), quarantined("no_key", &insert(3))];
    let waiting = quarantined("no_key", &insert(4));
    let ground = Ground::new(objects.clone()).await;
    ground.command(&[]).await.assert(0, &["Objects  2 replayed, 2 archived"]);
    write(&ground.files(), [waiting.clone()]);
    let mut expected = archived(&objects);
    expected.extend([waiting]);
    let url = |prefix: &str| format!("s3://{FAILURE_BUCKET}/{prefix}");
    for (prefix, numbers) in
        [("redriven/quarantined/", 3..4), ("redriven/aws/", 1..3), ("redriven", 1..4), ("redriven/", 1..4)]
    {
        ground.empty_table().await;
        let arguments = [url(prefix), "--audit-table".to_owned(), AUDIT_TABLE.to_owned()];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = command(&ground.proxy.url(), &ground.bucket.url(), &arguments).await;
        said.assert(0, &[&format!("{} audited", numbers.len()), "0 archived"]);
        assert_entries(&ground.database, numbers).await;
        assert_eq!(ground.objects(), expected, "{prefix}");
    }
    // The same for a directory with a copy of it, or of a part of it.
    for (part, numbers) in [("redriven", 1..4), ("redriven/quarantined", 3..4)] {
        ground.empty_table().await;
        let directory = ground.files().join(part);
        let arguments = [directory.to_str().unwrap(), "--audit-table", AUDIT_TABLE];
        let said = command(&ground.proxy.url(), &ground.bucket.url(), &arguments).await;
        said.assert(0, &[&format!("{} audited", numbers.len()), "0 archived"]);
        assert_entries(&ground.database, numbers).await;
        assert_eq!(ground.objects(), expected, "{part}");
    }
    // A run that does not name the archive leaves it alone.
    ground.empty_table().await;
    ground.command(&[]).await.assert(0, &["Objects  1 replayed, 1 archived"]);
    assert_entries(&ground.database, [4]).await;
}
