//! The one place that reads the clock.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// The time of day, and the steady time that waits and time-outs go by.
///
/// The two are read apart because Lambda freezes the process between invocations: the steady clock may stand still
/// then, the time of day does not.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that starts at a given time and moves on with tokio's, which tests pause and advance.
    StartingAt(DateTime<Utc>, Instant),
}

impl Clock {
    /// A clock that shows `time` now, and moves on with tokio's.
    #[must_use]
    pub fn starting_at(time: DateTime<Utc>) -> Self {
        Self::StartingAt(time, Self::System.instant())
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        #[allow(clippy::disallowed_methods, reason = "this is the one place")]
        match self {
            Self::System => SystemTime::now().into(),
            Self::StartingAt(time, start) => *time + start.elapsed(),
        }
    }

    /// The steady time.
    #[must_use]
    pub fn instant(&self) -> Instant {
        #[allow(clippy::disallowed_methods, reason = "this is the one place")]
        Instant::now()
    }
}
