//! Errors that persist: each is published once when it begins, and once when it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{EventBus, WorldEvent};
use config_audit::clock::Clock;

/// How long after a warning a different error of the action is published. Doubles each time, up to [`MAX_INTERVAL`].
const FIRST_INTERVAL: Duration = Duration::from_secs(10);
/// The longest such interval.
const MAX_INTERVAL: Duration = Duration::from_mins(10);

/// Publishes the errors of actions that are retried repeatedly.
#[derive(Debug)]
pub(super) struct Warnings {
    bus: EventBus,
    failing: BTreeMap<String, Failing>,
}

#[derive(Debug)]
struct Failing {
    /// The error that was published last.
    message: String,
    /// The earliest time at which a different error is published.
    next: Instant,
    interval: Duration,
}

impl Warnings {
    pub(super) fn new(bus: EventBus) -> Self {
        Self { bus, failing: BTreeMap::new() }
    }

    /// The action failed. Published if it worked the last time, or if it now fails for a different reason and some time
    /// has passed.
    pub(super) fn failed(&mut self, action: &str, message: String) {
        let now = Clock::System.instant();
        let interval = match self.failing.get(action) {
            None => FIRST_INTERVAL,
            Some(failing) if failing.message == message || now < failing.next => return,
            Some(failing) => (failing.interval * 2).min(MAX_INTERVAL),
        };
        self.bus.publish(WorldEvent::Warning { message: message.clone() });
        self.failing.insert(action.to_owned(), Failing { message, next: now + interval, interval });
    }

    /// The action worked. Published if it failed the last time.
    pub(super) fn worked(&mut self, action: &str) {
        if self.failing.remove(action).is_some() {
            self.bus.publish(WorldEvent::Recovered { message: format!("{action} works again") });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_error_is_published_once_another_one_ever_more_rarely_and_the_end_once() {
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let mut warnings = Warnings::new(bus);
        let mut published = move || {
            let mut messages = Vec::new();
            while let Ok(event) = events.try_recv() {
                match &*event {
                    WorldEvent::Warning { message } | WorldEvent::Recovered { message } => {
                        messages.push(message.clone());
                    }
                    other => panic!("{other:?}"),
                }
            }
            messages
        };
        for _ in 0..720 {
            warnings.failed("reading", "down".to_owned());
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        assert_eq!(published(), ["down"]);
        warnings.failed("listing", "down".to_owned());
        warnings.worked("reading");
        warnings.worked("reading");
        assert_eq!(published(), ["down", "reading works again"]);
        // Two alternating errors, for an hour.
        for second in 0..720 {
            warnings.failed("reading", format!("error {}", second % 2));
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        // After 0, 10, 20, 40, … seconds, and then every ten minutes.
        assert!((8..=12).contains(&published().len()));
    }
}
