//! What happens in the local world, as values: the terminal and the tests subscribe to the same events.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};

use crate::aws::entry::Entry;
use crate::invocation::CompletedInvocation;
use config_audit_mapping::{Condition, SequenceNumber};

/// A table of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorldTable {
    /// The table whose changes are audited.
    Configuration,
    /// The table with the entries.
    Audit,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum WorldEvent {
    /// The function's process was started.
    ProcessStarted {
        /// The operating system's process ID.
        pid: u32,
    },
    /// The function's process ended: by itself, or killed after a time-out.
    ProcessExited {
        /// How, in the operating system's words, such as `exit status: 1`.
        status: String,
    },
    /// The mapping polled the stream. Polls that return no records are published at most once a minute.
    StreamPolled {
        /// The number of records that it returned.
        records: usize,
    },
    /// The embedded database accepted writes.
    TableWritten {
        /// The table.
        table: WorldTable,
        /// The DynamoDB operation.
        operation: String,
        /// The number of items.
        items: usize,
        /// How long it took.
        took: Duration,
    },
    /// The embedded database refused a write request, as it was told to.
    TableRefused {
        /// The table whose items would have been written.
        table: WorldTable,
        /// The DynamoDB operation.
        operation: String,
        /// The number of items.
        items: usize,
        /// Whether the request was throttled; otherwise it failed.
        is_throttled: bool,
    },
    /// The mapping read a record from the stream. The event has no images, because they hold values.
    RecordRead {
        /// The shard it was read from.
        shard_id: String,
        /// Its position in the shard.
        sequence_number: SequenceNumber,
        /// `eventID`, from which the IDs of its entries are derived.
        event_id: String,
        /// `INSERT`, `MODIFY` or `REMOVE`.
        event_name: String,
        /// The item's key, as entries write it; empty if it has none.
        item_key: String,
        /// When the item was changed, according to the stream.
        created: DateTime<Utc>,
    },
    /// A record of the stream was put into the batch of an invocation. The event has no images, because they hold values.
    RecordDelivered {
        /// The shard it was read from.
        shard_id: String,
        /// Its position in the shard.
        sequence_number: SequenceNumber,
        /// `INSERT`, `MODIFY` or `REMOVE`.
        event_name: String,
    },
    /// The event was handed to the function's process, or a process is being started for it.
    InvocationStarted {
        /// `Lambda-Runtime-Aws-Request-Id`.
        request_id: String,
        /// `Lambda-Runtime-Trace-Id`, as in `Root=1-…;Parent=…;Sampled=1`; empty if none is sent.
        trace_header: String,
    },
    /// The invocation has ended. All lines and segments that the function had sent by then have been published already.
    InvocationEnded(CompletedInvocation),
    /// The function printed a line.
    LogLine {
        /// Which output it was printed to.
        source: LogSource,
        /// The line, without its end.
        line: String,
    },
    /// Something happened to the witness function or its mapping.
    Witness(Arc<Self>),
    /// A segment document reached the X-Ray daemon.
    SegmentReceived {
        /// The document.
        document: Value,
    },
    /// The X-Ray daemon received something that is not a segment document.
    SegmentRejected {
        /// What is wrong with it.
        reason: String,
    },
    /// The Audit table has a new or changed entry.
    EntryStored {
        /// The entry.
        entry: Entry,
    },
    /// A batch failed and will be retried.
    RetryScheduled {
        /// The batch's shard.
        shard_id: String,
        /// Records in the batch.
        records: usize,
        /// Which retry this will be, from 1.
        retry: u32,
        /// How long the shard waits before it.
        delay: Duration,
        /// Why the batch failed.
        reason: String,
    },
    /// A failed batch was split in two.
    BatchBisected {
        /// The batch's shard.
        shard_id: String,
        /// The first record of the second half.
        at: SequenceNumber,
    },
    /// All records up to this one are done: their batch succeeded, or they are in the on-failure destination.
    CheckpointAdvanced {
        /// The shard.
        shard_id: String,
        /// The last record that is done.
        sequence_number: SequenceNumber,
    },
    /// Records that Lambda gave up on were written to the on-failure destination.
    SentToDestination {
        /// The object's key in the failure bucket.
        key: String,
        /// Why Lambda gave up.
        condition: Condition,
        /// How many records.
        records: usize,
    },
    /// The on-failure destination failed; the batch is kept and will be sent again.
    DestinationFailed {
        /// Why it failed.
        message: String,
    },
    /// Something went wrong, such as a stream that cannot be read at the moment, but the world continues. An error that
    /// persists is published once.
    Warning {
        /// What went wrong.
        message: String,
    },
    /// Something that a [`WorldEvent::Warning`] reported works again.
    Recovered {
        /// What works again.
        message: String,
    },
}

/// Which of its two outputs the function wrote a line to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error. CloudWatch Logs gets this too.
    Stderr,
}

/// Publishes events to subscribers. Clones publish to the same subscribers.
///
/// A subscriber receives all events published after it subscribed, in order. A slow one delays nobody: its events wait
/// in its own queue, without a limit ([`EventBus::subscribe`]) or with one ([`EventBus::subscribe_bounded`]).
#[derive(Debug, Clone, Default)]
pub struct EventBus {
    subscribers: Arc<Mutex<Vec<Subscriber>>>,
}

#[derive(Debug)]
enum Subscriber {
    Unbounded(UnboundedSender<Arc<WorldEvent>>),
    Bounded { sender: Sender<Arc<WorldEvent>>, missed: Arc<AtomicUsize> },
}

impl EventBus {
    /// A bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Receives all events from now on. The channel closes when the world and all its parts are gone. Meant for
    /// short-lived subscribers, because the queue has no limit.
    #[must_use]
    pub fn subscribe(&self) -> UnboundedReceiver<Arc<WorldEvent>> {
        let (sender, receiver) = unbounded_channel();
        self.add(Subscriber::Unbounded(sender));
        receiver
    }

    /// Receives events from now on, with a queue of at most `capacity`. The subscriber misses the events that do not
    /// fit, and learns how many they were.
    #[must_use]
    pub fn subscribe_bounded(&self, capacity: usize) -> BoundedEvents {
        let (sender, events) = channel(capacity);
        let missed = Arc::new(AtomicUsize::new(0));
        self.add(Subscriber::Bounded { sender, missed: Arc::clone(&missed) });
        BoundedEvents { events, missed }
    }

    /// Sends the event to all subscribers.
    pub fn publish(&self, event: WorldEvent) {
        let event = Arc::new(event);
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| subscriber.send(Arc::clone(&event)));
    }

    fn add(&self, subscriber: Subscriber) {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(subscriber);
    }
}

impl Subscriber {
    /// Returns false if the subscriber is gone.
    fn send(&self, event: Arc<WorldEvent>) -> bool {
        match self {
            Self::Unbounded(sender) => sender.send(event).is_ok(),
            Self::Bounded { sender, missed } => match sender.try_send(event) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    missed.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(TrySendError::Closed(_)) => false,
            },
        }
    }
}

/// The events of a subscriber whose queue has a limit.
#[derive(Debug)]
pub struct BoundedEvents {
    events: Receiver<Arc<WorldEvent>>,
    missed: Arc<AtomicUsize>,
}

/// What a subscriber with a limited queue receives.
#[derive(Debug, Clone)]
pub enum Received {
    /// The next event.
    Event(Arc<WorldEvent>),
    /// The queue was full, so this many events were missed. They were published after those still in the queue.
    Missed(usize),
}

impl BoundedEvents {
    /// The next event, or the number of missed ones; `None` when the world and all its parts are gone.
    pub async fn recv(&mut self) -> Option<Received> {
        match self.missed.swap(0, Ordering::Relaxed) {
            0 => self.events.recv().await.map(Received::Event),
            missed => Some(Received::Missed(missed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_subscriber_holds_no_more_than_its_queue_and_learns_what_it_missed() {
        let bus = EventBus::new();
        let mut events = bus.subscribe_bounded(2);
        for pid in 1..=5 {
            bus.publish(WorldEvent::ProcessStarted { pid });
        }
        assert!(matches!(events.recv().await, Some(Received::Missed(3))));
        for expected in [1, 2] {
            let Some(Received::Event(event)) = events.recv().await else { panic!("no event") };
            assert!(matches!(*event, WorldEvent::ProcessStarted { pid } if pid == expected));
        }
        drop(bus);
        assert!(events.recv().await.is_none());
    }

    #[test]
    fn a_subscriber_that_is_gone_is_forgotten() {
        let bus = EventBus::new();
        drop((bus.subscribe(), bus.subscribe_bounded(1)));
        bus.publish(WorldEvent::ProcessStarted { pid: 1 });
        assert!(bus.subscribers.lock().unwrap().is_empty());
    }
}
