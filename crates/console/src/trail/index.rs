//! The heads of the newest entries, in memory: everything but their values, so that any page of a long trail is found
//! at once.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use config_audit_local::aws::Item;
use config_audit_trail::ChangeKind;
use serde::Serialize;
use serde_dynamo::AttributeValue;

use super::filter::Filter;

/// The maximum number of entries, the newest ones.
pub(crate) const MAX_ENTRIES: usize = 200_000;

/// What an entry says was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// The item was created.
    Created,
    /// An attribute was changed.
    Changed,
    /// The item was deleted.
    Deleted,
    /// Backfilling recorded the existing item.
    Backfilled,
    /// Not an entry that anything writes.
    Unreadable,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 5] = [Self::Created, Self::Changed, Self::Deleted, Self::Backfilled, Self::Unreadable];

    /// Its name, in one word.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Backfilled => "backfilled",
            Self::Unreadable => "unreadable",
        }
    }

    /// The kind of this entry.
    #[must_use]
    pub(crate) fn of(entry: &Item) -> Self {
        match ChangeKind::of(entry) {
            ChangeKind::Insert => Self::Created,
            ChangeKind::Modify => Self::Changed,
            ChangeKind::Remove => Self::Deleted,
            ChangeKind::Snapshot => Self::Backfilled,
            ChangeKind::Unreadable => Self::Unreadable,
        }
    }
}

/// An entry without its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    /// Its ID.
    pub(crate) id: Arc<str>,
    /// The item's key.
    pub(crate) item_key: Arc<str>,
    /// When the change was made.
    pub(crate) modification_time: Arc<str>,
    /// The attribute that was changed, if only one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) updated_attribute: Option<Arc<str>>,
    /// What was done.
    #[serde(skip)]
    pub(crate) kind: Kind,
}

impl Head {
    /// The head of this entry.
    #[must_use]
    pub(crate) fn of(entry: &Item) -> Self {
        let text = |name: &str| match entry.get(name) {
            Some(AttributeValue::S(text)) => Arc::from(text.as_str()),
            _ => Arc::default(),
        };
        let (id, item_key, modification_time) = (text("id"), text("itemKey"), text("modificationTime"));
        let updated_attribute = entry.contains_key("updatedAttribute").then(|| text("updatedAttribute"));
        Self { id, item_key, modification_time, updated_attribute, kind: Kind::of(entry) }
    }
}

/// When an entry was made, and the order of arrival: entries of the same second have no other order.
type Position = (Arc<str>, u64);

/// A page of entries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The entries, newest first.
    pub(crate) heads: Vec<Head>,
    /// The total number of matches.
    pub(crate) matching: usize,
    /// Whether there are older ones.
    pub(crate) has_older: bool,
}

/// The newest entries of a trail.
#[derive(Debug, Default)]
pub(crate) struct Index(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    heads: BTreeMap<Position, Head>,
    positions: HashMap<Arc<str>, Position>,
    /// Keys and attributes, each stored once.
    names: HashMap<Arc<str>, usize>,
    arrivals: u64,
    dropped: usize,
}

impl Index {
    /// Adds an entry, unless it is known.
    pub(crate) fn add(&self, head: Head) {
        self.known(|known| known.add(head, MAX_ENTRIES));
    }

    /// The number of entries kept, and of older ones dropped.
    #[must_use]
    pub(crate) fn size(&self) -> (usize, usize) {
        self.known(|known| (known.heads.len(), known.dropped))
    }

    /// A page of at most `limit` entries, newest first: those after the one with this ID.
    #[must_use]
    pub(crate) fn page(&self, filter: &Filter, after: Option<&str>, limit: usize) -> Found {
        self.known(|known| known.page(filter, after, limit))
    }

    /// How many entries are newer than the one with this ID.
    #[must_use]
    pub(crate) fn newer_than(&self, id: &str) -> usize {
        self.known(|known| {
            let Some(position) = known.positions.get(id) else { return 0 };
            known.heads.range((Bound::Excluded(position), Bound::Unbounded)).count()
        })
    }

    /// The keys of all items, most recently changed first.
    #[must_use]
    pub(crate) fn keys(&self, limit: usize) -> Vec<Arc<str>> {
        self.known(|known| {
            let mut keys: Vec<Arc<str>> = Vec::new();
            // Otherwise a few items that change often would cost a walk through all entries.
            for head in known.heads.values().rev().take(10_000) {
                if keys.len() == limit {
                    break;
                }
                if !keys.contains(&head.item_key) {
                    keys.push(Arc::clone(&head.item_key));
                }
            }
            keys
        })
    }

    fn known<T>(&self, read: impl FnOnce(&mut Known) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    fn add(&mut self, mut head: Head, limit: usize) {
        if self.positions.contains_key(&head.id) {
            return;
        }
        self.arrivals += 1;
        head.item_key = self.shared(&head.item_key);
        head.updated_attribute = head.updated_attribute.map(|name| self.shared(&name));
        let position = (Arc::clone(&head.modification_time), self.arrivals);
        self.positions.insert(Arc::clone(&head.id), position.clone());
        self.heads.insert(position, head);
        if self.heads.len() > limit
            && let Some((_, oldest)) = self.heads.pop_first()
        {
            self.positions.remove(&oldest.id);
            self.dropped += 1;
            for name in [Some(oldest.item_key), oldest.updated_attribute].into_iter().flatten() {
                self.release(&name);
            }
        }
    }

    fn shared(&mut self, name: &Arc<str>) -> Arc<str> {
        let shared = self.names.get_key_value(name).map_or_else(|| Arc::clone(name), |(known, _)| Arc::clone(known));
        *self.names.entry(Arc::clone(&shared)).or_default() += 1;
        shared
    }

    fn release(&mut self, name: &Arc<str>) {
        if let Some(uses) = self.names.get_mut(name) {
            *uses -= 1;
            if *uses == 0 {
                self.names.remove(name);
            }
        }
    }

    fn page(&self, filter: &Filter, after: Option<&str>, limit: usize) -> Found {
        let matching = self.heads.values().filter(|head| filter.accepts(head)).count();
        let end = after.and_then(|id| self.positions.get(id)).map_or(Bound::Unbounded, Bound::Excluded);
        let older = self.heads.range::<Position, _>((Bound::Unbounded, end)).rev();
        let mut heads: Vec<Head> =
            older.map(|(_, head)| head).filter(|head| filter.accepts(head)).take(limit + 1).cloned().collect();
        let has_older = heads.len() > limit;
        heads.truncate(limit);
        Found { heads, matching, has_older }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(id: &str, second: u32, key: &str) -> Head {
        Head {
            id: id.into(),
            item_key: key.into(),
            modification_time: format!("2024-09-11T09:02:{second:02}.000Z").into(),
            updated_attribute: None,
            kind: Kind::Created,
        }
    }

    fn ids(found: &Found) -> String {
        found.heads.iter().map(|head| &*head.id).collect()
    }

    #[test]
    fn pages_go_from_the_newest_entry_to_the_oldest_and_have_each_entry_once() {
        let index = Index::default();
        for (id, second) in [("b", 2), ("d", 4), ("a", 1), ("c", 2), ("b", 2)] {
            index.add(head(id, second, "KEY"));
        }
        let all = Filter::default();
        let first = index.page(&all, None, 3);
        // Of two entries of the same second, the one that arrived later is newer.
        assert_eq!((ids(&first).as_str(), first.matching, first.has_older), ("dcb", 4, true));
        let last = index.page(&all, Some("b"), 3);
        assert_eq!((ids(&last).as_str(), last.has_older), ("a", false));
        assert_eq!((index.newer_than("b"), index.newer_than("d"), index.newer_than("?")), (2, 0, 0));
    }

    #[test]
    fn the_oldest_entries_are_dropped_and_counted() {
        let mut known = Known::default();
        for (second, id) in (0..).zip(["a", "b", "c", "d"]) {
            known.add(head(id, second, id), 3);
        }
        assert_eq!((known.heads.len(), known.positions.len(), known.dropped, known.names.len()), (3, 3, 1, 3));
        assert_eq!(ids(&known.page(&Filter::default(), None, 9)), "dcb");
    }

    #[test]
    fn all_of_a_hundred_thousand_entries_are_filtered_and_counted() {
        let index = Index::default();
        for number in 0..100_000_u32 {
            index.add(head(&number.to_string(), number % 60, &format!("KEY-{}", number % 1000)));
        }
        let found = index.page(&Filter { key: "key-7".to_owned(), ..Filter::default() }, None, 50);
        // KEY-7, KEY-70 to KEY-79, KEY-700 to KEY-799: 111 of 1000.
        assert_eq!((found.heads.len(), found.matching), (50, 11_100));
    }
}
