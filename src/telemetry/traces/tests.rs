use std::collections::HashSet;
use std::net::UdpSocket;
use std::thread::JoinHandle;

use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};
use serde_json::Value;
use tracing::level_filters::LevelFilter;

use super::*;
use crate::reason::Reason;
use crate::report::{Cause, Outcome, Record};
use crate::settings::LogFormat;
use crate::telemetry::logs::tests::logged;
use crate::testing;

const MINUTE: Duration = Duration::from_mins(1);

/// A trace that began `days` before the report's invocation.
fn trace(days: i64, report: &Report) -> SpanContext {
    let began = u128::try_from((report.started - TimeDelta::days(days)).timestamp()).unwrap();
    let trace_id = TraceId::from(began << 96 | 7);
    SpanContext::new(trace_id, SpanId::from(1), TraceFlags::SAMPLED, true, TraceState::default())
}

/// A daemon that keeps the documents that it receives, one per datagram, up to [`END`].
struct FakeDaemon {
    address: SocketAddr,
    documents: JoinHandle<Vec<Value>>,
}

const END: &[u8] = b"end";

impl FakeDaemon {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let documents = std::thread::spawn(move || {
            let (mut documents, mut datagram) = (Vec::new(), vec![0; 65_536]);
            loop {
                let length = socket.recv(&mut datagram).unwrap();
                if &datagram[..length] == END {
                    return documents;
                }
                documents.push(document(&datagram[..length]));
            }
        });
        Self { address, documents }
    }

    fn stop(self) -> Vec<Value> {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(END, self.address).unwrap();
        self.documents.join().unwrap()
    }
}

fn document(datagram: &[u8]) -> Value {
    let text = std::str::from_utf8(datagram).unwrap();
    serde_json::from_str(text.split_once('\n').unwrap().1).unwrap()
}

/// How many spans a document has.
fn spans(document: &Value) -> usize {
    1 + document["subsegments"].as_array().map_or(0, Vec::len)
}

/// What a daemon receives for a report, how many spans were lost, and what was logged.
fn exported(days: i64, table: &str, time: Duration) -> (Vec<Value>, usize, Vec<String>) {
    let mut report = testing::report_of_everything();
    // The exporter compares the trace with the machine's clock.
    report.started = Clock::System.now();
    report.trace = trace(days, &report);
    let daemon = FakeDaemon::start();
    let settings = Settings { audit_table: table.to_owned(), ..crate::settings::tests::settings() };
    let traces = Traces::new(daemon.address, &settings);
    let mut lost = 0;
    // Its own runtime, on the machine's clock, because the datagrams go through a real socket.
    let lines = logged(LevelFilter::DEBUG, LogFormat::Json, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        lost = runtime.block_on(async {
            let clock = Clock::System;
            traces.export(&report, clock, clock.instant() + time).await
        });
    });
    (daemon.stop(), lost, lines)
}

#[test]
fn each_part_of_an_invocation_is_a_subsegment_below_its_own() {
    let (documents, lost, lines) = exported(0, "Audit", MINUTE);
    assert_eq!((lost, lines), (0, vec![]));
    // The invocation, five records, two requests and one object.
    assert_eq!(documents.iter().map(spans).collect::<Vec<_>>(), [9]);
    let invocation = &documents[0];
    assert_eq!(invocation["type"], "subsegment");
    for below in invocation["subsegments"].as_array().unwrap() {
        assert!(below["name"].is_string() && below.get("parent_id").is_none(), "{below}");
        let has_failed = below["fault"] == true;
        assert_eq!(below["cause"]["exceptions"][0]["type"], below["metadata"]["error.type"], "{below}");
        assert_eq!(below["cause"]["exceptions"][0]["message"].is_string(), has_failed, "{below}");
    }
}

/// A record that failed always has a span.
#[test]
fn many_spans_are_few_documents_and_none_is_larger_than_x_ray_takes() {
    // The last is the longest possible: JSON writes six characters for each of its characters.
    for (message, documents) in [("x".repeat(10), 10), ("x".repeat(10_000), 80), ("\u{1}".repeat(10_000), 501)] {
        let mut report = testing::report_of_everything();
        let failed = report.failed().next().unwrap().clone();
        let item_key = Some(message.chars().take(2_048).collect());
        let cause = Cause::new(Reason::Deadline, message);
        report.records = vec![Record { item_key, outcome: Outcome::Failed(cause), ..failed }; 1_000];
        let function = Function::new(&crate::settings::tests::settings());
        let maker = Maker::new(&report, &function);
        // Not through a socket, because the system drops datagrams when the reader is too slow.
        let datagrams: Vec<Datagram> = Datagrams::new(&maker).collect::<Result<_, _>>().unwrap();
        assert_eq!(datagrams.iter().map(|datagram| datagram.spans).sum::<usize>(), 1 + 1_000 + 2 + 1);
        let received: Vec<Value> = datagrams.iter().map(|datagram| document(&datagram.bytes)).collect();
        assert!(datagrams.iter().all(|datagram| datagram.bytes.len() < 65_508));
        let parents: HashSet<&str> = received.iter().map(|document| document["id"].as_str().unwrap()).collect();
        for document in &received[1..] {
            assert!(parents.contains(document["parent_id"].as_str().unwrap()), "{document}");
        }
        // One in each document but the first groups the others.
        assert_eq!(received.iter().map(spans).sum::<usize>(), 1 + 1_000 + 2 + 1 + (received.len() - 1));
        assert!(received.len() <= documents, "{} documents", received.len());
    }
}

#[test]
fn a_trace_too_old_for_x_ray_is_counted_and_logged_once() {
    let (documents, lost, lines) = exported(31, "Audit", MINUTE);
    assert_eq!((documents.len(), lost), (0, 9));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("older than 30 days"), "{lines:?}");
}

/// A table's name may have 255 characters, and its ARN more.
#[test]
fn a_long_name_costs_no_span() {
    let table = format!("arn:aws:dynamodb:eu-central-1:123456789012:table/{}", "x".repeat(255));
    let (documents, lost, _) = exported(0, &table, MINUTE);
    assert_eq!((documents.iter().map(spans).sum::<usize>(), lost), (9, 0));
}

#[test]
fn with_no_time_left_nothing_is_sent_and_all_spans_are_counted() {
    let (documents, lost, lines) = exported(0, "Audit", Duration::ZERO);
    assert_eq!((documents.len(), lost, lines), (0, 9, vec![]));
}
