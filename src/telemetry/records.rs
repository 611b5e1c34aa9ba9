//! Log lines about single records: what went wrong, and at debug level every record.

use tracing::Level;

use crate::reason::Reason;
use crate::report::{Outcome, Record, Report};

/// The maximum number of lines about single records in one invocation; one more says how many are left out. The wide
/// line names every record that failed.
const MAX_LINES: usize = 50;

/// Logs what went wrong with the records and the invocation. Call this within the invocation's span.
pub fn log(report: &Report) {
    if tracing::enabled!(Level::DEBUG) {
        report.records.iter().for_each(debug);
    }
    let stopped_by = report.error.as_ref().and_then(crate::invocation::InvocationError::reason);
    let has_line = |record: &Record| deserves_line(record, stopped_by.as_ref(), report.error.is_some());
    let mut with_line: Vec<_> = report.records.iter().enumerate().filter(|(_, record)| has_line(record)).collect();
    // Errors first, so that warnings never take their place.
    with_line.sort_by_key(|(_, record)| record.outcome == Outcome::Audited);
    let without = with_line.len().saturating_sub(MAX_LINES);
    with_line.truncate(MAX_LINES);
    for (index, record) in with_line {
        let object = report.objects.iter().find(|object| object.record == index && object.error.is_none());
        line(record, object.map(|object| object.url.as_str()));
    }
    if without > 0 {
        tracing::warn!(
            records = without,
            "{without} more records have no line of their own; this invocation's wide line counts all reasons and lists every \
             record that failed"
        );
    }
    if let Some(error) = &report.error {
        tracing::error!(error = error.code(), "the invocation failed, and Lambda will redeliver the batch: {error}");
    }
}

/// Whether a record gets its own line. The error of the invocation covers all records that it stopped.
fn deserves_line(record: &Record, stopped_by: Option<&Reason>, has_error: bool) -> bool {
    match &record.outcome {
        Outcome::Quarantined(_) => true,
        Outcome::Failed(cause) => Some(&cause.reason) != stopped_by,
        // If the batch is redelivered, that delivery logs it.
        Outcome::Audited => record.created.is_none() && !has_error,
        Outcome::Witnessed | Outcome::Unchanged => false,
    }
}

fn debug(record: &Record) {
    tracing::debug!(
        outcome = record.outcome.name(),
        sequenceNumber = record.sequence_number,
        itemKey = record.item_key,
        eventName = record.event_name.map(crate::stream::EventName::as_str),
        auditsWritten = record.audits_written,
        "record"
    );
}

/// One line about one record; `object` is the URL of its object, if it is stored.
fn line(record: &Record, object: Option<&str>) {
    let key = record.item_key.as_deref();
    let number = record.sequence_number.as_deref();
    match &record.outcome {
        Outcome::Quarantined(cause) => {
            tracing::error!(
                reason = cause.reason.code(),
                sequenceNumber = number,
                itemKey = key,
                object,
                "record quarantined: {}",
                cause.message
            );
        }
        Outcome::Failed(cause) => tracing::error!(
            reason = cause.reason.code(),
            sequenceNumber = number,
            itemKey = key,
            "record failed, and Lambda will redeliver it: {}",
            cause.message
        ),
        Outcome::Audited | Outcome::Witnessed | Outcome::Unchanged => tracing::warn!(
            sequenceNumber = number,
            itemKey = key,
            "the record has no ApproximateCreationDateTime; its audit entries have the time of processing"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tracing::level_filters::LevelFilter;

    use super::*;
    use crate::invocation::InvocationError;
    use crate::report::Cause;
    use crate::settings::LogFormat;
    use crate::telemetry::logs::tests::logged;
    use crate::testing;

    /// What is logged for a report: level, reason or error, message.
    fn lines(report: &Report) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        logged(LevelFilter::INFO, LogFormat::Json, || log(report))
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| {
                let code = if line["reason"].is_null() { &line["error"] } else { &line["reason"] };
                (text(&line["level"]), text(code), text(&line["message"]))
            })
            .collect()
    }

    fn failed(reason: Reason) -> Outcome {
        Outcome::Failed(Cause::new(reason, "why"))
    }

    #[tokio::test(start_paused = true)]
    async fn only_problems_have_log_lines() {
        let report = testing::report_of_everything();
        let lines = lines(&report);
        let codes: Vec<(&str, &str)> = lines.iter().map(|(level, code, _)| (level.as_str(), code.as_str())).collect();
        assert_eq!(codes, [("ERROR", "no_key"), ("ERROR", "timeout"), ("WARN", "")]);
        assert!(lines[2].2.contains("ApproximateCreationDateTime"), "{lines:?}");
    }

    /// The line of the error covers the records that it stopped, and no others.
    #[tokio::test(start_paused = true)]
    async fn an_error_of_the_invocation_hides_no_other_cause() {
        let mut report = testing::report_of_everything();
        report.error = Some(InvocationError::Panicked);
        let stopped = Record { outcome: failed(Reason::Panicked), ..report.records[0].clone() };
        report.records.extend(vec![stopped; 60]);
        let lines = lines(&report);
        let codes: Vec<&str> = lines.iter().map(|(_, code, _)| code.as_str()).collect();
        assert_eq!(codes, ["no_key", "timeout", "Panicked"]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_fifty_lines_one_says_how_many_are_omitted() {
        let mut report = testing::report();
        let record = Record { outcome: failed(Reason::Timeout), ..testing::report_of_everything().records[0].clone() };
        report.records = vec![record; 53];
        let lines = lines(&report);
        assert_eq!(lines.len(), MAX_LINES + 1);
        assert!(lines[MAX_LINES].2.starts_with("3 more records have no line of their own"), "{:?}", lines[MAX_LINES]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_never_takes_the_line_of_an_error() {
        let mut report = testing::report();
        let all = testing::report_of_everything().records;
        let without_time = Record { created: None, ..all[0].clone() };
        report.records = vec![without_time; 60];
        report.records.push(Record { outcome: failed(Reason::Timeout), ..all[0].clone() });
        assert_eq!(lines(&report)[0].1, "timeout");
    }
}
