//! What later entries reveal about an attribute's earlier value.
//!
//! It decides with which value an unknown attribute ended when its changes within one second form a cycle.

use chrono::{DateTime, TimeDelta};
use config_audit::clock::timestamp;

use crate::budget::Budget;
use crate::step::{Change, Step, WholeItem};
use crate::value::{Attribute, Attributes, same};

/// How far the time of a backfilled entry may be from when the item was read: the time to read one page, plus the
/// difference between two clocks.
pub const SNAPSHOT_WINDOW: TimeDelta = TimeDelta::minutes(5);

/// Everything known about one item besides the changes that are being ordered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'a> {
    /// Its changes, by time.
    pub(super) changes: &'a [Step],
    /// Its backfilled entries.
    pub(super) snapshots: &'a [Step],
    /// The item in the Configuration table.
    pub(super) item: Option<&'a Attributes>,
    pub(super) budget: &'a Budget,
}

impl<'a> Evidence<'a> {
    /// Whether an attribute may have had this value before the change of index `later`.
    pub(super) fn allows(self, name: &str, value: Attribute<'_>, later: usize) -> bool {
        let values = self.values(name, later);
        values.is_empty() || values.iter().any(|other| same(*other, value))
    }

    /// The values that an attribute may have had before the change of index `later`, according to later changes and the
    /// item; empty if they do not reveal any.
    pub(super) fn values(self, name: &str, later: usize) -> Vec<Attribute<'a>> {
        let changes = self.changes;
        let mut values: Vec<Attribute<'a>> = Vec::new();
        let mut at = later;
        while let Some(first) = changes.get(at) {
            let end =
                at + changes[at..].partition_point(|step| step.time == first.time && step.sequence == first.sequence);
            let instant = &changes[at..end];
            let removal = only_removal(instant);
            let is_other = |step: &&Step| removal.is_none() || matches!(step.change, Change::Modify { .. });
            let pairs: Vec<_> = instant.iter().filter(is_other).filter_map(|step| values_of(step, name)).collect();
            if !self.budget.spend(instant.len() + pairs.len() * pairs.len()) {
                self.budget.note_cut_short();
                return values;
            }
            let olds = pairs.iter().map(|(old, _)| *old);
            // A value that more changes begin with than end with is the one before all of them.
            let begins = |value| pairs.iter().filter(|(old, _)| same(*old, value)).count();
            let ends = |value| pairs.iter().filter(|(_, new)| same(*new, value)).count();
            let (first, circle): (Vec<_>, Vec<_>) = olds.partition(|old| begins(*old) > ends(*old));
            if !first.is_empty() {
                narrow(&mut values, first);
                return values;
            }
            if let Some(item) = removal {
                // All others came before it, and a cycle ends where it began.
                narrow(&mut values, vec![item.get(name)]);
                return values;
            }
            narrow(&mut values, circle);
            if values.len() == 1 {
                return values;
            }
            let is_omitted = |step: &Step| {
                matches!(step.change, Change::Insert(WholeItem::Omitted(_)) | Change::Remove(WholeItem::Omitted(_)))
            };
            if instant.iter().any(is_omitted) {
                return values;
            }
            at = end;
        }
        // A snapshot proves nothing about a time near its own, or near that of a later change.
        let far = later.checked_sub(1).and_then(|last| around(&changes[last].time)).map(|(_, far)| far);
        let snapshot = self.snapshots.iter().find_map(|step| match &step.change {
            Change::Snapshot(WholeItem::Known(item)) if Some(&step.time) > far.as_ref() => Some(item),
            _ => None,
        });
        if let Some(item) = snapshot.filter(|_| values.is_empty()).or(self.item) {
            narrow(&mut values, vec![item.get(name)]);
        }
        values
    }
}

/// The attribute's value before and after a step; `None` if the step does not record them.
pub(super) fn values_of<'a>(step: &'a Step, name: &str) -> Option<(Attribute<'a>, Attribute<'a>)> {
    match &step.change {
        Change::Modify { attribute, old, new } if attribute == name => Some((old.as_ref(), new.as_ref())),
        Change::Insert(WholeItem::Known(item)) => Some((None, item.get(name))),
        Change::Remove(WholeItem::Known(item)) => Some((item.get(name), None)),
        _ => None,
    }
}

/// Keeps only the values that are also in `others`. If there are none, ignores `others`.
fn narrow<'a>(values: &mut Vec<Attribute<'a>>, others: Vec<Attribute<'a>>) {
    let both: Vec<_> = others.iter().copied().filter(|other| values.iter().any(|value| same(*value, *other))).collect();
    if values.is_empty() {
        *values = others;
    } else if !both.is_empty() {
        *values = both;
    }
}

/// The item that these changes removed, if they did nothing else to the whole item.
fn only_removal(steps: &[Step]) -> Option<&Attributes> {
    let mut whole = steps.iter().filter(|step| !matches!(step.change, Change::Modify { .. }));
    match (whole.next().map(|step| &step.change), whole.next()) {
        (Some(Change::Remove(WholeItem::Known(item))), None) => Some(item),
        _ => None,
    }
}

/// The earliest and latest time at which an item may have been read for a snapshot of this time.
pub(super) fn around(time: &str) -> Option<(String, String)> {
    let time = DateTime::parse_from_rfc3339(time).ok()?.to_utc();
    let text = |delta| time.checked_add_signed(delta).map(timestamp);
    Some((text(-SNAPSHOT_WINDOW)?, text(SNAPSHOT_WINDOW)?))
}
