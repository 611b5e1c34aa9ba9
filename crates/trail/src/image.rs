//! An item at one time, as far as the trail shows.

use std::collections::{BTreeMap, BTreeSet};

use config_audit::value::canonical_hash;
use serde_dynamo::AttributeValue;

use super::gap::GapKind;
use super::step::{Change, WholeItem};
use super::value::{Attribute, Attributes, Item, Value, same};

/// An item at one time, as far as the trail shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    /// The attributes that the trail records. `None` means known not to exist.
    pub known: BTreeMap<String, Option<Value>>,
    /// Whether there may be attributes that nothing records. Otherwise only the known ones exist.
    pub is_open: bool,
}

/// An item, or `None` while it does not exist.
pub(super) type State = Option<Image>;

impl Image {
    pub(super) fn of(item: &Attributes) -> Self {
        let known = item.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        Self { known, is_open: false }
    }

    /// An unknown item.
    pub(super) fn unknown() -> Self {
        Self { known: BTreeMap::new(), is_open: true }
    }

    /// What is known about an attribute; `None` if nothing is.
    pub(super) fn get(&self, attribute: &str) -> Option<Attribute<'_>> {
        match self.known.get(attribute) {
            Some(value) => Some(value.as_ref()),
            None => (!self.is_open).then_some(None),
        }
    }

    /// The attributes that exist.
    #[must_use]
    pub fn item(&self) -> Item {
        let existing =
            self.known.iter().filter_map(|(name, value)| Some((name.clone(), value.as_ref()?.get().clone())));
        existing.collect()
    }

    /// The names of the attributes whose values were too large for an entry.
    pub fn omitted(&self) -> impl Iterator<Item = &String> {
        self.known.iter().filter(|(_, value)| value.as_ref().is_some_and(Value::is_omitted)).map(|(name, _)| name)
    }

    /// The hash of the item; `None` if not all of its values are known.
    pub(super) fn hash(&self) -> Option<String> {
        let is_whole = !self.is_open && self.omitted().next().is_none();
        is_whole.then(|| canonical_hash(&AttributeValue::M(self.item())))
    }

    /// Whether the item may have this hash, as far as it is known.
    pub(super) fn may_have_hash(&self, hash: &str) -> bool {
        self.hash().is_none_or(|known| known == hash)
    }

    /// The attributes in which this item differs from another.
    pub(super) fn differences(&self, item: &Attributes) -> Vec<String> {
        let names: BTreeSet<&String> = self.known.keys().chain(item.keys()).collect();
        let differs = |name: &&String| self.get(name).is_some_and(|known| !same(known, item.get(*name)));
        names.into_iter().filter(differs).cloned().collect()
    }

    /// Learns from the whole item at a later time what this one was: attributes still unknown `then` are as they were
    /// from the beginning.
    pub(super) fn complete_with(&mut self, then: &Self, item: &Attributes) {
        for (name, value) in item.iter().filter(|(name, _)| !then.known.contains_key(*name)) {
            self.known.entry(name.clone()).or_insert_with(|| Some(value.clone()));
        }
        self.is_open = false;
    }
}

/// What must be missing or altered if this change was made to an item in this state; empty if the change fits.
pub(super) fn conflicts_with(state: &State, change: &Change) -> Vec<GapKind> {
    match (state, change) {
        (None, Change::Modify { .. } | Change::Remove(_)) => vec![GapKind::Creation],
        (Some(_), Change::Insert(_)) => vec![GapKind::Removal],
        (Some(image), Change::Modify { attribute, old, .. }) => {
            let fits = image.get(attribute).is_none_or(|known| same(known, old.as_ref()));
            if fits { Vec::new() } else { vec![GapKind::Attribute(attribute.clone())] }
        }
        (Some(image), Change::Remove(WholeItem::Known(item))) => {
            image.differences(item).into_iter().map(GapKind::Attribute).collect()
        }
        (Some(image), Change::Remove(WholeItem::Omitted(hash))) => {
            if image.may_have_hash(hash) {
                Vec::new()
            } else {
                vec![GapKind::Item]
            }
        }
        (None, Change::Insert(_)) | (_, Change::Snapshot(_) | Change::Unreadable) => Vec::new(),
    }
}

/// Makes a change, whether it fits or not.
pub(super) fn advance(state: &mut State, change: &Change) {
    match change {
        Change::Insert(WholeItem::Known(item)) => *state = Some(Image::of(item)),
        Change::Insert(WholeItem::Omitted(_)) => *state = Some(Image::unknown()),
        Change::Remove(_) => *state = None,
        Change::Modify { attribute, new, .. } => {
            state.get_or_insert_with(Image::unknown).known.insert(attribute.clone(), new.clone());
        }
        Change::Snapshot(_) | Change::Unreadable => {}
    }
}
