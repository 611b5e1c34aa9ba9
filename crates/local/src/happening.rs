//! What happens in the local world, as values: the terminal, the tests and later a console listen to the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::function::Answer;
use crate::entry::Entry;
use config_audit_mapping::{Condition, SequenceNumber};

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Happening {
    /// The function's process was started.
    ProcessStarted {
        /// The operating system's process ID.
        pid: u32,
    },
    /// The function's process ended: by itself, or killed at the time-out.
    ProcessExited {
        /// How, in the operating system's words, such as `exit status: 1`.
        status: String,
    },
    /// A record of the stream was put into the batch of an invocation. Its images are not told: they hold values.
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
        /// `Lambda-Runtime-Trace-Id`, as in `Root=1-…;Parent=…;Sampled=1`; empty where none is sent.
        trace_header: String,
    },
    /// The invocation is over. Every line and segment that the function had sent by then was told before.
    Answered {
        /// The invocation's request ID.
        request_id: String,
        /// What came back.
        answer: Answer,
        /// From the hand-over to the answer, a cold start included.
        duration: Duration,
    },
    /// The invocation ran into its time-out; the process was killed.
    TimedOut {
        /// The invocation's request ID.
        request_id: String,
        /// The time-out that was configured.
        timeout: Duration,
    },
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
    /// Something reached the X-Ray daemon that is no segment document.
    SegmentRefused {
        /// What is wrong with it.
        why: String,
    },
    /// A new or changed entry is in the Audit table.
    AuditStored {
        /// The entry.
        entry: Entry,
    },
    /// A batch failed and will be tried again.
    Retry {
        /// The batch's shard.
        shard_id: String,
        /// Records in the batch.
        records: usize,
        /// Which retry this will be, from 1.
        retry: u32,
        /// How long the shard waits before it.
        after: Duration,
        /// Why the batch failed.
        reason: String,
    },
    /// A failed batch was split in two.
    Bisected {
        /// The batch's shard.
        shard_id: String,
        /// The first record of the second part.
        at: SequenceNumber,
    },
    /// All records up to this one need no more work: their batch succeeded, or they are in the on-failure destination.
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
    /// The on-failure destination refused; the batch is kept and tried again.
    DestinationRefused {
        /// What it said.
        message: String,
    },
    /// Something went wrong that the world goes on after, such as a stream that can't be read just now.
    Trouble {
        /// What, and what is done about it.
        message: String,
    },
}

/// Which of the two outputs a line of the function was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output: what CloudWatch Logs would get.
    Stdout,
    /// Standard error: CloudWatch Logs gets this too.
    Stderr,
}

/// Where happenings are told, and heard. Clones tell into the same place.
///
/// Every listener hears all that is told after it subscribed, in order; a slow one delays nobody.
#[derive(Debug, Clone, Default)]
pub struct Happenings {
    listeners: Arc<Mutex<Vec<UnboundedSender<Arc<Happening>>>>>,
}

impl Happenings {
    /// A place with no listener yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hears everything from now on. The channel ends when the world and all its parts are gone.
    #[must_use]
    pub fn subscribe(&self) -> UnboundedReceiver<Arc<Happening>> {
        let (sender, receiver) = unbounded_channel();
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Tells everyone who listens.
    pub fn tell(&self, happening: Happening) {
        let happening = Arc::new(happening);
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.send(Arc::clone(&happening)).is_ok());
    }
}
