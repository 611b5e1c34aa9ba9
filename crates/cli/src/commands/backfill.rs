//! `config-audit backfill`: a first entry for items that are older than the trail.
//!
//! The entry says what the item was when it was read, and it has the form of a creation. By its ID it is known as what it
//! is ([`backfill_id`](crate::trail::backfill_id)), and by its ID it is written once, however often the command runs.

use chrono::SubsecRound;
use clap::Args;
use futures_util::stream::{StreamExt, TryStreamExt, iter};

use crate::aws::{AwsArguments, AwsError};
use crate::tables::{AT_A_TIME, Configuration, Keyed, Progress, Trail, TrailError, sdk_item, thousands};
use crate::terminal::Terminal;
use crate::trail::backfill_plan;
use crate::trail::fold::{Origin, SNAPSHOT_WINDOW, fold};
use config_audit::clock::Clock;

/// First entries for items that predate the trail.
#[derive(Debug, Args)]
pub struct BackfillArguments {
    /// The Configuration table
    #[arg(long, value_name = "NAME")]
    table: String,
    /// The Audit table
    #[arg(long, value_name = "NAME")]
    audit_table: String,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    aws: AwsArguments,
}

/// What became of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It has all its entries.
    Known,
    /// It was given one.
    Backfilled,
    /// It was given one that has its hash alone: with all of it the entry would be over DynamoDB's limits.
    BackfilledByHash,
}

/// Runs the command. 0.
///
/// # Errors
/// When AWS refuses.
pub async fn run(arguments: BackfillArguments, terminal: Terminal) -> Result<u8, TrailError> {
    let aws = arguments.aws.load().await;
    let configuration = Configuration::find(&aws, &arguments.table).await?;
    let trail = Trail::new(&aws, &arguments.audit_table);
    let backfill = Backfill { table: arguments.table, trail, dry_run: arguments.dry_run };
    let what = if arguments.dry_run { "would be backfilled" } else { "backfilled" };
    let mut progress = Progress::new(terminal);
    let (mut items, mut backfilled) = (0, 0);
    let mut start = None;
    loop {
        // The time before the page is read: what changes while it is read has an entry of its own, which comes after.
        let time = Clock::System.now();
        let (page, next) = configuration.page(start.clone()).await?;
        if Clock::System.now() - time > SNAPSHOT_WINDOW {
            // Too long ago to say when it was; so it is read again.
            continue;
        }
        let outcomes = iter(page).map(|keyed| {
            let backfill = &backfill;
            async move {
                let key = keyed.key.clone();
                Ok::<_, AwsError>((key, backfill.item(keyed, time).await?))
            }
        });
        let mut outcomes = outcomes.buffer_unordered(AT_A_TIME);
        while let Some((key, outcome)) = outcomes.try_next().await? {
            items += 1;
            match outcome {
                Outcome::Known => {}
                Outcome::Backfilled => {
                    backfilled += 1;
                    terminal.result(&format!("{}: {what}", key.escape_debug()));
                }
                Outcome::BackfilledByHash => {
                    backfilled += 1;
                    let key = key.escape_debug();
                    terminal.result(&format!("{key}: {what}, by its hash: it is too large for an entry"));
                }
            }
            progress.tell(|| format!("{} items, {} backfilled", thousands(items), thousands(backfilled)));
        }
        start = next;
        if start.is_none() {
            break;
        }
    }
    terminal.result(&format!("{} items: {} {what}", thousands(items), thousands(backfilled)));
    Ok(0)
}

struct Backfill {
    /// The Configuration table.
    table: String,
    trail: Trail,
    dry_run: bool,
}

impl Backfill {
    async fn item(&self, keyed: Keyed, time: chrono::DateTime<chrono::Utc>) -> Result<Outcome, AwsError> {
        let Keyed { key, item } = keyed;
        let steps = self.trail.steps(&key).await?;
        let is_backfilled = steps.iter().any(crate::trail::Step::is_backfilled);
        // Entries that tell only of some attributes leave the others unknown.
        let is_known = !steps.is_empty() && {
            let fold = fold(steps, Some(&item));
            !(fold.origin == Origin::Unknown && fold.is_open())
        };
        if is_backfilled || is_known {
            return Ok(Outcome::Known);
        }
        let plan = backfill_plan(&self.table, &key, item, time.trunc_subsecs(0));
        let written = if plan.values_omitted == 0 { Outcome::Backfilled } else { Outcome::BackfilledByHash };
        // Somebody else may have been first, or the index late.
        for entry in plan.entries {
            if !self.dry_run && !self.trail.put_new(sdk_item(entry.item().into_inner())).await? {
                return Ok(Outcome::Known);
            }
        }
        Ok(written)
    }
}
