//! `config-audit invoke`: sends one event through the real bootstrap, and shows everything that it caused.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::telemetry::{metric_lines, span_lines};
use crate::terminal::{Output, Terminal, Text, Tone, WriteError};
use config_audit_cloudwatch::line::{EmfMetric, Line};
use config_audit_cloudwatch::span::spans;
use config_audit_cloudwatch::units::{duration, size};
use config_audit_local::aws::entry::Entry;
use config_audit_local::bucket::StoredObject;
use config_audit_local::event::LogSource;
use config_audit_local::{EventBus, Outcome, Store, World, WorldError, WorldEvent, WorldSettings};

/// One event for the real bootstrap, which runs against a local Lambda Runtime API.
#[derive(Debug, Args)]
pub struct InvokeArguments {
    /// The file with the event; without --event and --data the event is read from standard input
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    event: Option<PathBuf>,
    /// The event itself
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// The function's settings
    #[command(flatten)]
    function: FunctionArguments,
    /// Where the entries are written: a new embedded DynamoDB and S3, or the AWS account of your AWS_* settings
    #[arg(long, value_enum, default_value_t = StoreArgument::Memory)]
    store: StoreArgument,
    /// The function's name
    #[arg(long, value_name = "NAME", default_value = "config-audit-local-audit")]
    function_name: String,
    /// How to print the outcome
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The function's settings, which `invoke` and `local` share.
#[derive(Debug, Args)]
pub struct FunctionArguments {
    /// The function's binary [default: `bootstrap` next to this command]
    #[arg(long, value_name = "PATH")]
    pub bootstrap: Option<PathBuf>,
    /// Seconds after which an invocation is killed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u16).range(1..=900))]
    pub timeout: u16,
    /// The function's memory in MB; passed to the function but not enforced
    #[arg(long, value_name = "MB", default_value = "128", value_parser = clap::value_parser!(u32).range(128..=10_240))]
    pub memory: u32,
    /// An environment variable of the function; may be repeated
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = variable)]
    pub environment: Vec<(String, String)>,
}

impl FunctionArguments {
    /// The function's variables.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.environment.iter().cloned().collect()
    }

    /// The function's binary: the given one, or the one next to this command.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn bootstrap(&self) -> Result<PathBuf, InvokeError> {
        let path = match &self.bootstrap {
            Some(path) => path.clone(),
            None => std::env::current_exe().map_err(InvokeError::Executable)?.with_file_name("bootstrap"),
        };
        // A bare file name would be searched for on PATH.
        let path = std::path::absolute(path).map_err(InvokeError::Executable)?;
        if path.is_file() { Ok(path) } else { Err(InvokeError::NoBootstrap { path }) }
    }

    /// The settings of a local world for this function. It creates the table and the bucket that --env names.
    ///
    /// # Errors
    /// When there is no binary.
    pub fn world(&self) -> Result<WorldSettings, InvokeError> {
        let mut settings = WorldSettings::new(self.bootstrap()?);
        settings.function.timeout = Duration::from_secs(self.timeout.into());
        settings.function.memory_mb = self.memory;
        settings.function.environment = self.variables();
        // The function itself rejects an empty name; the world always has a table and a bucket.
        let named = |name: &str| settings.function.environment.get(name).filter(|value| !value.is_empty()).cloned();
        let (table, bucket) = (named("AUDIT_TABLE"), named("FAILURE_BUCKET"));
        settings.audit_table = table.unwrap_or(settings.audit_table);
        settings.failure_bucket = bucket.unwrap_or(settings.failure_bucket);
        Ok(settings)
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, as in STAGE=test".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoreArgument {
    Memory,
    Aws,
}

/// Why there was no invocation.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The event cannot be read.
    #[error("cannot read the event from {place}")]
    ReadEvent {
        /// The file, or standard input.
        place: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// No event was given.
    #[error("no event: use --event FILE or --data JSON, or pipe one in")]
    NoEvent,
    /// Lambda accepts only JSON.
    #[error("the event is not valid JSON")]
    NotJson(#[source] serde_json::Error),
    /// There is no binary.
    #[error(
        "there is no {}: build it with `cargo build --bin bootstrap`, or give its path with --bootstrap", path.display()
    )]
    NoBootstrap {
        /// The path.
        path: PathBuf,
    },
    /// The path of this command is unknown.
    #[error("cannot find the bootstrap binary next to this command; give its path with --bootstrap")]
    Executable(#[source] std::io::Error),
    /// The local world.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
}

impl InvokeError {
    /// 2 if the command line is wrong, otherwise 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::World(_) | Self::Executable(_) => 1,
            _ => 2,
        }
    }
}

/// Everything that one invocation caused.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, including a cold start.
    pub duration: Duration,
    /// The entries in the Audit table afterwards.
    pub entries: Vec<Entry>,
    /// The objects in the failure bucket afterwards.
    pub failures: Vec<StoredObject>,
    /// What the function printed, in order.
    pub lines: Vec<(LogSource, String)>,
    /// The segment documents that reached the X-Ray daemon.
    pub segments: Vec<Value>,
}

/// Starts a world, invokes the function once, and stops the world.
///
/// # Errors
/// When a part cannot be started, or the store cannot be read afterwards. The function's own errors are in the report.
pub async fn invoke_once(settings: WorldSettings, event: Vec<u8>) -> Result<Report, WorldError> {
    let bus = EventBus::new();
    let mut events = bus.subscribe();
    let world = World::start(settings, bus).await?;
    let invoked = world.invoke(event).await;
    let entries = world.entries().await;
    let failures = world.failures().await;
    world.stop().await;
    let invoked = invoked?;
    let (mut lines, mut segments) = (Vec::new(), Vec::new());
    // The world has stopped, so the events end.
    while let Some(event) = events.recv().await {
        match &*event {
            WorldEvent::LogLine { source, line } => lines.push((*source, line.clone())),
            WorldEvent::SegmentReceived { document } => segments.push(document.clone()),
            _ => {}
        }
    }
    let (entries, failures) = (entries?, failures?);
    Ok(Report { outcome: invoked.outcome, duration: invoked.duration, entries, failures, lines, segments })
}

impl Report {
    /// True when the function returned and reported no failure.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let Ok(body) = &self.outcome else { return false };
        match serde_json::from_slice::<Value>(body) {
            Ok(response) => match &response["batchItemFailures"] {
                Value::Null => true,
                Value::Array(failures) => failures.is_empty(),
                _ => false,
            },
            // Lambda treats an empty answer as null.
            Err(_) => body.is_empty(),
        }
    }

    /// For tools: one JSON document with `response`, `error`, `durationMs`, `entries`, `failures`, `logs`, `metrics` and
    /// `segments`.
    fn print_json(&self, terminal: Terminal) -> Result<(), WriteError> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            response: Box<RawValue>,
            error: Value,
            duration_ms: f64,
            entries: &'a [Entry],
            failures: Vec<Object<'a>>,
            logs: Vec<Value>,
            metrics: Vec<&'a EmfMetric>,
            segments: &'a [Value],
        }
        #[derive(serde::Serialize)]
        struct Object<'a> {
            key: &'a str,
            body: Box<RawValue>,
        }
        let error = self.outcome.as_ref().err().map_or(Value::Null, |error| {
            let report = error.report();
            json!({ "errorType": report.error_type, "errorMessage": report.message })
        });
        let lines: Vec<Line> = self.lines.iter().map(|(_, line)| Line::parse(line)).collect();
        let objects = self.failures.iter();
        let source = |source| if source == LogSource::Stdout { "stdout" } else { "stderr" };
        terminal.json(&Document {
            response: json_or_text(self.outcome.as_ref().map_or(b"null", |body| body)),
            error,
            duration_ms: self.duration.as_secs_f64() * 1000.0,
            entries: &self.entries,
            failures: objects.map(|object| Object { key: &object.key, body: json_or_text(&object.body) }).collect(),
            logs: self.lines.iter().map(|(from, line)| json!({ "source": source(*from), "line": line })).collect(),
            metrics: lines.iter().flat_map(Line::metrics).collect(),
            segments: &self.segments,
        })
    }

    /// For people.
    fn text(&self, store_is_listed: bool) -> Vec<Text> {
        let heading = |text: &str| [Text::default(), Tone::Heading.paint(text)];
        let tone = if self.is_success() { Tone::Good } else { Tone::Bad };
        let took = duration(self.duration.as_secs_f64() * 1000.0);
        let answer = tone.paint(describe(&self.outcome)) + "  " + Tone::Quiet.paint(took);
        let mut text = vec![Tone::Heading.paint("Answer") + " " + answer];
        if store_is_listed {
            text.extend([Text::default(), Tone::Heading.paint("Audit entries") + format!(" {}", self.entries.len())]);
            let entries = self.entries.iter().map(Entry::to_pretty_json);
            text.extend(
                entries.flat_map(|json| json.lines().map(|line| format!("  {line}").into()).collect::<Vec<_>>()),
            );
            if !self.failures.is_empty() {
                let count = format!(" {}", self.failures.len());
                text.extend([Text::default(), Tone::Heading.paint("Failure bucket") + count]);
                let objects = self.failures.iter();
                text.extend(
                    objects.map(|object| format!("  {}  {}", object.key, size(object.body.len() as f64)).into()),
                );
            }
        }
        let lines: Vec<Line> = self.lines.iter().map(|(_, line)| Line::parse(line)).collect();
        let metrics: Vec<&EmfMetric> = lines.iter().flat_map(Line::metrics).collect();
        if !metrics.is_empty() {
            text.extend(heading("Metrics"));
            text.extend(metric_lines(&metrics));
        }
        let logs: Vec<&Line> = lines.iter().filter(|line| line.metrics().is_empty()).collect();
        if !logs.is_empty() {
            text.extend(heading("Logs"));
            text.extend(logs.iter().map(|line| format!("  {}", line.readable()).into()));
        }
        if !self.segments.is_empty() {
            text.extend(heading("Spans"));
            text.extend(span_lines(&spans(&self.segments)));
        }
        text
    }
}

/// An outcome in one line.
#[must_use]
pub fn describe(outcome: &Outcome) -> String {
    match outcome {
        Ok(body) => String::from_utf8_lossy(body).into_owned(),
        Err(error) => error.to_string(),
    }
}

/// Bytes as JSON if they are JSON, otherwise as a JSON string.
fn json_or_text(bytes: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    // A string cannot fail.
    let quoted = |text: &str| serde_json::value::to_raw_value(text).unwrap_or_default();
    RawValue::from_string(text.clone()).unwrap_or_else(|_| quoted(&text))
}

/// Runs the command; returns its exit code: 0 when the function returned and reported no failure, otherwise 1.
///
/// # Errors
/// When there was no invocation, or standard output cannot be written.
pub async fn run(arguments: InvokeArguments, terminal: Terminal) -> Result<u8, InvokeError> {
    let event = event(arguments.event.as_deref(), arguments.data)?;
    let mut settings = arguments.function.world()?;
    settings.function.name.clone_from(&arguments.function_name);
    if arguments.store == StoreArgument::Aws {
        settings.store = Store::Aws;
        terminal.note("writing to the AWS account of your AWS_* settings; its entries are not listed here");
    }
    let listed = arguments.store == StoreArgument::Memory;
    let report = invoke_once(settings, event).await?;
    match arguments.output {
        Output::Text => terminal.lines(report.text(listed))?,
        Output::Json => report.print_json(terminal)?,
    }
    Ok(u8::from(!report.is_success()))
}

fn event(file: Option<&Path>, data: Option<String>) -> Result<Vec<u8>, InvokeError> {
    let event = match (file, data) {
        (Some(file), _) => std::fs::read(file)
            .map_err(|source| InvokeError::ReadEvent { place: file.display().to_string(), source })?,
        (None, Some(data)) => data.into_bytes(),
        (None, None) => {
            if std::io::stdin().is_terminal() {
                return Err(InvokeError::NoEvent);
            }
            let mut event = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut event);
            read.map_err(|source| InvokeError::ReadEvent { place: "standard input".to_owned(), source })?;
            if event.iter().all(u8::is_ascii_whitespace) {
                return Err(InvokeError::NoEvent);
            }
            event
        }
    };
    // The text is passed on unchanged, so that numbers keep all their digits.
    serde_json::from_slice::<&RawValue>(&event).map_err(InvokeError::NotJson)?;
    Ok(event)
}
