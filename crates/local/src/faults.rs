//! Faults that can be switched on in a running world, to see how the function and its alarms react.
//!
//! All parts of the world share one [`Breaker`], and check it for each request, so nothing is restarted.

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
    /// What happens to the function's process in each invocation.
    pub function: Option<FunctionFault>,
    /// Whether the event source mapping is disabled.
    pub mapping_disabled: bool,
    /// Whether records are damaged when they are read from the stream, so that the function cannot audit them.
    pub records_damaged: bool,
}

/// How a table treats batches of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TableFault {
    /// It throttles them.
    Throttles,
    /// It answers with a server error.
    Fails,
    /// It answers after [`SLOW`].
    Slow,
    /// It never answers, and writes nothing.
    Silent,
    /// It writes, and never answers.
    LosesAnswers,
}

/// What happens to the function's process when it receives an event.
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

    /// Changes what is broken, atomically. Does not affect requests in progress.
    pub fn update(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
