//! How to run the function, and what Lambda tells it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The account in the function's ARN, which belongs to nobody.
pub const ACCOUNT: &str = "000000000000";

/// How to run the function.
#[derive(Debug, Clone)]
pub struct FunctionSettings {
    /// The binary.
    pub bootstrap: PathBuf,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub name: String,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, in MB. The function sees it, but nothing enforces it.
    pub memory_mb: u32,
    /// How long an invocation may take before the process is killed.
    pub timeout: Duration,
    /// How long a process may take to ask for its first event. Lambda allows 10 s.
    pub init_timeout: Duration,
    /// The region in the function's ARN.
    pub region: String,
    /// The trace header of each invocation.
    pub trace: Trace,
    /// The function's own variables. They override those that Lambda sets, because no name is reserved here.
    pub environment: BTreeMap<String, String>,
    /// Whether the process inherits this process's environment, including the user's AWS settings. Otherwise it starts
    /// from an empty one, so that nothing of the user's leaks in.
    pub inherit_environment: bool,
}

impl FunctionSettings {
    /// Lambda's defaults for a binary: 128 MB; and 30 s, as in `serverless.yml`.
    #[must_use]
    pub fn new(bootstrap: impl Into<PathBuf>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            name: "config-audit-local-audit".to_owned(),
            memory_mb: 128,
            timeout: Duration::from_secs(30),
            init_timeout: Duration::from_secs(10),
            region: "eu-central-1".to_owned(),
            trace: Trace::Sampled,
            environment: BTreeMap::new(),
            inherit_environment: false,
        }
    }

    /// The function's ARN, without a version.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{ACCOUNT}:function:{}", self.region, self.name)
    }
}

/// Which trace header Lambda sends with an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// X-Ray keeps the trace, so the function sends its spans.
    Sampled,
    /// X-Ray does not keep the trace.
    NotSampled,
    /// No header.
    Absent,
}

impl Trace {
    /// The `Lambda-Runtime-Trace-Id` of a new trace; empty if there is no header.
    pub(super) fn header(self, now: DateTime<Utc>) -> String {
        let sampled = match self {
            Self::Sampled => 1,
            Self::NotSampled => 0,
            Self::Absent => return String::new(),
        };
        let seconds = now.timestamp();
        let root = Uuid::new_v4().simple().to_string();
        let parent = Uuid::new_v4().simple().to_string();
        format!("Root=1-{seconds:08x}-{};Parent={};Sampled={sampled}", &root[..24], &parent[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_header_has_xrays_form() {
        let now = DateTime::from_timestamp_secs(0x6541_2f3a).unwrap();
        let header = Trace::Sampled.header(now);
        let parts: Vec<_> = header.split(';').collect();
        let root: Vec<_> = parts[0].strip_prefix("Root=").unwrap().split('-').collect();
        assert_eq!((root[0], root[1], root[2].len()), ("1", "65412f3a", 24));
        assert_eq!(parts[1].strip_prefix("Parent=").unwrap().len(), 16);
        assert_eq!(parts[2], "Sampled=1");
        assert!(Trace::NotSampled.header(now).ends_with(";Sampled=0"));
        assert_eq!(Trace::Absent.header(now), "");
    }

    #[test]
    fn the_arn_is_lambdas() {
        let arn = FunctionSettings::new("bootstrap").arn();
        assert_eq!(arn, "arn:aws:lambda:eu-central-1:000000000000:function:config-audit-local-audit");
    }
}
