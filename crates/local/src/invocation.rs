//! How an invocation ended.

use std::time::Duration;

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use config_audit::clock::timestamp;
use serde_json::{Value, json};

/// What the function returned, usually JSON, or why it returned nothing.
pub type Outcome = Result<Bytes, InvocationError>;

/// An invocation that has ended.
#[derive(Debug, Clone)]
pub struct CompletedInvocation {
    /// Its request ID.
    pub request_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, including a cold start.
    pub duration: Duration,
    /// How long the process took to ask for its first event, if this invocation started it.
    pub init: Option<Duration>,
}

impl CompletedInvocation {
    /// What Lambda writes to the function's log at the end of an invocation (AWS Lambda Developer Guide, "Lambda
    /// Telemetry API Event schema reference": `platform.report`), as far as it is known here.
    #[must_use]
    pub fn platform_report(&self, time: DateTime<Utc>) -> Value {
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let duration = self.duration.saturating_sub(self.init.unwrap_or_default());
        let mut metrics = json!({ "durationMs": milliseconds(duration) });
        if let Some(init) = self.init {
            metrics["initDurationMs"] = milliseconds(init).into();
        }
        let mut record = json!({ "requestId": self.request_id, "metrics": metrics });
        record["status"] = match &self.outcome {
            Ok(_) => "success",
            Err(InvocationError::Function(_)) => "error",
            Err(InvocationError::TimedOut { .. }) => "timeout",
            Err(InvocationError::Exited { .. } | InvocationError::Init(_)) => "failure",
        }
        .into();
        if let Err(error) = &self.outcome {
            record["errorType"] = error.report().error_type.into();
        }
        json!({ "time": timestamp(time), "type": "platform.report", "record": record })
    }
}

/// Why an invocation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// The function reported an error.
    #[error("the function failed: {0}")]
    Function(ErrorReport),
    /// The function did not answer in time, and its process was killed.
    #[error("the function timed out after {} s", timeout.as_secs_f64())]
    TimedOut {
        /// The configured time-out.
        timeout: Duration,
    },
    /// The process exited in the middle of the invocation.
    #[error("the function's process ended: {status}")]
    Exited {
        /// How, in the operating system's words.
        status: String,
    },
    /// The process did not start: it reported an error, exited before it asked for an event, or never asked for one.
    #[error("the function did not start: {0}")]
    Init(ErrorReport),
}

impl InvocationError {
    /// The error as Lambda reports it to the function's caller.
    #[must_use]
    pub fn report(&self) -> ErrorReport {
        match self {
            Self::Function(report) | Self::Init(report) => report.clone(),
            Self::TimedOut { .. } => ErrorReport::new("Sandbox.Timedout", self.to_string()),
            Self::Exited { .. } => ErrorReport::new("Runtime.ExitError", self.to_string()),
        }
    }
}

/// An error as a function reports it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error_type}: {message}")]
pub struct ErrorReport {
    /// `errorType`.
    pub error_type: String,
    /// `errorMessage`.
    pub message: String,
}

impl ErrorReport {
    /// An error of this type, with this message.
    pub fn new(error_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self { error_type: error_type.into(), message: message.into() }
    }
}
