//! The function's memory: any event that Lambda can deliver fits into a fraction of what is deployed.

use std::fmt::Write;
use std::net::Ipv4Addr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;

use super::engine::Engine;
use super::records::{TABLE, sequence_number};
use super::scene::Scene;

/// Lambda's limit for an event, in bytes.
const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;
/// The maximum resident memory of the process, in bytes; 256 MB are deployed.
const MAX_MEMORY: u64 = 160 * 1024 * 1024;

/// An image with this value, in DynamoDB JSON.
fn image(n: usize, value: &str) -> String {
    format!(r#"{{"key":{{"S":"KEY_{n}"}},"value":{value}}}"#)
}

fn record(n: usize, name: &str, images: &[(&str, &str)]) -> String {
    let mut text = format!(
        r#"{{"eventID":"event-{n}","eventName":"{name}","eventSourceARN":"arn:aws:dynamodb:eu-central-1:123456789012:table/{TABLE}/stream/x","dynamodb":{{"ApproximateCreationDateTime":1726045348,"Keys":{{"key":{{"S":"KEY_{n}"}}}},"SequenceNumber":"{}""#,
        sequence_number(n)
    );
    for (name, value) in images {
        let _ = write!(text, r#","{name}":{}"#, image(n, value));
    }
    text + "}}"
}

/// An event with as many records as Lambda could deliver at once.
fn event(mut record: impl FnMut(usize) -> String) -> String {
    let mut text = String::from(r#"{"Records":["#);
    for n in 0.. {
        let next = record(n);
        if n > 0 && text.len() + next.len() + 3 > MAX_EVENT_BYTES {
            break;
        }
        text.extend([if n > 0 { "," } else { "" }, &next]);
    }
    text + "]}"
}

/// A list of this many of these values.
fn list(member: &str, count: usize) -> String {
    format!(r#"{{"L":[{}]}}"#, vec![member; count].join(","))
}

/// A set of this many different members of six digits.
fn set(of: &str, count: usize) -> String {
    let members: Vec<String> = (0..count).map(|n| format!(r#""{}""#, 100_000 + n)).collect();
    format!(r#"{{"{of}":[{}]}}"#, members.join(","))
}

/// The heaviest items of each shape that DynamoDB accepts: 400 KB as it counts them, and far more in memory. The second
/// of each pair has the same size and another value.
fn shapes() -> Vec<(&'static str, [String; 2])> {
    let nested = |open: &str, inner: &str, close: &str, levels: usize| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    let lists = |inner: &str| list(&nested(r#"{"L":["#, inner, "]}", 29), 3_200);
    let maps = |inner: &str| list(&nested(r#"{"M":{"m":"#, inner, "}}", 29), 2_600);
    vec![
        ("nulls", [list(r#"{"NULL":true}"#, 199_000), list(r#"{"NULL":true}"#, 198_999)]),
        ("empty lists", [list(r#"{"L":[]}"#, 99_000), list(r#"{"L":[]}"#, 98_999)]),
        ("empty maps", [list(r#"{"M":{}}"#, 99_000), list(r#"{"M":{}}"#, 98_999)]),
        ("lists of lists", [lists(r#"{"NULL":true}"#), lists(r#"{"BOOL":true}"#)]),
        ("maps of maps", [maps(r#"{"NULL":true}"#), maps(r#"{"BOOL":true}"#)]),
        ("strings", [set("SS", 66_000), set("SS", 65_999)]),
        ("numbers", [set("NS", 99_000), set("NS", 98_999)]),
        (
            "one text",
            [format!(r#"{{"S":"{}"}}"#, "x".repeat(408_000)), format!(r#"{{"S":"{}"}}"#, "y".repeat(408_000))],
        ),
    ]
}

#[tokio::test]
async fn any_event_of_six_megabytes_fits_into_the_memory() {
    let mut events: Vec<(String, String)> = Vec::new();
    for (shape, [one, other]) in shapes() {
        events.push((format!("{shape}, created"), event(|n| record(n, "INSERT", &[("NewImage", &one)]))));
        let changed = |n| record(n, "MODIFY", &[("OldImage", &one), ("NewImage", &other)]);
        events.push((format!("{shape}, changed"), event(changed)));
        let broken = format!(r#"{{"L":[{one},{{"N":"none"}}]}}"#);
        events.push((format!("{shape}, invalid"), event(|n| record(n, "INSERT", &[("NewImage", &broken)]))));
    }
    events.push(("small records".to_owned(), event(|n| record(n, "INSERT", &[("NewImage", r#"{"N":"1"}"#)]))));
    // An engine would take minutes to store it all, and the function cannot tell the difference.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let takes_all =
        Router::new().fallback(async |_: Bytes| r#"{"UnprocessedItems":{}}"#).layer(DefaultBodyLimit::disable());
    tokio::spawn(axum::serve(listener, takes_all).into_future());
    for (what, event) in events {
        let mut play = Scene::on(Engine::Embedded).with("AWS_ENDPOINT_URL_DYNAMODB", &url).start().await;
        let observed = play.invoke_with(event.clone()).await;
        assert_eq!(observed.failed(), [""; 0], "{what}");
        let peak = peak_memory(observed.process.unwrap());
        println!(
            "{:8} KB, {:6} records, peak {:4} MB: {what}",
            event.len() / 1024,
            observed.count("RecordsReceived"),
            peak >> 20
        );
        assert!(peak <= MAX_MEMORY, "{what}: {} MB", peak >> 20);
        play.stop().await;
    }
}

/// The largest resident set that a process has had, in bytes.
fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
