//! Faults, interruptions, and several runs at once.

use std::collections::BTreeMap;
use std::process::Stdio;

use config_audit::aws::arn::StreamArn;
use config_audit::quarantine::quarantine_key;
use config_audit::store::dynamodb::DynamoDbStore;
use config_audit_cli::commands::redrive::Redrive;
use config_audit_local::AwsSettings;
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::scene::{Ground, Object, archived, assert_entries, batch, place, quarantined, raw, run, stream_arn, write};
use crate::bootstrap::engine::Engine;
use crate::bootstrap::proxy::Fault;
use crate::bootstrap::records::{event, insert, invalid};
use crate::bootstrap::scene::{AUDIT_TABLE, FAILURE_BUCKET, Scene};
use crate::support::{GENEROUS, config_audit};

#[tokio::test]
async fn a_store_that_fails_for_a_while_costs_nothing_but_another_run() {
    let objects: Vec<Object> = (0..20).map(|n| batch(3 * n..3 * n + 3)).collect();
    let ground = Ground::new(objects.clone()).await;
    ground.proxy.next(vec![Fault::LetThrough; 4]);
    // An error that is not retried at once; those that are retried take a minute.
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
        // Dropped with eight objects in progress.
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
    assert!(line.contains("Press Ctrl-C to stop"), "{line}");
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
        let (one, other, observed) = tokio::join!(run(&one), run(&other), play.invoke(&event));
        assert_eq!(observed.failed(), [""; 0]);
        for summary in [one, other] {
            assert!(summary.damaged.is_empty(), "{summary:?}");
            // The function may quarantine its record before a run lists it.
            assert!(summary.left.values().all(|reason| reason.starts_with("quarantined again")), "{summary:?}");
        }
        assert_entries(&play.database, 0..60).await;
        let found: BTreeMap<_, _> = play.objects().await.into_iter().map(|object| (object.key, object.body)).collect();
        let mut expected: Vec<String> = archived(&objects).into_keys().collect();
        expected.push(quarantine_key(Some(&StreamArn::new(stream_arn())), &raw(&invalid(60))));
        expected.sort();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), expected, "on {engine:?}");
        play.stop().await;
    }
}

/// The function's writer retries for a minute without saying so.
#[tokio::test]
async fn a_user_who_waits_for_a_throttled_table_is_told() {
    let ground = Ground::new([quarantined("no_key", &insert(1))]).await;
    ground.proxy.next(vec![Fault::Refuse(400, "ThrottlingException"); 1000]);
    let mut command = config_audit();
    command.args(["redrive", &format!("s3://{FAILURE_BUCKET}"), "--audit-table", AUDIT_TABLE]);
    command.args(["--endpoint-url", &ground.proxy.url(), "--s3-endpoint-url", &ground.bucket.url()]);
    command.envs(AwsSettings::dummy().environment()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for expected in ["Press Ctrl-C to stop", "retrying…"] {
        let line = tokio::time::timeout(GENEROUS, lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(line.contains(expected), "{line}");
    }
}
