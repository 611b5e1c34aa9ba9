//! The result of folding one item's entries: the item at any time.

use std::collections::{BTreeMap, HashMap};

use super::evidence::around;
use super::run::Run;
use crate::gap::{Gap, GapKind};
use crate::image::{Image, State, advance};
use crate::step::{Change, Step};

/// The result of folding one item's entries.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// The entries in the order of the changes, with backfilled ones at the beginning of their second.
    pub steps: Vec<Step>,
    /// Where the trail breaks.
    pub gaps: Vec<Gap>,
    /// What the item's trail begins with.
    pub origin: Origin,
    /// The item before all steps.
    pub(super) initial: State,
    /// The item after each step that created it, by index. More is known about it than those steps record.
    pub(super) lifetimes: BTreeMap<usize, Image>,
    /// The hash that the present item was created with, if its entry has only that.
    pub(super) created_hash: Option<String>,
    /// The time of the latest entry of each attribute.
    pub(super) last_times: HashMap<String, String>,
    /// When the item was created or removed most recently.
    pub(super) since: Option<String>,
}

/// What the trail of an item begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The item's creation.
    Creation,
    /// A backfilled entry, of an item that existed before its first change.
    Backfill,
    /// A change of an item that existed before: it is older than the trail, or its creation is missing.
    Unknown,
}

impl Fold {
    pub(super) fn of(run: Run<'_>, changes: &[Step]) -> Self {
        Self {
            steps: run.order.iter().map(|index| changes[*index].clone()).collect(),
            gaps: run.gaps,
            origin: if run.initial.is_some() { Origin::Unknown } else { Origin::Creation },
            initial: run.initial,
            lifetimes: run.lifetimes,
            created_hash: run.created_hash.map(|(hash, _)| hash),
            last_times: run.last_times,
            since: run.since,
        }
    }

    /// The item at the end of the trail, if it exists then.
    #[must_use]
    pub fn end(&self) -> Option<Image> {
        self.after(self.steps.len())
    }

    /// The item after all changes up to and including this time (in the form of entries' times).
    #[must_use]
    pub fn at(&self, time: &str) -> Option<Image> {
        self.after(self.steps.partition_point(|step| *step.time <= *time))
    }

    /// Whether the item at the end may have attributes that no entry records.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.end().is_some_and(|image| image.is_open)
    }

    /// Whether the budget ran out before a fitting order was found.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.gaps.iter().any(|gap| gap.kind == GapKind::Undecided)
    }

    fn after(&self, steps: usize) -> State {
        let mut state = self.initial.clone();
        (0..steps).for_each(|index| self.advance(&mut state, index));
        state
    }

    pub(super) fn advance(&self, state: &mut State, index: usize) {
        let change = &self.steps[index].change;
        let Some(image) = self.lifetimes.get(&index) else { return advance(state, change) };
        *state = Some(image.clone());
        if !matches!(change, Change::Insert(_)) {
            advance(state, change);
        }
    }

    /// What the present item began with.
    pub(super) fn beginning(&mut self) -> Option<&mut Image> {
        match self.lifetimes.last_entry() {
            Some(lifetime) => Some(lifetime.into_mut()),
            None => self.initial.as_mut(),
        }
    }

    /// Calls `look` with the item in each state that it had around this time; `None` if this is not a time.
    pub(super) fn for_each_around(&self, time: &str, mut look: impl FnMut(&Image)) -> Option<()> {
        let (from, to) = around(time)?;
        let mut state = self.initial.clone();
        for index in 0..=self.steps.len() {
            let is_later = index.checked_sub(1).is_some_and(|last| self.steps[last].time > to);
            let is_over = self.steps.get(index).is_some_and(|next| next.time < from);
            if let Some(image) = state.as_ref().filter(|_| !is_later && !is_over) {
                look(image);
            }
            if index < self.steps.len() {
                self.advance(&mut state, index);
            }
        }
        Some(())
    }
}
