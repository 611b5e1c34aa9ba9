//! `config-audit alarms check`: checks the deployed alarms against every fault, and against healthy months.

mod check;
mod outcome;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clap::{Args, Subcommand, ValueEnum};

pub use check::{AlarmCheck, CheckError, Played};
pub use outcome::{CheckedFault, FiredAlarm, HealthyMonth, Outcome};

use crate::progress::Progress;
use crate::terminal::{Terminal, Text};

/// The subcommands for alarms.
#[derive(Debug, Args)]
pub struct AlarmsArguments {
    #[command(subcommand)]
    command: AlarmsCommand,
}

#[derive(Debug, Subcommand)]
enum AlarmsCommand {
    /// Check the alarms against every fault, and against healthy months
    ///
    /// The simulator plays each fault through the function's own handler, and the alarms are evaluated as CloudWatch
    /// does. Each fault must fire the alarms that watch for it, within the time that their runbooks promise, and no
    /// others except those that follow from it. It must page once each time it occurs. Thirty healthy days must page
    /// nobody. Everything is played on a table with three changes a day, with forty an hour, and with bulk loads. The
    /// days are also played with a canary, and the faults with Lambda's retries two minutes apart, ten minutes apart,
    /// and as fast as possible.
    ///
    /// Exit code 0: the alarms pass. 1: they do not; the problems are listed. 2: the command line is wrong, or the
    /// files cannot be read.
    Check(CheckArguments),
}

/// Where the alarms are, and how to print the outcome.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Check only this fault, or the faults whose names contain this text, and no healthy months
    #[arg(long, value_name = "NAME")]
    fault: Option<String>,
    /// The directory with the alarms' templates
    #[arg(long, value_name = "DIR", default_value = "alarms")]
    alarms: PathBuf,
    /// The directory with the runbooks
    #[arg(long, value_name = "DIR", default_value = "docs/runbooks")]
    runbooks: PathBuf,
    /// How to print the outcome; `markdown` prints the tables in docs/alarms.md
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Markdown,
}

/// Runs the command; returns its exit code.
///
/// # Errors
/// If the alarms cannot be read, there is no such fault, or standard output cannot be written.
pub fn run(arguments: AlarmsArguments, terminal: Terminal) -> Result<u8, CheckError> {
    let AlarmsCommand::Check(arguments) = arguments.command;
    let check = AlarmCheck::read(&arguments.alarms, &arguments.runbooks)?;
    // Several threads play the faults.
    let progress = Mutex::new(Progress::new(terminal));
    let played = check.play(arguments.fault.as_deref(), |played, all| {
        progress.lock().unwrap_or_else(PoisonError::into_inner).show(|| format!("{played} of {all} runs played"));
    });
    let played = played.inspect_err(|error| error.known.iter().for_each(|fault| terminal.note(*fault)))?;
    let outcome = check.judge(&played);
    match arguments.output {
        Output::Text => terminal.lines(outcome.lines())?,
        Output::Json => terminal.json(&outcome)?,
        Output::Markdown => terminal.lines(outcome.markdown().lines().map(Text::from))?,
    }
    Ok(u8::from(!outcome.problems.is_empty()))
}
