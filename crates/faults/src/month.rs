//! Thirty days in which every problem resolves itself.

use config_audit_simulator::fault::Fault;
use config_audit_simulator::scenario::Scenario;
use serde::Serialize;

use super::catalog::{FIRST_CANARY, HOUR, MINUTE};
use super::received::{Delay, Hiccup, Source};
use super::trial::Rate;

/// How many days.
const DAYS: u64 = 30;

/// A month.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Month {
    /// How often the table changes.
    pub rate: Rate,
    /// Whether there is a canary.
    pub has_canary: bool,
}

impl Month {
    /// Each rate, and the canary if nothing else shows that the path works.
    pub const ALL: [Self; 4] = [
        Self { rate: Rate::Quiet, has_canary: false },
        Self { rate: Rate::Usual, has_canary: false },
        Self { rate: Rate::Bulk, has_canary: false },
        Self { rate: Rate::Quiet, has_canary: true },
    ];

    /// In words.
    #[must_use]
    pub fn words(self) -> String {
        format!("{}{}", self.rate.words(), if self.has_canary { " and a canary" } else { "" })
    }

    /// What happens in it.
    #[must_use]
    pub fn healthy(self) -> Scenario {
        let scenario = healthy_month(self.rate);
        if self.has_canary { scenario.with_canary(FIRST_CANARY..DAYS * 24 * HOUR) } else { scenario }
    }
}

/// Days and nights, bursts, idle hours, deployments, short throttles, occasional crashes, and redelivered batches.
fn healthy_month(rate: Rate) -> Scenario {
    let per_hour = |hour: u64| match (rate, hour / 24 % 7, hour % 24) {
        (Rate::Quiet, ..) => u64::from(hour % 8 == 2),
        // At weekends and at night.
        (_, 5 | 6, _) | (_, _, 0..6 | 22..) => u64::from(hour.is_multiple_of(3)) * 2,
        (_, _, 9..18) => 90,
        _ => 15,
    };
    let mut scenario = Scenario::of_traffic(1, DAYS * 24, per_hour);
    for day in 0..DAYS {
        let begin = day * 24 * HOUR;
        let at = |hour: u64, minutes: u64| (begin + hour * HOUR, begin + hour * HOUR + minutes * MINUTE);
        let all_day = at(0, 24 * 60);
        // A deployment replaces the process. The table throttles while it scales up. Other functions use up the
        // concurrency, even at night, when there is only one record to audit. Now and then a request fails.
        let faults = [
            (Fault::FunctionReplaced, at(11, 10), 100),
            (Fault::StoreThrottles, at(10, 3), 70),
            (Fault::StoreThrottles, at(0, 3), 100),
            (Fault::AnswerLost, at(14, 1), 100),
            (Fault::FunctionThrottled, at(16, 3), 50),
            (Fault::FunctionThrottled, at(3, 4), 100),
            (Fault::StoreFails, all_day, 1),
            (Fault::StoreFailsAfterWriting, all_day, 1),
            (Fault::RedeliveredAfterSuccess, all_day, 2),
            (Fault::StaleRedelivery, all_day, 1),
        ];
        for (fault, (from, to), chance) in faults {
            scenario = scenario.with(fault, from, to, chance);
        }
        match rate {
            Rate::Usual if day % 7 == 2 => {
                scenario = scenario.with_burst(begin + 10 * HOUR + 20 * MINUTE, 2 * MINUTE, 3_000);
            }
            Rate::Quiet | Rate::Usual => {}
            // During the throttling.
            Rate::Bulk => scenario = scenario.with_burst(begin + 10 * HOUR, 10 * MINUTE, 2_000),
        }
    }
    scenario
}

/// CloudWatch's own problems in such a month, at a different hour each day: metrics from AWS, the function, or both are
/// missing for ten minutes or arrive an hour late.
#[must_use]
pub fn hiccups() -> Vec<Hiccup> {
    let of_day = |day: u64| {
        let from = (day * 24 + day * 7 % 24) * HOUR + day * 11 % 60 * MINUTE;
        let hiccup = |source, minutes: u64, delay| Hiccup { source, from, to: from + minutes * MINUTE, delay };
        match day % 5 {
            0 => vec![hiccup(Source::Aws, 10, Delay::Lost)],
            1 => vec![hiccup(Source::Aws, 60, Delay::Hour)],
            2 => vec![hiccup(Source::Logs, 60, Delay::Hour)],
            3 => vec![hiccup(Source::Aws, 60, Delay::Hour), hiccup(Source::Logs, 60, Delay::Hour)],
            _ => vec![hiccup(Source::Logs, 10, Delay::Lost)],
        }
    };
    (0..DAYS).flat_map(of_day).collect()
}
