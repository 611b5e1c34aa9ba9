//! The order of changes that were made within one second, which is as exact as a stream tells the time.
//!
//! An entry begins where the one before it ended. For one attribute that is an Eulerian path: each value is a node, each
//! entry an edge that must be walked once. Entries about the whole item tie its attributes together; then there is a
//! search.

use std::collections::{BTreeMap, HashSet};

use super::state::{State, Value, advance, lacks};
use super::{Change, Step, same};

/// How much a search may look at: positions times steps. A real second of one item needs about as many positions as it
/// has entries, so this is enough for some 2,000 of them.
const MAX_WORK: usize = 4_000_000;

/// The order of changes of one attribute, as indices. Where there is none without a break, it is one with few.
///
/// `start` is the attribute's value before them, where it is known. Where it is not, and the changes lead in a circle,
/// `choose` says with which of these values it began.
pub(super) fn chain<'a>(
    start: Option<Value<'a>>,
    changes: &[(Value<'a>, Value<'a>)],
    choose: impl FnOnce(&[Value<'a>]) -> usize,
) -> Vec<usize> {
    if changes.len() < 2 {
        return (0..changes.len()).collect();
    }
    let mut values: Vec<Value<'a>> = Vec::new();
    let mut node = |value: Value<'a>| {
        values.iter().position(|known| same(*known, value)).unwrap_or_else(|| {
            values.push(value);
            values.len() - 1
        })
    };
    let edges: Vec<(usize, usize)> = changes.iter().map(|(old, new)| (node(*old), node(*new))).collect();
    let start = start.map(node);
    let mut graph = Graph::new(&edges, values.len());
    let start = start.or_else(|| graph.surplus()).unwrap_or_else(|| choose(&values));
    let mut order = graph.walk(start);
    loop {
        let on_the_way = |(at, edge): (usize, &usize)| {
            let (from, to) = edges[*edge];
            let is_open = |node: usize| !graph.unused[node].is_empty();
            if is_open(from) { Some((at, from)) } else { is_open(to).then_some((at + 1, to)) }
        };
        if let Some(begin) = graph.surplus() {
            order.extend(graph.walk(begin));
        } else if let Some((at, begin)) = order.iter().enumerate().find_map(on_the_way) {
            let circle = graph.walk(begin);
            order.splice(at..at, circle);
        } else if let Some(begin) = graph.unused.iter().position(|unused| !unused.is_empty()) {
            order.extend(graph.walk(begin));
        } else {
            return order;
        }
    }
}

/// The edges that have not been walked yet.
struct Graph<'a> {
    edges: &'a [(usize, usize)],
    /// Of each node, those that leave it, the last one first.
    unused: Vec<Vec<usize>>,
    /// Of each node, how many more of them leave it than arrive.
    balance: Vec<i64>,
}

impl<'a> Graph<'a> {
    fn new(edges: &'a [(usize, usize)], nodes: usize) -> Self {
        let mut graph = Self { edges, unused: vec![Vec::new(); nodes], balance: vec![0; nodes] };
        for (edge, (from, to)) in edges.iter().enumerate().rev() {
            graph.unused[*from].push(edge);
            graph.balance[*from] += 1;
            graph.balance[*to] -= 1;
        }
        graph
    }

    /// A node at which a path must begin.
    fn surplus(&self) -> Option<usize> {
        self.balance.iter().position(|balance| *balance > 0)
    }

    /// Walks from this node as far as it goes.
    fn walk(&mut self, mut node: usize) -> Vec<usize> {
        let mut path = Vec::new();
        while let Some(edge) = self.unused[node].pop() {
            let (from, to) = self.edges[edge];
            self.balance[from] -= 1;
            self.balance[to] += 1;
            path.push(edge);
            node = to;
        }
        path
    }
}

/// What a search came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An order in which all steps fit, as indices.
    Order(Vec<usize>),
    /// There is none; these fit, and nothing fits after them.
    Broken(Vec<usize>),
    /// There are too many orders to look at.
    TooMany,
}

/// Searches an order in which all steps fit, and which ends in a state that `goes_on`.
pub(super) fn search<'a>(state: &State, steps: &'a [&'a Step], goes_on: &'a dyn Fn(&State) -> bool) -> Found {
    let mut classes: Vec<usize> = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        let alike = (0..index).find(|other| is_alike(&steps[*other].change, &step.change));
        classes.push(alike.unwrap_or(index));
    }
    let mut search = Search {
        steps,
        classes,
        seen: HashSet::new(),
        position: Position { used: vec![false; steps.len()], order: Vec::new(), last: None, writers: BTreeMap::new() },
        best: Vec::new(),
        goes_on,
    };
    match search.go(state) {
        Some(true) => Found::Order(search.position.order),
        Some(false) => Found::Broken(search.best),
        None => Found::TooMany,
    }
}

fn is_alike(one: &Change, other: &Change) -> bool {
    match (one, other) {
        (Change::Modify { attribute, old, new }, Change::Modify { attribute: a, old: o, new: n }) => {
            attribute == a && same(old.as_ref(), o.as_ref()) && same(new.as_ref(), n.as_ref())
        }
        (one, other) => one == other,
    }
}

struct Search<'a> {
    steps: &'a [&'a Step],
    /// Of each step, the first one that does the same: which of those is taken makes no difference.
    classes: Vec<usize>,
    /// What led nowhere.
    seen: HashSet<Vec<Option<usize>>>,
    position: Position<'a>,
    best: Vec<usize>,
    goes_on: &'a dyn Fn(&State) -> bool,
}

struct Position<'a> {
    used: Vec<bool>,
    order: Vec<usize>,
    /// The attribute of the last step. Changes of different attributes can be swapped, so of all orders only those are
    /// looked at that have them by name.
    last: Option<&'a str>,
    /// The class that wrote each attribute last; that of the whole item has no name.
    writers: BTreeMap<&'a str, usize>,
}

impl<'a> Search<'a> {
    /// Whether the steps that are left fit in some order; `None` when there are too many.
    fn go(&mut self, state: &State) -> Option<bool> {
        if self.position.order.len() > self.best.len() {
            self.best.clone_from(&self.position.order);
        }
        if self.position.order.len() == self.steps.len() {
            return Some((self.goes_on)(state));
        }
        if !self.seen.insert(self.key()) {
            return Some(false);
        }
        if self.seen.len() * self.steps.len() > MAX_WORK {
            return None;
        }
        let steps = self.steps;
        let mut tried = vec![false; steps.len()];
        for (index, step) in steps.iter().enumerate() {
            let attribute = attribute(&step.change);
            let is_later_by_name = attribute.is_none_or(|name| self.position.last.is_none_or(|last| name >= last));
            if self.position.used[index] || std::mem::replace(&mut tried[self.classes[index]], true) {
                continue;
            }
            if !is_later_by_name || !lacks(state, &step.change).is_empty() {
                continue;
            }
            let mut next = state.clone();
            advance(&mut next, &step.change);
            let (last, writers) = (self.position.last, self.position.writers.clone());
            self.take(index, attribute);
            if self.go(&next)? {
                return Some(true);
            }
            self.position.order.pop();
            self.position.used[index] = false;
            self.position.last = last;
            self.position.writers = writers;
        }
        Some(false)
    }

    fn take(&mut self, index: usize, attribute: Option<&'a str>) {
        let position = &mut self.position;
        position.order.push(index);
        position.used[index] = true;
        position.last = attribute;
        if attribute.is_none() {
            position.writers.clear();
        }
        position.writers.insert(attribute.unwrap_or_default(), self.classes[index]);
    }

    /// What makes one position another: how many of each class are used, what the item is like, and what may follow.
    fn key(&self) -> Vec<Option<usize>> {
        let position = &self.position;
        let mut used = vec![0; self.steps.len()];
        for index in &position.order {
            used[self.classes[*index]] += 1;
        }
        let last = position.order.last().filter(|_| position.last.is_some()).map(|index| self.classes[*index]);
        let writers = position.writers.values().map(|class| Some(*class));
        used.into_iter().map(Some).chain([None, last]).chain(writers).collect()
    }
}

fn attribute(change: &Change) -> Option<&str> {
    if let Change::Modify { attribute, .. } = change { Some(attribute) } else { None }
}
