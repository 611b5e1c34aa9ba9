//! The spans that reach the X-Ray daemon. In every invocation, `segments` checks that each document follows X-Ray's
//! rules, is below Lambda's own segment and has no old names, and that there is none if the trace is not sampled.

use config_audit_local::Trace;
use serde_json::Value;

use super::engine::Engine;
use super::proxy::Fault;
use super::records::{TABLE, event, insert, inserts, invalid, sample};
use super::scene::{AUDIT_TABLE, Observed, Scene};

/// The maximum number of spans for healthy records, and for healthy requests, in one invocation: `MAX_HEALTHY` in
/// `src/telemetry/traces.rs`.
const MAX_HEALTHY: usize = 100;

/// The spans of the invocation, of the records, of the requests to DynamoDB, of the objects.
fn by_kind(observed: &Observed) -> [Vec<&Value>; 4] {
    let of = |wanted: fn(&Value) -> bool| observed.segments.iter().filter(|segment| wanted(segment)).collect();
    [
        of(|segment| segment["metadata"]["faas.trigger"] == "datasource"),
        of(|segment| segment["metadata"]["faas.document.collection"].is_string()),
        of(|segment| segment["metadata"]["db.system.name"] == "aws.dynamodb"),
        of(|segment| segment["aws"]["operation"] == "PutObject"),
    ]
}

fn has_failed(segment: &Value) -> bool {
    segment["fault"] == true || segment["error"] == true || segment["throttle"] == true
}

#[tokio::test]
async fn an_invocation_has_a_span_and_so_has_each_record_and_each_request() {
    let mut play = Scene::on(Engine::Embedded).start().await;
    let observed = play.invoke(&sample("mixed-batch")).await;
    let [invocation, records, requests, objects] = by_kind(&observed);
    assert_eq!((invocation.len(), records.len(), requests.len(), objects.len()), (1, 5, 1, 0));
    assert_eq!(observed.segments.len(), 7);
    assert_eq!(invocation[0]["annotations"]["faas_invocation_id"], observed.request_id.as_str());
    assert_eq!(invocation[0]["annotations"]["faas_coldstart"], true);
    assert!(records.iter().all(|record| record["metadata"]["faas.document.collection"] == TABLE));
    let operations: Vec<_> = records.iter().map(|record| &record["metadata"]["faas.document.operation"]).collect();
    assert_eq!(operations, ["insert", "edit", "edit", "delete", "delete"]);
    assert_eq!(requests[0]["aws"]["table_name"], AUDIT_TABLE);
    assert_eq!(requests[0]["metadata"]["db.operation.batch.size"], 4);
    for span in [&records, &requests].into_iter().flatten() {
        assert_eq!(span["parent_id"], invocation[0]["id"]);
    }
    assert!(!observed.segments.iter().any(has_failed), "{:#?}", observed.segments);
    play.stop().await;
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_has_no_spans() {
    for (trace, has_spans) in [(Trace::Sampled, true), (Trace::NotSampled, false), (Trace::Absent, false)] {
        let mut play = Scene::on(Engine::Embedded).traced(trace).start().await;
        let observed = play.invoke(&event([insert(1), invalid(2)])).await;
        assert_eq!(!observed.segments.is_empty(), has_spans, "{trace:?}");
        assert_eq!(observed.wide()["traceId"].is_string(), trace != Trace::Absent, "{trace:?}");
        assert_eq!(observed.count("SpansLost"), 0, "{trace:?}");
        play.stop().await;
    }
}

#[tokio::test]
async fn what_failed_is_an_error_and_what_worked_in_the_end_is_none() {
    let mut play = Scene::on(Engine::Embedded).start().await;
    play.proxy.next([Fault::Refuse(500, "InternalServerError")]);
    let observed = play.invoke(&inserts(0..3)).await;
    let [_, _, requests, _] = by_kind(&observed);
    assert_eq!(requests.len(), 2);
    assert!(!observed.segments.iter().any(has_failed), "{:#?}", observed.segments);

    play.proxy.next([Fault::Refuse(400, "Puzzling")]);
    let observed = play.invoke(&event((0..3).map(insert).chain([invalid(3)]))).await;
    let [invocation, records, requests, objects] = by_kind(&observed);
    assert!(has_failed(invocation[0]) && has_failed(requests[0]) && !has_failed(objects[0]));
    assert!(records.iter().all(|record| has_failed(record)));
    assert_eq!(records[0]["metadata"]["error.type"], "Puzzling");
    let exceptions = records[3]["cause"]["exceptions"].as_array().unwrap();
    assert_eq!((exceptions.len(), &exceptions[0]["type"]), (1, &"invalid_value".into()));
    assert!(exceptions[0]["message"].is_string(), "{exceptions:?}");
    assert_eq!(records[3]["metadata"]["error.type"], "invalid_value");
    play.stop().await;
}

#[tokio::test]
async fn a_large_batch_keeps_all_that_failed_and_a_bounded_number_of_the_others() {
    const BAD: usize = 20;
    let mut play = Scene::on(Engine::Embedded).start().await;
    let event = event((0..1000).map(|n| if n % 50 == 0 { invalid(n) } else { insert(n) }));
    // A datagram may be lost on its way without anyone noticing, but not every time.
    for last in [false, false, true] {
        play.proxy.next([Fault::Refuse(400, "Puzzling")]);
        let observed = play.invoke(&event).await;
        assert_eq!((observed.count("RecordsQuarantined"), observed.count("RecordsFailed")), (BAD as u64, 25));
        let [invocation, records, requests, objects] = by_kind(&observed);
        let (failed, healthy): (Vec<&Value>, Vec<&Value>) = records.iter().partition(|record| has_failed(record));
        let counts = [invocation.len(), failed.len(), healthy.len(), requests.len(), objects.len()];
        println!("spans of a batch of 1,000: {counts:?}");
        let expected = [1, BAD + 25, MAX_HEALTHY, observed.samples("WriteLatency").len(), BAD];
        if counts == expected {
            return play.stop().await;
        }
        assert!(!last, "{counts:?}, expected {expected:?}");
    }
}
