//! `config-audit local`: runs the local world and shows its activity.

mod watcher;

use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::watcher::Watcher;
use crate::aws::url;
use crate::commands::invoke::{FunctionArguments, InvokeError};
use crate::terminal::{Terminal, Text, Tone, WriteError};
use config_audit::settings::{Environment, ProcessEnvironment};
use config_audit_console::{Activity, Console, ConsoleError, ConsoleSettings, DEFAULT_CONSOLE_PORT};
use config_audit_local::aws::error_message;
use config_audit_local::database::DatabaseError;
use config_audit_local::{AwsSettings, BoundedEvents, EventBus, Source, Store, World, WorldError, WorldSettings};

/// The default port of the embedded DynamoDB, the same as DynamoDB Local's.
const DEFAULT_PORT: u16 = 8000;

/// The maximum number of events that wait for the terminal.
const MAX_QUEUE: usize = 65_536;

/// The bucket for the witnesses of entries.
const WITNESS_BUCKET: &str = "audit-witness-local";
/// The item of the examples.
const EXAMPLE_KEY: &str = "CACHE_TTL_SEC";
/// The timeout of an example. A cold start on a slow machine takes seconds.
const EXAMPLE_WAIT: Duration = Duration::from_mins(1);

/// The whole path on this machine: tables, stream, event source mapping, function, failure bucket.
#[derive(Debug, Args)]
pub struct LocalArguments {
    /// The port of the embedded DynamoDB on 127.0.0.1; 0 picks any free port [default: 8000, or any if that is in use]
    #[arg(long, conflicts_with = "endpoint_url")]
    port: Option<u16>,
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
    /// Also show each invocation, with its metrics, log lines and spans
    #[arg(long)]
    verbose: bool,
    /// The port of the console, the web pages that show all this, on 127.0.0.1; 0 picks any free port [default: 8010,
    /// or any if that is in use]
    #[arg(long, value_name = "PORT")]
    console_port: Option<u16>,
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
    /// The console.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// Signals cannot be handled.
    #[error("cannot wait for Ctrl-C")]
    Signal(#[source] std::io::Error),
    /// An example could not change the item.
    #[error("the example cannot change table {table}: {message}")]
    Change {
        /// The Configuration table.
        table: String,
        /// DynamoDB's error message.
        message: String,
    },
    /// An example produced no audit entry.
    #[error(
        "the example \"{example}\" produced no audit entry within {} s; see the function's log above",
        EXAMPLE_WAIT.as_secs()
    )]
    NoEntry {
        /// The example.
        example: String,
    },
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
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
/// When the world does not start, an example fails, or standard output cannot be written.
pub async fn run(arguments: LocalArguments, terminal: Terminal) -> Result<u8, LocalError> {
    let mut settings = arguments.function.world()?;
    settings.directory.clone_from(&arguments.directory);
    if !settings.function.environment.contains_key("AUDIT_TABLE") {
        settings.audit_table.clone_from(&arguments.audit_table);
    }
    settings.store = match &arguments.endpoint_url {
        Some(url) => Store::Endpoint(url.clone()),
        None => Store::Embedded { port: arguments.port.unwrap_or(DEFAULT_PORT) },
    };
    if arguments.endpoint_url.is_some() {
        settings.aws = AwsSettings::from_lookup(|name| ProcessEnvironment.get(name));
    }
    let key_attribute = settings.function.environment.get("KEY_ATTRIBUTE").filter(|key| !key.is_empty()).cloned();
    let key_attribute = key_attribute.unwrap_or_else(|| "key".to_owned());
    let table = arguments.configuration_table.clone();
    settings.source = Some(Source {
        table: table.clone(),
        key_attribute: key_attribute.clone(),
        witness_bucket: Some(WITNESS_BUCKET.to_owned()),
        ..Source::default()
    });

    let mut terminated = signal(SignalKind::terminate()).map_err(LocalError::Signal)?;
    let bus = EventBus::new();
    let mut watcher = Watcher::new(bus.subscribe_bounded(MAX_QUEUE), terminal, arguments.verbose);
    let seen = Activity::subscribe(&bus);
    let world = match World::start(settings.clone(), bus.clone()).await {
        Err(WorldError::Database(DatabaseError::Port { port, .. })) if arguments.port.is_none() => {
            terminal.note(format!("Port {port} is in use, so the system picked another."));
            settings.store = Store::Embedded { port: 0 };
            World::start(settings.clone(), bus).await?
        }
        world => world?,
    };

    let console = if arguments.exit_after_examples {
        None
    } else {
        Some(start_console(&arguments, &world, &table, &key_attribute, seen).await?)
    };

    let outcome = tokio::select! {
        outcome = async {
            if let Some(console) = &console {
                // First, because it shows everything else.
                terminal.line(Tone::Heading.paint("Console") + format!("   {}  (open it in a browser)", console.url()))?;
            }
            terminal.lines(introduction(&world, &settings, &table, &key_attribute))?;
            if arguments.examples {
                examples(&world, &table, &key_attribute, &mut watcher).await?;
                if arguments.exit_after_examples {
                    return Ok(());
                }
            }
            if !arguments.exit_after_examples {
                terminal.line(Tone::Quiet.paint("Waiting for changes. Press Ctrl-C to stop."))?;
            }
            while watcher.next().await?.is_some() {}
            Ok(())
        } => outcome,
        signal = tokio::signal::ctrl_c() => signal.map_err(LocalError::Signal),
        _ = terminated.recv() => Ok(()),
    };
    if let Some(console) = console {
        console.stop().await;
    }
    world.stop().await;
    outcome.map(|()| 0)
}

/// Starts the console on its default port, or on any if that is in use and the user did not ask for it.
async fn start_console(
    arguments: &LocalArguments,
    world: &World,
    table: &str,
    key_attribute: &str,
    seen: BoundedEvents,
) -> Result<Console, ConsoleError> {
    let settings = ConsoleSettings { table: table.to_owned(), key_attribute: key_attribute.to_owned() };
    let mut console = Console::new(world, &settings, seen).await?;
    console.listen_at(arguments.console_port, DEFAULT_CONSOLE_PORT).await?;
    Ok(console)
}

/// Where everything is, and how to make a change.
fn introduction(world: &World, settings: &WorldSettings, table: &str, key_attribute: &str) -> Vec<Text> {
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
    let heading = |text: &str| Tone::Heading.paint(text);
    let mut lines = vec![
        heading("DynamoDB") + format!("  {url}  ({place})"),
        heading("Tables") + format!("    {table} -> {}", settings.audit_table),
    ];
    if let Some(bucket) = world.bucket() {
        lines.push(heading("Failures") + format!("  {}  bucket {}", bucket.url(), bucket.name()));
    }
    lines.push(heading("Function") + format!("  {}", settings.function.bootstrap.display()));
    let change = format!(
        "  {credentials}aws dynamodb put-item --endpoint-url {url} --region {} --table-name {table} --item '{item}'",
        aws.region
    );
    lines.extend([Text::default(), heading("Make a change"), change.into()]);
    if let Some(bucket) = world.bucket() {
        let this =
            std::env::current_exe().map_or_else(|_| "config-audit".to_owned(), |path| path.display().to_string());
        let is_on = |name: &str| settings.function.environment.get(name).is_some_and(|value| value == "on");
        let provenance = if is_on("AUDIT_PROVENANCE") { " --provenance" } else { "" };
        let replay = format!(
            "  {credentials}{this} redrive s3://{} --audit-table {} --key-attribute {key_attribute}{provenance} \
             --region {} --endpoint-url {url} --s3-endpoint-url {}",
            bucket.name(),
            settings.audit_table,
            aws.region,
            bucket.url()
        );
        lines.extend([Text::default(), heading("Replay failed records"), replay.into()]);
        let verify = format!(
            "  {credentials}{this} verify --configuration-table {table} --audit-table {} --witness s3://{WITNESS_BUCKET} \
             --region {} --endpoint-url {url} --s3-endpoint-url {}",
            settings.audit_table,
            aws.region,
            bucket.url()
        );
        lines.extend([Text::default(), heading("Prove that nobody touched the trail"), verify.into()]);
    }
    lines.push(Text::default());
    lines
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
        watcher.announce(&example)?;
        let deleted = client.delete_item().table_name(table).key(key_attribute, key()).send().await;
        deleted.map_err(|error| changed(error_message(&error)))?;
        watcher.entry_of(EXAMPLE_KEY, &example).await?;
    }
    for (what, value) in [("create", "3600"), ("change", "1800")] {
        let example = format!("{what} {EXAMPLE_KEY} = {value}");
        watcher.announce(&example)?;
        let put = client.put_item().table_name(table).item(key_attribute, key());
        let put = put.item("value", AttributeValue::N(value.to_owned())).send().await;
        put.map_err(|error| changed(error_message(&error)))?;
        watcher.entry_of(EXAMPLE_KEY, &example).await?;
    }
    Ok(())
}
