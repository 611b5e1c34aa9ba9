//! The one place that reads the clock, and the one that writes a time as text.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::time::Instant;

/// The time of day, and the monotonic time that waits and time-outs use.
///
/// The two are read separately because Lambda freezes the process between invocations: monotonic time may stand still
/// then, the time of day does not.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that starts at a given time and runs with tokio's clock, which tests pause and advance.
    StartingAt(DateTime<Utc>, Instant),
}

impl Clock {
    /// A clock that shows `time` now, and runs with tokio's clock.
    #[must_use]
    pub fn starting_at(time: DateTime<Utc>) -> Self {
        Self::StartingAt(time, Self::System.instant())
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        #[allow(clippy::disallowed_methods, reason = "this is the only place")]
        match self {
            Self::System => SystemTime::now().into(),
            Self::StartingAt(time, start) => *time + start.elapsed(),
        }
    }

    /// The monotonic time.
    #[must_use]
    pub fn instant(&self) -> Instant {
        #[allow(clippy::disallowed_methods, reason = "this is the only place")]
        Instant::now()
    }
}

/// When something started and ended, in monotonic time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// When it started.
    pub started: Instant,
    /// When it ended; until then, the same as [`Self::started`].
    pub ended: Instant,
}

impl Interval {
    /// An interval that has just started.
    #[must_use]
    pub const fn new(started: Instant) -> Self {
        Self { started, ended: started }
    }

    /// The time from start to end; zero if it ended before it started.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.ended.saturating_duration_since(self.started)
    }
}

/// How long a [`timestamp`] is, until the year 9999.
pub const TIMESTAMP_LENGTH: usize = "2024-09-11T09:02:28.000Z".len();

/// A time as entries and log lines write it: RFC 3339, UTC, with milliseconds. Until the year 9999 it has
/// [`TIMESTAMP_LENGTH`] characters, so timestamps sort as text.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_starts_at_a_time_runs_with_tokios_clock() {
        let start = DateTime::from_timestamp(1_726_045_348, 0).unwrap();
        let clock = Clock::starting_at(start);
        let began = clock.instant();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), start + Duration::from_secs(3));
        assert_eq!(clock.instant() - began, Duration::from_secs(3));
    }

    #[test]
    fn an_interval_lasts_from_its_start_to_its_end() {
        let started = Clock::System.instant();
        let later = started + Duration::from_millis(1_500);
        assert_eq!(Interval::new(started).duration(), Duration::ZERO);
        assert_eq!(Interval { started, ended: later }.duration(), Duration::from_millis(1_500));
        assert_eq!(Interval { started: later, ended: started }.duration(), Duration::ZERO);
    }

    #[test]
    fn a_timestamp_has_milliseconds_and_is_utc() {
        let time = DateTime::from_timestamp_millis(1_726_045_348_007).unwrap();
        assert_eq!(timestamp(time), "2024-09-11T09:02:28.007Z");
    }

    proptest! {
        #[test]
        fn timestamps_sort_as_text(one in 0_i64..253_402_300_799_999, other in 0_i64..253_402_300_799_999) {
            let text = |millis| timestamp(DateTime::from_timestamp_millis(millis).unwrap());
            prop_assert_eq!(text(one).len(), 24);
            prop_assert_eq!(one.cmp(&other), text(one).cmp(&text(other)));
        }
    }
}
