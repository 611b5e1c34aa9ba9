//! `config-audit backfill`: a first entry for items that are older than the trail.
//!
//! The entry records the item as it was read, in the form of a creation. Its ID
//! ([`backfill_id`](config_audit_trail::backfill_id)) shows that it is not one, and ensures that the command writes it
//! only once, however often it runs.

use std::fmt::Write;

use chrono::{DateTime, SubsecRound, Utc};
use clap::Args;
use config_audit::audit::Plan;
use config_audit::clock::Clock;
use config_audit::stream::MAX_KEY_BYTES;
use config_audit_cloudwatch::units::{count, thousands};
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use serde_json::value::to_raw_value;

use crate::aws::AwsArguments;
use crate::progress::Progress;
use crate::tables::{CommandError, TableArguments};
use crate::terminal::Terminal;
use config_audit_tables::{AuditTable, AwsError, CONCURRENCY, KeyedItem, sdk_item};
use config_audit_trail::{Origin, SNAPSHOT_WINDOW, Step, backfill_plan, fold, omit_item};

/// First entries for items that are older than the trail.
#[derive(Debug, Args)]
pub struct BackfillArguments {
    #[command(flatten)]
    tables: TableArguments,
    /// Print what the command would write, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    aws: AwsArguments,
}

/// The outcome for one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Its entries already record all of it.
    Complete,
    /// It got an entry.
    Backfilled,
    /// It got an entry with only its hash, because DynamoDB does not accept one with the whole item.
    BackfilledByHash,
    /// It cannot have an entry, for this reason.
    Refused(&'static str),
}

/// How many items the command has seen.
#[derive(Debug, Default)]
struct Counts {
    items: usize,
    backfilled: usize,
    refused: usize,
}

/// Runs the command. Returns 0 if every item has an entry, 1 if some cannot have one.
///
/// # Errors
/// If AWS returns an error, or standard output cannot be written.
pub async fn run(arguments: BackfillArguments, terminal: Terminal) -> Result<u8, CommandError> {
    let aws = arguments.aws.load(terminal).await?;
    let configuration = aws.configuration_table(&arguments.tables.configuration_table).await?;
    let whose = format!("table {} {}", arguments.tables.audit_table, aws.whose().await);
    terminal.note(if arguments.dry_run {
        format!("A run would write to {whose}.")
    } else {
        format!("Writing to {whose}.")
    });
    let audit = aws.audit_table(&arguments.tables.audit_table);
    let backfill = Backfill { table: arguments.tables.configuration_table, audit, dry_run: arguments.dry_run };
    let what = if arguments.dry_run { "would be backfilled" } else { "backfilled" };
    let mut progress = Progress::new(terminal);
    let mut counts = Counts::default();
    let mut start = None;
    loop {
        // The time before the page is read: a change in the meantime has its own entry, which comes later.
        let time = Clock::System.now();
        let (page, next) = configuration.page(start.clone()).await?;
        if Clock::System.now() - time > SNAPSHOT_WINDOW {
            // Reading took too long to know when the items were in this state, so read the page again.
            continue;
        }
        let outcomes = iter(page).map(|keyed| {
            let backfill = &backfill;
            async move {
                let key = keyed.key.clone();
                Ok::<_, AwsError>((key, backfill.item(keyed, time).await?))
            }
        });
        let mut outcomes = outcomes.buffer_unordered(CONCURRENCY);
        while let Some((key, outcome)) = outcomes.try_next().await? {
            counts.add(outcome);
            match outcome {
                Outcome::Complete => {}
                Outcome::Backfilled => terminal.line(format!("{key}: {what}"))?,
                Outcome::BackfilledByHash => {
                    let why = "it is too large or nested too deeply for an entry";
                    terminal.line(format!("{key}: {what}, by its hash: {why}"))?;
                }
                Outcome::Refused(reason) => terminal.line(format!("{key}: cannot be backfilled: {reason}"))?,
            }
            progress.show(|| counts.text("backfilled"));
        }
        start = next;
        if start.is_none() {
            break;
        }
    }
    terminal.line(counts.text(what))?;
    Ok(u8::from(counts.refused > 0))
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        self.items += 1;
        match outcome {
            Outcome::Complete => {}
            Outcome::Backfilled | Outcome::BackfilledByHash => self.backfilled += 1,
            Outcome::Refused(_) => self.refused += 1,
        }
    }

    fn text(&self, what: &str) -> String {
        let mut text = format!("{}: {} {what}", count(self.items, "item", "items"), thousands(self.backfilled));
        if self.refused > 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, ", {} cannot be", thousands(self.refused));
        }
        text
    }
}

struct Backfill {
    /// The Configuration table's name.
    table: String,
    audit: AuditTable,
    dry_run: bool,
}

impl Backfill {
    /// Writes an item's entry. If DynamoDB rejects this item, that is an outcome, so that the others still get theirs.
    async fn item(&self, keyed: KeyedItem, time: DateTime<Utc>) -> Result<Outcome, AwsError> {
        let KeyedItem { key, item } = keyed;
        if key.len() > MAX_KEY_BYTES {
            return Ok(Outcome::Refused(
                "its key is longer than 2,048 bytes as text, too long for the Audit table's index",
            ));
        }
        let steps = self.audit.steps(&key).await?;
        let is_backfilled = steps.iter().any(Step::is_backfilled);
        // Entries about only some attributes leave the others unknown.
        let is_complete = !steps.is_empty() && {
            let fold = fold(steps, Some(&item));
            !(fold.origin == Origin::Unknown && fold.is_open())
        };
        if is_backfilled || is_complete {
            return Ok(Outcome::Complete);
        }
        let json = to_raw_value(&item);
        let Some(item) = json.as_ref().ok().and_then(|json| serde_json::from_str(json.get()).ok()) else {
            return Ok(Outcome::Refused("it is not an item that the stream could deliver"));
        };
        let mut plan = backfill_plan(&self.table, &key, item, time.trunc_subsecs(0));
        let mut has_tried_a_note = plan.values_omitted > 0;
        loop {
            let by_hash = plan.values_omitted > 0;
            match self.write(&plan).await {
                Ok(true) if by_hash => return Ok(Outcome::BackfilledByHash),
                Ok(true) => return Ok(Outcome::Backfilled),
                // Another run may have been first, or the index may be late.
                Ok(false) => return Ok(Outcome::Complete),
                // DynamoDB's documented limits are approximate.
                Err(error) if error.is_invalid() && !has_tried_a_note => {
                    omit_item(&mut plan, &self.table);
                    has_tried_a_note = true;
                }
                Err(error) if error.is_invalid() => {
                    return Ok(Outcome::Refused("DynamoDB rejects its entry, even with a note in place of the item"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the entry. Returns false if the table already has it.
    async fn write(&self, plan: &Plan<'_>) -> Result<bool, AwsError> {
        for entry in &plan.entries {
            if !self.dry_run && !self.audit.put_new(sdk_item(entry.item().into_inner())).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
