//! One invocation as Lambda passes it: how much time it has, and why it can fail as a whole.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::FutureExt;
use lambda_runtime::Diagnostic;
use opentelemetry::trace::SpanContext;
use tokio::time::{Instant, timeout_at};

use crate::reason::Reason;
use crate::store::StoreError;
use crate::stream::{NotAnEvent, WrongViewType};

/// The part of the allowed time reserved for the answer and the telemetry: a tenth, within these bounds.
const MARGIN: std::ops::RangeInclusive<Duration> = Duration::from_millis(150)..=Duration::from_secs(1);

/// One invocation, as Lambda passes it.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Lambda's ID of the invocation.
    pub request_id: String,
    /// The function's ARN as it was invoked.
    pub function_arn: String,
    /// The invocation's position in a trace; not valid if Lambda sent none.
    pub trace: SpanContext,
    /// Whether this is the first invocation of the process.
    pub cold_start: bool,
    /// When Lambda stops the process, by the time of day.
    pub deadline: DateTime<Utc>,
    /// The event, as received.
    pub event: &'a [u8],
}

/// The part of the allowed time that work on the records may take. The rest is for the answer and the telemetry.
#[must_use]
pub fn working_time(allowed: Duration) -> Duration {
    allowed.saturating_sub((allowed / 10).clamp(*MARGIN.start(), *MARGIN.end()))
}

/// Works on the records until the deadline. Returns why the invocation failed, if it did: at the deadline it has not, but the
/// records that are not settled by then have.
pub async fn work_until<E: Into<InvocationError>>(
    deadline: Instant,
    work: impl Future<Output = Result<(), E>>,
) -> Option<InvocationError> {
    // A panic in a client affects only records that are not settled yet.
    match AssertUnwindSafe(timeout_at(deadline, work)).catch_unwind().await {
        Err(_) => Some(InvocationError::Panicked),
        Ok(Ok(Err(error))) => Some(error.into()),
        Ok(Ok(Ok(())) | Err(_)) => None,
    }
}

/// A trace's ID as X-Ray writes it: `1-<8 hexadecimal digits of the time>-<24 digits>`; `None` for a trace that is not
/// valid (AWS X-Ray Developer Guide, "Tracing header").
#[must_use]
pub fn xray_trace_id(trace: &SpanContext) -> Option<String> {
    let hex = trace.is_valid().then(|| trace.trace_id().to_string())?;
    let (time, rest) = hex.split_at(8);
    Some(format!("1-{time}-{rest}"))
}

/// Why an invocation failed deliberately: nothing is acknowledged, and Lambda redelivers the batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// The event has another shape.
    #[error(transparent)]
    NotAnEvent(#[from] NotAnEvent),
    /// The stream does not carry both images.
    #[error(
        "the stream's view type is {0}, and an audit needs NEW_AND_OLD_IMAGES; a view type cannot be changed: \
         disable the table's stream, enable it with NEW_AND_OLD_IMAGES, and map the function to the new stream"
    )]
    ViewType(String),
    /// The Audit table cannot be written to until someone changes something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Records failed that cannot be reported to Lambda one by one.
    #[error(
        "{0} records failed that have no sequence number, so they cannot be reported one by one, and the whole batch fails"
    )]
    NoSequenceNumber(usize),
    /// There is not even enough time to answer.
    #[error(
        "Lambda allows {} ms for the invocation, of which {} ms are reserved for the answer, so no record is tried; \
         raise the function's timeout",
        .0.as_millis(),
        MARGIN.start().as_millis()
    )]
    NoTime(Duration),
    /// A fault of the function itself. Its message is withheld: it could quote configuration.
    #[error("the function panicked, which is a bug; the log has a line with the location")]
    Panicked,
}

impl InvocationError {
    /// The error's short name, for Lambda, metrics and spans.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAnEvent(_) => "NotAnEvent",
            Self::ViewType(_) => "ViewType",
            Self::Store(_) => "AuditTable",
            Self::NoSequenceNumber(_) => "NoSequenceNumber",
            Self::NoTime(_) => "NoTime",
            Self::Panicked => "Panicked",
        }
    }

    /// Why a record failed that was unsettled when the invocation failed; `None` if the error itself results from
    /// records that failed for other reasons.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::ViewType(_) => Some(Reason::ViewType),
            Self::Store(_) => Some(Reason::AuditTable),
            Self::Panicked => Some(Reason::Panicked),
            Self::NotAnEvent(_) | Self::NoSequenceNumber(_) | Self::NoTime(_) => None,
        }
    }
}

impl From<WrongViewType> for InvocationError {
    fn from(WrongViewType(view): WrongViewType) -> Self {
        Self::ViewType(view)
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        Self { error_type: error.code().to_owned(), error_message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_kept_for_the_answer_within_bounds() {
        for (allowed, work) in [(30_000, 29_000), (5_000, 4_500), (1_000, 850), (200, 50), (100, 0), (0, 0)] {
            assert_eq!(working_time(Duration::from_millis(allowed)), Duration::from_millis(work), "{allowed} ms");
        }
    }

    /// One of each kind. Leaving one out does not compile.
    fn each_error() -> Vec<InvocationError> {
        let store = StoreError {
            failure: crate::store::Failure::Misconfigured,
            code: String::new(),
            message: String::new(),
            request_id: None,
        };
        let all = vec![
            InvocationError::NotAnEvent(NotAnEvent),
            InvocationError::ViewType(String::new()),
            InvocationError::Store(store),
            InvocationError::NoSequenceNumber(1),
            InvocationError::NoTime(Duration::ZERO),
            InvocationError::Panicked,
        ];
        for error in &all {
            match error {
                InvocationError::NotAnEvent(_)
                | InvocationError::ViewType(_)
                | InvocationError::Store(_)
                | InvocationError::NoSequenceNumber(_)
                | InvocationError::NoTime(_)
                | InvocationError::Panicked => {}
            }
        }
        all
    }

    #[test]
    fn records_fail_with_the_code_of_the_error_that_stopped_them() {
        let stopped = each_error().into_iter().filter_map(|error| Some((error.reason()?, error)));
        assert_eq!(stopped.inspect(|(reason, error)| assert_eq!(reason.code(), error.code())).count(), 3);
    }

    /// Operators look codes up there.
    #[test]
    fn each_error_has_its_row_in_the_documents() {
        let page = include_str!("../docs/semantics.md");
        for error in each_error() {
            let row = format!("| `{}` | ", error.code());
            assert!(page.contains(&row), "docs/semantics.md has no row {row}");
        }
    }
}
