//! How many requests may be in flight: slow start, additive increase, multiplicative decrease.

use tokio::time::Instant;

/// The requests that an invocation begins with: four times what a batch of Lambda's default size needs.
pub(super) const FIRST_IN_FLIGHT: u32 = 16;
/// The maximum number of requests in flight. More made no batch faster (docs/performance.md), and each is a connection.
pub(super) const MAX_IN_FLIGHT: u32 = 40;

/// The number of requests that may be in flight.
#[derive(Debug)]
pub(super) struct Window {
    size: u32,
    /// Answers since the last step up that were not throttled.
    answers: u32,
    /// When it last shrank.
    shrunk: Option<Instant>,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: FIRST_IN_FLIGHT, answers: 0, shrunk: None }
    }
}

impl Window {
    /// How many requests may be in flight: at least one.
    pub(super) fn size(&self) -> usize {
        self.size as usize
    }

    /// A request that was sent at `sent` was answered without a throttle. Until the first throttle, each answer allows
    /// one more request in flight; after that, it takes as many answers as there may be requests in flight.
    pub(super) fn grow(&mut self, sent: Instant) {
        if self.shrunk.is_some_and(|shrunk| sent < shrunk) {
            return;
        }
        self.answers += 1;
        if self.shrunk.is_none() || self.answers >= self.size {
            self.answers = 0;
            self.size = (self.size + 1).min(MAX_IN_FLIGHT);
        }
    }

    /// A request that was sent at `sent` was throttled: half as many may be in flight. Requests that were sent before
    /// the window shrank say nothing about the smaller one.
    pub(super) fn shrink(&mut self, sent: Instant, now: Instant) {
        if self.shrunk.is_none_or(|shrunk| sent >= shrunk) {
            self.size = (self.size / 2).max(1);
            self.shrunk = Some(now);
            self.answers = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn it_halves_once_for_requests_that_were_in_flight_together() {
        let start = Clock::System.instant();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::default();
        for _ in 0..8 {
            window.shrink(at(0), at(1));
        }
        assert_eq!(window.size(), 8);
        for (second, size) in [(1, 4), (2, 2), (3, 1), (4, 1)] {
            window.shrink(at(second), at(second + 1));
            assert_eq!(window.size(), size);
        }
    }

    /// Their answers say nothing about the smaller window.
    #[test]
    fn it_does_not_grow_by_requests_that_were_sent_before_it_shrank() {
        let start = Clock::System.instant();
        let mut window = Window::default();
        window.shrink(start, start + Duration::from_secs(1));
        (0..100).for_each(|_| window.grow(start));
        assert_eq!(window.size(), 8);
    }

    #[test]
    fn it_grows_with_each_answer_until_the_first_throttle() {
        let now = Clock::System.instant();
        let mut window = Window::default();
        (0..10).for_each(|_| window.grow(now));
        assert_eq!(window.size(), 26);
        (0..100).for_each(|_| window.grow(now));
        assert_eq!(window.size(), MAX_IN_FLIGHT as usize);
    }

    #[test]
    fn it_grows_by_one_for_each_full_window_that_is_answered() {
        let now = Clock::System.instant();
        let mut window = Window { size: 1, answers: 0, shrunk: Some(now) };
        let sizes: Vec<usize> = (0..12)
            .map(|_| {
                window.grow(now);
                window.size()
            })
            .collect();
        assert_eq!(sizes, [2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5]);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(answers in prop::collection::vec(any::<bool>(), 0..200)) {
            let start = Clock::System.instant();
            let mut window = Window::default();
            for (second, is_throttled) in answers.into_iter().enumerate() {
                let now = start + Duration::from_secs(second as u64);
                if is_throttled { window.shrink(now, now) } else { window.grow(now) }
                prop_assert!((1..=MAX_IN_FLIGHT as usize).contains(&window.size()));
            }
        }
    }
}
