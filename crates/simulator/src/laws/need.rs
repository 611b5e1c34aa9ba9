//! What a record still needs of an invocation, and whether it may do without.

use uuid::Uuid;

use super::{OMITTED, QUARANTINED, REJECTED};
use crate::ledger::TrackedChange;
use crate::log::InvocationLog;
use crate::scenario::Millis;

/// Where nothing is wrong, all that a record needs is done in less.
const HEALTHY: Millis = 250;
/// An entry that waited for an object is sent within this time after it, or half of the working time where that is less,
/// whatever is wrong with the requests of other records.
const MAX_WAIT: Millis = 5_000;

/// The next thing that a record needs, and does not have.
#[derive(Debug)]
pub(super) enum Need {
    /// An object in the failure bucket.
    Object {
        /// How its key begins.
        prefix: &'static str,
        /// When it was known that the record must be kept.
        since: Millis,
    },
    /// Entries in the Audit table.
    Entries {
        ids: Vec<Uuid>,
        /// When the object was stored that they waited for.
        after: Option<Millis>,
    },
}

/// What the records of one invocation need.
pub(super) struct Needs<'a> {
    pub(super) log: &'a InvocationLog,
    pub(super) ended: Millis,
    pub(super) has_bucket: bool,
}

impl Needs<'_> {
    /// What a record needs still; `None` where it has everything.
    pub(super) fn of(&self, tracked: &TrackedChange) -> Option<Need> {
        let started = self.log.started;
        let object = |prefix: &'static str, since: Millis| {
            let is_stored = self.log.object_stored(&tracked.record, prefix).is_some();
            (!is_stored).then_some(Need::Object { prefix, since })
        };
        if tracked.poison().is_some_and(|reason| reason != REJECTED) {
            return object(QUARANTINED, started);
        }
        let after = if tracked.change.is_large() {
            match self.log.object_stored(&tracked.record, OMITTED) {
                Some(stored) => Some(stored),
                None => return object(OMITTED, started),
            }
        } else {
            None
        };
        let all = tracked.expected.iter().map(|entry| entry.id);
        let ids: Vec<Uuid> = all.clone().filter(|id| !self.log.is_settled(*id)).collect();
        if !ids.is_empty() {
            return Some(Need::Entries { ids, after });
        }
        let rejected = all.filter_map(|id| self.log.rejected(id)).max();
        rejected.and_then(|at| object(QUARANTINED, at))
    }

    /// Whether a need may be left unmet.
    pub(super) fn may_be_unmet(&self, tracked: &TrackedChange, need: &Need) -> bool {
        match need {
            Need::Object { .. } if !self.has_bucket => true,
            Need::Object { prefix, since } => {
                let mut own = self.log.objects_of(&tracked.record, prefix);
                let in_time = !self.log.bucket_had_faults() && self.log.left_at(*since) >= HEALTHY;
                own.any(|object| !object.faults.is_empty()) || self.log.reached_deadline(self.ended) && !in_time
            }
            Need::Entries { ids, after } => ids.iter().any(|id| {
                let mut own = self.log.requests_of(*id);
                // Without a fault of its own it was never sent, or with too little time left.
                let in_time = match after {
                    Some(after) if self.log.table_had_faults() => {
                        self.log.left_at(*after) >= MAX_WAIT.min(self.log.left_at(self.log.started) / 2)
                    }
                    Some(after) => self.log.left_at(*after) >= HEALTHY,
                    None => !self.log.table_had_faults(),
                };
                own.any(|request| !request.faults.is_empty()) || self.log.reached_deadline(self.ended) && !in_time
            }),
        }
    }
}
