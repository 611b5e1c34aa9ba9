//! `config-audit verify`: is the trail complete, and is it as it was written?
//!
//! First every item of the Configuration table is read, its entries are folded, and the trail's end is compared with it.
//! Then the keys of all entries are read, and those that name no item any more are folded too: their trail must end with
//! a removal. In memory are one page of each table, the entries of [`AT_A_TIME`] items, 16 bytes for each deleted
//! key, and of items that do not fit at first up to [`SUSPECT_BYTES`].

use std::collections::HashSet;
use std::time::Duration;

use clap::{Args, ValueEnum};
use config_audit::audit::time_text;
use config_audit::value::{equal, size};
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use serde_dynamo::AttributeValue;
use serde_json::{Value, json};

use crate::aws::{AwsArguments, AwsError};
use crate::clock;
use crate::terminal::{Terminal, Tone};
use crate::trail::fold::{Gap, Lack, fold};
use crate::trail::tables::{AT_A_TIME, Configuration, Keyed, Progress, Trail, TrailError, thousands};
use crate::trail::{Item, Step, backfill_id};

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
    /// How to print the findings: for people, or a JSON object a line, the last one the summary
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    aws: AwsArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
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
    /// Items, deleted ones too, that are proven from their creation, or from their backfilled entry.
    complete: usize,
    /// Items, deleted ones too, that are proven from their first entry on, and are older than that.
    older: usize,
    /// Items with findings.
    broken: usize,
    findings: usize,
}

impl Summary {
    fn text(self, terminal: Terminal) -> String {
        let mut text = format!(
            "{} items, {} deleted items, {} entries: {} complete, {} older than the trail, {} with findings\n",
            thousands(self.items),
            thousands(self.deleted),
            thousands(self.entries),
            thousands(self.complete),
            thousands(self.older),
            thousands(self.broken),
        );
        if self.older > 0 {
            text.push_str(
                "What is older than the trail is proven from its first entry on; `config-audit backfill` gives what is left \
                 of it an entry of its own\n",
            );
        }
        text.push_str(&if self.findings == 0 {
            terminal.paint(Tone::Good, "The trail is intact.")
        } else {
            terminal.paint(Tone::Bad, &format!("The trail is not intact: {} findings.", thousands(self.findings)))
        });
        text
    }

    fn json(self) -> Value {
        json!({
            "items": self.items, "deletedItems": self.deleted, "entries": self.entries, "complete": self.complete,
            "olderThanTheTrail": self.older, "itemsWithFindings": self.broken, "findings": self.findings,
        })
    }
}

/// What the entries of one item prove.
#[derive(Debug)]
struct Verdict {
    entries: usize,
    is_older: bool,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq)]
enum Finding {
    /// The item is there, and nothing tells of it.
    NoEntry,
    Gap(Gap),
}

impl Finding {
    fn text(&self) -> String {
        match self {
            Self::NoEntry => {
                "it has no entry: it is older than the trail and was never backfilled, or its entries are missing"
                    .to_owned()
            }
            Self::Gap(gap @ Gap { entry: Some(entry), .. }) => format!("{gap} (entry {entry})"),
            Self::Gap(gap) => gap.to_string(),
        }
    }

    fn json(&self, key: &str) -> Value {
        let (kind, attribute, gap) = match self {
            Self::NoEntry => ("noEntry", None, None),
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
            "before": gap.and_then(|gap| gap.before.as_ref()), "entry": gap.and_then(|gap| gap.entry.as_ref()),
            "text": self.text(),
        })
    }
}

/// What these entries prove of the item that is there now.
fn judge(steps: Vec<Step>, item: Option<&Item>) -> Verdict {
    let entries = steps.len();
    if steps.is_empty() {
        let findings = item.map(|_| Finding::NoEntry).into_iter().collect();
        return Verdict { entries, is_older: false, findings };
    }
    let fold = fold(steps, item);
    let end = fold.against(item);
    let findings = fold.gaps.into_iter().chain(end).map(Finding::Gap).collect();
    Verdict { entries, is_older: fold.is_older, findings }
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
    let findings = fold.gaps.into_iter().chain(end).map(Finding::Gap).collect();
    Verdict { entries, is_older: fold.is_older, findings }
}

struct Verification {
    configuration: Configuration,
    trail: Trail,
    /// How long to wait before what does not fit is read again.
    pause: Duration,
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
                self.take(key, bytes, &verdict);
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
                self.take(key, 0, &judge(steps, None));
            }
            drop(judged);
            self.settle_if(self.suspects.len() >= SUSPECTS).await?;
            start = next;
            if start.is_none() {
                return self.settle_if(true).await;
            }
        }
    }

    fn take(&mut self, key: String, bytes: usize, verdict: &Verdict) {
        if verdict.findings.is_empty() {
            self.count(verdict);
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

    fn count(&mut self, verdict: &Verdict) {
        let summary = &mut self.summary;
        summary.entries += verdict.entries;
        summary.findings += verdict.findings.len();
        match (verdict.findings.is_empty(), verdict.is_older) {
            (false, _) => summary.broken += 1,
            (true, true) => summary.older += 1,
            (true, false) => summary.complete += 1,
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
            let time = time_text(clock::now());
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
                if verdict.findings.is_empty() {
                    self.count(&verdict);
                } else {
                    suspects.push((key, Some(verdict)));
                }
            }
        }
        suspects.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (key, verdict) in suspects {
            if let Some(verdict) = verdict {
                self.count(&verdict);
                self.tell(&key, &verdict);
            }
        }
        Ok(())
    }

    fn tell(&self, key: &str, verdict: &Verdict) {
        for finding in &verdict.findings {
            self.terminal.result(&match self.output {
                Output::Text => format!("{}: {}", self.terminal.paint(Tone::Bad, key), finding.text()),
                Output::Json => finding.json(key).to_string(),
            });
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
