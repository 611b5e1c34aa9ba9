//! Activity counts for each of the last seconds.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// How many seconds are kept.
pub const KEPT_SECONDS: i64 = 300;

/// The activity within a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// Changes that the mapping read from the stream.
    pub changes: usize,
    /// Entries that were stored.
    pub entries: usize,
    /// Invocations that ended.
    pub invocations: usize,
    /// Of these, the ones that failed or reported a record as failed.
    pub failed: usize,
    /// Batches that will be delivered again.
    pub retries: usize,
    /// The longest time from a change to one of its entries.
    pub longest_lag_ms: f64,
}

/// The last seconds with any activity.
#[derive(Debug, Default)]
pub struct Seconds {
    /// Each with its second since 1970, oldest first.
    amounts: VecDeque<(i64, Amounts)>,
}

impl Seconds {
    /// The amounts for the second of this time, so that the caller can add to them.
    pub fn at(&mut self, now: DateTime<Utc>) -> &mut Amounts {
        // If the clock is set back, this adds to the newest second.
        let second = self.amounts.back().map_or(now.timestamp(), |(last, _)| now.timestamp().max(*last));
        if self.amounts.back().is_none_or(|(last, _)| *last != second) {
            self.amounts.push_back((second, Amounts::default()));
        }
        while self.amounts.front().is_some_and(|(first, _)| *first <= second - KEPT_SECONDS) {
            self.amounts.pop_front();
        }
        let last = self.amounts.len() - 1;
        &mut self.amounts[last].1
    }

    /// The activity in this many seconds up to now.
    #[must_use]
    pub fn last(&self, seconds: i64, now: DateTime<Utc>) -> Amounts {
        let recent = self.amounts.iter().rev().take_while(|(second, _)| *second > now.timestamp() - seconds);
        recent.fold(Amounts::default(), |sum, (_, more)| sum.and(more))
    }

    /// The activity in each of the last `number` intervals of this many seconds, oldest first.
    #[must_use]
    pub fn intervals(&self, seconds: i64, number: usize, now: DateTime<Utc>) -> Vec<Amounts> {
        let mut intervals = vec![Amounts::default(); number];
        for (second, amounts) in &self.amounts {
            let age = usize::try_from((now.timestamp() - second).max(0) / seconds).unwrap_or(usize::MAX);
            if let Some(index) = number.checked_sub(age + 1) {
                intervals[index] = intervals[index].and(amounts);
            }
        }
        intervals
    }
}

impl Amounts {
    fn and(self, other: &Self) -> Self {
        Self {
            changes: self.changes + other.changes,
            entries: self.entries + other.entries,
            invocations: self.invocations + other.invocations,
            failed: self.failed + other.failed,
            retries: self.retries + other.retries,
            longest_lag_ms: self.longest_lag_ms.max(other.longest_lag_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + second, 0).unwrap()
    }

    #[test]
    fn amounts_are_summed_per_second_and_dropped_after_five_minutes() {
        let mut seconds = Seconds::default();
        for second in [0, 0, 10, 299, 300] {
            seconds.at(at(second)).changes += 1;
        }
        seconds.at(at(300)).longest_lag_ms = 7.0;
        assert_eq!(seconds.last(300, at(300)).changes, 3);
        assert_eq!(seconds.last(1, at(300)), Amounts { changes: 1, longest_lag_ms: 7.0, ..Amounts::default() });
        assert_eq!(seconds.last(60, at(1000)), Amounts::default());
        let intervals = seconds.intervals(150, 2, at(300)).iter().map(|amounts| amounts.changes).collect::<Vec<_>>();
        assert_eq!(intervals, [1, 2]);
        // If the clock is set back, amounts are added to the newest second.
        seconds.at(at(200)).changes += 1;
        assert_eq!(seconds.last(1, at(300)).changes, 2);
    }
}
