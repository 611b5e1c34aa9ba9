//! Compares the end of a trail with the item in the Configuration table.

use super::folded::Fold;
use crate::gap::{Gap, GapKind};
use crate::image::Image;
use crate::step::{Change, WholeItem};
use crate::value::{Attributes, Item, attributes};

impl Fold {
    /// The gaps between the end of the trail and this item of the Configuration table, or its absence. Empty if the
    /// fold is undecided, because its end is then uncertain.
    #[must_use]
    pub fn against(&self, item: Option<&Item>) -> Vec<Gap> {
        if self.is_undecided() {
            return Vec::new();
        }
        let kinds = match (self.end(), item) {
            (None, None) => Vec::new(),
            (None, Some(_)) => vec![GapKind::Creation],
            (Some(_), None) => vec![GapKind::Removal],
            (Some(image), Some(item)) => self.differences(&image, &attributes(item.clone())),
        };
        let gap = |kind| {
            let last = match &kind {
                GapKind::Attribute(name) => self.last_times.get(name),
                _ => self.last_times.values().max(),
            };
            Gap { after: last.or(self.since.as_ref()).cloned(), kind, before: None, entry: None }
        };
        let notes = match item {
            Some(item) if kinds.is_empty() => self.notes_that_the_item_disproves(&attributes(item.clone())),
            _ => Vec::new(),
        };
        kinds.into_iter().map(gap).chain(notes).collect()
    }

    /// The notes that are needless according to the item, but not according to the entries alone.
    fn notes_that_the_item_disproves(&self, item: &Attributes) -> Vec<Gap> {
        let mut known = self.clone();
        if let (Some(end), Some(beginning)) = (self.end(), known.beginning()) {
            beginning.complete_with(&end, item);
        }
        let mut notes = known.needless_notes(Some(item));
        notes.retain(|gap| !self.gaps.contains(gap));
        notes
    }

    fn differences(&self, end: &Image, item: &Attributes) -> Vec<GapKind> {
        let differences = end.differences(item);
        if !differences.is_empty() {
            return differences.into_iter().map(GapKind::Attribute).collect();
        }
        let has_its_hashes = self.has_created_hash(end, item) && self.has_backfilled_hash(end, item);
        if has_its_hashes { Vec::new() } else { vec![GapKind::Item] }
    }

    /// Whether the item had the hash in its creation entry, if it was too large for the entry.
    fn has_created_hash(&self, end: &Image, item: &Attributes) -> bool {
        let Some(hash) = &self.created_hash else { return true };
        let Some((_, beginning)) = self.lifetimes.last_key_value() else { return true };
        let mut beginning = beginning.clone();
        beginning.complete_with(end, item);
        beginning.may_have_hash(hash)
    }

    /// Whether the item had the hash in its backfilled entry, if it was too large for the entry.
    fn has_backfilled_hash(&self, end: &Image, item: &Attributes) -> bool {
        let snapshot = self.steps.iter().find_map(|step| match &step.change {
            Change::Snapshot(WholeItem::Omitted(hash)) => Some((&step.time, hash)),
            _ => None,
        });
        let Some((time, hash)) = snapshot else { return true };
        let mut known = self.clone();
        if let Some(beginning) = known.beginning() {
            beginning.complete_with(end, item);
        }
        // If the item did not exist at that time, there was a gap when the entry was placed.
        known.had_hash_around(time, hash).unwrap_or(true)
    }
}
