//! `config-audit`: the operator's command.

use std::error::Error;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use clap::error::{ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use config_audit_cli::commands::{
    alarms, backfill, completions, console, dashboards, export, history, invoke, local, redrive, seal, tail, verify,
};
use config_audit_cli::terminal::text::escape;
use config_audit_cli::terminal::{Terminal, WriteError};

/// The exit code if standard output is a closed pipe: as if SIGPIPE had ended the command.
const CLOSED_PIPE: u8 = 128 + 13;

/// Runs the audit Lambda on your machine, and reads, checks and repairs what it wrote
#[derive(Debug, Parser)]
#[command(name = "config-audit", version = env!("CONFIG_AUDIT_VERSION"), max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one event through the function, and show the answer, the entries and the telemetry
    ///
    /// Exit code 0: the function returned and reported no failure. 1: it failed, timed out, or reported failures. 2: the
    /// command line is wrong, or there is no binary or no event.
    Invoke(invoke::InvokeArguments),
    /// Run everything locally: change items in the Configuration table, and watch the audit entries arrive
    ///
    /// Exit code 0: it was stopped, or the examples worked. 1: it could not start, or an example failed. 2: the command line
    /// is wrong, or there is no binary.
    Local(local::LocalArguments),
    /// Replay the records in the failure bucket through the function's own code
    ///
    /// A record produces the same entries each time, so entries that are already stored do not change, except for
    /// `provenance.traceId`: that is the trace of the last delivery, and a replay has none. You may run this twice, or while the
    /// function runs. Use --key-attribute and --provenance as the function is configured.
    ///
    /// An object whose records all have their entries moves to redriven/. A record that fails again stays, with the new
    /// reason. Anything that is not an object, such as a symbolic link in a directory, is reported and left alone. Full
    /// records of omitted values (omitted/) are never replayed, because audit entries refer to them.
    ///
    /// Objects in redriven/ are not replayed again, unless you name them: after the Audit table was restored from a backup, it
    /// lacks the entries of records that were replayed since, and `redrive s3://BUCKET/redriven/` writes them again. The objects
    /// stay where they are.
    ///
    /// Exit code 0: everything was replayed, or there was nothing to do. 1: something is left, or nothing can be replayed; the
    /// output says why. 2: the command line is wrong.
    Redrive(redrive::RedriveArguments),
    /// Check the deployed alarms
    Alarms(alarms::AlarmsArguments),
    /// Draw the deployed dashboards as they would look during a fault
    ///
    /// Writes each dashboard as a page for a browser, and prints the paths. Exit code 0: the pages are written. 2: they
    /// are not; the error says why.
    Dashboards(dashboards::DashboardsArguments),
    /// Show the changes of an item, or what the item was at a given time
    ///
    /// Exit code 0: success. 1: there are no entries, or the item did not exist at that time. 2: the command line is
    /// wrong, or AWS returned an error. 3: the trail is not intact, or that cannot be determined; the output says why.
    History(history::HistoryArguments),
    /// Export the whole trail, or a part of it, in chronological order
    ///
    /// First the command reads the times and the keys of all entries, and sorts them; then it reads the entries in this order.
    /// An entry that was altered or deleted in between is named on standard error. Entries that are written meanwhile
    /// may be missing. In CSV, cells that a spreadsheet would take for formulas begin with an apostrophe, unless --raw
    /// is given.
    ///
    /// Exit code 0: success, even if there are no entries. 1: entries were altered or deleted meanwhile. 2: the command line
    /// is wrong, or AWS returned an error; the output is incomplete.
    Export(export::ExportArguments),
    /// Show new audit entries as they are written, and entries that are altered or deleted
    Tail(tail::TailArguments),
    /// Prove that the trail is complete and unaltered, or list each missing or altered change
    ///
    /// A trail cannot tell whether an item is older than it, or its creation was deleted: the command lists such items,
    /// and with --complete each is a finding. So is an item that changed so often within one second that the command
    /// cannot try all orders of its changes; its trail is undecided.
    ///
    /// It cannot detect entries that were altered, removed or added in a way that still fits the other entries and the items;
    /// docs/semantics.md lists the cases. With --witness it also compares every entry with what the witness function stored, and
    /// names each one that was altered, deleted or forged since; docs/evidence.md says what that proves.
    ///
    /// Exit code 0: the trail is intact. 1: it is not, or an item is undecided. 2: the command line is wrong, or AWS
    /// returned an error.
    Verify(verify::VerifyArguments),
    /// Make a digest of all entries witnessed so far, for somebody outside the account
    ///
    /// The file has the root of a Merkle tree over the witnesses, how many there are, until when they were stored, and the
    /// hash of the previous seal. `verify --seal` proves later that all of them are still there.
    ///
    /// Exit code 0: the seal is written. 2: it is not; the error says why.
    Seal(seal::SealArguments),
    /// Show the trail of an account in a browser, read-only
    ///
    /// The pages are on 127.0.0.1. They show entries, an item's history and the item at any time, and with --configuration-table
    /// whether the trail is intact. Values are hidden until you ask for them.
    ///
    /// Exit code 0: it was stopped. 2: the command line is wrong, AWS returned an error, or the port is in use.
    Console(console::ConsoleArguments),
    /// Write a first entry for each item that is older than the trail
    ///
    /// You may run this again, and while the function runs. An item that is too large or nested too deeply for an entry gets one
    /// with a note: its size, its hash, and the record `dynamodb:TABLE/KEY`, which is the item itself. There is no
    /// other copy of it. The command reports items that cannot have an entry, and the others get theirs.
    ///
    /// Exit code 0: every item has an entry. 1: some items cannot have one; the output names them. 2: the command line is wrong,
    /// or AWS returned an error.
    Backfill(backfill::BackfillArguments),
    /// Print a shell completion script for this command
    ///
    /// For bash: source <(config-audit completions bash). For zsh, into a directory of $fpath: config-audit completions zsh >
    /// _config-audit. For fish: config-audit completions fish > ~/.config/fish/completions/config-audit.fish
    Completions(completions::CompletionsArguments),
}

impl Command {
    /// Runs the command; returns its exit code.
    async fn run(self, terminal: Terminal) -> Result<u8, Failure> {
        Ok(match self {
            Self::Invoke(arguments) => {
                invoke::run(arguments, terminal).await.map_err(Failure::with(invoke::InvokeError::exit_code))?
            }
            Self::Local(arguments) => {
                local::run(arguments, terminal).await.map_err(Failure::with(local::LocalError::exit_code))?
            }
            Self::Redrive(arguments) => {
                redrive::run(arguments, terminal).await.map_err(Failure::with(redrive::RedriveError::exit_code))?
            }
            Self::Alarms(arguments) => alarms::run(arguments, terminal)?,
            Self::Dashboards(arguments) => dashboards::run(&arguments, terminal)?,
            Self::History(arguments) => history::run(arguments, terminal).await?,
            Self::Export(arguments) => export::run(arguments, terminal).await?,
            Self::Tail(arguments) => tail::run(arguments, terminal).await?,
            Self::Verify(arguments) => verify::run(arguments, terminal).await?,
            Self::Seal(arguments) => seal::run(arguments, terminal).await?,
            Self::Console(arguments) => console::run(arguments, terminal).await?,
            Self::Backfill(arguments) => backfill::run(arguments, terminal).await?,
            Self::Completions(arguments) => completions::run(&arguments, Arguments::command(), terminal)?,
        })
    }
}

/// Why a command failed, and its exit code: 2, unless the command says otherwise.
struct Failure {
    error: Box<dyn Error>,
    exit_code: u8,
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: Box::new(error), exit_code: 2 }
    }
}

impl Failure {
    fn with<E: Error + 'static>(exit_code: impl FnOnce(&E) -> u8) -> impl FnOnce(E) -> Self {
        |error| Self { exit_code: exit_code(&error), error: Box::new(error) }
    }
}

/// The message of a panic: only its location, because the panic's own message could contain a configuration value.
fn panic_message(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    format!("config-audit: a panic at {place}; this is a bug")
}

/// Prints the help or the version, if that is what was asked for, or why the command line is wrong.
fn print_usage(mut error: clap::Error, terminal: Terminal) -> Result<u8, Failure> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let text = error.render();
        terminal.document(&if terminal.has_colours() { text.ansi().to_string() } else { text.to_string() })?;
        return Ok(0);
    }
    // The message quotes the command line.
    let quoted: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
    for (kind, value) in quoted {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(escape(&text).into_owned()),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(|text| escape(text).into_owned()).collect())
            }
            ContextValue::StyledStrs(tips) => {
                ContextValue::StyledStrs(tips.iter().map(|tip| escape(&tip.to_string()).into_owned().into()).collect())
            }
            other => other,
        };
        error.insert(kind, value);
    }
    error.render().to_string().trim_end().lines().for_each(|line| terminal.note(line));
    Ok(2)
}

/// Says why a command failed; returns its exit code.
fn report(Failure { error, exit_code }: &Failure, terminal: Terminal) -> u8 {
    let write_error = write_error(&**error);
    if write_error.is_some_and(WriteError::is_closed_pipe) {
        return CLOSED_PIPE;
    }
    terminal.note(format!("config-audit: {}", config_audit::aws::error_chain(&**error)));
    // Partial output could be mistaken for a finding.
    if write_error.is_some() { 2 } else { *exit_code }
}

/// The standard output error that is this error or caused it.
fn write_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a WriteError> {
    error.downcast_ref().or_else(|| write_error(error.source()?))
}

#[tokio::main]
async fn main() -> ExitCode {
    let terminal = Terminal::new();
    std::panic::set_hook(Box::new(move |panic| terminal.note(panic_message(panic))));
    let ended = match Arguments::try_parse() {
        Ok(arguments) => arguments.command.run(terminal).await,
        Err(error) => print_usage(error, terminal),
    };
    ExitCode::from(ended.unwrap_or_else(|failure| report(&failure, terminal)))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_panic_is_reported_with_its_location_but_without_its_message() {
        let (sender, receiver) = channel();
        std::panic::set_hook(Box::new(move |panic| sender.send(panic_message(panic)).unwrap()));
        let panicked = std::panic::catch_unwind(|| panic!("{}", "s3cr3t"));
        drop(std::panic::take_hook());
        assert!(panicked.is_err());
        let text = receiver.recv().unwrap();
        assert!(text.contains("main.rs:") && !text.contains("s3cr3t"), "{text}");
    }
}
