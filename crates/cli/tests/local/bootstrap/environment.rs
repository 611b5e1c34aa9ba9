//! An execution environment that does what Lambda's should not: its Runtime API sends meaningless headers, and its
//! standard output accepts nothing. The records are audited anyway.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, Response};
use axum::routing::{get, post};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::engine::Engine;
use super::records::{inserts, key};
use super::scene::{AUDIT_TABLE, assert_keeps_secrets};
use crate::support::{GENEROUS, bootstrap};
use config_audit::clock::Clock;
use config_audit_local::{AwsSettings, Database};

/// Headers of an invocation, besides its request ID.
type Headers = Vec<(HeaderName, HeaderValue)>;

/// A bare Runtime API.
#[derive(Clone)]
struct Api {
    invocations: Arc<Mutex<VecDeque<Headers>>>,
    answers: UnboundedSender<String>,
}

impl Api {
    /// A Runtime API with these invocations, of one record each, and then none. Returns its address, and the responses.
    async fn start(invocations: impl IntoIterator<Item = Headers>) -> (String, UnboundedReceiver<String>) {
        let (answers, received) = unbounded_channel();
        let api = Self { invocations: Arc::new(Mutex::new(invocations.into_iter().collect())), answers };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(Self::next))
            .route("/2018-06-01/runtime/invocation/{id}/{outcome}", post(Self::answer))
            .with_state(api);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (address, received)
    }

    async fn next(State(api): State<Self>) -> Response<Body> {
        let (number, headers) = {
            let mut invocations = api.invocations.lock().unwrap();
            (invocations.len(), invocations.pop_front())
        };
        let Some(headers) = headers else { return std::future::pending().await };
        let mut response = Response::new(Body::from(inserts(number..=number).to_string()));
        response.headers_mut().insert("lambda-runtime-aws-request-id", number.to_string().parse().unwrap());
        response.headers_mut().extend(headers);
        response
    }

    #[allow(clippy::unused_async, reason = "axum's handlers are async")]
    async fn answer(State(api): State<Self>, Path((_, outcome)): Path<(String, String)>, body: Bytes) {
        let _ = api.answers.send(format!("{outcome} {}", String::from_utf8_lossy(&body)));
    }
}

/// The function's process in this environment.
fn start(api: &str, database: &Database, aws: &AwsSettings, stdout: impl Into<Stdio>) -> Child {
    let mut command = Command::new(bootstrap());
    command.env_clear().envs(aws.environment()).env("AWS_LAMBDA_RUNTIME_API", api).env("AUDIT_TABLE", AUDIT_TABLE);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", database.url()).env("AWS_LAMBDA_FUNCTION_NAME", "audit");
    command.env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST").env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256");
    // Nothing listens there, so spans are lost, and nothing else is.
    command.env("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:9").env("AWS_LAMBDA_LOG_FORMAT", "JSON");
    command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

async fn database() -> (Database, AwsSettings) {
    let (database, aws) = Engine::Embedded.database().await;
    database.ensure_audit_table(AUDIT_TABLE).await.unwrap();
    (database, aws)
}

/// Waits for this many responses, none of which may report a failure.
async fn assert_answered(answers: &mut UnboundedReceiver<String>, count: usize, what: &str) {
    for number in 0..count {
        let answer = tokio::time::timeout(GENEROUS, answers.recv()).await.unwrap().unwrap();
        assert_eq!(answer, r#"response {"batchItemFailures":[]}"#, "{what}, {number}");
    }
}

async fn assert_audited(database: &Database, count: usize) {
    let entries = database.entries(AUDIT_TABLE).await.unwrap();
    let mut keys: Vec<String> = entries.iter().map(|entry| entry.text("itemKey").to_owned()).collect();
    keys.sort();
    let mut expected: Vec<String> = (1..=count).map(key).collect();
    expected.sort();
    assert_eq!(keys, expected);
}

/// The time by which an invocation must have ended.
fn deadline() -> (HeaderName, HeaderValue) {
    let milliseconds = (Clock::System.now() + GENEROUS).timestamp_millis();
    (HeaderName::from_static("lambda-runtime-deadline-ms"), milliseconds.to_string().parse().unwrap())
}

#[tokio::test]
async fn a_trace_header_that_means_nothing_costs_no_record() {
    let (root, parent) = ("Root=1-5759e988-bd862e3fe1be46a994272793", "Parent=53995c3f42cd8ad8");
    let headers = [
        format!("{root};{parent};Sampled=1"),
        String::new(),
        ";".to_owned(),
        "=".to_owned(),
        "Root=".to_owned(),
        "Root=1-;Parent=;Sampled=".to_owned(),
        "Root=1-5759e988;Parent=1;Sampled=1".to_owned(),
        format!("{root};{parent};Sampled=?"),
        format!("{root};{parent};Sampled=2"),
        format!("{root};{parent};Sampled=1;Sampled=0;{root}"),
        format!("{};{parent};Sampled=1", root.replace("1-", "2-")),
        format!("{};{parent};Sampled=1", root.replace("bd86", "zzzz")),
        format!("{root};Parent=zzzzzzzzzzzzzzzz;Sampled=1"),
        format!("{root};Parent=0000000000000000;Sampled=1"),
        "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=1".to_owned(),
        // As long as they should be, in bytes, but cut off in the middle of a character.
        "Root=1-5759e98é-bd862e3fe1be46a99427279é;Parent=53995c3f42cd8aé;Sampled=1".to_owned(),
        "Root=1-€759e9-bd862e3fe1be46a9942727€;Parent=€995c3f42cd8a;Sampled=é".to_owned(),
        format!("{root};{parent};Sampled=1;Lineage={}", "x".repeat(50_000)),
        format!("{root}{};{parent}", "-".repeat(10_000)),
        ";".repeat(10_000),
        "Root=1-5759e988-bd862e3fe1be46a994272793\t; Parent = 53995c3f42cd8ad8".to_owned(),
    ];
    let mut headers: Vec<HeaderValue> =
        headers.iter().map(|header| HeaderValue::from_bytes(header.as_bytes()).unwrap()).collect();
    headers.push(HeaderValue::from_bytes(b"Root=1-\xff\xfe;Parent=\x80;Sampled=1").unwrap());
    let count = headers.len();
    let (database, aws) = database().await;
    let name = HeaderName::from_static("lambda-runtime-trace-id");
    let invocations = headers.into_iter().map(|header| vec![(name.clone(), header), deadline()]);
    let (api, mut answers) = Api::start(invocations).await;
    let mut process = start(&api, &database, &aws, Stdio::piped());
    let mut stdout = process.stdout.take().unwrap();
    let printed = tokio::spawn(async move {
        let mut text = String::new();
        stdout.read_to_string(&mut text).await.map(|_| text)
    });
    assert_answered(&mut answers, count, "trace header").await;
    assert_audited(&database, count).await;
    process.kill().await.unwrap();
    let printed = printed.await.unwrap().unwrap();
    assert!(printed.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{printed}");
    assert_keeps_secrets(&printed);
    database.stop().await;
}

#[tokio::test]
async fn a_standard_output_that_takes_nothing_costs_no_record() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let read_only = std::fs::File::open("/dev/null").unwrap();
    for (what, stdout) in [("full", Stdio::from(full)), ("closed", closed.into()), ("read-only", read_only.into())] {
        let (database, aws) = database().await;
        let (api, mut answers) = Api::start((0..3).map(|_| vec![deadline()])).await;
        let _process = start(&api, &database, &aws, stdout);
        assert_answered(&mut answers, 3, what).await;
        assert_audited(&database, 3).await;
        database.stop().await;
    }
}
