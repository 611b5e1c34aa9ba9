//! What the real process writes. In every invocation, `scene` checks that every line is one JSON object and has the
//! request ID, that every document follows the format, and that the books balance.

use config_audit::clock::Clock;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::engine::{Engine, free_port};
use super::proxy::Fault;
use super::records::{event, insert, inserts, invalid, modify, oversized, sample};
use super::scene::{Scene, assert_keeps_secrets};

/// How much an invocation with a hundred healthy records may log besides its samples, in bytes.
const BUDGET: usize = 1_200;

#[tokio::test]
async fn ten_thousand_records_lose_no_sample() {
    const RECORDS: usize = 10_000;
    // The largest batch must fit in the largest event.
    let small = |n: usize| {
        let mut record = insert(n);
        record["dynamodb"].as_object_mut().unwrap().remove("Keys");
        record
    };
    let event = event((0..RECORDS).map(small));
    assert!(event.to_string().len() <= 6 * 1024 * 1024, "Lambda takes no such event: {}", event.to_string().len());
    let mut play = Scene::on(Engine::Embedded).start().await;
    let observed = play.invoke(&event).await;
    assert_eq!(observed.failed(), [""; 0]);
    assert_eq!(observed.count("RecordsReceived"), RECORDS as u64);
    assert_eq!(observed.count("AuditsWritten"), RECORDS as u64);
    assert_eq!(observed.samples("AuditLag").len(), RECORDS);
    assert!(observed.documents().count() >= RECORDS / 100);
    play.stop().await;
}

#[tokio::test]
async fn ten_thousand_failures_are_all_named_in_lines_that_are_not_too_long() {
    const RECORDS: usize = 10_000;
    let mut play = Scene::on(Engine::Embedded).start().await;
    play.proxy.always(Fault::Refuse(400, "Puzzling"));
    let observed = play.invoke(&inserts(0..RECORDS)).await;
    let named: usize =
        observed.lines().iter().filter_map(|line| line["failedSequenceNumbers"].as_array().map(Vec::len)).sum();
    assert_eq!((observed.failed().len(), named), (RECORDS, RECORDS));
    assert!(observed.lines().len() < 200, "{} lines", observed.lines().len());
    play.stop().await;
}

#[tokio::test]
async fn a_hundred_healthy_records_cost_little_log() {
    let mut play = Scene::on(Engine::Embedded).start().await;
    let mut event = inserts(0..100);
    // A change made just now: an old one would be late.
    for record in event["Records"].as_array_mut().unwrap() {
        record["dynamodb"]["ApproximateCreationDateTime"] = Clock::System.now().timestamp().into();
    }
    let cold = play.invoke(&event).await;
    let warm = play.invoke(&event).await;
    for (observed, which) in [(&cold, "cold"), (&warm, "warm")] {
        let all: usize = observed.stdout.iter().map(|line| line.len() + 1).sum();
        let samples: usize =
            ["AuditLag", "WriteLatency"].iter().map(|metric| array(&observed.stdout[0], metric).len()).sum();
        println!("log of a {which} invocation of 100 records: {} bytes, and {samples} of samples", all - samples);
        assert_eq!((observed.stdout.len(), observed.count("RecordsLate")), (1, 0));
        assert!(all - samples <= BUDGET, "{} bytes: {}", all - samples, observed.stdout[0]);
    }
    play.stop().await;
}

/// A metric's values as the line has them.
fn array<'a>(line: &'a str, metric: &str) -> &'a str {
    let start = line.find(&format!("\"{metric}\":[")).unwrap() + metric.len() + 3;
    &line[start..=start + line[start..].find(']').unwrap()]
}

#[tokio::test]
async fn the_first_invocation_of_a_process_and_no_other_is_a_cold_start() {
    let mut play = Scene::on(Engine::Embedded).start().await;
    assert_eq!(play.invoke(&inserts(0..1)).await.samples("ColdStart"), [1.0]);
    assert_eq!(play.invoke(&inserts(0..1)).await.samples("ColdStart"), [0.0; 0]);
    play.stop().await;
}

#[tokio::test]
async fn at_every_level_each_line_is_json_and_the_metrics_are_there() {
    let events =
        [sample("mixed-batch"), sample("batch-with-bad-records"), event([insert(1), invalid(2), oversized(3)])];
    // A wide line for each event, a line for each bad record, and at debug level one for every record.
    let (quiet, all) = (3 + 5, 3 + 5 + 14);
    for (level, expected) in
        [("TRACE", all), ("DEBUG", all), ("INFO", quiet), ("WARN", quiet), ("ERROR", quiet), ("FATAL", quiet)]
    {
        let mut play = Scene::on(Engine::Embedded).with("AWS_LAMBDA_LOG_LEVEL", level).start().await;
        let mut lines = 0;
        for event in &events {
            let observed = play.invoke(event).await;
            assert_eq!(observed.count("RecordsReceived"), event["Records"].as_array().unwrap().len() as u64, "{level}");
            assert_eq!(observed.stderr, [""; 0], "{level}");
            lines += observed.lines().len();
        }
        assert_eq!(lines, expected, "{level}");
        play.stop().await;
    }
}

#[tokio::test]
async fn an_invocation_that_fails_logs_why() {
    let mut play = Scene::on(Engine::Embedded).with("AWS_LAMBDA_LOG_LEVEL", "TRACE").start().await;
    let mut keys_only = insert(1);
    keys_only["dynamodb"]["StreamViewType"] = "KEYS_ONLY".into();
    for (event, kind, word) in [
        (serde_json::json!({ "hello": "world" }), "NotAnEvent", "Records"),
        (event([keys_only]), "ViewType", "NEW_AND_OLD_IMAGES"),
    ] {
        let observed = play.invoke(&event).await;
        assert_eq!(observed.error().error_type, kind);
        assert!(observed.error().message.contains(word), "{:?}", observed.error());
        assert_eq!(observed.wide()["outcome"], "error");
        let errors: Vec<Value> = observed.lines().into_iter().filter(|line| line["level"] == "ERROR").collect();
        assert!(errors.iter().any(|line| line["message"].as_str().unwrap().contains(word)), "{:?}", observed.stdout);
    }
    play.stop().await;
}

#[tokio::test]
async fn logs_as_text_leave_standard_output_to_the_metrics() {
    let mut play = Scene::on(Engine::Embedded).with("AWS_LAMBDA_LOG_FORMAT", "Text").start().await;
    let observed = play.invoke(&event([insert(1), invalid(2)])).await;
    assert_eq!(observed.lines().len(), observed.documents().count(), "{:?}", observed.stdout);
    assert_eq!(observed.count("RecordsQuarantined"), 1);
    assert_eq!(observed.stderr.len(), 1);
    assert!(
        observed.stderr[0].contains("ERROR record quarantined") && observed.stderr[0].contains(&observed.request_id)
    );
    play.stop().await;
}

#[tokio::test]
async fn prometheus_is_served_the_same_counts() {
    let address = format!("127.0.0.1:{}", free_port());
    let mut play = Scene::on(Engine::Embedded).with("PROMETHEUS_LISTEN", &*address).start().await;
    play.proxy.next([Fault::Refuse(400, "ThrottlingException")]);
    let events =
        [sample("mixed-batch"), event([insert(1), invalid(2), modify(3, &sample_value("1"), &sample_value("2"))])];
    let mut observed = Vec::new();
    for event in &events {
        observed.push(play.invoke(event).await);
    }
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert_keeps_secrets(&page);
    let labels = r#"{Service="config-audit",Stage="dev"}"#;
    let served = |name: &str| -> u64 {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name}{labels} ")));
        line.unwrap_or_else(|| panic!("no {name}: {page}")).parse().unwrap()
    };
    for metric in [
        "RecordsReceived",
        "RecordsAudited",
        "RecordsUnchanged",
        "RecordsQuarantined",
        "RecordsFailed",
        "AuditsWritten",
        "AttributesChanged",
        "WriteRetries",
        "ValuesOmitted",
        "ColdStart",
    ] {
        let printed: u64 = observed.iter().map(|observed| observed.count(metric)).sum();
        assert_eq!(served(metric), printed, "{metric}");
    }
    for metric in ["AuditLag", "WriteLatency"] {
        let printed: usize = observed.iter().map(|observed| observed.samples(metric).len()).sum();
        assert_eq!(served(&format!("{metric}_count")), printed as u64, "{metric}");
    }
    assert_eq!(served("WriteRetries"), 1);
    play.stop().await;
}

fn sample_value(number: &str) -> Value {
    serde_json::json!({ "N": number })
}
