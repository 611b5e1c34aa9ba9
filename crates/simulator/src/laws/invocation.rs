//! What one invocation does with its records.

use std::rc::Rc;
use std::time::Duration;

use config_audit::invocation::InvocationError;
use config_audit::report::{Outcome, Report};

use super::need::Needs;
use super::{cause, metrics};
use crate::change::RecordDefect;
use crate::ledger::TrackedChange;
use crate::log::InvocationLog;
use crate::scenario::{Millis, Scenario};

/// An answer must be ready this long before the timeout.
const MIN_MARGIN: Duration = Duration::from_millis(100);

/// The answer is ready in time, the metrics agree with what the table and the bucket saw, and each record has the
/// outcome that it must have. A record may fail only if one of its own requests or objects met a fault, or could not be
/// tried in the available time.
pub(crate) fn of_an_invocation(
    scenario: &Scenario,
    batch: &[Rc<TrackedChange>],
    log: &InvocationLog,
    report: &Report,
    ended: Millis,
) -> Vec<String> {
    let mut violations = Vec::new();
    let left = scenario.timeout.saturating_sub(Duration::from_millis(ended - log.started));
    if left < MIN_MARGIN {
        violations.push(format!("an answer was ready only {left:?} before the time-out"));
    }
    violations.extend(metrics::agree(batch, log, report));

    if let Some(error) = &report.error {
        let nameless = batch.iter().any(|tracked| tracked.change.defect == Some(RecordDefect::NoSequenceNumber));
        if !log.may_fail() && !scenario.wrong_view_type && !nameless {
            violations.push(format!("an invocation failed as a whole, and nothing asked for it: {error}"));
        }
    }
    // A record without a sequence number fails the invocation at the end, but does not affect other records.
    let error = report.error.as_ref().filter(|error| !matches!(error, InvocationError::NoSequenceNumber(_)));
    let needs = Needs { log, ended, has_bucket: scenario.has_bucket };
    for index in needs.sent_too_late(batch.iter().map(|tracked| &**tracked)) {
        violations.push(format!("an entry was sent again before those of #{index} were sent at all"));
    }
    for (tracked, record) in batch.iter().zip(&report.records) {
        let need = needs.of(tracked);
        let (is_right, why) = match (&record.outcome, tracked.poison()) {
            (Outcome::Audited, None) if tracked.expected.is_empty() => (false, "it changes nothing"),
            (Outcome::Audited, None) => (need.is_none(), "its entries are not known to be stored"),
            (Outcome::Unchanged, None) => (tracked.expected.is_empty(), "it changes something"),
            (Outcome::Quarantined(cause), Some(reason)) => (
                need.is_none() && cause.reason.code() == reason,
                "it is not known to be in the failure bucket for that reason",
            ),
            (Outcome::Failed(_), _) => {
                // If the stream lacks an image, no record is processed.
                let is_excused = matches!(error, Some(InvocationError::ViewType(_)))
                    || need.as_ref().is_some_and(|need| error.is_some() || needs.may_be_unmet(tracked, need));
                (is_excused, "no fault of its own asked for it")
            }
            _ => (false, "no fault of its own asked for it"),
        };
        if !is_right {
            violations.push(format!("record #{} is {:?}, and {why}", tracked.change.index, record.outcome));
        }
        if let (Outcome::Failed(cause), Some(need)) = (&record.outcome, need) {
            violations.extend(cause::is_its_own(tracked, &need, &needs, error, cause.reason.code()));
        }
    }
    violations
}
