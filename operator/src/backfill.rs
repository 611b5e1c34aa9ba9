//! `config-audit backfill`: a first entry for items that are older than the trail.
//!
//! The entry says what the item was when it was read, and it has the form of a creation. By its ID it is known as what it
//! is ([`backfill_id`]), and by its ID it is written once, however often the command runs.

use chrono::SubsecRound;
use clap::Args;
use config_audit::audit::{Entry, MAX_ITEM_BYTES, MAX_NESTING};
use config_audit::value::{depth, size};
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use serde_dynamo::AttributeValue;

use crate::aws::{AwsArguments, AwsError};
use crate::clock;
use crate::terminal::Terminal;
use crate::trail::backfill_id;
use crate::trail::fold::{Origin, SNAPSHOT_WINDOW, fold};
use crate::trail::tables::{AT_A_TIME, Configuration, Keyed, Progress, Trail, TrailError, sdk_item, thousands};

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
    /// An entry of it would be over DynamoDB's limits.
    TooLarge,
}

/// Runs the command. 0, or 1 where an item is too large for an entry.
///
/// # Errors
/// When AWS refuses.
pub async fn run(arguments: BackfillArguments, terminal: Terminal) -> Result<u8, TrailError> {
    let aws = arguments.aws.load().await;
    let configuration = Configuration::find(&aws, &arguments.table).await?;
    let trail = Trail::new(&aws, &arguments.audit_table);
    let backfill = Backfill { trail, dry_run: arguments.dry_run };
    let mut progress = Progress::new(terminal);
    let (mut items, mut backfilled, mut too_large) = (0, 0, 0);
    let mut start = None;
    loop {
        // The time before the page is read: what changes while it is read has an entry of its own, which comes after.
        let time = clock::now();
        let (page, next) = configuration.page(start.clone()).await?;
        if clock::now() - time > SNAPSHOT_WINDOW {
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
                    let what = if arguments.dry_run { "would be backfilled" } else { "backfilled" };
                    terminal.result(&format!("{key}: {what}"));
                }
                Outcome::TooLarge => {
                    too_large += 1;
                    terminal.result(&format!("{key}: left out, an entry of it would be over DynamoDB's limits"));
                }
            }
            progress.tell(|| format!("{} items, {} backfilled", thousands(items), thousands(backfilled)));
        }
        start = next;
        if start.is_none() {
            break;
        }
    }
    let what = if arguments.dry_run { "would be backfilled" } else { "backfilled" };
    let (items, backfilled, left_out) = (thousands(items), thousands(backfilled), thousands(too_large));
    terminal.result(&format!("{items} items: {backfilled} {what}, {left_out} left out"));
    Ok(u8::from(too_large > 0))
}

struct Backfill {
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
        let image = AttributeValue::M(item);
        let is_too_deep = depth(&image) > MAX_NESTING;
        let entry = Entry {
            id: backfill_id(&key),
            item_key: key,
            modification_time: time.trunc_subsecs(0),
            updated_attribute: None,
            old_value: None,
            new_value: Some(image),
            provenance: None,
        };
        let entry = entry.item().into_inner();
        let bytes: usize = entry.iter().map(|(name, value)| name.len() + size(value)).sum();
        if is_too_deep || bytes > MAX_ITEM_BYTES {
            return Ok(Outcome::TooLarge);
        }
        // Somebody else may have been first, or the index late.
        if self.dry_run || self.trail.put_new(sdk_item(entry)).await? {
            Ok(Outcome::Backfilled)
        } else {
            Ok(Outcome::Known)
        }
    }
}
