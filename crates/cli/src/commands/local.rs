//! `config-audit local`: runs the local world and shows what happens in it.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::aws::url;
use crate::commands::invoke::{FunctionArguments, InvokeError, describe};
use crate::terminal::{Terminal, Tone, indent};
use config_audit::settings::{Environment, ProcessEnvironment};
use config_audit_cloudwatch::line::{EmfMetric, Line};
use config_audit_cloudwatch::span::spans;
use config_audit_cloudwatch::units::duration;
use config_audit_local::aws::error_message;
use config_audit_local::{
    AwsSettings, CompletedInvocation, EventBus, Source, Store, World, WorldError, WorldEvent, WorldSettings,
};

/// The item of the examples.
const EXAMPLE_KEY: &str = "CACHE_TTL_SEC";
/// How long an example may take. A cold start on a slow machine takes seconds.
const EXAMPLE_WAIT: Duration = Duration::from_mins(1);

/// The whole path on this machine: tables, stream, event source mapping, function, failure bucket.
#[derive(Debug, Args)]
pub struct LocalArguments {
    /// The port of the embedded DynamoDB on 127.0.0.1; 0 is any free port
    #[arg(long, default_value_t = 0, conflicts_with = "endpoint_url")]
    port: u16,
    /// The directory for tables, failures and the checkpoint [default: in memory]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Use the DynamoDB behind this URL instead of the embedded one
    #[arg(long, value_name = "URL", value_parser = url)]
    endpoint_url: Option<String>,
    /// The function's settings
    #[command(flatten)]
    function: FunctionArguments,
    /// The table whose changes are audited
    #[arg(long, value_name = "NAME", default_value = "Configuration-local")]
    configuration_table: String,
    /// The table for the audit entries
    #[arg(long, value_name = "NAME", default_value = "Audit-local")]
    audit_table: String,
    /// Create an item, change it, and show the audit entries
    #[arg(long)]
    examples: bool,
    /// Exit after the examples
    #[arg(long, requires = "examples")]
    exit_after_examples: bool,
}

/// Why the local world did not start, or its examples did not work.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The function's binary.
    #[error(transparent)]
    Function(#[from] InvokeError),
    /// The world.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Signals can't be handled.
    #[error("can't wait for Ctrl-C")]
    Signal(#[source] std::io::Error),
    /// An example could not change the item.
    #[error("the example can't change table {table}: {message}")]
    Change {
        /// The Configuration table.
        table: String,
        /// DynamoDB's error message.
        message: String,
    },
    /// An example led to no audit entry.
    #[error("the example \"{example}\" led to no audit entry within {} s; see the function's log above", EXAMPLE_WAIT.as_secs())]
    NoEntry {
        /// The example.
        example: String,
    },
}

impl LocalError {
    /// 2 if the command line is wrong, otherwise 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if let Self::Function(error) = self { error.exit_code() } else { 1 }
    }
}

/// Runs the command until Ctrl-C, SIGTERM, or the end of the examples; returns its exit code.
///
/// # Errors
/// When the world does not start, or an example fails.
pub async fn run(arguments: LocalArguments, terminal: Terminal) -> Result<u8, LocalError> {
    let mut settings = arguments.function.world()?;
    settings.directory.clone_from(&arguments.directory);
    if !settings.function.environment.contains_key("AUDIT_TABLE") {
        settings.audit_table.clone_from(&arguments.audit_table);
    }
    settings.store = match &arguments.endpoint_url {
        Some(url) => Store::Endpoint(url.clone()),
        None => Store::Embedded { port: arguments.port },
    };
    if arguments.endpoint_url.is_some() {
        settings.aws = AwsSettings::from_lookup(|name| ProcessEnvironment.get(name));
    }
    let key_attribute = settings.function.environment.get("KEY_ATTRIBUTE").filter(|key| !key.is_empty()).cloned();
    let key_attribute = key_attribute.unwrap_or_else(|| "key".to_owned());
    let table = arguments.configuration_table.clone();
    settings.source = Some(Source { table: table.clone(), key_attribute: key_attribute.clone(), ..Source::default() });

    let mut terminated = signal(SignalKind::terminate()).map_err(LocalError::Signal)?;
    let bus = EventBus::new();
    let events = bus.subscribe();
    let summary = settings.clone();
    let world = World::start(settings, bus).await?;
    let mut watcher = Watcher { events, terminal, invocation: InvocationSeen::default() };
    terminal.result(&introduction(&world, &summary, &table, &key_attribute, terminal));

    let outcome = tokio::select! {
        outcome = async {
            if arguments.examples {
                examples(&world, &table, &key_attribute, &mut watcher).await?;
                if arguments.exit_after_examples {
                    return Ok(());
                }
            }
            if !arguments.exit_after_examples {
                terminal.result(&terminal.paint(Tone::Quiet, "Waiting for changes. Press Ctrl-C to stop."));
            }
            while watcher.next().await.is_some() {}
            Ok(())
        } => outcome,
        signal = tokio::signal::ctrl_c() => signal.map_err(LocalError::Signal),
        _ = terminated.recv() => Ok(()),
    };
    world.stop().await;
    outcome.map(|()| 0)
}

/// Where everything is, and how to make a change.
fn introduction(
    world: &World,
    settings: &WorldSettings,
    table: &str,
    key_attribute: &str,
    terminal: Terminal,
) -> String {
    let url = world.database().map_or("", |database| database.url());
    let place = match (&settings.store, &settings.directory) {
        (Store::Embedded { .. }, Some(directory)) => format!("embedded, kept in {}", directory.display()),
        (Store::Embedded { .. }, None) => "embedded, in memory".to_owned(),
        _ => "from --endpoint-url".to_owned(),
    };
    let aws = &settings.aws;
    // The user's own credentials stay in the user's environment.
    let credentials = if *aws == AwsSettings::dummy() {
        let (id, secret) = (&aws.access_key_id, &aws.secret_access_key);
        format!("AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret} ")
    } else {
        String::new()
    };
    let item = serde_json::json!({ key_attribute: { "S": EXAMPLE_KEY }, "value": { "N": "900" } });
    let heading = |text: &str| terminal.paint(Tone::Heading, text);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}  {url}  ({place})", heading("DynamoDB"));
    let _ = writeln!(text, "{}    {table} -> {}", heading("Tables"), settings.audit_table);
    if let Some(bucket) = world.bucket() {
        let _ = writeln!(text, "{}  {}  bucket {}", heading("Failures"), bucket.url(), bucket.name());
    }
    let _ = writeln!(text, "{}  {}", heading("Function"), settings.function.bootstrap.display());
    let _ = write!(
        text,
        "\n{}\n  {credentials}aws dynamodb put-item --endpoint-url {url} --region {} --table-name {table} --item '{item}'\n",
        heading("Make a change"),
        aws.region
    );
    if let Some(bucket) = world.bucket() {
        let this =
            std::env::current_exe().map_or_else(|_| "config-audit".to_owned(), |path| path.display().to_string());
        let is_on = |name: &str| settings.function.environment.get(name).is_some_and(|value| value == "on");
        let provenance = if is_on("AUDIT_PROVENANCE") { " --provenance" } else { "" };
        let _ = write!(
            text,
            "\n{}\n  {credentials}{this} redrive s3://{} --audit-table {} --key-attribute {key_attribute}{provenance} \
             --region {} --endpoint-url {url} --s3-endpoint-url {}\n",
            heading("Replay what failed"),
            bucket.name(),
            settings.audit_table,
            aws.region,
            bucket.url()
        );
    }
    text
}

/// Creates and changes an item in the table, as the README shows.
async fn examples(world: &World, table: &str, key_attribute: &str, watcher: &mut Watcher) -> Result<(), LocalError> {
    let Some(database) = world.database() else { return Ok(()) };
    let changed = |message| LocalError::Change { table: table.to_owned(), message };
    let key = || AttributeValue::S(EXAMPLE_KEY.to_owned());
    let client = database.client();
    let found = client.get_item().table_name(table).key(key_attribute, key()).consistent_read(true).send().await;
    if found.map_err(|error| changed(error_message(&error)))?.item.is_some() {
        let example = format!("remove {EXAMPLE_KEY}, which was there already");
        watcher.announce(&example);
        let deleted = client.delete_item().table_name(table).key(key_attribute, key()).send().await;
        deleted.map_err(|error| changed(error_message(&error)))?;
        watcher.entry_of(EXAMPLE_KEY, &example).await?;
    }
    for (what, value) in [("create", "3600"), ("change", "1800")] {
        let example = format!("{what} {EXAMPLE_KEY} = {value}");
        watcher.announce(&example);
        let put = client.put_item().table_name(table).item(key_attribute, key());
        let put = put.item("value", AttributeValue::N(value.to_owned())).send().await;
        put.map_err(|error| changed(error_message(&error)))?;
        watcher.entry_of(EXAMPLE_KEY, &example).await?;
    }
    Ok(())
}

/// Subscribes to the world's events and prints what a person wants to know.
struct Watcher {
    events: UnboundedReceiver<Arc<WorldEvent>>,
    terminal: Terminal,
    invocation: InvocationSeen,
}

/// What has been published of the invocation that is running.
#[derive(Default)]
struct InvocationSeen {
    records: usize,
    lines: Vec<String>,
    segments: Vec<serde_json::Value>,
    cold: bool,
}

impl Watcher {
    fn announce(&self, example: &str) {
        self.terminal.result(&self.terminal.paint(Tone::Heading, &format!("Example: {example}")));
    }

    /// Prints what happens until this item's entry is stored and its invocation has ended.
    async fn entry_of(&mut self, item_key: &str, example: &str) -> Result<(), LocalError> {
        let both = async {
            let (mut stored, mut answered) = (false, false);
            while !(stored && answered) {
                match self.next().await.as_deref() {
                    Some(WorldEvent::EntryStored { entry }) => stored |= entry.text("itemKey") == item_key,
                    Some(WorldEvent::InvocationEnded(invocation)) => answered |= invocation.outcome.is_ok(),
                    Some(_) => {}
                    None => break,
                }
            }
        };
        let no_entry = |_| LocalError::NoEntry { example: example.to_owned() };
        tokio::time::timeout(EXAMPLE_WAIT, both).await.map_err(no_entry)
    }

    /// The next thing that happens, printed.
    async fn next(&mut self) -> Option<Arc<WorldEvent>> {
        let event = self.events.recv().await?;
        self.show(&event);
        Some(event)
    }

    fn show(&mut self, event: &WorldEvent) {
        let terminal = self.terminal;
        let bad = |text: String| terminal.result(&terminal.paint(Tone::Bad, &text));
        match event {
            WorldEvent::RecordDelivered { .. } => self.invocation.records += 1,
            WorldEvent::ProcessStarted { .. } => self.invocation.cold = true,
            WorldEvent::LogLine { line, .. } => self.invocation.lines.push(line.clone()),
            WorldEvent::SegmentReceived { document } => self.invocation.segments.push(document.clone()),
            WorldEvent::SegmentRejected { reason } => bad(format!("X-Ray: not a segment document: {reason}")),
            WorldEvent::InvocationEnded(invocation) => {
                let seen = std::mem::take(&mut self.invocation);
                terminal.result(&seen.text(invocation, terminal));
            }
            WorldEvent::EntryStored { entry } => {
                let heading = terminal.paint(Tone::Good, "Audit entry");
                terminal.result(&format!("{heading}\n{}\n", indent(&entry.to_pretty_json(), 2)));
            }
            WorldEvent::RetryScheduled { records, retry, delay, reason, .. } => {
                let delay = duration(delay.as_secs_f64() * 1000.0);
                bad(format!("retry {retry} of {records} records in {delay}: {reason}"));
            }
            WorldEvent::BatchBisected { at, .. } => bad(format!("batch split before record {at}")),
            WorldEvent::SentToDestination { key, condition, records } => {
                bad(format!("{records} records given up ({}), stored as {key}", condition.as_str()));
            }
            WorldEvent::DestinationFailed { message } => {
                bad(format!("the failure bucket failed; the records are kept and sent again: {message}"));
            }
            WorldEvent::Warning { message } => bad(message.clone()),
            WorldEvent::Recovered { message } => terminal.result(&terminal.paint(Tone::Good, message)),
            WorldEvent::ProcessExited { .. }
            | WorldEvent::InvocationStarted { .. }
            | WorldEvent::CheckpointAdvanced { .. } => {}
        }
    }
}

impl InvocationSeen {
    fn text(&self, invocation: &CompletedInvocation, terminal: Terminal) -> String {
        let records = if self.records == 1 { "1 record".to_owned() } else { format!("{} records", self.records) };
        let cold = if self.cold { ", process started" } else { "" };
        let took = duration(invocation.duration.as_secs_f64() * 1000.0);
        let took = terminal.paint(Tone::Quiet, &format!("{took}{cold}"));
        let tone = if invocation.outcome.is_ok() { Tone::Good } else { Tone::Bad };
        let heading = terminal.paint(Tone::Heading, "Invocation");
        let outcome = terminal.paint(tone, &describe(&invocation.outcome));
        let mut text = format!("{heading} {records} -> {outcome}  {took}\n");
        let lines: Vec<Line> = self.lines.iter().map(|line| Line::parse(line)).collect();
        // Counts of zero are left out here; `invoke` shows them.
        let has_samples = |metric: &&EmfMetric| metric.values.iter().any(|value| *value != 0.0);
        let metrics: Vec<&EmfMetric> = lines.iter().flat_map(Line::metrics).filter(has_samples).collect();
        text.push_str(&terminal.metric_table(&metrics));
        for line in lines.iter().filter(|line| line.metrics().is_empty()) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {}", line.readable());
        }
        text.push_str(&terminal.span_tree(&spans(&self.segments)));
        text
    }
}
