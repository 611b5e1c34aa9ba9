//! `config-audit local`: runs the local world and shows what happens in it.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::commands::invoke::{FunctionArguments, InvokeError, describe};
use crate::terminal::{Terminal, Tone, indent};
use config_audit::settings::{Environment, ProcessEnvironment};
use config_audit_cloudwatch::telemetry;
use config_audit_local::clients::refusal;
use config_audit_local::{Answer, Happening, Happenings, Identity, Source, Store, World, WorldError, WorldSettings};

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
    #[arg(long, value_name = "URL")]
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
        settings.identity = Identity::from_lookup(|name| ProcessEnvironment.get(name));
    }
    let key_attribute = settings.function.environment.get("KEY_ATTRIBUTE").filter(|key| !key.is_empty()).cloned();
    let key_attribute = key_attribute.unwrap_or_else(|| "key".to_owned());
    let table = arguments.configuration_table.clone();
    settings.source = Some(Source { table: table.clone(), key_attribute: key_attribute.clone(), ..Source::default() });

    let mut terminated = signal(SignalKind::terminate()).map_err(LocalError::Signal)?;
    let happenings = Happenings::new();
    let heard = happenings.subscribe();
    let summary = settings.clone();
    let world = World::start(settings, happenings).await?;
    let mut watcher = Watcher { heard, terminal, invocation: InvocationSeen::default() };
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
    let identity = &settings.identity;
    // The user's own credentials stay in the user's environment.
    let credentials = if *identity == Identity::throw_away() {
        let (id, secret) = (&identity.access_key_id, &identity.secret_access_key);
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
        identity.region
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
            identity.region,
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
    if found.map_err(|error| changed(refusal(&error)))?.item.is_some() {
        let example = format!("remove {EXAMPLE_KEY}, which was there already");
        watcher.announce(&example);
        let deleted = client.delete_item().table_name(table).key(key_attribute, key()).send().await;
        deleted.map_err(|error| changed(refusal(&error)))?;
        watcher.entry_of(EXAMPLE_KEY, &example).await?;
    }
    for (what, value) in [("create", "3600"), ("change", "1800")] {
        let example = format!("{what} {EXAMPLE_KEY} = {value}");
        watcher.announce(&example);
        let put = client.put_item().table_name(table).item(key_attribute, key());
        let put = put.item("value", AttributeValue::N(value.to_owned())).send().await;
        put.map_err(|error| changed(refusal(&error)))?;
        watcher.entry_of(EXAMPLE_KEY, &example).await?;
    }
    Ok(())
}

/// Listens to the world and prints what a person wants to know.
struct Watcher {
    heard: UnboundedReceiver<Arc<Happening>>,
    terminal: Terminal,
    invocation: InvocationSeen,
}

/// What was heard of the invocation that is under way.
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

    /// Prints what happens until this item's entry is stored and its invocation is over.
    async fn entry_of(&mut self, item_key: &str, example: &str) -> Result<(), LocalError> {
        let both = async {
            let (mut stored, mut answered) = (false, false);
            while !(stored && answered) {
                match self.next().await.as_deref() {
                    Some(Happening::AuditStored { entry }) => stored |= entry.text("itemKey") == item_key,
                    Some(Happening::Answered { answer: Answer::Returned(_), .. }) => answered = true,
                    Some(_) => {}
                    None => break,
                }
            }
        };
        let no_entry = |_| LocalError::NoEntry { example: example.to_owned() };
        tokio::time::timeout(EXAMPLE_WAIT, both).await.map_err(no_entry)
    }

    /// The next thing that happens, printed.
    async fn next(&mut self) -> Option<Arc<Happening>> {
        let happening = self.heard.recv().await?;
        self.show(&happening);
        Some(happening)
    }

    fn show(&mut self, happening: &Happening) {
        let terminal = self.terminal;
        let bad = |text: String| terminal.result(&terminal.paint(Tone::Bad, &text));
        match happening {
            Happening::RecordDelivered { .. } => self.invocation.records += 1,
            Happening::ProcessStarted { .. } => self.invocation.cold = true,
            Happening::LogLine { line, .. } => self.invocation.lines.push(line.clone()),
            Happening::SegmentReceived { document } => self.invocation.segments.push(document.clone()),
            Happening::SegmentRefused { why } => bad(format!("X-Ray: no segment document: {why}")),
            Happening::Answered { answer, duration, .. } => {
                let seen = std::mem::take(&mut self.invocation);
                terminal.result(&seen.text(answer, *duration, terminal));
            }
            Happening::AuditStored { entry } => {
                let heading = terminal.paint(Tone::Good, "Audit entry");
                terminal.result(&format!("{heading}\n{}\n", indent(&entry.to_pretty_json(), 2)));
            }
            Happening::Retry { records, retry, after, reason, .. } => {
                bad(format!("retry {retry} of {records} records in {} ms: {reason}", after.as_millis()));
            }
            Happening::Bisected { at, .. } => bad(format!("batch split before record {at}")),
            Happening::SentToDestination { key, condition, records } => {
                bad(format!("{records} records given up ({}), kept in {key}", condition.as_str()));
            }
            Happening::DestinationRefused { message } => {
                bad(format!("the failure bucket refused; the records are kept and sent again: {message}"));
            }
            Happening::Trouble { message } => bad(message.clone()),
            Happening::ProcessExited { .. }
            | Happening::InvocationStarted { .. }
            | Happening::TimedOut { .. }
            | Happening::CheckpointAdvanced { .. } => {}
        }
    }
}

impl InvocationSeen {
    fn text(&self, answer: &Answer, duration: Duration, terminal: Terminal) -> String {
        let records = if self.records == 1 { "1 record".to_owned() } else { format!("{} records", self.records) };
        let cold = if self.cold { ", process started" } else { "" };
        let took = terminal.paint(Tone::Quiet, &format!("{} ms{cold}", duration.as_millis()));
        let tone = if matches!(answer, Answer::Returned(_)) { Tone::Good } else { Tone::Bad };
        let heading = terminal.paint(Tone::Heading, "Invocation");
        let mut text = format!("{heading} {records} -> {}  {took}\n", terminal.paint(tone, &describe(answer)));
        let mut metrics: Vec<_> = self.lines.iter().flat_map(|line| telemetry::metrics(line)).collect();
        // Counts of zero are left out here; `invoke` shows them.
        metrics.retain(|metric| metric.values.iter().any(|value| *value != 0.0));
        text.push_str(&terminal.metric_table(&metrics));
        for line in self.lines.iter().filter(|line| telemetry::metrics(line).is_empty()) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {}", telemetry::readable_log(line));
        }
        text.push_str(&terminal.span_tree(&telemetry::spans(&self.segments)));
        text
    }
}
