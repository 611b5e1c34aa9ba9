//! `config-audit`: the operator's command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use config_audit_operator::terminal::Terminal;
use config_audit_operator::{backfill, history, invoke, run_local, tail, verify};

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
    Local(run_local::LocalArguments),
    /// Show what happened to an item, or what it was at a time
    ///
    /// Exit code 0: it is shown. 1: there are no entries, or the item did not exist then. 2: the command line is wrong, or
    /// AWS refused.
    History(history::HistoryArguments),
    /// Show new audit entries as they are written, and entries that are altered or deleted
    Tail(tail::TailArguments),
    /// Prove that the trail is complete and unaltered, or name each item and the change that is missing or altered
    ///
    /// Exit code 0: the trail is intact. 1: it is not. 2: the command line is wrong, or AWS refused.
    Verify(verify::VerifyArguments),
    /// Give items that are older than the trail their first entry
    ///
    /// It can run again, and while the function runs. Exit code 0: every item has an entry. 1: some are too large for one.
    /// 2: the command line is wrong, or AWS refused.
    Backfill(backfill::BackfillArguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let terminal = Terminal::new();
    let (error, code): (Box<dyn std::error::Error>, u8) = match Arguments::parse().command {
        Command::Invoke(arguments) => match invoke::run(arguments, terminal).await {
            Ok(code) => return ExitCode::from(code),
            Err(error) => {
                let code = error.exit_code();
                (Box::new(error), code)
            }
        },
        Command::Local(arguments) => match run_local::run(arguments, terminal).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => {
                let code = error.exit_code();
                (Box::new(error), code)
            }
        },
        Command::History(arguments) => match history::run(arguments, terminal).await {
            Ok(code) => return ExitCode::from(code),
            Err(error) => (Box::new(error), 2),
        },
        Command::Tail(arguments) => match tail::run(arguments, terminal).await {
            Ok(code) => return ExitCode::from(code),
            Err(error) => (Box::new(error), 2),
        },
        Command::Verify(arguments) => match verify::run(arguments, terminal).await {
            Ok(code) => return ExitCode::from(code),
            Err(error) => (Box::new(error), 2),
        },
        Command::Backfill(arguments) => match backfill::run(arguments, terminal).await {
            Ok(code) => return ExitCode::from(code),
            Err(error) => (Box::new(error), 2),
        },
    };
    terminal.progress(&format!("config-audit: {}", config_audit_operator::local::error_chain(&*error)));
    ExitCode::from(code)
}
