//! `config-audit`: the operator's command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use config_audit_operator::terminal::Terminal;
use config_audit_operator::{invoke, redrive, run_local};

/// The audit Lambda on your own machine.
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
    /// Replay what is in the failure bucket through the function's own code
    ///
    /// A record makes the same entries each time, so what was stored already does not change, and it is safe to run this
    /// twice, or while the function runs. An object whose records all have their entries is moved to redriven/; what did
    /// not work stays, with the new reason. Full records of omitted values (omitted/) are left alone: entries name them.
    ///
    /// Exit code 0: all is replayed, or there was nothing to do. 1: something is left, or nothing can be done; what and why
    /// is said. 2: the command line is wrong.
    Redrive(redrive::RedriveArguments),
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
        Command::Redrive(arguments) => match redrive::run(arguments, terminal).await {
            Ok(code) => return ExitCode::from(code),
            Err(error) => {
                let code = error.exit_code();
                (Box::new(error), code)
            }
        },
    };
    terminal.progress(&format!("config-audit: {}", config_audit_operator::local::error_chain(&*error)));
    ExitCode::from(code)
}
