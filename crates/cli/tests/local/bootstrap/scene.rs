//! The setup of every test: an engine, a proxy in front of it, and the real bootstrap in the local world. Whatever a
//! test is about, [`Observed::check`] checks what is promised for every invocation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config_audit_local::bucket::StoredObject;
use config_audit_local::event::LogSource;
use config_audit_local::{
    CompletedInvocation, Database, ErrorReport, EventBus, InvocationError, Outcome, Source, Store, Trace, World,
    WorldEvent, WorldSettings,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use super::engine::Engine;
use super::proxy::{Fault, Proxy};
use super::records::{SECRET, SECRET_DIGITS};
use super::{emf, segments};
use crate::support::{GENEROUS, bootstrap};

/// The Audit table.
pub(crate) const AUDIT_TABLE: &str = "Audit-test";
/// The failure bucket.
pub(crate) const FAILURE_BUCKET: &str = "failures-test";

/// How the function runs.
#[derive(Debug)]
pub(crate) struct Scene {
    engine: Engine,
    environment: BTreeMap<String, String>,
    timeout: Duration,
    trace: Trace,
    source: Option<Source>,
    faults: Vec<Fault>,
    is_down: bool,
}

impl Scene {
    pub(crate) fn on(engine: Engine) -> Self {
        let environment = BTreeMap::new();
        let (timeout, trace) = (GENEROUS, Trace::Sampled);
        Self { engine, environment, timeout, trace, source: None, faults: Vec::new(), is_down: false }
    }

    /// With this environment variable.
    pub(crate) fn with(mut self, variable: &str, value: impl Into<String>) -> Self {
        self.environment.insert(variable.to_owned(), value.into());
        self
    }

    /// With this much time for an invocation.
    pub(crate) fn allowing(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn traced(mut self, trace: Trace) -> Self {
        self.trace = trace;
        self
    }

    /// With a table whose stream invokes it.
    pub(crate) fn fed_by(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// With these faults for the first requests that write entries.
    pub(crate) fn failing_first(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults.extend(faults);
        self
    }

    /// With a store that refuses connections until [`Proxy::up`].
    pub(crate) fn with_the_store_down(mut self) -> Self {
        self.is_down = true;
        self
    }

    pub(crate) async fn start(self) -> Play {
        self.start_after(async |_| ()).await
    }

    /// Starts it after preparing the database.
    pub(crate) async fn start_after(mut self, prepare: impl AsyncFnOnce(&Database)) -> Play {
        let (database, aws) = self.engine.database().await;
        prepare(&database).await;
        let mut proxy = Proxy::down(database.url());
        proxy.next(self.faults);
        if !self.is_down {
            proxy.up();
        }
        self.environment.entry("AWS_ENDPOINT_URL_DYNAMODB".to_owned()).or_insert_with(|| proxy.url());
        let directory = tempfile::tempdir().unwrap();
        let mut settings = WorldSettings::new(bootstrap());
        settings.store = Store::Endpoint(database.url().to_owned());
        let access_key_id = aws.access_key_id.clone();
        settings.aws = aws;
        settings.directory = Some(directory.path().to_owned());
        AUDIT_TABLE.clone_into(&mut settings.audit_table);
        FAILURE_BUCKET.clone_into(&mut settings.failure_bucket);
        settings.source = self.source;
        settings.function.timeout = self.timeout;
        settings.function.init_timeout = GENEROUS;
        settings.function.trace = self.trace;
        settings.function.environment = self.environment;
        let bus = EventBus::new();
        let events = bus.subscribe();
        let world = World::start(settings, bus).await.unwrap();
        Play { world, events, proxy, database, access_key_id, directory }
    }
}

/// The function and everything around it.
#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) world: World,
    pub(crate) events: UnboundedReceiver<Arc<WorldEvent>>,
    pub(crate) proxy: Proxy,
    pub(crate) database: Database,
    /// The credentials for the database.
    pub(crate) access_key_id: String,
    /// Where the buckets are.
    directory: TempDir,
}

impl Play {
    /// Invokes the function, and returns everything that was observed.
    pub(crate) async fn invoke(&mut self, event: &Value) -> Observed {
        self.invoke_with(event.to_string()).await
    }

    /// The same with arbitrary bytes.
    pub(crate) async fn invoke_with(&mut self, event: impl Into<Vec<u8>>) -> Observed {
        self.world.invoke(event.into()).await.unwrap();
        self.observed_after(Vec::new()).await
    }

    /// The same, with the store down until the function has reported that.
    pub(crate) async fn invoke_and_bring_the_store_up(&mut self, event: &Value) -> Observed {
        let (world, events, proxy) = (&self.world, &mut self.events, &mut self.proxy);
        let mut observed = Vec::new();
        let bring_up = async {
            while let Some(event) = events.recv().await {
                let is_it = matches!(&*event, WorldEvent::LogLine { line, .. } if line.contains("not ready yet"));
                observed.push(event);
                if is_it {
                    return proxy.up();
                }
            }
        };
        let invoked = async { world.invoke(event.to_string().into_bytes()).await.unwrap() };
        tokio::join!(bring_up, invoked);
        self.observed_after(observed).await
    }

    async fn observed_after(&mut self, mut events: Vec<Arc<WorldEvent>>) -> Observed {
        // Everything that belongs to an invocation is published before its end.
        while !events.last().is_some_and(|last| matches!(**last, WorldEvent::InvocationEnded(_))) {
            events.push(self.events.recv().await.expect("the world ended"));
        }
        let observed = Observed::from(&events);
        observed.check();
        observed
    }

    /// The Audit table's entries as plain JSON, oldest first.
    pub(crate) async fn entries(&self) -> Vec<String> {
        self.world.entries().await.unwrap().iter().map(|entry| serde_json::to_string(entry).unwrap()).collect()
    }

    /// The `itemKey` of each entry, oldest first.
    pub(crate) async fn item_keys(&self) -> Vec<String> {
        self.world.entries().await.unwrap().iter().map(|entry| entry.text("itemKey").to_owned()).collect()
    }

    /// What is in the failure bucket.
    pub(crate) async fn objects(&self) -> Vec<StoredObject> {
        self.world.failures().await.unwrap()
    }

    /// Creates a bucket that was missing.
    pub(crate) fn make_bucket(&self, name: &str) {
        std::fs::create_dir(self.directory.path().join("s3").join(name)).unwrap();
    }

    pub(crate) async fn stop(self) {
        self.world.stop().await;
        self.database.stop().await;
    }
}

/// Everything observed of the function in one invocation, and at its start if it was started for that invocation.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) request_id: String,
    pub(crate) trace_header: String,
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
    pub(crate) segments: Vec<Value>,
    /// The process, if it was started for this invocation.
    pub(crate) process: Option<u32>,
    /// Whether it has ended.
    pub(crate) has_exited: bool,
}

impl Observed {
    fn from(events: &[Arc<WorldEvent>]) -> Self {
        let mut observed = Self {
            request_id: String::new(),
            trace_header: String::new(),
            outcome: Ok(Vec::new().into()),
            duration: Duration::ZERO,
            stdout: Vec::new(),
            stderr: Vec::new(),
            segments: Vec::new(),
            process: None,
            has_exited: false,
        };
        for event in events {
            match (**event).clone() {
                WorldEvent::InvocationStarted { trace_header, .. } => observed.trace_header = trace_header,
                WorldEvent::LogLine { source: LogSource::Stdout, line } => observed.stdout.push(line),
                WorldEvent::LogLine { source: LogSource::Stderr, line } => observed.stderr.push(line),
                WorldEvent::SegmentReceived { document } => observed.segments.extend(segments::spans(&document)),
                WorldEvent::SegmentRejected { reason } => panic!("not a segment document: {reason}"),
                WorldEvent::ProcessStarted { pid } => observed.process = Some(pid),
                WorldEvent::ProcessExited { .. } => observed.has_exited = true,
                WorldEvent::InvocationEnded(CompletedInvocation { request_id, outcome, duration, .. }) => {
                    (observed.request_id, observed.outcome, observed.duration) = (request_id, outcome, duration);
                }
                _ => {}
            }
        }
        observed
    }

    /// Checks what is promised for every invocation, whatever its outcome.
    fn check(&self) {
        let lines = self.lines();
        // What is logged while the process starts belongs to no invocation.
        let first = lines.iter().position(|line| line.get("requestId").is_some()).unwrap_or(lines.len());
        for (index, line) in lines.iter().enumerate() {
            let is_outside = self.process.is_some() && index < first;
            let text = |member: &str| line[member].as_str().unwrap_or_else(|| panic!("no {member}: {line}"));
            assert!(["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&text("level")), "{line}");
            assert!(chrono::DateTime::parse_from_rfc3339(text("timestamp")).is_ok(), "{line}");
            assert!(!text("message").is_empty(), "{line}");
            assert!(is_outside || text("requestId") == self.request_id, "{line}");
        }
        for line in &self.stdout {
            emf::check(line).unwrap_or_else(|problem| panic!("{problem}: {line}"));
        }
        let is_answered = matches!(self.outcome, Ok(_) | Err(InvocationError::Function(_)));
        if is_answered {
            let parts = ["RecordsAudited", "RecordsUnchanged", "RecordsQuarantined", "RecordsFailed"];
            let sum: u64 = parts.iter().map(|part| self.count(part)).sum();
            assert_eq!(self.count("RecordsReceived"), sum, "the books do not balance: {:?}", self.stdout);
            assert_eq!(self.samples("WriteLatency").len() as u64, self.wide()["writes"].as_u64().unwrap());
        }
        if is_answered {
            segments::check(&self.segments, &self.trace_header);
        }
        assert_keeps_secrets(&format!("{self:?}"));
        if let Err(error) = &self.outcome {
            assert_keeps_secrets(&error.to_string());
        }
    }

    /// The lines of standard output; each is one JSON object.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line: &String| match serde_json::from_str(line) {
            Ok(object @ Value::Object(_)) => object,
            _ => panic!("not a JSON object: {line}"),
        };
        self.stdout.iter().map(parse).collect()
    }

    /// The documents of the embedded metric format; the first is the wide line.
    pub(crate) fn documents(&self) -> impl Iterator<Item = Value> {
        self.lines().into_iter().filter(|line| line.get("_aws").is_some())
    }

    pub(crate) fn wide(&self) -> Value {
        self.documents().next().unwrap_or_else(|| panic!("no wide line: {:?}", self.stdout))
    }

    /// A metric that is counted; 0 where it is absent.
    pub(crate) fn count(&self, metric: &str) -> u64 {
        self.documents().filter_map(|document| document[metric].as_u64()).sum()
    }

    /// All samples of a metric, from all documents.
    pub(crate) fn samples(&self, metric: &str) -> Vec<f64> {
        let values = |document: Value| match &document[metric] {
            Value::Array(values) => values.iter().filter_map(Value::as_f64).collect(),
            value => value.as_f64().into_iter().collect::<Vec<_>>(),
        };
        self.documents().flat_map(values).collect()
    }

    /// The sequence numbers that are reported as failed, sorted.
    pub(crate) fn failed(&self) -> Vec<String> {
        let Ok(body) = &self.outcome else { panic!("{self:#?}") };
        let answer: Value = serde_json::from_slice(body).unwrap();
        let failures = answer["batchItemFailures"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let number = |failure: &Value| failure["itemIdentifier"].as_str().unwrap().to_owned();
        let mut failed: Vec<String> = failures.iter().map(number).collect();
        failed.sort();
        failed
    }

    /// The error of an invocation that failed as a whole.
    pub(crate) fn error(&self) -> &ErrorReport {
        let Err(InvocationError::Function(report)) = &self.outcome else { panic!("{self:#?}") };
        report
    }

    /// The error of a process that did not start.
    pub(crate) fn refusal_to_start(&self) -> &ErrorReport {
        let Err(InvocationError::Init(report)) = &self.outcome else { panic!("{self:#?}") };
        report
    }
}

/// Fails if a text contains a value from the events, in any of the forms in which values are printed.
pub(crate) fn assert_keeps_secrets(text: &str) {
    let bytes = format!("{:?}", SECRET.as_bytes());
    for form in [SECRET, SECRET_DIGITS, &STANDARD.encode(SECRET), bytes.trim_matches(['[', ']'])] {
        let at = text.find(form);
        assert!(at.is_none(), "a value leaked: …{}", &text[at.unwrap_or_default().saturating_sub(200)..]);
    }
}
