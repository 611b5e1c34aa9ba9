//! A record that no retry can fix is in the failure bucket, whole, or is reported as failed.

use serde_json::Value;

use super::engine::Engine;
use super::records::{event, insert, invalid, key, oversized, sample, sequence_number};
use super::scene::{FAILURE_BUCKET, Scene};

#[tokio::test]
async fn bad_records_are_in_the_bucket_whole_and_cost_the_others_nothing() {
    for engine in Engine::BOTH {
        let mut play = Scene::on(engine).start().await;
        let event = sample("batch-with-bad-records");
        let observed = play.invoke(&event).await;
        assert_eq!(observed.failed(), [""; 0]);
        assert_eq!(play.item_keys().await, ["FIRST", "LAST"], "on {engine:?}");
        assert_eq!((observed.count("RecordsAudited"), observed.count("RecordsQuarantined")), (2, 4), "on {engine:?}");
        let mut kept = Vec::new();
        for object in play.objects().await {
            assert!(object.key.starts_with("quarantined/"), "{}", object.key);
            let body: Value = serde_json::from_slice(&object.body).unwrap();
            assert_eq!(body["requestId"], observed.request_id.as_str());
            assert!(
                observed.stdout.iter().any(|line| line.contains(&object.key)),
                "no line tells where {} is",
                object.key
            );
            kept.push((body["reason"].as_str().unwrap().to_owned(), body["record"].clone()));
        }
        kept.sort_by(|one, other| one.0.cmp(&other.0));
        let record = |at: usize| event["Records"][at].clone();
        let expected = [(1, "invalid_value"), (3, "no_key"), (4, "undecodable"), (2, "unknown_event_name")]
            .map(|(at, reason)| (reason.to_owned(), record(at)));
        assert_eq!(kept, expected, "on {engine:?}");
        play.stop().await;
    }
}

#[tokio::test]
async fn a_bucket_that_refuses_makes_its_records_failed_ones() {
    for (bucket, words) in [("missing-test", "the failure bucket missing-test"), ("", "FAILURE_BUCKET is not set")] {
        let mut play = Scene::on(Engine::Embedded).with("FAILURE_BUCKET", bucket).start().await;
        let observed = play.invoke(&event([insert(0), invalid(1), oversized(2), insert(3)])).await;
        assert_eq!(observed.failed(), [sequence_number(1), sequence_number(2)], "{bucket:?}");
        assert_eq!((observed.count("RecordsAudited"), observed.count("RecordsFailed")), (2, 2), "{bucket:?}");
        // The note of the oversized value would refer to a record that is not stored.
        assert_eq!(play.item_keys().await, [key(0), key(3)], "{bucket:?}");
        assert_eq!(observed.stdout.iter().filter(|line| line.contains(words)).count(), 2, "{:?}", observed.stdout);
        play.stop().await;
    }
}

#[tokio::test]
async fn a_record_that_was_failed_is_quarantined_when_the_bucket_is_there() {
    let mut play = Scene::on(Engine::Embedded).with("FAILURE_BUCKET", "later-test").start().await;
    let event = event([insert(0), invalid(1), oversized(2)]);
    assert_eq!(play.invoke(&event).await.failed().len(), 2);
    play.make_bucket("later-test");
    let observed = play.invoke(&event).await;
    assert_eq!(observed.failed(), [""; 0]);
    assert_eq!((observed.count("RecordsAudited"), observed.count("RecordsQuarantined")), (2, 1));
    assert_eq!(play.item_keys().await, [key(0), key(2)]);
    play.stop().await;
}

#[tokio::test]
async fn an_oversized_value_is_noted_and_its_full_record_is_in_the_bucket() {
    for engine in Engine::BOTH {
        let mut play = Scene::on(engine).start().await;
        let record = oversized(7);
        let observed = play.invoke(&event([record.clone()])).await;
        assert_eq!(observed.failed(), [""; 0]);
        assert_eq!((observed.count("ValuesOmitted"), observed.count("AuditsWritten")), (1, 1), "on {engine:?}");
        let entries = play.entries().await;
        let entry: Value = serde_json::from_str(&entries[0]).unwrap();
        let notes: Vec<&Value> =
            [&entry["oldValue"], &entry["newValue"]].into_iter().filter(|value| value["omitted"].is_string()).collect();
        assert_eq!(notes.len(), 1, "on {engine:?}");
        let members: Vec<&String> = notes[0].as_object().unwrap().keys().collect();
        assert_eq!(members, ["bytes", "omitted", "record", "sha256"]);
        let length = record["dynamodb"]["NewImage"]["value"]["S"].as_str().unwrap().len();
        assert_eq!(notes[0]["bytes"], length);
        let objects = play.objects().await;
        assert_eq!(objects.len(), 1);
        assert_eq!(notes[0]["record"], format!("s3://{FAILURE_BUCKET}/{}", objects[0].key));
        let kept: Value = serde_json::from_slice(&objects[0].body).unwrap();
        assert_eq!(kept["record"], record, "on {engine:?}");
        play.stop().await;
    }
}
