//! What the store may do, and what must still hold then: nothing is lost or written twice, and the metrics match the
//! store.

use std::time::Duration;

use super::engine::Engine;
use super::proxy::Fault;
use super::records::{event, insert, inserts, key, sequence_number};
use super::scene::{Observed, Play, Scene};

/// More than fit in two requests.
const RECORDS: usize = 60;
/// The number of requests if none is retried.
const REQUESTS: usize = 3;

/// Fails unless each of the records has exactly one entry, and the metrics agree.
async fn assert_all_is_stored(play: &Play, observed: &Observed, what: &str) {
    assert_eq!(observed.failed(), [""; 0], "{what}");
    let mut keys = play.item_keys().await;
    keys.sort();
    let mut expected: Vec<String> = (0..RECORDS).map(key).collect();
    expected.sort();
    assert_eq!(keys, expected, "{what}");
    assert_eq!(observed.count("AuditsWritten"), RECORDS as u64, "{what}");
    assert_eq!(observed.count("RecordsAudited"), RECORDS as u64, "{what}");
    assert_eq!(observed.samples("AuditLag").len(), RECORDS, "{what}");
}

#[tokio::test]
async fn what_passes_loses_nothing_and_doubles_nothing() {
    use Fault::{Drop, GiveBack, LoseAnswer, Refuse};
    let faults = [
        vec![Refuse(400, "ProvisionedThroughputExceededException"); 5],
        vec![Refuse(400, "ThrottlingException"); 4],
        vec![Refuse(500, "InternalServerError"); 5],
        vec![Refuse(503, "ServiceUnavailable"); 2],
        vec![Drop; 4],
        vec![LoseAnswer; 3],
        vec![GiveBack(7), GiveBack(1), GiveBack(9), GiveBack(3)],
        vec![Drop, LoseAnswer, GiveBack(5), Refuse(500, "InternalServerError"), LoseAnswer],
    ];
    for engine in Engine::BOTH {
        for faults in &faults {
            let what = format!("{faults:?} on {engine:?}");
            let mut play = Scene::on(engine).failing_first(faults.clone()).start().await;
            let observed = play.invoke(&inserts(0..RECORDS)).await;
            assert_all_is_stored(&play, &observed, &what).await;
            // Each fault costs one more request, and DynamoDB Local sometimes returns items unprocessed on its own. The
            // function knows about each.
            let requests = play.proxy.writes();
            assert!(requests >= REQUESTS + faults.len(), "{what}: {requests} requests");
            assert_eq!(observed.count("WriteRetries"), (requests - REQUESTS) as u64, "{what}");
            assert_eq!(observed.samples("WriteLatency").len(), requests, "{what}");
            play.stop().await;
        }
    }
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_tried_again() {
    let scene = Scene::on(Engine::Embedded).failing_first([Fault::Silence]).allowing(Duration::from_secs(20));
    let mut play = scene.start().await;
    let observed = play.invoke(&inserts(0..RECORDS)).await;
    assert_all_is_stored(&play, &observed, "one that is never answered").await;
    assert_eq!(observed.count("WriteRetries"), 1);
    play.stop().await;
}

#[tokio::test]
async fn a_store_that_never_answers_is_abandoned_in_time_and_every_record_is_reported() {
    for engine in Engine::BOTH {
        let limit = Duration::from_secs(3);
        let mut play = Scene::on(engine).allowing(limit).start().await;
        // Init's health check has been answered, so waiting for it is not part of the invocation.
        assert_eq!(play.invoke(&event([])).await.failed(), [""; 0]);
        play.proxy.always(Fault::Silence);
        let observed = play.invoke(&inserts(0..250)).await;
        assert_eq!(observed.failed(), (0..250).map(sequence_number).collect::<Vec<_>>(), "on {engine:?}");
        assert!(!observed.has_exited && observed.duration < limit, "on {engine:?}: {:?}", observed.duration);
        assert_eq!((observed.count("RecordsFailed"), observed.count("AuditsWritten")), (250, 0), "on {engine:?}");
        assert!(observed.count("WriteRetries") > 0, "on {engine:?}");
        assert!(play.entries().await.is_empty(), "on {engine:?}");
        play.stop().await;
    }
}

/// In the largest batch, every record fails and has a span: neither may use up the time that the answer needs.
#[tokio::test]
async fn ten_thousand_records_of_a_store_that_never_answers_are_named_in_time() {
    let limit = Duration::from_secs(5);
    let mut play = Scene::on(Engine::Embedded).allowing(limit).start().await;
    assert_eq!(play.invoke(&event([])).await.failed(), [""; 0]);
    play.proxy.always(Fault::Silence);
    let observed = play.invoke(&inserts(0..10_000)).await;
    assert_eq!(observed.failed().len(), 10_000);
    assert!(!observed.has_exited && observed.duration < limit, "{:?}", observed.duration);
    play.stop().await;
}

/// Lambda redelivers the reported records, and then everything is stored.
#[tokio::test]
async fn a_store_that_fails_for_a_while_has_everything_in_the_end() {
    for engine in Engine::BOTH {
        let mut play = Scene::on(engine).allowing(Duration::from_secs(3)).start().await;
        play.proxy.next([Fault::LoseAnswer, Fault::GiveBack(10)]);
        play.proxy.always(Fault::Refuse(500, "InternalServerError"));
        let observed = play.invoke(&inserts(0..RECORDS)).await;
        let acknowledged = RECORDS - observed.failed().len();
        assert_eq!(observed.count("RecordsFailed"), observed.failed().len() as u64);
        assert_eq!(observed.count("AuditsWritten"), acknowledged as u64);
        // The request whose answer was lost wrote its entries, but the function does not know that.
        assert!(acknowledged < play.entries().await.len(), "on {engine:?}");
        play.proxy.always(Fault::LetThrough);
        let observed = play.invoke(&inserts(0..RECORDS)).await;
        assert_all_is_stored(&play, &observed, "after the failures").await;
        play.stop().await;
    }
}

#[tokio::test]
async fn a_store_that_is_down_at_the_start_and_up_later_keeps_nothing_from_starting() {
    for engine in Engine::BOTH {
        let mut play = Scene::on(engine).with_the_store_down().start().await;
        let observed = play.invoke_and_bring_the_store_up(&inserts(0..RECORDS)).await;
        assert_all_is_stored(&play, &observed, "after the start").await;
        play.stop().await;
    }
}

#[tokio::test]
async fn no_fault_that_passes_keeps_the_function_from_starting() {
    for fault in [
        Fault::Refuse(400, "ThrottlingException"),
        Fault::Refuse(500, "InternalServerError"),
        Fault::Drop,
        Fault::Silence,
    ] {
        let what = format!("{fault:?}");
        let mut play = Scene::on(Engine::Embedded).start().await;
        play.proxy.always(fault);
        let observed = play.invoke(&event([])).await;
        assert_eq!(observed.failed(), [""; 0], "{what}");
        play.proxy.always(Fault::LetThrough);
        let observed = play.invoke(&inserts(0..RECORDS)).await;
        assert_all_is_stored(&play, &observed, &what).await;
        play.stop().await;
    }
}

#[tokio::test]
async fn an_entry_that_dynamodb_rejects_is_written_without_values_and_quarantined_if_that_is_rejected_too() {
    let rejected = Fault::Refuse(400, "ValidationException");
    for engine in Engine::BOTH {
        for (times, counts, prefixes) in
            [(1, [1, 0, 1], &["omitted/"][..]), (2, [0, 1, 0], &["omitted/", "quarantined/"][..])]
        {
            let mut play = Scene::on(engine).failing_first(vec![rejected.clone(); times]).start().await;
            let observed = play.invoke(&event([insert(1)])).await;
            assert_eq!(observed.failed(), [""; 0], "on {engine:?}");
            let counted =
                ["RecordsAudited", "RecordsQuarantined", "AuditsWritten"].map(|metric| observed.count(metric));
            assert_eq!((counted, observed.count("ValuesOmitted")), (counts, counts[0]), "on {engine:?}");
            let keys: Vec<_> = play.objects().await.into_iter().map(|object| object.key).collect();
            assert_eq!(keys.len(), prefixes.len(), "{keys:?}");
            assert!(keys.iter().zip(prefixes).all(|(key, prefix)| key.starts_with(prefix)), "{keys:?}");
            let entries = play.entries().await;
            assert_eq!(entries.len(), 2 - times, "on {engine:?}");
            assert!(entries.iter().all(|entry| entry.contains("DynamoDB rejects the entry with this value")));
            play.stop().await;
        }
    }
}
