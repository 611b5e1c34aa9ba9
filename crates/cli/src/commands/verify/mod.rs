//! `config-audit verify`: is the trail complete, and is it as it was written?
//!
//! First the command reads every item of the Configuration table, folds its entries, and compares the end of the trail with
//! the item. Then it reads the keys of all entries, and does the same for those that no longer name an item: their trail must
//! end with a removal. An item without an entry of its creation looks older than the trail, whether it is older or the entry
//! was deleted: the command names each, and with `--complete` each is a finding.
//!
//! It holds in memory one page of each table, the entries of [`CONCURRENCY`] items, 16 bytes for each deleted key, and the
//! keys of [`MAX_SUSPECTS`] items at most.

mod finding;
mod summary;

use std::collections::HashSet;
use std::time::Duration;

use clap::Args;
use config_audit::clock::Clock;
use config_audit::clock::timestamp;
use config_audit::value::{equal, size};
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use serde_dynamo::AttributeValue;
use serde_json::json;

use self::finding::{Finding, Verdict};
use self::summary::Summary;
use crate::aws::{AwsArguments, AwsError};
use crate::progress::Progress;
use crate::tables::{AuditTable, CONCURRENCY, ConfigurationTable, KeyedItem, TableArguments, TableError};
use crate::terminal::{Output, Terminal, Tone, WriteError};
use crate::trail::{Item, backfill_id};

/// How often the command reads again what does not fit.
const ROUNDS: u32 = 3;
/// How many items that do not fit may wait to be read again.
const MAX_SUSPECTS: usize = 5_000;
/// How large they may be together, in bytes: they are read again all at once.
const MAX_SUSPECT_BYTES: usize = 16 * 1024 * 1024;

/// The whole trail against the Configuration table.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    tables: TableArguments,
    /// How long the entries of a change may take to be written and seen; meanwhile the command reads again what does not fit
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    settle: u32,
    /// For a trail that began with its table, or was backfilled: an item that looks older than the trail is a finding
    #[arg(long)]
    complete: bool,
    /// How to print the findings: for people, or as one JSON object a line, of which the last is the summary
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    aws: AwsArguments,
}

/// Runs the command. Returns 0 if the trail is intact, 1 if there are findings.
///
/// # Errors
/// When AWS refuses, or standard output cannot be written.
pub async fn run(arguments: VerifyArguments, terminal: Terminal) -> Result<u8, TableError> {
    let aws = arguments.aws.load(terminal).await?;
    let mut verification = Verification {
        configuration: ConfigurationTable::find(&aws, &arguments.tables.configuration_table).await?,
        audit: AuditTable::new(&aws, &arguments.tables.audit_table),
        pause: Duration::from_secs(arguments.settle.into()) / ROUNDS,
        is_complete: arguments.complete,
        output: arguments.output,
        terminal,
        progress: Progress::new(terminal),
        suspects: Vec::new(),
        suspect_bytes: 0,
        summary: Summary::default(),
    };
    verification.check_items().await?;
    verification.check_deleted_items().await?;
    let summary = verification.summary;
    match arguments.output {
        Output::Text => terminal.lines(summary.lines())?,
        Output::Json => terminal.json_line(&json!({ "summary": summary.json() }))?,
    }
    Ok(u8::from(summary.findings > 0))
}

struct Verification {
    configuration: ConfigurationTable,
    audit: AuditTable,
    /// How long to wait before reading again what does not fit.
    pause: Duration,
    /// Whether every item should have an entry of its creation, or a backfilled one.
    is_complete: bool,
    output: Output,
    terminal: Terminal,
    progress: Progress,
    /// The keys of items that do not fit.
    suspects: Vec<String>,
    suspect_bytes: usize,
    summary: Summary,
}

impl Verification {
    /// Checks every item of the Configuration table.
    async fn check_items(&mut self) -> Result<(), TableError> {
        let mut start = None;
        loop {
            let (items, next) = self.configuration.page(start).await?;
            self.summary.items += items.len();
            let audit = self.audit.clone();
            let verdicts = iter(items).map(|KeyedItem { key, item }| {
                let audit = &audit;
                async move {
                    let verdict = Verdict::of(audit.steps(&key).await?, Some(&item));
                    Ok::<_, AwsError>((key, size(&AttributeValue::M(item)), verdict))
                }
            });
            let mut verdicts = verdicts.buffer_unordered(CONCURRENCY);
            while let Some((key, bytes, verdict)) = verdicts.try_next().await? {
                self.take(key, bytes, verdict)?;
            }
            drop(verdicts);
            start = next;
            if start.is_none() {
                return self.check_suspects().await;
            }
            if self.suspects.len() >= MAX_SUSPECTS || self.suspect_bytes >= MAX_SUSPECT_BYTES {
                self.check_suspects().await?;
            }
        }
    }

    /// Checks every item that only has entries.
    async fn check_deleted_items(&mut self) -> Result<(), TableError> {
        // The ID is a hash of the key, 122 bits long, and takes less memory.
        let mut seen = HashSet::new();
        let mut start = None;
        loop {
            let (mut keys, next) = self.audit.keys(start).await?;
            keys.retain(|key| !seen.contains(&backfill_id(key)));
            keys.sort_unstable();
            keys.dedup();
            let deleted = self.configuration.missing(&keys).await?;
            seen.extend(deleted.iter().map(|key| backfill_id(key)));
            self.summary.deleted += deleted.len();
            let audit = self.audit.clone();
            let steps = iter(deleted).map(|key| {
                let audit = &audit;
                async move { Ok::<_, AwsError>((audit.steps(&key).await?, key)) }
            });
            let mut steps = steps.buffer_unordered(CONCURRENCY);
            while let Some((steps, key)) = steps.try_next().await? {
                self.take(key, 0, Verdict::of(steps, None))?;
            }
            drop(steps);
            start = next;
            if start.is_none() {
                return self.check_suspects().await;
            }
            if self.suspects.len() >= MAX_SUSPECTS {
                self.check_suspects().await?;
            }
        }
    }

    /// Counts an item that fits, and keeps the key of one that does not.
    fn take(&mut self, key: String, bytes: usize, verdict: Verdict) -> Result<(), WriteError> {
        let verdict = self.demand_creation(verdict);
        if verdict.findings.is_empty() {
            self.report(&key, &verdict)?;
        } else {
            self.suspects.push(key);
            self.suspect_bytes += bytes;
        }
        let (summary, waiting) = (self.summary, self.suspects.len());
        self.progress.show(|| summary.progress(waiting));
        Ok(())
    }

    /// With `--complete`, makes it a finding that an item looks older than the trail.
    fn demand_creation(&self, mut verdict: Verdict) -> Verdict {
        let older = verdict.older.take_if(|_| self.is_complete);
        verdict.findings.extend(older.map(Finding::Older));
        verdict
    }

    /// Counts an item, and prints what there is to say about it.
    fn report(&mut self, key: &str, verdict: &Verdict) -> Result<(), WriteError> {
        for finding in &verdict.findings {
            self.print(key, finding, Tone::Bad)?;
        }
        if let Some(first) = verdict.older.as_ref().filter(|_| verdict.findings.is_empty()) {
            self.print(key, &Finding::Older(first.clone()), Tone::Heading)?;
        }
        self.summary.add(verdict);
        Ok(())
    }

    /// Reads again what did not fit, because a change may have been under way, and reports what does not fit in the end.
    async fn check_suspects(&mut self) -> Result<(), TableError> {
        let mut suspects: Vec<(String, Option<Verdict>)> =
            std::mem::take(&mut self.suspects).into_iter().map(|key| (key, None)).collect();
        self.suspect_bytes = 0;
        for _ in 0..ROUNDS {
            if suspects.is_empty() {
                return Ok(());
            }
            let keys = suspects.into_iter().map(|(key, _)| key);
            suspects = Vec::new();
            for (key, verdict) in self.check_again(keys).await? {
                let verdict = self.demand_creation(verdict);
                if verdict.findings.is_empty() {
                    self.report(&key, &verdict)?;
                } else {
                    suspects.push((key, Some(verdict)));
                }
            }
        }
        suspects.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (key, verdict) in suspects {
            if let Some(verdict) = verdict {
                self.report(&key, &verdict)?;
            }
        }
        Ok(())
    }

    /// Reads these items, waits, and reads their entries.
    async fn check_again(&self, keys: impl Iterator<Item = String>) -> Result<Vec<(String, Verdict)>, AwsError> {
        let (configuration, audit) = (&self.configuration, &self.audit);
        let time = timestamp(Clock::System.now());
        let items = iter(keys)
            .map(|key| async move { Ok::<_, AwsError>((configuration.item(&key).await?, key)) })
            .buffer_unordered(CONCURRENCY);
        let items: Vec<(Option<Item>, String)> = items.try_collect().await?;
        tokio::time::sleep(self.pause).await;
        let time = &time;
        let verdicts = iter(items).map(|(item, key)| async move {
            let steps = audit.steps(&key).await?;
            let verdict = if is_same(item.as_ref(), configuration.item(&key).await?.as_ref()) {
                Verdict::of(steps, item.as_ref())
            } else {
                Verdict::of_changing(steps, item.as_ref(), time)
            };
            Ok((key, verdict))
        });
        verdicts.buffer_unordered(CONCURRENCY).try_collect().await
    }

    fn print(&self, key: &str, finding: &Finding, tone: Tone) -> Result<(), WriteError> {
        match self.output {
            Output::Text => self.terminal.line(tone.paint(key) + ": " + finding.text()),
            Output::Json => self.terminal.json_line(&finding.json(key)),
        }
    }
}

fn is_same(one: Option<&Item>, other: Option<&Item>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => equal(&AttributeValue::M(one.clone()), &AttributeValue::M(other.clone())),
        (None, None) => true,
        _ => false,
    }
}
