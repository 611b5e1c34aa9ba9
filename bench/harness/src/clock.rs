//! The one place that reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic time.
pub(crate) fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "this is the only place")]
    Instant::now()
}

/// The wall-clock time, in milliseconds since 1970.
pub(crate) fn unix_milliseconds() -> u128 {
    #[allow(clippy::disallowed_methods, reason = "this is the only place")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
