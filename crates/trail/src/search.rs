//! The order of changes within one second, some of which change the whole item.
//!
//! Those tie the item's attributes together, so there is no path to walk as for one attribute ([`super::chain`]): the search
//! tries what fits, and backtracks if nothing does.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::balance::is_impossible;
use super::budget::Budget;
use super::image::{State, advance, conflicts_with};
use super::step::{Change, Step, WholeItem};
use super::value::Value;

/// The bytes of values that count as one step.
const STEP_BYTES: usize = 1024;
/// How many steps are spent on an order that cannot fit.
const MAX_IMPOSSIBLE: usize = 20_000;

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An order in which all steps fit, as indices.
    Order(Vec<usize>),
    /// There is no such order. These steps fit, in the longest order that was found.
    Broken(Vec<usize>),
    /// The budget was spent first.
    CutShort,
}

/// Searches for an order in which all steps fit and whose final state `accepts`. It leaves `reserve` steps of the
/// budget for others. If no order is possible, it does not spend long looking for the one that breaks latest.
pub(super) fn search<'a>(
    state: &State,
    steps: &'a [&'a Step],
    budget: &'a Budget,
    reserve: usize,
    accepts: &'a dyn Fn(&State) -> bool,
) -> Found {
    let known = state.iter().flat_map(|image| image.known.values().flatten()).map(Value::size).sum::<usize>();
    let bytes = known + steps.iter().map(|step| step.change.size()).sum::<usize>();
    let attributes = steps.iter().map(|step| step.change.attributes()).sum::<usize>();
    if !budget.spend_down_to(reserve, attributes + bytes / STEP_BYTES) {
        budget.note_cut_short();
        return Found::CutShort;
    }
    let is_impossible = is_impossible(state, steps);
    let reserve = if is_impossible { reserve.max(budget.left().saturating_sub(MAX_IMPOSSIBLE)) } else { reserve };
    let cost = |step: &&Step| match &step.change {
        // The whole item is hashed.
        Change::Remove(WholeItem::Omitted(_)) => 1 + bytes / STEP_BYTES,
        change => change.attributes() + change.size() / STEP_BYTES,
    };
    let mut first_alike = HashMap::new();
    let classes: Vec<usize> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| *first_alike.entry(class(&step.change)).or_insert(index))
        .collect();
    let mut search = Search {
        steps,
        costs: steps.iter().map(cost).collect(),
        classes,
        budget,
        reserve,
        seen: HashSet::new(),
        position: Position {
            is_used: vec![false; steps.len()],
            used: vec![0; steps.len()],
            order: Vec::new(),
            last: None,
            writers: BTreeMap::new(),
        },
        best: Vec::new(),
        accepts,
    };
    match search.go(state) {
        Some(true) => Found::Order(search.position.order),
        None if !is_impossible => {
            budget.note_cut_short();
            Found::CutShort
        }
        Some(false) | None => Found::Broken(search.best),
    }
}

/// The content of a change. The order of changes with the same content does not matter.
fn class(change: &Change) -> Vec<Option<&str>> {
    let (kind, item) = match change {
        Change::Modify { attribute, old, new } => {
            return vec![Some("modify"), Some(attribute), old.as_ref().map(Value::hash), new.as_ref().map(Value::hash)];
        }
        Change::Insert(item) => ("insert", item),
        Change::Remove(item) => ("remove", item),
        Change::Snapshot(item) => ("snapshot", item),
        Change::Unreadable => return vec![Some("unreadable")],
    };
    let mut class = vec![Some(kind)];
    match item {
        WholeItem::Omitted(hash) => class.extend([Some("omitted"), Some(hash)]),
        WholeItem::Known(item) => {
            let sorted: BTreeMap<_, _> = item.iter().collect();
            class.push(Some("known"));
            class.extend(sorted.into_iter().flat_map(|(name, value)| [Some(name.as_str()), Some(value.hash())]));
        }
    }
    class
}

struct Search<'a> {
    steps: &'a [&'a Step],
    /// For each step, the cost of trying it.
    costs: Vec<usize>,
    /// For each step, the first one with the same content.
    classes: Vec<usize>,
    budget: &'a Budget,
    reserve: usize,
    /// The positions from which no order was found.
    seen: HashSet<Vec<usize>>,
    position: Position<'a>,
    /// The longest order in which steps fit.
    best: Vec<usize>,
    accepts: &'a dyn Fn(&State) -> bool,
}

struct Position<'a> {
    /// Which steps are in the order.
    is_used: Vec<bool>,
    /// For each class, the number of steps.
    used: Vec<usize>,
    order: Vec<usize>,
    /// The attribute of the last step. Changes of different attributes can be swapped, so only orders that have them
    /// sorted by name are tried.
    last: Option<&'a str>,
    /// For each attribute, the class that wrote it last; the empty name stands for the whole item.
    writers: BTreeMap<&'a str, usize>,
}

impl Search<'_> {
    /// Whether the other steps fit in some order; `None` if the budget is spent.
    fn go(&mut self, state: &State) -> Option<bool> {
        if self.position.order.len() > self.best.len() {
            self.best.clone_from(&self.position.order);
        }
        if self.position.order.len() == self.steps.len() {
            return Some((self.accepts)(state));
        }
        if !self.seen.insert(self.position.key(&self.classes)) {
            return Some(false);
        }
        self.spend(self.steps.len())?;
        let attributes = state.as_ref().map_or(0, |image| image.known.len());
        let steps = self.steps;
        let mut tried = vec![false; steps.len()];
        for (index, step) in steps.iter().enumerate() {
            let attribute = step.change.attribute();
            let is_later_by_name = attribute.is_none_or(|name| self.position.last.is_none_or(|last| name >= last));
            if self.position.is_used[index] || std::mem::replace(&mut tried[self.classes[index]], true) {
                continue;
            }
            if !is_later_by_name {
                continue;
            }
            self.spend(self.costs[index])?;
            if !conflicts_with(state, &step.change).is_empty() {
                continue;
            }
            self.spend(attributes)?;
            let mut next = state.clone();
            advance(&mut next, &step.change);
            let (last, writers) = (self.position.last, self.position.writers.clone());
            self.position.push(index, attribute, self.classes[index]);
            // A change of the whole item determines so much that checking whether the others can still fit is
            // worthwhile.
            if (attribute.is_some() || self.is_possible(&next)?) && self.go(&next)? {
                return Some(true);
            }
            self.position.order.pop();
            self.position.is_used[index] = false;
            self.position.used[self.classes[index]] -= 1;
            self.position.last = last;
            self.position.writers = writers;
        }
        Some(false)
    }

    fn is_possible(&self, state: &State) -> Option<bool> {
        self.spend(self.steps.len())?;
        let is_left = |(index, _): &(usize, &&Step)| !self.position.is_used[*index];
        let left: Vec<&Step> = self.steps.iter().enumerate().filter(is_left).map(|(_, step)| *step).collect();
        Some(!is_impossible(state, &left))
    }

    fn spend(&self, steps: usize) -> Option<()> {
        self.budget.spend_down_to(self.reserve, steps).then_some(())
    }
}

impl<'a> Position<'a> {
    fn push(&mut self, index: usize, attribute: Option<&'a str>, class: usize) {
        self.order.push(index);
        self.is_used[index] = true;
        self.used[class] += 1;
        self.last = attribute;
        if attribute.is_none() {
            self.writers.clear();
        }
        self.writers.insert(attribute.unwrap_or_default(), class);
    }

    /// What distinguishes one position from another: how many steps of each class are used, the item's state, and which
    /// attributes may follow.
    fn key(&self, classes: &[usize]) -> Vec<usize> {
        let last = self.order.last().filter(|_| self.last.is_some()).map_or(usize::MAX, |index| classes[*index]);
        self.used.iter().copied().chain([last]).chain(self.writers.values().copied()).collect()
    }
}
