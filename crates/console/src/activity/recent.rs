//! A bounded list of the newest values, numbered in order of arrival.

use std::collections::VecDeque;

/// The newest values, at most `limit` of them.
#[derive(Debug)]
pub struct Recent<T> {
    items: VecDeque<T>,
    limit: usize,
    /// How many have been dropped, which is also the number of the oldest one kept.
    dropped: usize,
}

impl<T> Recent<T> {
    /// An empty list.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { items: VecDeque::new(), limit, dropped: 0 }
    }

    /// Adds a value. Returns the one that was dropped to make room.
    pub fn push(&mut self, item: T) -> Option<T> {
        self.items.push_back(item);
        if self.items.len() <= self.limit {
            return None;
        }
        self.dropped += 1;
        self.items.pop_front()
    }

    /// The number that the next one will have.
    #[must_use]
    pub fn next_number(&self) -> usize {
        self.dropped + self.items.len()
    }

    /// How many of the oldest were dropped.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The newest one.
    #[must_use]
    pub fn newest(&self) -> Option<&T> {
        self.items.back()
    }

    /// The value with this number, unless it was dropped.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.items.get_mut(number.checked_sub(self.dropped)?)
    }

    /// All, the newest first.
    #[must_use]
    pub fn newest_first(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.items.iter().rev()
    }

    /// All, the newest first.
    pub fn newest_first_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.items.iter_mut().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_dropped_and_the_others_keep_their_numbers() {
        let mut recent = Recent::new(2);
        assert_eq!((recent.push('a'), recent.push('b'), recent.push('c')), (None, None, Some('a')));
        assert_eq!(recent.newest_first().collect::<String>(), "cb");
        assert_eq!([0, 1, 3].map(|number| recent.get_mut(number).copied()), [None, Some('b'), None]);
        assert_eq!((recent.dropped(), recent.next_number(), recent.len()), (1, 3, 2));
    }
}
