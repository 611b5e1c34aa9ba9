//! The function's process under the Runtime API: answers, errors, time-outs, crashes, start-ups that fail.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{scripted, wait_for};
use config_audit_local::event::LogSource;
use config_audit_local::{
    Breaker, ErrorReport, EventBus, Function, FunctionSettings, InvocationError, Outcome, WorldEvent,
};
use tokio::sync::mpsc::UnboundedReceiver;

async fn start(settings: FunctionSettings) -> (Function, UnboundedReceiver<Arc<WorldEvent>>) {
    let bus = EventBus::new();
    let events = bus.subscribe();
    (Function::start(settings, bus, Breaker::default()).await.unwrap(), events)
}

async fn invoke(function: &mut Function) -> Outcome {
    function.invoke("{}").await.unwrap().outcome
}

/// All events so far, in short.
fn published(events: &mut UnboundedReceiver<Arc<WorldEvent>>) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(event) = events.try_recv() {
        all.push(match &*event {
            WorldEvent::ProcessStarted { .. } => "started".to_owned(),
            WorldEvent::ProcessExited { status } => format!("exited {status}"),
            WorldEvent::InvocationStarted { .. } => "invoked".to_owned(),
            WorldEvent::LogLine { source: LogSource::Stdout, line } => line.clone(),
            WorldEvent::LogLine { source: LogSource::Stderr, line } => format!("stderr {line}"),
            WorldEvent::SegmentReceived { document } => format!("segment {}", document["handled"]),
            WorldEvent::InvocationEnded(_) => "answered".to_owned(),
            other => panic!("{other:?}"),
        });
    }
    // The daemon and the outputs publish at the same time.
    let segments: Vec<_> = all.iter().filter(|event| event.starts_with("segment")).cloned().collect();
    all.retain(|event| !event.starts_with("segment"));
    all.extend(segments);
    all
}

#[tokio::test]
async fn one_process_serves_many_invocations_and_all_its_output_is_published_before_their_end() {
    let directory = tempfile::tempdir().unwrap();
    let script = ["return {\"a\":1}", "return null", "error Kind what went wrong"];
    let (mut function, mut events) = start(scripted(directory.path(), &script)).await;
    assert_eq!(invoke(&mut function).await, Ok("{\"a\":1}".into()));
    assert_eq!(published(&mut events), ["invoked", "started", "{\"handled\":1}", "answered", "segment 1"]);
    assert_eq!(invoke(&mut function).await, Ok("null".into()));
    let report = ErrorReport { error_type: "Kind".to_owned(), message: "what went wrong".to_owned() };
    assert_eq!(invoke(&mut function).await, Err(InvocationError::Function(report)));
    assert_eq!(invoke(&mut function).await, Ok("{\"batchItemFailures\":[]}".into()));
    let observed = published(&mut events);
    assert!(!observed.contains(&"started".to_owned()), "an error ends no process: {observed:?}");
    function.stop().await;
    assert_eq!(published(&mut events), ["exited signal: 9 (SIGKILL)"]);
}

#[tokio::test]
async fn a_process_that_ends_in_the_middle_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (mut function, mut events) = start(scripted(directory.path(), &["exit 7", "return 2"])).await;
    assert_eq!(invoke(&mut function).await, Err(InvocationError::Exited { status: "exit status: 7".to_owned() }));
    let observed = published(&mut events);
    let expected =
        ["invoked", "started", "{\"handled\":1}", "half a line", "exited exit status: 7", "answered", "segment 1"];
    assert_eq!(observed, expected);
    assert_eq!(invoke(&mut function).await, Ok("2".into()));
    assert_eq!(published(&mut events), ["invoked", "started", "{\"handled\":1}", "answered", "segment 1"]);
}

#[tokio::test]
async fn a_function_that_does_not_answer_is_killed_at_the_time_out_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = scripted(directory.path(), &["hang", "return 2"]);
    // It never answers, however fast the machine is, so a short timeout only makes the test faster.
    let timeout = Duration::from_secs(1);
    settings.timeout = timeout;
    let (mut function, mut events) = start(settings).await;
    assert_eq!(invoke(&mut function).await, Err(InvocationError::TimedOut { timeout }));
    let observed = published(&mut events);
    assert!(observed.contains(&"exited signal: 9 (SIGKILL)".to_owned()), "{observed:?}");
    assert_eq!(invoke(&mut function).await, Ok("2".into()));
}

#[tokio::test]
async fn an_invocation_that_nobody_waits_for_takes_its_process_along() {
    let directory = tempfile::tempdir().unwrap();
    let (mut function, mut events) = start(scripted(directory.path(), &["hang", "return 2"])).await;
    tokio::select! {
        completed = function.invoke("{}") => panic!("{completed:?}"),
        _ = wait_for(&mut events, |event| {
            matches!(event, WorldEvent::LogLine { line, .. } if line == "hanging").then_some(())
        }) => {}
    }
    assert_eq!(invoke(&mut function).await, Ok("2".into()));
}

#[tokio::test]
async fn a_process_that_reports_why_it_cannot_start_is_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = scripted(directory.path(), &[]);
    settings.environment.insert("AT_INIT".to_owned(), "error AUDIT_TABLE is not set".to_owned());
    let (mut function, _events) = start(settings).await;
    let report = ErrorReport { error_type: "Scripted".to_owned(), message: "AUDIT_TABLE is not set".to_owned() };
    assert_eq!(invoke(&mut function).await, Err(InvocationError::Init(report)));
}

#[tokio::test]
async fn a_process_that_ends_before_its_first_poll_is_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = scripted(directory.path(), &[]);
    settings.environment.insert("AT_INIT".to_owned(), "exit 3".to_owned());
    let (mut function, _events) = start(settings).await;
    let Err(InvocationError::Init(report)) = invoke(&mut function).await else { panic!("it started") };
    assert_eq!(report.error_type, "Runtime.ExitError");
    let expected = "the process ended before its first poll: exit status: 3; its last line: SETTING is missing";
    assert_eq!(report.message, expected);
}

#[tokio::test]
async fn a_process_that_never_polls_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = scripted(directory.path(), &[]);
    settings.init_timeout = Duration::from_millis(200);
    settings.environment.insert("AT_INIT".to_owned(), "hang now".to_owned());
    let (mut function, _events) = start(settings).await;
    let Err(InvocationError::Init(report)) = invoke(&mut function).await else { panic!("it started") };
    assert_eq!(report.error_type, "Sandbox.Timedout");
}

#[tokio::test]
async fn the_process_sees_lambdas_environment_and_nothing_of_the_users() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = scripted(directory.path(), &["environment"]);
    settings.environment.insert("AWS_LAMBDA_LOG_LEVEL".to_owned(), "DEBUG".to_owned());
    let (mut function, _events) = start(settings).await;
    let Ok(body) = invoke(&mut function).await else { panic!("no answer") };
    let environment: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let expected = [
        ("AWS_LAMBDA_FUNCTION_NAME", "config-audit-local-audit"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        // The caller's own value takes precedence.
        ("AWS_LAMBDA_LOG_LEVEL", "DEBUG"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    for (name, value) in expected {
        assert_eq!(environment[name], value, "{name}");
    }
    // Cargo sets it for every test.
    assert!(
        std::env::vars_os().any(|(name, _)| name == "CARGO_MANIFEST_DIR")
            && environment.get("CARGO_MANIFEST_DIR").is_none()
    );
}
