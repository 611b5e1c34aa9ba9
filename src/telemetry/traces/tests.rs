use std::net::UdpSocket;

use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};
use serde_json::Value;
use tracing::level_filters::LevelFilter;

use super::*;
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

/// What a daemon gets of a report, by name, and how many spans were lost.
fn exported(days: i64, table: &str, time: Duration) -> (Vec<Value>, usize, Vec<String>) {
    let mut report = testing::report_of_everything();
    // The exporter compares the trace with the machine's clock.
    report.started = Clock::System.now();
    report.trace = trace(days, &report);
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_nonblocking(true).unwrap();
    let settings = Settings { audit_table: table.to_owned(), ..crate::settings::tests::settings() };
    let traces = Traces::new(daemon.local_addr().unwrap(), &settings);
    let mut lost = 0;
    // A runtime of its own, on the machine's clock: what is sent goes through a real socket.
    let lines = logged(LevelFilter::DEBUG, LogFormat::Json, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        lost = runtime.block_on(async {
            let clock = Clock::System;
            traces.export(&report, clock, clock.instant() + time).await
        });
    });
    let mut documents = Vec::new();
    let mut datagram = vec![0; 65_536];
    while let Ok(length) = daemon.recv(&mut datagram) {
        let text = std::str::from_utf8(&datagram[..length]).unwrap();
        documents.push(serde_json::from_str(text.split_once('\n').unwrap().1).unwrap());
    }
    (documents, lost, lines)
}

#[test]
fn each_part_of_an_invocation_is_a_subsegment_below_its_own() {
    let (documents, lost, lines) = exported(0, "Audit", MINUTE);
    assert_eq!((lost, lines), (0, vec![]));
    // The invocation, five records, two requests and one object.
    assert_eq!(documents.len(), 9);
    assert!(documents.iter().all(|document| document["type"] == "subsegment"));
    let invocation = &documents[0]["id"];
    assert!(documents[1..].iter().all(|document| &document["parent_id"] == invocation));
}

#[test]
fn what_x_ray_takes_no_more_is_counted_and_said_once() {
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
    assert_eq!((documents.len(), lost), (9, 0));
}

#[test]
fn with_no_time_left_nothing_is_sent_and_all_of_it_is_counted() {
    let (documents, lost, lines) = exported(0, "Audit", Duration::ZERO);
    assert_eq!((documents.len(), lost, lines), (0, 9, vec![]));
}
