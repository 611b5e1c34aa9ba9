//! How many steps the searches of one fold may take together.

use std::cell::Cell;

/// The steps that the searches of one fold may still take. One step is one entry looked at from one position in an order, or
/// one kilobyte of values that is compared or hashed for it.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<usize>,
    is_spent: Cell<bool>,
}

impl Budget {
    /// A budget of this many steps.
    pub(super) fn new(steps: usize) -> Self {
        Self { left: Cell::new(steps), is_spent: Cell::new(false) }
    }

    /// The steps that are left.
    pub(super) fn left(&self) -> usize {
        self.left.get()
    }

    /// Takes this many steps; false if not so many are left.
    #[must_use]
    pub(super) fn spend(&self, steps: usize) -> bool {
        self.spend_down_to(0, steps)
    }

    /// The same for a search that must leave `reserve` steps to others.
    #[must_use]
    pub(super) fn spend_down_to(&self, reserve: usize, steps: usize) -> bool {
        let left = self.left().checked_sub(steps).filter(|left| *left >= reserve);
        match left {
            Some(left) => self.left.set(left),
            None => self.is_spent.set(true),
        }
        left.is_some()
    }

    /// Whether steps were refused, so that what was not found may exist all the same.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent.get()
    }
}
