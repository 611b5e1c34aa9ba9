//! Recent activity in the local world, in bounded memory.
//!
//! [`Activity`] subscribes to the world's events. Pages read its [`State`], and a counter tells them that it changed,
//! so there is no queue that could grow while a browser is slow or forgotten.

mod change;
mod invocation;
mod metrics;
mod recent;
mod seconds;
mod state;

use std::sync::{Arc, Mutex, PoisonError};

use config_audit::clock::Clock;
use config_audit_local::{BoundedEvents, EventBus, Received, WorldEvent};
use tokio::sync::watch;

use crate::trail::{Head, Index};

pub use change::{Change, Place};
pub use invocation::{Ended, Invocation, StoredEntry};
pub use metrics::{KEPT_HOURS, MAX_SAMPLES, WorldMetrics};
pub use recent::Recent;
pub use seconds::{Amounts, KEPT_SECONDS, Seconds};
pub use state::{Counts, Notice, Retry, State};

/// How many changes are kept.
pub const MAX_CHANGES: usize = 1_000;
/// How many invocations are kept.
pub const MAX_INVOCATIONS: usize = 1_000;
/// How many bytes of log lines and segment documents are kept.
pub const MAX_TEXT: usize = 32 << 20;
/// How many notices are kept.
pub const MAX_NOTICES: usize = 100;
/// The revision after which nothing changes.
pub const CLOSED: u64 = u64::MAX;
/// The maximum number of events that wait for the console.
const MAX_QUEUE: usize = 65_536;

/// Recent activity in the local world.
#[derive(Debug)]
pub struct Activity {
    state: Mutex<State>,
    /// The trail's entries without their values.
    entries: Arc<Index>,
    revision: watch::Sender<u64>,
}

impl Activity {
    /// No activity yet, in a world whose changes come from this stream.
    #[must_use]
    pub fn new(stream_arn: Option<&str>) -> Self {
        let state = Mutex::new(State::new(stream_arn, Clock::System.now()));
        Self { state, entries: Arc::default(), revision: watch::Sender::new(0) }
    }

    /// The trail's entries. Each is added as it is stored.
    pub(crate) fn entries(&self) -> &Arc<Index> {
        &self.entries
    }

    /// Subscribes to the events of a world.
    #[must_use]
    pub fn subscribe(bus: &EventBus) -> BoundedEvents {
        bus.subscribe_bounded(MAX_QUEUE)
    }

    /// Consumes events until the world is gone.
    pub async fn follow(self: Arc<Self>, mut events: BoundedEvents) {
        while let Some(received) = events.recv().await {
            if let Received::Event(event) = &received
                && let WorldEvent::EntryStored { entry } = &**event
            {
                self.entries.add(Head::of(entry.item()));
            }
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                match received {
                    Received::Event(event) => state.apply(&event, Clock::System.now()),
                    Received::Missed(missed) => state.missed += missed,
                }
            }
            self.revision.send_if_modified(|revision| {
                let is_open = *revision != CLOSED;
                *revision += u64::from(is_open);
                is_open
            });
        }
    }

    /// Reads the state. This blocks all updates, so be quick.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Updates the state, as events do.
    #[cfg(test)]
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Marks the end: tasks that wait for the next revision finish.
    pub fn close(&self) {
        self.revision.send_replace(CLOSED);
    }

    /// Changes whenever the state does; [`CLOSED`] at the end.
    #[must_use]
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}
