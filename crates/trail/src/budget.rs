//! How many steps all searches of one fold may take in total.

use std::cell::Cell;

/// The remaining steps of the searches of one fold. One step is one entry examined at one position in an order, or one
/// kilobyte of values compared or hashed for it.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<usize>,
    /// The steps reserved for later.
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

    /// Changes the number of steps reserved for later.
    pub(super) fn set_reserve(&self, steps: usize) {
        self.reserve.set(steps);
    }

    /// Takes this many steps; false if fewer are left.
    #[must_use]
    pub(super) fn spend(&self, steps: usize) -> bool {
        self.spend_down_to(0, steps)
    }

    /// Takes this many steps if at least `rest` remain; otherwise false.
    #[must_use]
    pub(super) fn spend_down_to(&self, rest: usize, steps: usize) -> bool {
        let can = self.left() >= rest.saturating_add(steps);
        if can {
            self.left.set(self.left.get() - steps);
        }
        can
    }

    /// Notes that a search was cut short because no steps were left, so what it did not find may still exist.
    pub(super) fn note_cut_short(&self) {
        self.was_cut_short.set(true);
    }

    /// Whether a search was cut short because no steps were left.
    pub(super) fn was_cut_short(&self) -> bool {
        self.was_cut_short.get()
    }
}
