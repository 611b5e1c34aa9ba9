//! `config-audit`: the operator's command.

use std::error::Error;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use config_audit_cli::commands::{alarms, backfill, dashboards, history, invoke, local, redrive, tail, verify};
use config_audit_cli::terminal::Terminal;

/// The audit Lambda on your own machine, and the trail that it writes.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one event through the function, and show the answer, the entries and the telemetry
    ///
    /// Exit code 0: the function returned and reported no failure. 1: it failed, timed out, or reported failures.
    /// 2: the command line is wrong, or there is no binary or no event.
    Invoke(invoke::InvokeArguments),
    /// Run the whole flow: change items in the Configuration table, and watch the audit entries come
    Local(local::LocalArguments),
    /// Replay what is in the failure bucket through the function's own code
    ///
    /// A record makes the same entries each time, so what was stored already does not change, but for
    /// `provenance.traceId`: that is the trace of the last delivery, and a replay has none. It is safe to run this twice, or
    /// while the function runs. Give --key-attribute and --provenance as the function has them. An object whose records all
    /// have their entries is moved to redriven/; what did not work stays, with the new reason. Full records of omitted values
    /// (omitted/) are left alone: entries name them.
    ///
    /// Exit code 0: all is replayed, or there was nothing to do. 1: something is left, or nothing can be done; what and why
    /// is said. 2: the command line is wrong.
    Redrive(redrive::RedriveArguments),
    /// Try the alarms that are deployed
    Alarms(alarms::AlarmsArguments),
    /// Draw the dashboards that are deployed, as they would look while something is wrong
    ///
    /// Each becomes a page for a browser; their paths are printed. Exit code 0: they are drawn. 2: they can't be, and why is
    /// said.
    Dashboards(dashboards::DashboardsArguments),
    /// Show what happened to an item, or what it was at a time
    ///
    /// Exit code 0: it is shown. 1: there are no entries, or the item did not exist then. 2: the command line is wrong, or
    /// AWS refused.
    History(history::HistoryArguments),
    /// Show new audit entries as they are written, and entries that are altered or deleted
    Tail(tail::TailArguments),
    /// Prove that the trail is complete and unaltered, or name each item and the change that is missing or altered
    ///
    /// Nothing in a trail tells whether an item is older than it, or its creation was deleted: such items are named, and
    /// with --complete each is a finding.
    ///
    /// Exit code 0: the trail is intact. 1: it is not. 2: the command line is wrong, or AWS refused.
    Verify(verify::VerifyArguments),
    /// Give items that are older than the trail their first entry
    ///
    /// It can run again, and while the function runs. An item that is too large for an entry is given one with a note: its
    /// size, its hash, and as the record `dynamodb:TABLE/KEY`, the item itself. No other copy of it is kept.
    ///
    /// Exit code 0: every item has an entry. 2: the command line is wrong, or AWS refused.
    Backfill(backfill::BackfillArguments),
}

/// A command that failed, and its exit code.
struct Failed(Box<dyn Error>, u8);

impl Failed {
    fn with<E: Error + 'static>(code: impl FnOnce(&E) -> u8) -> impl FnOnce(E) -> Self {
        |error| {
            let code = code(&error);
            Self(Box::new(error), code)
        }
    }
}

/// What is said of a panic: its place alone, since what it was about could be a value.
fn panic_text(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    format!("config-audit: a panic at {place}; this is a bug")
}

#[tokio::main]
async fn main() -> ExitCode {
    let terminal = Terminal::new();
    std::panic::set_hook(Box::new(move |panic| terminal.progress(&panic_text(panic))));
    let ended = match Arguments::parse().command {
        Command::Invoke(arguments) => {
            invoke::run(arguments, terminal).await.map_err(Failed::with(invoke::InvokeError::exit_code))
        }
        Command::Local(arguments) => {
            let ended = local::run(arguments, terminal).await;
            ended.map(|()| 0).map_err(Failed::with(local::LocalError::exit_code))
        }
        Command::Redrive(arguments) => {
            redrive::run(arguments, terminal).await.map_err(Failed::with(redrive::RedriveError::exit_code))
        }
        Command::Alarms(arguments) => alarms::run(arguments, terminal).map_err(Failed::with(|_| 2)),
        Command::Dashboards(arguments) => dashboards::run(&arguments, terminal).map_err(Failed::with(|_| 2)),
        Command::History(arguments) => history::run(arguments, terminal).await.map_err(Failed::with(|_| 2)),
        Command::Tail(arguments) => tail::run(arguments, terminal).await.map_err(Failed::with(|_| 2)),
        Command::Verify(arguments) => verify::run(arguments, terminal).await.map_err(Failed::with(|_| 2)),
        Command::Backfill(arguments) => backfill::run(arguments, terminal).await.map_err(Failed::with(|_| 2)),
    };
    ExitCode::from(ended.unwrap_or_else(|Failed(error, code)| {
        terminal.progress(&format!("config-audit: {}", config_audit::aws::error_chain(&*error)));
        code
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_panic_is_told_by_its_place_and_not_by_what_it_is_about() {
        let (told, heard) = channel();
        std::panic::set_hook(Box::new(move |panic| told.send(panic_text(panic)).unwrap()));
        let panicked = std::panic::catch_unwind(|| panic!("{}", "s3cr3t"));
        drop(std::panic::take_hook());
        assert!(panicked.is_err());
        let text = heard.recv().unwrap();
        assert!(text.contains("main.rs:") && !text.contains("s3cr3t"), "{text}");
    }
}
