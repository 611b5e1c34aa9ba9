//! How a fault is played: how often the table changes, and how far apart Lambda's retries are.

use std::time::Duration;

use clap::ValueEnum;
use config_audit_simulator::scenario::{FaultWindow, Millis, Scenario, Write};
use serde::{Deserialize, Serialize};

use super::catalog::{BEGIN, HOUR, MINUTE};

/// The healthy time before a fault on a dashboard.
pub const DAY: Millis = 24 * HOUR;

/// How often the table changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Rate {
    /// Three changes a day, typical for a configuration table.
    Quiet,
    /// Forty changes an hour.
    Usual,
    /// The same, plus a bulk load within ten minutes.
    Bulk,
}

/// How far apart Lambda's retries are, which AWS does not document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Cadence {
    /// As fast as possible. Simulated as three per minute: alarms evaluate minutes, and would see no difference.
    Fast,
    /// Two minutes.
    TwoMinutes,
    /// Ten minutes.
    TenMinutes,
}

/// A rate and a cadence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Trial {
    /// How often the table changes.
    pub rate: Rate,
    /// How far apart Lambda's retries are.
    pub cadence: Cadence,
}

impl Rate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Quiet, Self::Usual, Self::Bulk];

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Quiet => "three changes a day",
            Self::Usual => "forty changes an hour",
            Self::Bulk => "a bulk load",
        }
    }
}

impl Cadence {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fast, Self::TwoMinutes, Self::TenMinutes];

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Fast => "retries as fast as Lambda can",
            Self::TwoMinutes => "retries two minutes apart",
            Self::TenMinutes => "retries ten minutes apart",
        }
    }

    fn delay(self) -> Duration {
        match self {
            Self::Fast => Duration::from_secs(20),
            Self::TwoMinutes => Duration::from_mins(2),
            Self::TenMinutes => Duration::from_mins(10),
        }
    }
}

impl Trial {
    /// The trial for dashboards and for the table of all alarms.
    pub const USUAL: Self = Self { rate: Rate::Usual, cadence: Cadence::TwoMinutes };

    /// Each rate with each cadence.
    pub fn all() -> impl Iterator<Item = Self> {
        Rate::ALL.into_iter().flat_map(|rate| Cadence::ALL.map(|cadence| Self { rate, cadence }))
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> String {
        format!("{}, {}", self.rate.words(), self.cadence.words())
    }

    /// When a lasting fault ends: later than Lambda's retries and the stream's retention. With fast retries it ends
    /// sooner, because the following days would be the same with a hundred times the invocations.
    pub(super) fn end(self) -> Millis {
        if self.cadence == Cadence::Fast { BEGIN + 4 * HOUR } else { self.distant_end() }
    }

    /// When a fault whose alarms need a day ends.
    pub(super) fn distant_end(self) -> Millis {
        BEGIN + if self.rate == Rate::Quiet { 40 } else { 28 } * HOUR
    }

    /// The scenario a day later, after a healthy day at this rate.
    #[must_use]
    pub fn after_a_healthy_day(self, scenario: Scenario) -> Scenario {
        let day = Scenario::of_traffic(8, DAY / HOUR, |hour| self.per_hour(hour));
        let writes = scenario.writes.into_iter().map(|write| Write { at: write.at + DAY, ..write });
        let windows = scenario.fault_windows.into_iter();
        Scenario {
            writes: day.writes.into_iter().chain(writes).collect(),
            splits: scenario.splits.into_iter().map(|at| at + DAY).collect(),
            fault_windows: windows
                .map(|window| FaultWindow { from: window.from + DAY, to: window.to + DAY, ..window })
                .collect(),
            ..scenario
        }
    }

    /// The number of changes per hour.
    fn per_hour(self, hour: u64) -> u64 {
        match self.rate {
            // One before a fault begins, and one in its first hour.
            Rate::Quiet => u64::from(hour == 0 || hour % 8 == 2),
            Rate::Usual | Rate::Bulk => 40,
        }
    }

    /// A healthy period of this length at this rate.
    pub(super) fn healthy(self, until: Millis) -> Scenario {
        let mut scenario = Scenario::of_traffic(7, until / HOUR + 1, |hour| self.per_hour(hour));
        if self.rate == Rate::Bulk {
            scenario = scenario.with_burst(BEGIN - MINUTE, 10 * MINUTE, 1_000);
        }
        scenario.mapping.first_retry_delay = self.cadence.delay();
        scenario.mapping.longest_retry_delay = self.cadence.delay();
        scenario
    }
}
