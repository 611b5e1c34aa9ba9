//! `config-audit console`: the trail of an account as web pages on this machine, read-only.

use clap::Args;
use config_audit_console::{Console, ConsoleError, DEFAULT_CONSOLE_PORT};
use tokio::signal::unix::{SignalKind, signal};

use crate::aws::AwsArguments;
use crate::tables::CommandError;
use crate::terminal::{Terminal, Tone, WriteError};

/// The console, and the tables that it shows.
#[derive(Debug, Args)]
pub struct ConsoleArguments {
    /// The Audit table
    #[arg(long, value_name = "NAME")]
    audit_table: String,
    /// The Configuration table, to check the trail against it
    #[arg(long, value_name = "NAME")]
    configuration_table: Option<String>,
    /// The port of the pages on 127.0.0.1; 0 picks any free port [default: 8010, or any if that is in use]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    #[command(flatten)]
    aws: AwsArguments,
}

/// Why the console ended.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleCommandError {
    /// The account or its tables.
    #[error(transparent)]
    Table(#[from] CommandError),
    /// The pages.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// The command cannot wait for signals.
    #[error("cannot wait for Ctrl-C")]
    Signal(#[source] std::io::Error),
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
}

/// Serves the pages until Ctrl-C or SIGTERM.
///
/// # Errors
/// If there is no account, the Configuration table cannot be described, or the port is in use.
pub async fn run(arguments: ConsoleArguments, terminal: Terminal) -> Result<u8, ConsoleCommandError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ConsoleCommandError::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ConsoleCommandError::Signal)?;
    let aws = arguments.aws.load(terminal).await.map_err(CommandError::from)?;
    let configuration = match &arguments.configuration_table {
        Some(name) => Some(aws.configuration_table(name).await.map_err(CommandError::from)?),
        None => None,
    };
    let mut console = Console::of_account(aws.audit_table(&arguments.audit_table), configuration);
    console.listen_at(arguments.port, DEFAULT_CONSOLE_PORT).await?;
    terminal.line(Tone::Heading.paint("Console") + format!("   {}  (open it in a browser)", console.url()))?;
    terminal
        .line(Tone::Quiet.paint("It is read-only, and hides values until you ask for them. Press Ctrl-C to stop."))?;
    terminal.line(Tone::Quiet.paint("Whoever has the key in the address can read the trail: do not share it."))?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    console.stop().await;
    Ok(0)
}
