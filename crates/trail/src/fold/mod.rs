//! One item's entries, folded: their order, the item at any time, and what is missing or altered.
//!
//! # How it is found
//!
//! An entry must begin with the value that the one before it left. The stream's times are exact to the second, so within one
//! second this is the only order that entries have; where they carry the stream's sequence numbers, those decide. In the end
//! the item must be what the Configuration table has ([`Fold::against`]).
//!
//! An item that was created before the trail began is unknown at first: an entry tells the value that its attribute had
//! before, a removal or a backfilled entry tells all of them. An item or a value that was too large for an entry is known by
//! its hash, and compared by it.
//!
//! The orders of one second can be more than anybody can try. So all searches of one fold share a budget, counted in steps.
//! Where it is spent before everything fits, the fold says so with one gap, [`GapKind::Undecided`]; then nothing that it could
//! say about the order, or about what is missing, would be certain.
//!
//! # What is found, and what nobody could find
//!
//! If an item's first entry is its creation, every single loss is found, and every alteration of what a single entry says was
//! changed: each entry moves one attribute from one value to another, and the sum of these moves is fixed by where the item
//! began and what it is now. Nothing in the trail itself tells of these:
//!
//! - The loss of an item's first entry, its creation: the item then looks older than the trail ([`Origin::Unknown`]). The loss
//!   of a later creation can look so too, if the item was created and removed within its first second. Where the trail began
//!   with its table, or all older items have been backfilled, no item should look so (`config-audit verify --complete`).
//! - The loss of several entries that lead back to where they began: of `1 -> 2` and `2 -> 1`; of a removal and the creation
//!   of the same item again; of all entries of an item that no longer exists.
//! - For an item that is older than the trail, an altered old value in the first entry of an attribute.
//! - An entry whose time was altered without changing the order, or whose ID or provenance was altered.
//! - A change of an item that is known only by its hash when it is created, removed or backfilled, if the known values do not
//!   make up the whole item; or, if it was backfilled so, a change within the same minutes.
//! - What a note of an omitted value says besides its hash.

mod against;
mod evidence;
mod folded;
mod run;
mod snapshots;

#[cfg(test)]
mod tests;

use self::evidence::Evidence;
use self::run::{Choice, Run};
use super::budget::Budget;
use super::gap::{Gap, GapKind};
use super::step::{Change, Step};
use super::value::{Item, attributes};

pub use self::evidence::SNAPSHOT_WINDOW;
pub use self::folded::{Fold, Origin};

/// The steps that the searches of one fold may take. Straight through a second with n entries takes about n * n of them, so
/// this is enough for some 2,000 entries within one second; DynamoDB lets an item change 1,000 times.
const MAX_STEPS: usize = 4_000_000;

/// How often an item that is not known is folded again with other choices.
const MAX_RUNS: usize = 256;

/// Folds the entries of one item, which may come in any order.
///
/// `item` is what the item is now, where that is known. It only decides what entries leave open: if an attribute was unknown
/// and went back and forth within one second, where it ended.
#[must_use]
pub fn fold(steps: Vec<Step>, item: Option<&Item>) -> Fold {
    fold_within(&Budget::new(MAX_STEPS), steps, item)
}

fn fold_within(budget: &Budget, mut steps: Vec<Step>, item: Option<&Item>) -> Fold {
    steps.sort_by(|one, other| (&one.time, &one.sequence, &one.id).cmp(&(&other.time, &other.sequence, &other.id)));
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
    }
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

/// The run that fits; where none does, the one with the fewest breaks.
fn best_run(evidence: Evidence<'_>) -> Run<'_> {
    let mut best: Option<Run<'_>> = None;
    let beginnings = beginnings(evidence.changes);
    for (tried, existed) in beginnings.iter().enumerate() {
        // The first beginning may turn out to be the wrong one, and must not use up what the second needs.
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

/// The choices of the next run: the last one that has another possibility is changed to that. Nothing when none has.
fn next_choices(made: &[Choice]) -> Vec<usize> {
    let Some(last) = made.iter().rposition(|(choice, of)| choice + 1 < *of) else { return Vec::new() };
    let mut choices: Vec<usize> = made[..=last].iter().map(|(choice, _)| *choice).collect();
    choices[last] += 1;
    choices
}

/// Whether the item existed before these changes; both, where they do not tell.
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
