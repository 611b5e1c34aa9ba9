//! One attempt to put the changes of an item in order.
//!
//! If the item is not known, an attempt must choose; [`Run::choices`] records what it chose, and from how many
//! possibilities.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use super::evidence::{Evidence, values_of};
use crate::chain::chain;
use crate::gap::{Gap, GapKind};
use crate::image::{Image, State, advance, conflicts_with};
use crate::search::{Found, search};
use crate::step::{Change, Step, WholeItem};
use crate::value::{Attributes, Value, same};

/// The maximum number of ends of one second that an attempt may choose from.
const MAX_ENDS: usize = 8;

/// A choice, and the number of possibilities that it was made from.
pub(super) type Choice = (usize, usize);

/// One attempt to put the changes of an item in order.
#[derive(Debug)]
pub(super) struct Run<'a> {
    evidence: Evidence<'a>,
    /// The choices that were made.
    pub(super) choices: Vec<Choice>,
    /// The choices to make; after these, the first possibility is chosen.
    chosen: Vec<usize>,
    /// The changes in their order, by index.
    pub(super) order: Vec<usize>,
    pub(super) gaps: Vec<Gap>,
    state: State,
    /// The item before all changes.
    pub(super) initial: State,
    /// The item as created, by the position of its creation in `order`. More is known about it than its first change
    /// records.
    pub(super) lifetimes: BTreeMap<usize, Image>,
    /// The hash that the present item was created with, if its entry has only that, and the index of that change.
    pub(super) created_hash: Option<(String, usize)>,
    /// The time of the latest entry of each attribute.
    pub(super) last_times: HashMap<String, String>,
    /// When the item was created or removed most recently.
    pub(super) since: Option<String>,
    /// The time of the first second whose search was cut short because the budget was spent.
    pub(super) cut_short_at: Option<String>,
    /// Whether the order of all changes was found, and is not just the order in which they came.
    is_ordered: bool,
}

impl<'a> Run<'a> {
    /// Puts all changes in order. `existed` is whether the item existed before them.
    pub(super) fn of(evidence: Evidence<'a>, existed: bool, chosen: Vec<usize>) -> Self {
        let state = existed.then(Image::unknown);
        let mut run = Self {
            evidence,
            choices: Vec::new(),
            chosen,
            order: Vec::new(),
            gaps: Vec::new(),
            initial: state.clone(),
            state,
            lifetimes: BTreeMap::new(),
            created_hash: None,
            last_times: HashMap::new(),
            since: None,
            cut_short_at: None,
            is_ordered: true,
        };
        let changes = evidence.changes;
        let mut at = 0;
        while let Some(first) = changes.get(at) {
            let end = at + changes[at..].partition_point(|step| step.time == first.time);
            run.apply_second(at, end);
            at = end;
        }
        run
    }

    /// Whether an order was found in which all changes and the end fit.
    pub(super) fn fits(&self) -> bool {
        self.is_ordered && self.breaks() == 0
    }

    /// The number of breaks, including those at the end.
    pub(super) fn breaks(&self) -> usize {
        let at_the_end = match (&self.state, self.evidence.item) {
            (Some(image), Some(item)) => image.differences(item).len(),
            (None, Some(_)) => 1,
            (_, None) => 0,
        };
        self.gaps.len() + at_the_end
    }

    fn apply_second(&mut self, begin: usize, end: usize) {
        let changes = self.evidence.changes;
        if changes[begin..end].iter().all(|step| step.sequence.is_some()) {
            let mut at = begin;
            while at < end {
                let record = changes[at..end].partition_point(|step| step.sequence == changes[at].sequence);
                self.apply_unordered(at, at + record);
                at += record;
            }
        } else {
            self.apply_unordered(begin, end);
        }
    }

    /// Applies changes whose order is not recorded.
    fn apply_unordered(&mut self, begin: usize, end: usize) {
        let changes = self.evidence.changes;
        let (modifications, whole): (Vec<usize>, Vec<usize>) =
            (begin..end).partition(|index| matches!(changes[*index].change, Change::Modify { .. }));
        match (&whole[..], self.state.is_some()) {
            ([], _) => self.apply_by_attribute(&modifications, end, None),
            ([only], false) if matches!(changes[*only].change, Change::Insert(_)) => {
                self.apply(*only);
                self.apply_by_attribute(&modifications, end, None);
            }
            ([only], true) => match &changes[*only].change {
                Change::Remove(item) => {
                    self.apply_by_attribute(&modifications, end, Some(item));
                    self.apply(*only);
                }
                _ => self.apply_by_search((begin..end).collect()),
            },
            _ => self.apply_by_search((begin..end).collect()),
        }
    }

    /// Applies changes of attributes, between which the item was neither created nor removed. They are followed by the removal
    /// of this item, or by the change of index `later`.
    fn apply_by_attribute(&mut self, modifications: &[usize], later: usize, removed: Option<&'a WholeItem>) {
        let Evidence { changes, budget, .. } = self.evidence;
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for index in modifications {
            if let Some(attribute) = changes[*index].change.attribute() {
                by_name.entry(attribute).or_default().push(*index);
            }
        }
        for (name, indices) in by_name {
            let pairs: Vec<_> = indices.iter().filter_map(|index| values_of(&changes[*index], name)).collect();
            let start = self.state.as_ref().and_then(|image| image.get(name)).map(Option::<&Value>::cloned);
            let order = chain(start.as_ref().map(Option::as_ref), &pairs, budget, |values| {
                let ends = match removed {
                    Some(WholeItem::Known(item)) => vec![item.get(name)],
                    // Such a removal reveals nothing, and what follows belongs to another item.
                    Some(WholeItem::Omitted(_)) => Vec::new(),
                    None => self.evidence.values(name, later),
                };
                // A cycle ends where it began.
                let is_likely = |index: &usize| ends.iter().any(|value| same(*value, values[*index]));
                let (likely, others): (Vec<_>, Vec<_>) = (0..values.len()).partition(is_likely);
                [likely, others].concat()[self.choose(values.len())]
            });
            if let Some(order) = order {
                for at in order {
                    self.apply(indices[at]);
                }
            } else {
                self.cut_short(indices);
            }
        }
    }

    fn apply_by_search(&mut self, mut left: Vec<usize>) {
        let changes = self.evidence.changes;
        while !left.is_empty() {
            let (fitting, is_broken) = match self.search(&left) {
                Found::Order(order) => (order, false),
                Found::Broken(order) => (order, true),
                Found::CutShort => return self.cut_short(left),
            };
            let mut fitting: Vec<usize> = fitting.into_iter().map(|at| left[at]).collect();
            for index in &fitting {
                self.apply(*index);
            }
            if is_broken {
                // The change that conflicts least comes next; among equals, a whole item reveals most.
                let conflicts = |index: &&usize| {
                    let change = &changes[**index].change;
                    (conflicts_with(&self.state, change).len(), !matches!(change, Change::Modify { .. }))
                };
                let next = left.iter().filter(|index| !fitting.contains(index)).min_by_key(conflicts).copied();
                fitting.extend(next);
                if let Some(index) = next {
                    self.apply(index);
                }
            }
            left.retain(|index| !fitting.contains(index));
        }
    }

    /// Applies these changes as they come, because the budget is spent. Breaks then mean nothing.
    fn cut_short(&mut self, indices: Vec<usize>) {
        self.note_cut_short(&indices);
        self.is_ordered = false;
        let gaps = self.gaps.len();
        for index in indices {
            self.apply(index);
        }
        self.gaps.truncate(gaps);
    }

    fn note_cut_short(&mut self, indices: &[usize]) {
        let first = indices.first().map(|index| self.evidence.changes[*index].time.clone());
        self.cut_short_at = self.cut_short_at.take().or(first);
    }

    fn choose(&mut self, possibilities: usize) -> usize {
        let choice = self.chosen.get(self.choices.len()).copied().unwrap_or_default();
        self.choices.push((choice, possibilities));
        choice
    }

    fn search(&mut self, left: &[usize]) -> Found {
        let Evidence { changes, budget, .. } = self.evidence;
        let steps: Vec<&Step> = left.iter().map(|index| &changes[*index]).collect();
        let makes_unknown = |step: &&Step| matches!(step.change, Change::Insert(WholeItem::Omitted(_)));
        // If the item is known, all orders have the same end.
        if self.state.as_ref().is_some_and(|image| image.is_open) || steps.iter().any(makes_unknown) {
            let later = left.iter().max().map_or(0, |last| last + 1);
            let choice = self.choose(MAX_ENDS);
            let ends: RefCell<Vec<State>> = RefCell::default();
            let evidence = self.evidence;
            let is_chosen = |end: &State| {
                let allows = |image: &Image| {
                    image.known.iter().all(|(name, value)| evidence.allows(name, value.as_ref(), later))
                };
                if !end.as_ref().is_none_or(allows) || ends.borrow().contains(end) {
                    return false;
                }
                let is_chosen = ends.borrow().len() == choice;
                ends.borrow_mut().push(end.clone());
                is_chosen
            };
            // Half of the budget is reserved for finding any order at all.
            match search(&self.state, &steps, budget, budget.left() / 2, &is_chosen) {
                Found::Order(order) => return Found::Order(order),
                Found::Broken(_) => {
                    // There are no more ends, so there is nothing else to choose.
                    if let Some((choice, possibilities)) = self.choices.last_mut() {
                        *possibilities = *choice + 1;
                    }
                }
                Found::CutShort => self.note_cut_short(left),
            }
        }
        search(&self.state, &steps, budget, 0, &|_| true)
    }

    /// Makes a change, whether it fits or not.
    fn apply(&mut self, index: usize) {
        let step = &self.evidence.changes[index];
        for kind in conflicts_with(&self.state, &step.change) {
            self.gaps.push(self.gap(kind, step));
        }
        match &step.change {
            Change::Modify { attribute, old, .. } => {
                if self.state.is_none() {
                    self.begin(Image::unknown());
                }
                let is_news = self.state.as_ref().is_some_and(|image| image.get(attribute).is_none());
                if is_news {
                    self.learn(attribute, old.clone());
                }
                self.last_times.insert(attribute.clone(), step.time.clone());
                advance(&mut self.state, &step.change);
            }
            Change::Insert(item) => {
                advance(&mut self.state, &step.change);
                if let Some(image) = self.state.clone() {
                    self.begin(image);
                }
                if let WholeItem::Omitted(hash) = item {
                    self.created_hash = Some((hash.clone(), index));
                }
                self.last_times.clear();
                self.since = Some(step.time.clone());
            }
            Change::Remove(item) => {
                if let WholeItem::Known(item) = item {
                    self.learn_all(item, &step.time);
                }
                self.created_hash = None;
                advance(&mut self.state, &step.change);
                self.last_times.clear();
                self.since = Some(step.time.clone());
            }
            Change::Snapshot(_) | Change::Unreadable => {}
        }
        self.order.push(index);
    }

    fn gap(&self, kind: GapKind, step: &Step) -> Gap {
        let last = match &kind {
            GapKind::Attribute(name) => self.last_times.get(name),
            _ => self.last_times.values().max(),
        };
        let after = last.or(self.since.as_ref()).cloned();
        Gap { kind, after, before: Some(step.time.clone()), entry: Some(step.id.clone()) }
    }

    /// The next step creates the item.
    fn begin(&mut self, image: Image) {
        self.created_hash = None;
        self.state = Some(image.clone());
        self.lifetimes.insert(self.order.len(), image);
    }

    /// The present item as created, so that later knowledge can be added.
    fn beginning(&mut self) -> Option<&mut Image> {
        match self.lifetimes.last_entry() {
            Some(lifetime) => Some(lifetime.into_mut()),
            None => self.initial.as_mut(),
        }
    }

    fn learn(&mut self, attribute: &str, value: Option<Value>) {
        if let Some(image) = self.beginning() {
            image.known.entry(attribute.to_owned()).or_insert(value);
        }
    }

    /// Learns from a removal, which records the whole item, what the item had from the beginning.
    fn learn_all(&mut self, item: &Attributes, removal: &str) {
        let Some(now) = self.state.clone().filter(|image| image.is_open) else { return };
        let Some(beginning) = self.beginning() else { return };
        beginning.complete_with(&now, item);
        let hash = beginning.hash();
        if let (Some((created, index)), Some(hash)) = (self.created_hash.take(), hash)
            && created != hash
        {
            let Step { id, time, .. } = &self.evidence.changes[index];
            let (after, before) = (Some(time.clone()), Some(removal.to_owned()));
            self.gaps.push(Gap { kind: GapKind::Item, after, before, entry: Some(id.clone()) });
        }
    }
}
