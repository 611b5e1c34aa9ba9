//! Whether any order of changes can fit, without trying one.
//!
//! A change must follow one that ends with the value that it begins with. So for each attribute and value, no more
//! changes may begin with the value than end with it, except for one if it is the value before all changes.

use std::collections::{BTreeMap, HashMap};

use super::image::State;
use super::step::{Change, Step, WholeItem};
use super::value::{Attributes, Value};

/// Whether no order of these steps can fit. False does not mean that one does.
pub(super) fn is_impossible(state: &State, steps: &[&Step]) -> bool {
    let mut balance = Balance::default();
    for step in steps {
        balance.add(&step.change);
    }
    !balance.exists_alternately(state) || balance.lacks_a_value(state)
}

/// How often changes begin and end with each value.
#[derive(Default)]
struct Balance<'a> {
    creations: usize,
    removals: usize,
    /// The creations and removals of items that were too large for an entry: such a creation may end with any value.
    omitted_creations: i64,
    omitted_removals: i64,
    /// For each attribute and value, how many more changes begin with it than end with it.
    needed: BTreeMap<&'a str, HashMap<Option<&'a str>, i64>>,
}

impl<'a> Balance<'a> {
    fn add(&mut self, change: &'a Change) {
        match change {
            Change::Modify { attribute, old, new } => self.add_values(attribute, old.as_ref(), new.as_ref()),
            Change::Insert(item) => {
                self.creations += 1;
                match item {
                    // An item that does not exist has no attributes.
                    WholeItem::Known(item) => self.add_item(item, |value| (None, Some(value))),
                    WholeItem::Omitted(_) => self.omitted_creations += 1,
                }
            }
            Change::Remove(item) => {
                self.removals += 1;
                match item {
                    WholeItem::Known(item) => self.add_item(item, |value| (Some(value), None)),
                    WholeItem::Omitted(_) => self.omitted_removals += 1,
                }
            }
            Change::Snapshot(_) | Change::Unreadable => {}
        }
    }

    fn add_item(&mut self, item: &'a Attributes, values: fn(&'a Value) -> (Option<&'a Value>, Option<&'a Value>)) {
        for (name, value) in item {
            let (old, new) = values(value);
            self.add_values(name, old, new);
        }
    }

    fn add_values(&mut self, name: &'a str, old: Option<&'a Value>, new: Option<&'a Value>) {
        let needed = self.needed.entry(name).or_default();
        *needed.entry(old.map(Value::hash)).or_default() += 1;
        *needed.entry(new.map(Value::hash)).or_default() -= 1;
    }

    /// Whether the item can have been created only while it did not exist, and removed only while it did.
    fn exists_alternately(&self, state: &State) -> bool {
        let creations = self.creations + usize::from(state.is_some());
        creations == self.removals || creations == self.removals + 1
    }

    /// Whether more changes of an attribute begin with some value than can have ended with it.
    fn lacks_a_value(&self, state: &State) -> bool {
        self.needed.iter().any(|(name, needed)| {
            let start = state.as_ref().map_or(Some(None), |image| image.get(name));
            let start_hash = start.map(|start| start.map(Value::hash));
            let count = |(value, needed): (&_, &i64)| {
                let is_start = start_hash.as_ref() == Some(value);
                let omitted = if value.is_none() { self.omitted_creations - self.omitted_removals } else { 0 };
                (needed + omitted - i64::from(is_start)).max(0)
            };
            needed.iter().map(count).sum::<i64>() > self.omitted_creations + i64::from(start.is_none())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_dynamo::AttributeValue;

    use super::*;
    use crate::image::Image;

    fn value(n: i32) -> Option<Value> {
        (n > 0).then(|| AttributeValue::N(n.to_string()).into())
    }

    fn item(n: i32) -> WholeItem {
        WholeItem::Known(value(n).into_iter().map(|value| ("a".to_owned(), value)).collect())
    }

    fn modify(old: i32, new: i32) -> Change {
        Change::Modify { attribute: "a".to_owned(), old: value(old), new: value(new) }
    }

    fn is_impossible_after(state: &State, changes: Vec<Change>) -> bool {
        let step = |change| Step {
            id: String::new(),
            time: String::new(),
            sequence: None,
            event: None,
            omission: None,
            change,
        };
        let steps: Vec<Step> = changes.into_iter().map(step).collect();
        is_impossible(state, &steps.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_value_that_no_change_ends_with_makes_every_order_impossible() {
        let omitted = || WholeItem::Omitted("0".repeat(64));
        let unknown = || Some(Image::unknown());
        for (state, changes, expected) in [
            (None, vec![Change::Insert(item(1)), modify(1, 2), modify(2, 0)], false),
            (None, vec![Change::Insert(item(1)), modify(2, 1)], true),
            (None, vec![Change::Insert(item(1)), modify(2, 3), Change::Insert(omitted())], true),
            (
                None,
                vec![Change::Insert(item(1)), Change::Remove(item(1)), Change::Insert(omitted()), modify(2, 3)],
                false,
            ),
            (
                None,
                vec![Change::Insert(omitted()), Change::Remove(omitted()), Change::Insert(item(1)), modify(1, 2)],
                false,
            ),
            (
                None,
                vec![
                    Change::Insert(omitted()),
                    Change::Remove(omitted()),
                    Change::Insert(item(1)),
                    modify(3, 2),
                    modify(4, 2),
                ],
                true,
            ),
            (None, vec![Change::Remove(item(1))], true),
            (unknown(), vec![modify(1, 2), modify(3, 4)], true),
            (unknown(), vec![modify(1, 2), Change::Remove(item(2))], false),
            (unknown(), vec![Change::Remove(item(2)), Change::Insert(item(0)), modify(0, 1)], false),
            (unknown(), vec![Change::Remove(item(2)), Change::Insert(item(0)), modify(1, 0), modify(3, 4)], true),
        ] {
            assert_eq!(is_impossible_after(&state, changes.clone()), expected, "{state:?} {changes:?}");
        }
    }
}
