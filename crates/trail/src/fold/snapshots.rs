//! Backfilled entries: where they belong, what they add, and whether the others agree with them.

use super::evidence::around;
use super::folded::Fold;
use crate::gap::{Gap, GapKind};
use crate::image::Image;
use crate::step::{Change, Step, WholeItem};
use crate::value::{Attributes, Item, attributes};

impl Fold {
    /// Puts a backfilled entry among the others, and learns from it what they leave open.
    pub(super) fn place(&mut self, snapshot: Step) {
        let Change::Snapshot(whole) = &snapshot.change else { return };
        let unknown = Attributes::new();
        let item = if let WholeItem::Known(item) = whole { item } else { &unknown };
        if let (WholeItem::Known(_), Some(initial)) = (whole, self.initial.as_mut().filter(|image| image.is_open)) {
            initial.complete_with(&Image::unknown(), item);
        }
        let gaps = self.disagreements(&snapshot, whole);
        self.gaps.extend(gaps);
        let at = self.steps.partition_point(|step| step.time < snapshot.time);
        self.lifetimes = std::mem::take(&mut self.lifetimes)
            .into_iter()
            .map(|(index, image)| (if index >= at { index + 1 } else { index }, image))
            .collect();
        for name in item.keys() {
            let last = self.last_times.entry(name.clone()).or_insert_with(|| snapshot.time.clone());
            if *last < snapshot.time {
                last.clone_from(&snapshot.time);
            }
        }
        self.steps.insert(at, snapshot);
    }

    /// The gaps where a backfilled entry shows something that the item never was around its time.
    fn disagreements(&self, snapshot: &Step, whole: &WholeItem) -> Vec<Gap> {
        let kinds = match whole {
            WholeItem::Known(item) => self
                .differences_from(&snapshot.time, item)
                .map(|names| names.into_iter().map(|name| GapKind::Snapshot(Some(name))).collect()),
            WholeItem::Omitted(hash) => {
                self.had_hash_around(&snapshot.time, hash).map(|had| if had { Vec::new() } else { vec![GapKind::Item] })
            }
        };
        let kinds = kinds.unwrap_or_else(|| vec![GapKind::Snapshot(None)]);
        let gap =
            |kind| Gap { kind, after: None, before: Some(snapshot.time.clone()), entry: Some(snapshot.id.clone()) };
        kinds.into_iter().map(gap).collect()
    }

    /// Whether the item may have had this hash around this time; `None` if it did not exist then.
    pub(super) fn had_hash_around(&self, time: &str, hash: &str) -> Option<bool> {
        let (from, to) = around(time)?;
        let is_change = |step: &&Step| !step.is_backfilled() && (&from..=&to).contains(&&step.time);
        let changes: Vec<&Step> = self.steps.iter().filter(is_change).collect();
        // Changes of one second may have been made in another order, and the item may have been read between them.
        let is_ordered = changes
            .windows(2)
            .all(|pair| pair[0].time != pair[1].time || (pair[0].sequence.is_some() && pair[1].sequence.is_some()));
        let mut had = None;
        self.for_each_around(time, |image| {
            had = Some(had == Some(true) || !is_ordered || image.may_have_hash(hash));
        })?;
        had
    }

    /// The attributes that never had these values around this time; `None` if the item did not exist then.
    ///
    /// Each attribute is compared on its own: within one second, the order of different attributes' changes is unknown.
    #[must_use]
    pub fn differences_around(&self, time: &str, item: &Item) -> Option<Vec<String>> {
        self.differences_from(time, &attributes(item.clone()))
    }

    fn differences_from(&self, time: &str, item: &Attributes) -> Option<Vec<String>> {
        let mut in_all: Option<Vec<String>> = None;
        self.for_each_around(time, |image| {
            let differences = image.differences(item);
            match &mut in_all {
                Some(names) => names.retain(|name| differences.contains(name)),
                None => in_all = Some(differences),
            }
        })?;
        in_all
    }
}
