//! What a fault costs.

use std::fmt;

use chrono::{DateTime, Utc};
use config_audit_cloudwatch::units::count;
use config_audit_simulator::scenario::Millis;
use config_audit_simulator::world::{Fate, Unaudited};
use serde::Serialize;

use super::received::time;

/// The changes that the stream no longer has and Lambda has given up on. A few may still have their entries, if only
/// the answer to their last write was lost.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    /// Those that are lost: no copy is left.
    pub lost: usize,
    /// Those whose records wait in the failure bucket until somebody redrives them.
    pub awaiting_redrive: usize,
}

impl Loss {
    /// No loss.
    pub const NONE: Self = Self { lost: 0, awaiting_redrive: 0 };

    /// The loss of a run by this time.
    pub(super) fn until(unaudited: &[Unaudited], now: DateTime<Utc>) -> Self {
        let count = |fate| {
            let is_counted = |it: &&Unaudited| it.fate == fate && time(it.since) <= now;
            unaudited.iter().filter(is_counted).count()
        };
        Self { lost: count(Fate::Lost), awaiting_redrive: count(Fate::AwaitsRedrive) }
    }

    /// The times at which the first change is lost, and at which the first record is in the failure bucket.
    pub(super) fn first(unaudited: &[Unaudited]) -> [Option<Millis>; 2] {
        [Fate::Lost, Fate::AwaitsRedrive]
            .map(|fate| unaudited.iter().filter(|it| it.fate == fate).map(|it| it.since).min())
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lost {
            0 => formatter.write_str("nothing")?,
            lost => formatter.write_str(&count(lost, "change", "changes"))?,
        }
        match self.awaiting_redrive {
            0 => Ok(()),
            waiting => write!(formatter, "; {} in the failure bucket", count(waiting, "record waits", "records wait")),
        }
    }
}
