//! The order of changes of one attribute that were made within one second.
//!
//! A change begins with the value that the previous one ended with. So each value is a node, each change an edge that
//! must be walked once, and the order is an Eulerian path.

use std::collections::HashMap;

use super::budget::Budget;
use super::value::{Attribute, Value};

/// The order of changes of one attribute, as indices. If no order fits, it is one with few breaks. `None` if the budget
/// is spent.
///
/// `start` is the attribute's value before the changes, if known. If it is not, and the changes form a cycle, `choose`
/// picks which of these values comes first.
pub(super) fn chain<'a>(
    start: Option<Attribute<'a>>,
    changes: &[(Attribute<'a>, Attribute<'a>)],
    budget: &Budget,
    choose: impl FnOnce(&[Attribute<'a>]) -> usize,
) -> Option<Vec<usize>> {
    if changes.len() < 2 {
        return Some((0..changes.len()).collect());
    }
    let mut values: Vec<Attribute<'a>> = Vec::new();
    let mut nodes: HashMap<Option<&'a str>, usize> = HashMap::new();
    let mut node = |value: Attribute<'a>| {
        *nodes.entry(value.map(Value::hash)).or_insert_with(|| {
            values.push(value);
            values.len() - 1
        })
    };
    let edges: Vec<(usize, usize)> = changes.iter().map(|(old, new)| (node(*old), node(*new))).collect();
    let start = start.map(node);
    let mut graph = Graph::new(&edges, values.len());
    let start = start.or_else(|| graph.surplus()).unwrap_or_else(|| choose(&values));
    let mut order = graph.walk(start);
    while budget.spend(changes.len()) {
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
            return Some(order);
        }
    }
    budget.note_cut_short();
    None
}

/// The edges that have not been walked yet.
struct Graph<'a> {
    edges: &'a [(usize, usize)],
    /// For each node, the edges that leave it, the last one first.
    unused: Vec<Vec<usize>>,
    /// For each node, how many more edges leave it than arrive.
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

    /// Walks from this node until no edge leaves.
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
