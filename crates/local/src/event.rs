//! What happens in the local world, as values: the terminal and the tests subscribe to the same events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::aws::entry::Entry;
use crate::invocation::CompletedInvocation;
use config_audit_mapping::{Condition, SequenceNumber};

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
    /// A record of the stream was put into the batch of an invocation. The event has no images, because they hold values.
    RecordDelivered {
        /// The shard it was read from.
        shard_id: String,
        /// Its place in the shard.
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
    /// The invocation has ended. All lines and segments that the function had sent by then were published before.
    InvocationEnded(CompletedInvocation),
    /// The function printed a line.
    LogLine {
        /// Where to.
        source: LogSource,
        /// The line, without its end.
        line: String,
    },
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
    /// Records that Lambda gave up were written to the on-failure destination.
    SentToDestination {
        /// The object's key in the failure bucket.
        key: String,
        /// Why Lambda gave up.
        condition: Condition,
        /// How many records.
        records: usize,
    },
    /// The on-failure destination failed; the batch is kept and sent again.
    DestinationFailed {
        /// Why.
        message: String,
    },
    /// Something went wrong, and the world goes on, such as a stream that cannot be read just now. An error that persists
    /// is published once.
    Warning {
        /// What went wrong.
        message: String,
    },
    /// What a [`WorldEvent::Warning`] reported works again.
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
/// A subscriber receives all events that are published after it subscribed, in order. A slow one delays nobody.
#[derive(Debug, Clone, Default)]
pub struct EventBus {
    subscribers: Arc<Mutex<Vec<UnboundedSender<Arc<WorldEvent>>>>>,
}

impl EventBus {
    /// A bus with no subscriber yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Receives all events from now on. The channel closes when the world and all its parts are gone.
    #[must_use]
    pub fn subscribe(&self) -> UnboundedReceiver<Arc<WorldEvent>> {
        let (sender, receiver) = unbounded_channel();
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Sends the event to all subscribers.
    pub fn publish(&self, event: WorldEvent) {
        let event = Arc::new(event);
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| subscriber.send(Arc::clone(&event)).is_ok());
    }
}
