//! `config-audit verify`: is the trail complete, and is it as it was written?
//!
//! First every item of the Configuration table is read, its entries are folded, and the trail's end is compared with it.
//! Then the keys of all entries are read, and those that name no item any more are folded too: their trail must end with
//! a removal. An item whose creation nobody tells of looks older than the trail, whether it is or its creation was
//! deleted: each is named, and `--complete` makes it a finding. In memory are one page of each table, the entries of [`AT_A_TIME`] items, 16 bytes for each deleted
//! key, and of items that do not fit at first up to [`SUSPECT_BYTES`].

use std::collections::HashSet;
use std::time::Duration;

use clap::Args;
use config_audit::clock::timestamp;
use config_audit::value::{equal, size};
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use serde_dynamo::AttributeValue;
use serde_json::{Value, json};

use crate::aws::{AwsArguments, AwsError};
use crate::tables::{AT_A_TIME, Configuration, Keyed, Progress, Trail, TrailError, thousands};
use crate::terminal::{Output, Terminal, Tone};
use crate::trail::fold::{Fold, Gap, Lack, Origin, fold};
use crate::trail::{Item, Step, backfill_id};
use config_audit::clock::Clock;

/// How often what does not fit is read again.
const ROUNDS: u32 = 3;
/// How many items that do not fit wait to be read again.
const SUSPECTS: usize = 5_000;
/// And how large they are together.
const SUSPECT_BYTES: usize = 16 * 1024 * 1024;

/// The whole trail against the Configuration table.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The Configuration table
    #[arg(long, value_name = "NAME")]
    table: String,
    /// The Audit table
    #[arg(long, value_name = "NAME")]
    audit_table: String,
    /// How many seconds the entries of a change may take to be written and seen; what does not fit is read again meanwhile
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    settle: u32,
    /// For a trail that began with its table, or was backfilled: an item that looks older than the trail is a finding
    #[arg(long)]
    complete: bool,
    /// How to print the findings: for people, or a JSON object a line, the last one the summary
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    aws: AwsArguments,
}

/// Runs the command. 0 when the trail is intact, 1 when there are findings.
///
/// # Errors
/// When AWS refuses.
pub async fn run(arguments: VerifyArguments, terminal: Terminal) -> Result<u8, TrailError> {
    let aws = arguments.aws.load().await;
    let mut verification = Verification {
        configuration: Configuration::find(&aws, &arguments.table).await?,
        trail: Trail::new(&aws, &arguments.audit_table),
        pause: Duration::from_secs(arguments.settle.into()) / ROUNDS,
        is_complete: arguments.complete,
        output: arguments.output,
        terminal,
        progress: Progress::new(terminal),
        suspects: Vec::new(),
        suspect_bytes: 0,
        summary: Summary::default(),
    };
    verification.items().await?;
    verification.deleted_items().await?;
    let summary = verification.summary;
    match arguments.output {
        Output::Text => terminal.result(&summary.text(terminal)),
        Output::Json => terminal.result(&json!({ "summary": summary.json() }).to_string()),
    }
    Ok(u8::from(summary.findings > 0))
}

/// What was checked.
#[derive(Debug, Clone, Copy, Default)]
struct Summary {
    /// Items of the Configuration table.
    items: usize,
    /// Items that are only in the trail.
    deleted: usize,
    entries: usize,
    /// Items, deleted ones too, that are proven from their creation.
    created: usize,
    /// Items, deleted ones too, that are proven from their backfilled entry.
    backfilled: usize,
    /// Items, deleted ones too, that are proven from their first entry on, and nothing tells of their creation.
    older: usize,
    /// Items with findings.
    broken: usize,
    findings: usize,
}

impl Summary {
    fn text(self, terminal: Terminal) -> String {
        let counts = format!(
            "{} items, {} deleted items, {} entries: {} proven from their creation, {} from a backfilled entry, {} look \
             older than the trail, {} with findings",
            thousands(self.items),
            thousands(self.deleted),
            thousands(self.entries),
            thousands(self.created),
            thousands(self.backfilled),
            thousands(self.older),
            thousands(self.broken),
        );
        let result = match (self.findings, self.older) {
            (0, 0) => terminal.paint(Tone::Good, "The trail is intact."),
            (0, older) => {
                let result = format!(
                    "The trail is intact, but {} items look older than the trail: they predate it, or their creation is \
                     missing.",
                    thousands(older)
                );
                // What backfilling writes would hide that a creation was deleted.
                let advice = "Find out which, before `config-audit backfill` gives them a first entry. Where the trail began \
                              with its table, or was backfilled, use --complete: there each of them is a finding.";
                format!("{}\n{advice}", terminal.paint(Tone::Heading, &result))
            }
            (findings, _) => {
                terminal.paint(Tone::Bad, &format!("The trail is not intact: {} findings.", thousands(findings)))
            }
        };
        format!("{counts}\n{result}")
    }

    fn json(self) -> Value {
        json!({
            "items": self.items, "deletedItems": self.deleted, "entries": self.entries,
            "provenFromCreation": self.created, "provenFromBackfill": self.backfilled, "olderThanTheTrail": self.older,
            "itemsWithFindings": self.broken, "findings": self.findings,
        })
    }
}

/// What the entries of one item prove.
#[derive(Debug)]
struct Verdict {
    entries: usize,
    origin: Origin,
    findings: Vec<Finding>,
    /// The time of the first entry, where the item looks older than that.
    older: Option<String>,
}

impl Verdict {
    fn new(entries: usize, fold: Fold, end: Vec<Gap>) -> Self {
        let older = fold.steps.first().filter(|_| fold.origin == Origin::Unknown).map(|first| first.time.clone());
        let findings = fold.gaps.into_iter().chain(end).map(Finding::Gap).collect();
        Self { entries, origin: fold.origin, findings, older }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Finding {
    /// The item is there, and nothing tells of it.
    NoEntry,
    /// Nothing tells of its creation, and something of it from this time on.
    Older(String),
    Gap(Gap),
}

impl Finding {
    fn text(&self) -> String {
        match self {
            Self::NoEntry => {
                "it has no entry: it is older than the trail and was never backfilled, or its entries are missing"
                    .to_owned()
            }
            Self::Older(first) => format!(
                "it looks older than the trail, which tells of it from {first} on: it predates the trail, or its creation is \
                 missing"
            ),
            Self::Gap(gap @ Gap { entry: Some(entry), .. }) => format!("{gap} (entry {})", entry.escape_debug()),
            Self::Gap(gap) => gap.to_string(),
        }
    }

    fn json(&self, key: &str) -> Value {
        let before = if let Self::Older(first) = self { Some(first) } else { None };
        let (kind, attribute, gap) = match self {
            Self::NoEntry => ("noEntry", None, None),
            Self::Older(_) => ("older", None, None),
            Self::Gap(gap) => {
                let (kind, attribute) = match &gap.lack {
                    Lack::Attribute(name) => ("attribute", Some(name)),
                    Lack::Item => ("item", None),
                    Lack::Creation => ("creation", None),
                    Lack::Removal => ("removal", None),
                    Lack::Snapshot(name) => ("backfill", name.as_ref()),
                    Lack::Unreadable => ("unreadable", None),
                    Lack::Order => ("order", None),
                };
                (kind, attribute, Some(gap))
            }
        };
        json!({
            "itemKey": key, "finding": kind, "attribute": attribute, "after": gap.and_then(|gap| gap.after.as_ref()),
            "before": gap.and_then(|gap| gap.before.as_ref()).or(before), "entry": gap.and_then(|gap| gap.entry.as_ref()),
            "text": self.text(),
        })
    }
}

/// What these entries prove of the item that is there now.
fn judge(steps: Vec<Step>, item: Option<&Item>) -> Verdict {
    let entries = steps.len();
    if steps.is_empty() {
        let findings = item.map(|_| Finding::NoEntry).into_iter().collect();
        return Verdict { entries, origin: Origin::Creation, findings, older: None };
    }
    let fold = fold(steps, item);
    let end = fold.against(item);
    Verdict::new(entries, fold, end)
}

/// The same for an item that is being changed: its entries may tell of changes after it was read at this time.
fn judge_changing(steps: Vec<Step>, item: Option<&Item>, time: &str) -> Verdict {
    if steps.is_empty() {
        return judge(steps, item);
    }
    let entries = steps.len();
    let fold = fold(steps, None);
    let has_been = match item {
        Some(item) => fold.differences_around(time, item).is_some_and(|differences| differences.is_empty()),
        None => true,
    };
    let end = if has_been { Vec::new() } else { fold.against(item) };
    Verdict::new(entries, fold, end)
}

struct Verification {
    configuration: Configuration,
    trail: Trail,
    /// How long to wait before what does not fit is read again.
    pause: Duration,
    /// Whether there should be no item that looks older than the trail.
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
    /// Every item of the Configuration table.
    async fn items(&mut self) -> Result<(), TrailError> {
        let mut start = None;
        loop {
            let (items, next) = self.configuration.page(start).await?;
            self.summary.items += items.len();
            let trail = self.trail.clone();
            let judged = iter(items).map(|Keyed { key, item }| {
                let trail = &trail;
                async move {
                    let verdict = judge(trail.steps(&key).await?, Some(&item));
                    Ok::<_, AwsError>((key, size(&AttributeValue::M(item)), verdict))
                }
            });
            let mut judged = judged.buffer_unordered(AT_A_TIME);
            while let Some((key, bytes, verdict)) = judged.try_next().await? {
                self.take(key, bytes, verdict);
            }
            drop(judged);
            self.settle_if(self.suspects.len() >= SUSPECTS || self.suspect_bytes >= SUSPECT_BYTES).await?;
            start = next;
            if start.is_none() {
                return self.settle_if(true).await;
            }
        }
    }

    /// Every item that is only in the trail.
    async fn deleted_items(&mut self) -> Result<(), TrailError> {
        // An ID is a hash of 122 bits, and the same for the same key.
        let mut seen = HashSet::new();
        let mut start = None;
        loop {
            let (mut keys, next) = self.trail.keys(start).await?;
            keys.retain(|key| !seen.contains(&backfill_id(key)));
            keys.sort_unstable();
            keys.dedup();
            let deleted = self.configuration.missing(&keys).await?;
            seen.extend(deleted.iter().map(|key| backfill_id(key)));
            self.summary.deleted += deleted.len();
            let trail = self.trail.clone();
            let judged = iter(deleted).map(|key| {
                let trail = &trail;
                async move { Ok::<_, AwsError>((trail.steps(&key).await?, key)) }
            });
            let mut judged = judged.buffer_unordered(AT_A_TIME);
            while let Some((steps, key)) = judged.try_next().await? {
                self.take(key, 0, judge(steps, None));
            }
            drop(judged);
            self.settle_if(self.suspects.len() >= SUSPECTS).await?;
            start = next;
            if start.is_none() {
                return self.settle_if(true).await;
            }
        }
    }

    fn take(&mut self, key: String, bytes: usize, verdict: Verdict) {
        let verdict = self.demand_creation(verdict);
        if verdict.findings.is_empty() {
            self.count(&key, &verdict);
        } else {
            self.suspects.push(key);
            self.suspect_bytes += bytes;
        }
        let Summary { items, deleted, entries, .. } = self.summary;
        let waiting = self.suspects.len();
        self.progress.tell(|| {
            format!(
                "{} items, {} deleted items, {} entries; {waiting} to look at again",
                thousands(items),
                thousands(deleted),
                thousands(entries)
            )
        });
    }

    /// In a trail that is complete, an item that looks older than it has lost its creation.
    fn demand_creation(&self, mut verdict: Verdict) -> Verdict {
        let older = verdict.older.take_if(|_| self.is_complete);
        verdict.findings.extend(older.map(Finding::Older));
        verdict
    }

    /// Counts an item, and tells of it what there is to tell.
    fn count(&mut self, key: &str, verdict: &Verdict) {
        for finding in &verdict.findings {
            self.tell(key, finding, Tone::Bad);
        }
        if let Some(first) = verdict.older.as_ref().filter(|_| verdict.findings.is_empty()) {
            self.tell(key, &Finding::Older(first.clone()), Tone::Heading);
        }
        let summary = &mut self.summary;
        summary.entries += verdict.entries;
        summary.findings += verdict.findings.len();
        match verdict.origin {
            _ if !verdict.findings.is_empty() => summary.broken += 1,
            Origin::Creation => summary.created += 1,
            Origin::Backfill => summary.backfilled += 1,
            Origin::Unknown => summary.older += 1,
        }
    }

    /// Reads again what did not fit, and tells of what never does: a change may have been under way.
    async fn settle_if(&mut self, is_time: bool) -> Result<(), TrailError> {
        if !is_time {
            return Ok(());
        }
        let mut suspects: Vec<(String, Option<Verdict>)> =
            std::mem::take(&mut self.suspects).into_iter().map(|key| (key, None)).collect();
        self.suspect_bytes = 0;
        for _ in 0..ROUNDS {
            if suspects.is_empty() {
                return Ok(());
            }
            let (configuration, trail) = (&self.configuration, &self.trail);
            let time = timestamp(Clock::System.now());
            let items = iter(suspects)
                .map(|(key, _)| async move { Ok::<_, AwsError>((configuration.item(&key).await?, key)) })
                .buffer_unordered(AT_A_TIME);
            let items: Vec<(Option<Item>, String)> = items.try_collect().await?;
            tokio::time::sleep(self.pause).await;
            let time = &time;
            let judged = iter(items)
                .map(|(item, key)| async move {
                    let steps = trail.steps(&key).await?;
                    let verdict = if is_same(item.as_ref(), configuration.item(&key).await?.as_ref()) {
                        judge(steps, item.as_ref())
                    } else {
                        judge_changing(steps, item.as_ref(), time)
                    };
                    Ok::<_, AwsError>((key, verdict))
                })
                .buffer_unordered(AT_A_TIME);
            let judged: Vec<(String, Verdict)> = judged.try_collect().await?;
            suspects = Vec::new();
            for (key, verdict) in judged {
                let verdict = self.demand_creation(verdict);
                if verdict.findings.is_empty() {
                    self.count(&key, &verdict);
                } else {
                    suspects.push((key, Some(verdict)));
                }
            }
        }
        suspects.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (key, verdict) in suspects {
            if let Some(verdict) = verdict {
                self.count(&key, &verdict);
            }
        }
        Ok(())
    }

    fn tell(&self, key: &str, finding: &Finding, tone: Tone) {
        self.terminal.result(&match self.output {
            Output::Text => {
                format!("{}: {}", self.terminal.paint(tone, &key.escape_debug().to_string()), finding.text())
            }
            Output::Json => finding.json(key).to_string(),
        });
    }
}

fn is_same(one: Option<&Item>, other: Option<&Item>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => equal(&AttributeValue::M(one.clone()), &AttributeValue::M(other.clone())),
        (None, None) => true,
        _ => false,
    }
}
