//! Why a record failed, according to the report.

use std::collections::HashSet;

use config_audit::invocation::InvocationError;

use super::need::{Need, Needs};
use crate::ledger::{OMITTED, TrackedChange};
use crate::log::{LoggedRequest, RequestAnswer};
use crate::scenario::Millis;

/// A record fails because of what happened to its own requests or its own object. If nothing is known about them, it
/// fails because of the error of the whole invocation, or because no time was left.
pub(super) fn is_its_own(
    tracked: &TrackedChange,
    need: &Need,
    needs: &Needs<'_>,
    error: Option<&InvocationError>,
    code: &str,
) -> Option<String> {
    let mut own: HashSet<&str> = HashSet::new();
    let is_known = match need {
        Need::Object { prefix, .. } => {
            own.extend(if *prefix == OMITTED { Some("value_omitted") } else { tracked.poison() });
            needs.log.objects_of(&tracked.record, prefix).any(|object| object.is_refused)
        }
        Need::Entries { ids, with_notes, .. } => {
            let requests = || ids.iter().flat_map(|id| needs.requests_for(*id, *with_notes));
            own.extend(requests().filter_map(|request| known(request, needs.ended)));
            !own.is_empty() && !requests().any(LoggedRequest::may_fail_the_invocation)
        }
    };
    if !is_known {
        own.insert(error.map_or("deadline", InvocationError::code));
        // At the last moment, a request may have been given up just before everything else was.
        own.insert("timeout");
    }
    (!own.contains(code)).then(|| {
        format!("record #{} failed with {code}, and what became of its own requests is {own:?}", tracked.change.index)
    })
}

/// What the function knows about a request that did not store all its entries, unless it fails the whole invocation.
fn known(request: &LoggedRequest, ended: Millis) -> Option<&'static str> {
    match (&request.answer, request.given_up) {
        _ if request.may_fail_the_invocation() => None,
        (Some((_, RequestAnswer::Failed(code))), _) => Some(code),
        (Some((_, RequestAnswer::Stored(_))), _) => Some("unprocessed"),
        (Some((_, RequestAnswer::Rejected)), _) => None,
        (None, given_up) => given_up.filter(|at| *at < ended).map(|_| "timeout"),
    }
}
