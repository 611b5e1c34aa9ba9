//! An item at one time, as far as the trail tells.

use std::collections::{BTreeMap, BTreeSet};

use config_audit::audit::{omitted_hash, value_hash};
use serde_dynamo::AttributeValue;

use super::fold::Lack;
use super::{Change, Item, Whole, same};

/// An item, as far as the trail tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    /// What is known of each attribute; no value is known not to be there.
    pub known: BTreeMap<String, Option<AttributeValue>>,
    /// Whether there may be attributes that nothing tells of. Otherwise there are none but the known.
    pub is_open: bool,
}

/// A value, or none: the attribute is not there.
pub(super) type Value<'a> = Option<&'a AttributeValue>;

/// An item, or none.
pub(super) type State = Option<Image>;

impl Image {
    pub(super) fn of(item: &Item) -> Self {
        let known = item.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        Self { known, is_open: false }
    }

    pub(super) fn unknown() -> Self {
        Self { known: BTreeMap::new(), is_open: true }
    }

    /// What is known of an attribute; `None` where nothing is.
    pub(super) fn get(&self, attribute: &str) -> Option<Value<'_>> {
        match self.known.get(attribute) {
            Some(value) => Some(value.as_ref()),
            None => (!self.is_open).then_some(None),
        }
    }

    /// The attributes that are there.
    #[must_use]
    pub fn item(&self) -> Item {
        let there = self.known.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        there.collect()
    }

    /// The hash that an entry would tell of the item; `None` where not all of the item is at hand.
    pub(super) fn hash(&self) -> Option<String> {
        let is_whole = !self.is_open && self.known.values().flatten().all(|value| omitted_hash(value).is_none());
        is_whole.then(|| value_hash(&AttributeValue::M(self.item())))
    }

    /// The attributes in which it is not this item.
    pub(super) fn differences(&self, item: &Item) -> Vec<String> {
        let names: BTreeSet<&String> = self.known.keys().chain(item.keys()).collect();
        let differs = |name: &&String| self.get(name).is_some_and(|known| !same(known, item.get(*name)));
        names.into_iter().filter(differs).cloned().collect()
    }
}

/// What must be missing or altered if this change was made to an item in this state; nothing if it fits.
pub(super) fn lacks(state: &State, change: &Change) -> Vec<Lack> {
    match (state, change) {
        (None, Change::Modify { .. } | Change::Remove(_)) => vec![Lack::Creation],
        (Some(_), Change::Insert(_)) => vec![Lack::Removal],
        (Some(image), Change::Modify { attribute, old, .. }) => {
            let fits = image.get(attribute).is_none_or(|known| same(known, old.as_ref()));
            if fits { Vec::new() } else { vec![Lack::Attribute(attribute.clone())] }
        }
        (Some(image), Change::Remove(Whole::Known(item))) => {
            image.differences(item).into_iter().map(Lack::Attribute).collect()
        }
        (Some(image), Change::Remove(Whole::Omitted(hash))) => {
            if image.hash().is_none_or(|known| known == *hash) {
                Vec::new()
            } else {
                vec![Lack::Item]
            }
        }
        (None, Change::Insert(_)) | (_, Change::Snapshot(_) | Change::Unreadable) => Vec::new(),
    }
}

/// The state after a change, whether it fits or not.
pub(super) fn advance(state: &mut State, change: &Change) {
    match change {
        Change::Insert(Whole::Known(item)) => *state = Some(Image::of(item)),
        Change::Insert(Whole::Omitted(_)) => *state = Some(Image::unknown()),
        Change::Remove(_) => *state = None,
        Change::Modify { attribute, new, .. } => {
            state.get_or_insert_with(Image::unknown).known.insert(attribute.clone(), new.clone());
        }
        Change::Snapshot(_) | Change::Unreadable => {}
    }
}
