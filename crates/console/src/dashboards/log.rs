//! The function's log, as CloudWatch Logs would have it.

use chrono::{DateTime, Utc};
use config_audit_cloudwatch::insights::LogEvent;

use crate::activity::Activity;

/// The lines of the invocations since then, and Lambda's report of each, as far as they are kept.
pub(super) fn events(activity: &Activity, since: DateTime<Utc>) -> Vec<LogEvent> {
    // Parsed after the state has been read, because that blocks all updates.
    let lines: Vec<(DateTime<Utc>, String)> = activity.read(|known| {
        let invocations = known.invocations.newest_first().take_while(|invocation| invocation.started >= since);
        let lines = invocations.flat_map(|invocation| {
            let printed = invocation.lines.iter().map(|(_, line)| (invocation.started, line.clone()));
            printed.chain(invocation.ended.as_ref().and_then(|ended| ended.report.clone()))
        });
        lines.collect()
    });
    lines.into_iter().map(|(at, line)| LogEvent::of_function(line, at)).collect()
}
