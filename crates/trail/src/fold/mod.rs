//! One item's entries, folded: their order, the item at any time, and what is missing or altered.
//!
//! # Method
//!
//! An entry must begin with the value that the previous one ended with. The stream's times are exact to the second, so
//! within one second this is the only order that entries have, unless they carry the stream's sequence numbers. At the
//! end, the item must match the Configuration table ([`Fold::against`]).
//!
//! An item that was created before the trail began is unknown at first: an entry records the previous value of its
//! attribute, a removal or a backfilled entry records all of them. An item or a value that was too large for an entry
//! is known, and compared, by its hash.
//!
//! One second can have too many orders to try them all. So all searches of one fold share a budget, counted in steps.
//! If it runs out before everything fits, the fold reports one gap, [`GapKind::Undecided`], because nothing that it
//! could report about the order, or about missing entries, would be certain.
//!
//! # What can and cannot be found
//!
//! If an item's first entry is its creation, every single loss is found, and every alteration of the change in a single
//! entry: each entry moves one attribute from one value to another, and the item's beginning and its current state fix
//! the sum of these moves. Entries that the function never writes are found too ([`GapKind::Unreadable`]), needless
//! notes ([`GapKind::Note`]), and different times in one record ([`GapKind::RecordTimes`]).
//!
//! Nothing in the trail itself reveals these (docs/semantics.md has the same list for auditors):
//!
//! - Circles, removed or added: `3 -> 7` and `7 -> 3`; a removal and the creation of the same item.
//! - All entries of an item that no longer exists, removed; all entries of an item that never existed, added.
//! - Neighbours altered consistently: `1 -> 99` and `99 -> 3` instead of `1 -> 2` and `2 -> 3`.
//! - The loss of an item's first entry, its creation: the item then looks older than the trail ([`Origin::Unknown`]). The loss
//!   of a later creation can look the same, if the item was created and removed within its first second. If the trail began
//!   with its table, or all older items have been backfilled, no item should look like that (`config-audit verify
//!   --complete`).
//! - For an item that is older than the trail, an altered old value in the first entry of an attribute.
//! - An entry whose time was altered without changing the order of its attribute's changes and of the changes of the whole
//!   item, or whose ID or provenance was altered. A sequence number does not help: a new stream may begin with lower ones.
//! - A change to an item that is known only by its hash when it is created, removed or backfilled, if the known values do not
//!   make up the whole item; or, if it was backfilled like that, a change within the same minutes.
//! - An alteration of a note of an omitted value, except for its hash; a value that notes replace wherever it occurs; a note
//!   that says that DynamoDB rejects the entry, which may be true of any value.

mod against;
mod evidence;
mod folded;
mod notes;
mod run;
mod snapshots;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use self::evidence::Evidence;
use self::run::{Choice, Run};
use super::budget::Budget;
use super::gap::{Gap, GapKind};
use super::step::{Change, Step};
use super::value::{Item, attributes};

pub use self::evidence::SNAPSHOT_WINDOW;
pub use self::folded::{Fold, Origin};

/// The steps that the searches of one fold may take. A second with n entries takes about n * n steps without
/// backtracking, so this is enough for some 2,000 entries within one second; DynamoDB allows 1,000 changes of an item.
const MAX_STEPS: usize = 4_000_000;

/// How many times an unknown item is folded again with other choices.
const MAX_RUNS: usize = 256;

/// Folds the entries of one item, which may come in any order.
///
/// `item` is the current item, if known. It only decides what entries leave open: the final value of an unknown
/// attribute that went back and forth within one second.
#[must_use]
pub fn fold(steps: Vec<Step>, item: Option<&Item>) -> Fold {
    fold_within(&Budget::new(MAX_STEPS), steps, item)
}

fn fold_within(budget: &Budget, mut steps: Vec<Step>, item: Option<&Item>) -> Fold {
    steps.sort_by(|one, other| (&one.time, &one.sequence, &one.id).cmp(&(&other.time, &other.sequence, &other.id)));
    let different_times = different_times(&steps);
    let (changes, others): (Vec<Step>, Vec<Step>) =
        steps.into_iter().partition(|step| !matches!(step.change, Change::Snapshot(_) | Change::Unreadable));
    let (snapshots, unreadable): (Vec<Step>, Vec<Step>) = others.into_iter().partition(Step::is_backfilled);
    let item = item.cloned().map(attributes);
    let evidence = Evidence { changes: &changes, snapshots: &snapshots, item: item.as_ref(), budget };
    let mut run = best_run(evidence);
    let is_undecided = budget.was_cut_short() && !run.fits();
    let cut_short_at = run.cut_short_at.take();
    let mut fold = Fold::of(run, &changes);
    let is_backfilled = !snapshots.is_empty();
    for snapshot in snapshots {
        fold.place(snapshot);
    }
    if is_undecided {
        fold.gaps = vec![Gap { kind: GapKind::Undecided, after: None, before: cut_short_at, entry: None }];
    } else {
        fold.gaps.extend(fold.needless_notes(None));
    }
    fold.gaps.extend(different_times);
    for step in unreadable {
        let gap = Gap {
            kind: GapKind::Unreadable,
            after: None,
            before: Some(step.time.clone()),
            entry: Some(step.id.clone()),
        };
        fold.gaps.push(gap);
    }
    if is_backfilled && fold.origin == Origin::Unknown {
        fold.origin = Origin::Backfill;
    }
    fold
}

/// Where entries of the same stream record have different times. The function writes all of them with one time.
fn different_times(steps: &[Step]) -> Vec<Gap> {
    let mut first_of: HashMap<&str, &Step> = HashMap::new();
    let mut gaps = Vec::new();
    for step in steps {
        let Some(event) = step.event.as_deref() else { continue };
        let first = first_of.entry(event).or_insert(step);
        if first.time != step.time {
            let (after, before) = (Some(first.time.clone()), Some(step.time.clone()));
            gaps.push(Gap { kind: GapKind::RecordTimes, after, before, entry: Some(step.id.clone()) });
        }
    }
    gaps
}

/// The run that fits; if none does, the one with the fewest breaks.
fn best_run(evidence: Evidence<'_>) -> Run<'_> {
    let mut best: Option<Run<'_>> = None;
    let beginnings = beginnings(evidence.changes);
    for (tried, existed) in beginnings.iter().enumerate() {
        // The first beginning may turn out to be wrong, and must not use up the budget of the second.
        let is_last = tried + 1 == beginnings.len();
        evidence.budget.set_reserve(if is_last { 0 } else { evidence.budget.left() / 2 });
        let mut choices = Vec::new();
        for _ in 0..MAX_RUNS {
            let run = Run::of(evidence, *existed, choices);
            if run.fits() {
                return run;
            }
            choices = next_choices(&run.choices);
            if best.as_ref().is_none_or(|best| run.breaks() < best.breaks()) {
                best = Some(run);
            }
            if choices.is_empty() {
                break;
            }
            if !evidence.budget.spend(evidence.changes.len()) {
                evidence.budget.note_cut_short();
                break;
            }
        }
    }
    best.unwrap_or_else(|| Run::of(evidence, true, Vec::new()))
}

/// The choices of the next run, in which the last choice with another possibility takes it; `None` if none has one.
fn next_choices(made: &[Choice]) -> Vec<usize> {
    let Some(last) = made.iter().rposition(|(choice, of)| choice + 1 < *of) else { return Vec::new() };
    let mut choices: Vec<usize> = made[..=last].iter().map(|(choice, _)| *choice).collect();
    choices[last] += 1;
    choices
}

/// Whether the item existed before these changes; both values if they do not show it.
fn beginnings(changes: &[Step]) -> &'static [bool] {
    let Some(first) = changes.first() else { return &[true] };
    let instant = changes.iter().take_while(|step| step.time == first.time && step.sequence == first.sequence);
    let (mut insertions, mut removals) = (0, 0);
    for step in instant {
        insertions += usize::from(matches!(step.change, Change::Insert(_)));
        removals += usize::from(matches!(step.change, Change::Remove(_)));
    }
    match insertions.cmp(&removals) {
        std::cmp::Ordering::Greater => &[false],
        std::cmp::Ordering::Less => &[true],
        std::cmp::Ordering::Equal if insertions == 0 => &[true],
        std::cmp::Ordering::Equal => &[false, true],
    }
}
