//! How many steps the searches of one fold may take together.

use std::cell::Cell;

/// The steps that the searches of one fold may still take. One step is one entry looked at from one position in an order, or
/// one kilobyte of values that is compared or hashed for it.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<usize>,
    /// The steps that are kept for later.
    reserve: Cell<usize>,
    was_cut_short: Cell<bool>,
}

impl Budget {
    /// A budget of this many steps.
    pub(super) fn new(steps: usize) -> Self {
        Self { left: Cell::new(steps), reserve: Cell::new(0), was_cut_short: Cell::new(false) }
    }

    /// The steps that may be taken now.
    pub(super) fn left(&self) -> usize {
        self.left.get().saturating_sub(self.reserve.get())
    }

    /// Keeps this many steps for later, instead of as many as before.
    pub(super) fn set_reserve(&self, steps: usize) {
        self.reserve.set(steps);
    }

    /// Takes this many steps; false if not so many are left.
    #[must_use]
    pub(super) fn spend(&self, steps: usize) -> bool {
        self.spend_down_to(0, steps)
    }

    /// Takes this many steps if it can leave `rest`; otherwise false.
    #[must_use]
    pub(super) fn spend_down_to(&self, rest: usize, steps: usize) -> bool {
        let can = self.left() >= rest.saturating_add(steps);
        if can {
            self.left.set(self.left.get() - steps);
        }
        can
    }

    /// Notes that something ended early because no steps were left, so that what it did not find may exist all the same.
    pub(super) fn note_cut_short(&self) {
        self.was_cut_short.set(true);
    }

    /// Whether something ended early because no steps were left.
    pub(super) fn was_cut_short(&self) -> bool {
        self.was_cut_short.get()
    }
}
