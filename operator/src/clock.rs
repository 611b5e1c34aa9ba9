//! The one place of this package that reads the time.

#![allow(clippy::disallowed_methods, reason = "this is the clock")]

use std::time::Instant;

use chrono::{DateTime, Utc};

/// The time of day.
#[must_use]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A point in time to measure durations from.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}
