//! The heads of the newest entries, in memory: everything but their values, so that any page of a long trail is found
//! at once.

use std::collections::{BTreeMap, HashMap, HashSet};
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
    places: HashMap<Arc<str>, Place>,
    /// Keys and attributes, each stored once.
    names: HashMap<Arc<str>, usize>,
    arrivals: u64,
    dropped: usize,
    /// How many times the table was read, including now.
    readings: u32,
    reading: Option<Progress>,
}

/// Where an entry is.
#[derive(Debug)]
struct Place {
    position: Position,
    /// The last reading that had it; zero if none.
    reading: u32,
}

/// How far the table has been read.
#[derive(Debug, Default)]
struct Progress {
    /// How many entries have been read.
    entries: usize,
    /// How many of them are kept.
    kept: usize,
}

impl Index {
    /// Adds an entry that was just stored, unless it is known.
    pub(crate) fn add(&self, head: Head) {
        self.known(|known| known.add(head, MAX_ENTRIES));
    }

    /// Begins to read the whole table.
    pub(crate) fn begin_reading(&self) {
        self.known(Known::begin_reading);
    }

    /// Adds entries that were read, unless they are known.
    pub(crate) fn add_read(&self, heads: impl IntoIterator<Item = Head>) {
        self.known(|known| heads.into_iter().for_each(|head| known.add_read(head, MAX_ENTRIES)));
    }

    /// Ends a reading.
    pub(crate) fn end_reading(&self, is_complete: bool) {
        self.known(|known| known.end_reading(is_complete));
    }

    /// The number of entries kept, and of older ones dropped.
    #[must_use]
    pub(crate) fn size(&self) -> (usize, usize) {
        self.known(|known| (known.heads.len(), known.dropped()))
    }

    /// The ID of the newest entry.
    #[must_use]
    pub(crate) fn newest(&self) -> Option<Arc<str>> {
        self.known(|known| known.heads.last_key_value().map(|(_, head)| Arc::clone(&head.id)))
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
            let Some(place) = known.places.get(id) else { return 0 };
            known.heads.range((Bound::Excluded(&place.position), Bound::Unbounded)).count()
        })
    }

    /// The keys of all items, most recently changed first.
    #[must_use]
    pub(crate) fn keys(&self, limit: usize) -> Vec<Arc<str>> {
        self.known(|known| {
            let mut seen = HashSet::new();
            // Otherwise a few items that change often would cost a walk through all entries.
            let newest = known.heads.values().rev().take(10_000);
            let keys = newest.map(|head| &head.item_key).filter(|key| seen.insert(Arc::clone(key)));
            keys.take(limit).cloned().collect()
        })
    }

    fn known<T>(&self, read: impl FnOnce(&mut Known) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    fn begin_reading(&mut self) {
        self.readings += 1;
        self.reading = Some(Progress::default());
    }

    fn end_reading(&mut self, is_complete: bool) {
        let dropped = self.dropped();
        if let Some(Progress { entries, kept }) = self.reading.take() {
            self.dropped = if is_complete { entries - kept } else { dropped };
        }
    }

    /// How many entries were dropped. A reading sees entries again that earlier ones dropped, so it has its own count.
    fn dropped(&self) -> usize {
        self.reading.as_ref().map_or(0, |reading| reading.entries - reading.kept).max(self.dropped)
    }

    fn add(&mut self, head: Head, limit: usize) {
        if !self.places.contains_key(&head.id) {
            self.insert(head, 0, limit);
        }
    }

    fn add_read(&mut self, head: Head, limit: usize) {
        let (number, Some(reading)) = (self.readings, &mut self.reading) else { return };
        match self.places.get_mut(&head.id) {
            Some(place) if place.reading == number => {}
            Some(place) => {
                place.reading = number;
                reading.entries += 1;
                reading.kept += 1;
            }
            None => {
                reading.entries += 1;
                reading.kept += 1;
                self.insert(head, number, limit);
            }
        }
    }

    fn insert(&mut self, mut head: Head, reading: u32, limit: usize) {
        self.arrivals += 1;
        head.item_key = self.shared(&head.item_key);
        head.updated_attribute = head.updated_attribute.map(|name| self.shared(&name));
        let position = (Arc::clone(&head.modification_time), self.arrivals);
        self.places.insert(Arc::clone(&head.id), Place { position: position.clone(), reading });
        self.heads.insert(position, head);
        if self.heads.len() > limit
            && let Some((_, oldest)) = self.heads.pop_first()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, oldest: Head) {
        let read_by = self.places.remove(&oldest.id).map_or(0, |place| place.reading);
        match &mut self.reading {
            // This reading will still see those that it has not seen yet.
            Some(reading) => reading.kept -= usize::from(read_by == self.readings),
            None => self.dropped += 1,
        }
        for name in [Some(oldest.item_key), oldest.updated_attribute].into_iter().flatten() {
            self.release(&name);
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
        let after = after.and_then(|id| self.places.get(id)).map(|place| &place.position);
        if filter.is_empty() {
            let end = after.map_or(Bound::Unbounded, Bound::Excluded);
            let mut older = self.heads.range::<Position, _>((Bound::Unbounded, end)).map(|(_, head)| head).rev();
            let heads = older.by_ref().take(limit).cloned().collect();
            return Found { heads, matching: self.heads.len(), has_older: older.next().is_some() };
        }
        let (mut matcher, mut found) = (filter.matcher(), Found::default());
        for (position, head) in self.heads.iter().rev() {
            if !matcher.accepts(head) {
                continue;
            }
            found.matching += 1;
            if after.is_some_and(|after| position >= after) {
                continue;
            }
            if found.heads.len() < limit {
                found.heads.push(head.clone());
            } else {
                found.has_older = true;
            }
        }
        found
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
        assert_eq!((known.heads.len(), known.places.len(), known.dropped(), known.names.len()), (3, 3, 1, 3));
        assert_eq!(ids(&known.page(&Filter::default(), None, 9)), "dcb");
    }

    /// However often the table is read, and in whichever order.
    #[test]
    fn an_entry_that_is_read_again_is_not_counted_again() {
        let mut known = Known::default();
        let read = |known: &mut Known, ids: &str, is_complete: bool| {
            known.begin_reading();
            for id in ids.chars() {
                known.add_read(head(&id.to_string(), u32::from(id) - u32::from('a'), "K"), 3);
            }
            known.end_reading(is_complete);
            (known.heads.len(), known.dropped())
        };
        assert_eq!(read(&mut known, "eadbc", true), (3, 2));
        assert_eq!(read(&mut known, "abcde", true), (3, 2));
        assert_eq!(read(&mut known, "ab", false), (3, 2));
        // Entries that were stored meanwhile displace others before these are read.
        known.add(head("f", 5, "K"), 3);
        assert_eq!(known.dropped(), 3);
        assert_eq!(read(&mut known, "gfedcba", true), (3, 4));
        assert_eq!(ids(&known.page(&Filter::default(), None, 9)), "gfe");
    }

    #[test]
    fn a_hundred_thousand_entries_are_listed_filtered_and_paged_with_each_entry_once() {
        const ENTRIES: u32 = 100_000;
        let index = Index::default();
        index.begin_reading();
        index.add_read((0..ENTRIES).map(|number| {
            // Not in the order of time, as a table is read.
            let number = number * 7919 % ENTRIES;
            Head {
                modification_time: format!("2024-09-11T{:02}:{:02}:00.000Z", number / 60 % 24, number % 60).into(),
                ..head(&number.to_string(), 0, &format!("KEY-{}", number % 1000))
            }
        }));
        index.end_reading(true);
        assert_eq!((index.size(), index.keys(200).len()), ((ENTRIES as usize, 0), 200));
        let keys = index.known(|known| known.names.len());
        assert_eq!(keys, 1000, "each key is stored once");
        let pages = |filter: &Filter, limit: usize| {
            let (mut seen, mut after) = (HashSet::new(), None);
            loop {
                let found = index.page(filter, after.as_deref(), limit);
                assert!(found.heads.len() <= limit);
                after = found.heads.last().map(|head| Arc::clone(&head.id));
                seen.extend(found.heads.into_iter().map(|head| head.id));
                if !found.has_older {
                    return (seen.len(), found.matching);
                }
            }
        };
        assert_eq!(pages(&Filter::default(), 50), (100_000, 100_000));
        // KEY-7, KEY-70 to KEY-79, KEY-700 to KEY-799: 111 of 1000.
        assert_eq!(pages(&Filter { key: "key-7".to_owned(), ..Filter::default() }, 1_000), (11_100, 11_100));
    }
}
