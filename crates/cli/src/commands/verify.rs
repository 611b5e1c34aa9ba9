//! `config-audit verify`: is the trail complete and unaltered?

use std::time::Duration;

use clap::Args;
use config_audit_cloudwatch::units::count;
use config_audit_tables::{Observer, Soundness, Summary, Verification, VerificationSettings};
use config_audit_trail::Finding;
use serde_json::json;

use crate::aws::AwsArguments;
use crate::progress::Progress;
use crate::tables::{CommandError, TableArguments};
use crate::terminal::{Output, Terminal, Text, Tone, WriteError};

/// The whole trail against the Configuration table.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    tables: TableArguments,
    /// How long the entries of a change may take to become visible; until then, the command rereads items that do not
    /// fit
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    settle: u32,
    /// For a trail that began with its table, or was backfilled: report an item that looks older than the trail as a
    /// finding
    #[arg(long)]
    complete: bool,
    /// How to print the findings: for people, or as one JSON object per line, the last of which is the summary
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    aws: AwsArguments,
}

/// Runs the command. Returns 0 if the trail is intact, 1 if there are findings.
///
/// # Errors
/// If AWS returns an error, or standard output cannot be written.
pub async fn run(arguments: VerifyArguments, terminal: Terminal) -> Result<u8, CommandError> {
    let aws = arguments.aws.load(terminal).await?;
    let configuration = aws.configuration_table(&arguments.tables.configuration_table).await?;
    let audit = aws.audit_table(&arguments.tables.audit_table);
    let settings =
        VerificationSettings { settle: Duration::from_secs(arguments.settle.into()), is_complete: arguments.complete };
    let printer = Printer { output: arguments.output, terminal, progress: Progress::new(terminal) };
    let summary = Verification::new(configuration, audit, settings, printer).run().await?;
    match arguments.output {
        Output::Text => terminal.lines(lines(&summary))?,
        Output::Json => terminal.json_line(&json!({ "summary": summary.json() }))?,
    }
    Ok(u8::from(summary.findings > 0))
}

/// Prints what is found.
struct Printer {
    output: Output,
    terminal: Terminal,
    progress: Progress,
}

impl Printer {
    fn print(&self, key: &str, finding: &Finding, tone: Tone) -> Result<(), WriteError> {
        match self.output {
            Output::Text => self.terminal.line(tone.paint(key) + ": " + finding.text()),
            Output::Json => self.terminal.json_line(&finding.json(key)),
        }
    }
}

impl Observer for Printer {
    type Error = CommandError;

    fn finding(&mut self, key: &str, finding: &Finding) -> Result<(), CommandError> {
        Ok(self.print(key, finding, Tone::Bad)?)
    }

    fn older(&mut self, key: &str, finding: &Finding) -> Result<(), CommandError> {
        Ok(self.print(key, finding, Tone::Heading)?)
    }

    fn progress(&mut self, summary: &Summary, waiting: usize) {
        self.progress.show(|| format!("{}; {} to recheck", summary.read(), count(waiting, "item", "items")));
    }
}

/// What a trail cannot prove.
const LIMITS: &str = "This cannot detect entries that were altered, removed or added in a way that still fits the other entries \
     and the items; docs/semantics.md lists the cases.";

/// What was checked, for people. The verdict is on its own line.
fn lines(summary: &Summary) -> Vec<Text> {
    let (soundness, verdict) = summary.verdict();
    let tone = match soundness {
        Soundness::Intact => Tone::Good,
        Soundness::Doubtful => Tone::Heading,
        Soundness::Broken => Tone::Bad,
    };
    let mut lines = vec![summary.counts().into(), tone.paint(verdict)];
    if soundness == Soundness::Doubtful {
        // A backfilled entry would hide that a creation was deleted.
        lines.push(
            "Find out which before `config-audit backfill` writes them a first entry. If the trail began with its \
             table, or was backfilled, use --complete to report each of them as a finding."
                .into(),
        );
    }
    if soundness != Soundness::Broken {
        lines.push(LIMITS.into());
    }
    lines
}
