//! What a record still needs from an invocation, and whether it may go without.

use uuid::Uuid;

use crate::change::REJECTED;
use crate::ledger::{OMITTED, QUARANTINED, TrackedChange};
use crate::log::{InvocationLog, LoggedRequest};
use crate::scenario::Millis;

/// If nothing is wrong, everything that a record needs is done in less time than this.
const HEALTHY: Millis = 250;
/// The longest time that a request may take, as `MAX_ATTEMPT` in `src/writer.rs`. An entry that waited for an object is
/// sent within this time, or half of the working time if that is less, whatever is wrong with the requests of other
/// records.
const MAX_ATTEMPT: Millis = 5_000;

/// The next thing that a record needs but does not have.
#[derive(Debug)]
pub(super) enum Need {
    /// An object in the failure bucket.
    Object {
        /// The prefix of its key.
        prefix: &'static str,
        /// When it was known that the record must be kept.
        since: Millis,
    },
    /// Entries in the Audit table.
    Entries {
        ids: Vec<Uuid>,
        /// When the object that they waited for was stored.
        after: Option<Millis>,
        /// Whether they were rejected with their values, and now need notes in place of the values.
        with_notes: bool,
    },
}

/// What the records of one invocation need.
pub(super) struct Needs<'a> {
    pub(super) log: &'a InvocationLog,
    pub(super) ended: Millis,
    pub(super) has_bucket: bool,
}

impl<'a> Needs<'a> {
    /// What a record still needs; `None` if it has everything.
    pub(super) fn of(&self, tracked: &TrackedChange) -> Option<Need> {
        self.follow(tracked).err()
    }

    /// Follows a record's progress as far as it got.
    fn follow(&self, tracked: &TrackedChange) -> Result<(), Need> {
        let log = self.log;
        let object = |prefix: &'static str, since: Millis| {
            log.object_stored(&tracked.record, prefix, since).ok_or(Need::Object { prefix, since })
        };
        let all_settled = |open: Vec<Uuid>, after: Option<Millis>, with_notes: bool| {
            if open.is_empty() { Ok(()) } else { Err(Need::Entries { ids: open, after, with_notes }) }
        };
        if tracked.poison().is_some_and(|reason| reason != REJECTED) {
            return object(QUARANTINED, log.started).map(drop);
        }
        let after = tracked.is_over_limits().then(|| object(OMITTED, log.started)).transpose()?;
        let ids = || tracked.expected.iter().map(|entry| entry.id);
        // First, DynamoDB accepts or rejects an entry as planned.
        let first = |id: &Uuid| log.rejected(*id, true).or(log.stored(*id)).or(log.rejected(*id, false));
        all_settled(ids().filter(|id| first(id).is_none()).collect(), after, false)?;
        let mut settled = ids().filter_map(|id| first(&id)).max().unwrap_or(log.started);
        // Entries that are rejected with values are written again with notes, which refer to the full record.
        let again: Vec<Uuid> = ids().filter(|id| log.rejected(*id, true).is_some()).collect();
        if !again.is_empty() {
            let kept = object(OMITTED, settled)?;
            let second = |id: &Uuid| log.stored(*id).or(log.rejected(*id, false));
            all_settled(again.iter().copied().filter(|id| second(id).is_none()).collect(), Some(kept), true)?;
            settled = again.iter().filter_map(second).max().unwrap_or(settled);
        }
        // If an entry is rejected even then, the record is quarantined.
        if ids().any(|id| log.rejected(id, false).is_some()) {
            object(QUARANTINED, settled)?;
        }
        Ok(())
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
            Need::Entries { ids, after, with_notes } => ids.iter().any(|id| {
                let mut own = self.requests_for(*id, *with_notes);
                // Without a fault of its own, it was never sent, or sent with too little time left.
                let in_time = match after {
                    Some(after) if self.log.table_had_faults() => {
                        self.log.left_at(*after) >= MAX_ATTEMPT.min(self.log.left_at(self.log.started) / 2)
                    }
                    Some(after) => self.log.left_at(*after) >= HEALTHY,
                    None => !self.log.table_had_faults(),
                };
                own.any(|request| !request.faults.is_empty()) || self.log.reached_deadline(self.ended) && !in_time
            }),
        }
    }

    /// The requests that contained an entry in the form that is needed.
    pub(super) fn requests_for(&self, id: Uuid, with_notes: bool) -> impl Iterator<Item = &'a LoggedRequest> {
        let is_needed = move |request: &&LoggedRequest| {
            request.entries.iter().any(|entry| entry.id == id && !(with_notes && entry.has_values))
        };
        self.log.requests.iter().filter(is_needed)
    }

    /// An entry that waits for nothing is sent before any other is sent again. Returns the records that violate this.
    pub(super) fn sent_too_late<'b>(&self, batch: impl Iterator<Item = &'b TrackedChange>) -> Vec<usize> {
        let Some(first_repeat) = self.log.repeats().first().copied() else { return Vec::new() };
        let before = &self.log.requests[..first_repeat];
        let is_sent = |id: Uuid| before.iter().any(|request| request.entries.iter().any(|entry| entry.id == id));
        let waits_for_nothing = |tracked: &&TrackedChange| {
            tracked.poison().is_none_or(|reason| reason == REJECTED) && !tracked.is_over_limits()
        };
        let is_late = |tracked: &&TrackedChange| !tracked.expected.iter().all(|entry| is_sent(entry.id));
        batch.filter(waits_for_nothing).filter(is_late).map(|tracked| tracked.change.index).collect()
    }
}
