//! Faults that somebody switches on in a running world, to see what the function and its alarms make of them.
//!
//! All parts of the world share one [`Breaker`], and ask it for each request: nothing is restarted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// How long a slow table takes to answer: less than the function waits for an answer.
pub const SLOW: Duration = Duration::from_secs(2);

/// What is broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Faults {
    /// How the Audit table treats what the function writes.
    pub table: Option<TableFault>,
    /// Whether the failure bucket refuses objects.
    pub bucket_refuses: bool,
    /// What becomes of the function's process in each invocation.
    pub function: Option<FunctionFault>,
    /// Whether the event source mapping is disabled.
    pub mapping_disabled: bool,
    /// Whether records that are read from the stream are damaged, so that the function cannot audit them.
    pub records_damaged: bool,
}

/// How a table treats batches of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TableFault {
    /// It refuses them as throttled.
    Throttles,
    /// It answers that it failed.
    Fails,
    /// It answers after [`SLOW`].
    Slow,
    /// It never answers, and writes nothing.
    Silent,
    /// It writes, and never answers.
    LosesAnswers,
}

/// What becomes of the function's process when it receives an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FunctionFault {
    /// It is killed.
    Crashes,
    /// It stops, and is killed at its time-out.
    Hangs,
}

/// A switch that parts of the world share. Nothing is broken at first.
#[derive(Debug, Clone, Default)]
pub struct Breaker(Arc<Mutex<Faults>>);

impl Breaker {
    /// What is broken now.
    #[must_use]
    pub fn faults(&self) -> Faults {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is broken, atomically. Requests in progress are not affected.
    pub fn update(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
