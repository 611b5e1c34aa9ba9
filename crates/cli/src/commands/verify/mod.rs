//! `config-audit verify`: is the trail complete and unaltered?

mod witness;

use std::time::Duration;

use clap::Args;
use config_audit_cloudwatch::units::count;
use config_audit_evidence::SpoolError;
use config_audit_tables::{AwsError, Observer, Soundness, Summary, Verification, VerificationSettings};
use config_audit_trail::Finding;
use serde_json::json;

use self::witness::{Evidence, WitnessArguments};
use crate::aws::AwsArguments;
use crate::commands::seal::SealingError;
use crate::progress::Progress;
use crate::tables::{CommandError, TableArguments};
use crate::terminal::{Output, Terminal, Text, Tone, WriteError};
use crate::witnesses::WitnessesError;

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
    #[command(flatten)]
    witness: WitnessArguments,
    /// How to print the findings: for people, or as one JSON object per line, the last of which is the summary
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    aws: AwsArguments,
}

/// Why the trail cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The tables, or standard output.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The witnesses cannot be read.
    #[error(transparent)]
    Witnesses(#[from] WitnessesError),
    /// The seal cannot be read.
    #[error(transparent)]
    Seal(#[from] SealingError),
    /// The temporary files.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl From<AwsError> for VerifyError {
    fn from(error: AwsError) -> Self {
        Self::Command(error.into())
    }
}

impl From<WriteError> for VerifyError {
    fn from(error: WriteError) -> Self {
        Self::Command(error.into())
    }
}

/// Runs the command. Returns 0 if the trail is intact, 1 if there are findings.
///
/// # Errors
/// If AWS returns an error, or standard output cannot be written.
pub async fn run(arguments: VerifyArguments, terminal: Terminal) -> Result<u8, VerifyError> {
    let aws = arguments.aws.load(terminal).await.map_err(CommandError::from)?;
    let reference = arguments.witness.reference(&aws, &arguments.tables.audit_table)?;
    let configuration =
        aws.configuration_table(&arguments.tables.configuration_table).await.map_err(CommandError::from)?;
    let audit = aws.audit_table(&arguments.tables.audit_table);
    let settings =
        VerificationSettings { settle: Duration::from_secs(arguments.settle.into()), is_complete: arguments.complete };
    let mut printer = Printer { output: arguments.output, terminal, progress: Progress::new(terminal) };
    let summary = Verification::new(configuration, audit.clone(), settings, &mut printer).run().await?;
    let evidence = match reference {
        Some(reference) => Some(witness::check(&audit, reference, &mut printer).await?),
        None => None,
    };
    match arguments.output {
        Output::Text => terminal.lines(lines(&summary, evidence.as_ref()))?,
        Output::Json => {
            let mut json = summary.json();
            if let Some(evidence) = &evidence {
                json["witness"] = evidence.json();
            }
            terminal.json_line(&json!({ "summary": json }))?;
        }
    }
    let is_sound = evidence.is_none_or(|evidence| evidence.is_sound());
    Ok(u8::from(summary.findings > 0 || !is_sound))
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

impl Observer for &mut Printer {
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
     and the items; docs/semantics.md lists the cases. With --witness it finds what was altered or removed.";

/// What was checked, for people. The verdict is on its own line.
fn lines(summary: &Summary, evidence: Option<&Evidence>) -> Vec<Text> {
    let (soundness, verdict) = summary.verdict();
    let tone = match soundness {
        Soundness::Intact => Tone::Good,
        Soundness::Doubtful => Tone::Heading,
        Soundness::Broken => Tone::Bad,
    };
    let is_intact = soundness == Soundness::Intact;
    let mut lines = match evidence {
        // With witnesses, a trail is intact only if they say so too.
        Some(evidence) if is_intact => vec![summary.counts().into(), evidence.counts().into()],
        Some(evidence) => vec![summary.counts().into(), tone.paint(verdict), evidence.counts().into()],
        None => vec![summary.counts().into(), tone.paint(verdict)],
    };
    if soundness == Soundness::Doubtful {
        // A backfilled entry would hide that a creation was deleted.
        lines.push(
            "Find out which before `config-audit backfill` writes them a first entry. If the trail began with its \
             table, or was backfilled, use --complete to report each of them as a finding."
                .into(),
        );
    }
    match evidence {
        Some(evidence) => lines.extend(evidence.verdicts(is_intact)),
        None if soundness != Soundness::Broken => lines.push(LIMITS.into()),
        None => {}
    }
    lines
}
