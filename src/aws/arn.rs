//! Amazon Resource Names: what the function reads from those of its stream and of itself.

use std::borrow::Cow;

/// The table's name if a stream's ARN does not have one.
const UNKNOWN_TABLE: &str = "unknown";

/// The ARN of a table's stream, `arn:aws:dynamodb:<region>:<account>:table/<name>/stream/<label>`. An ARN of another shape is
/// kept unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamArn<'a>(Cow<'a, str>);

impl<'a> StreamArn<'a> {
    /// Takes an ARN as a record has it.
    #[must_use]
    pub fn new(arn: impl Into<Cow<'a, str>>) -> Self {
        Self(arn.into())
    }

    /// The whole ARN, as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The table's name; `unknown` if the ARN has another shape, or a name that DynamoDB would not allow
    /// (Amazon DynamoDB Developer Guide, "Naming rules").
    #[must_use]
    pub fn table(&self) -> &str {
        let is_name = |name: &&str| {
            (3..=255).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        let resource = self.0.split_once(":table/").map(|(_, resource)| resource);
        resource.and_then(|resource| resource.split('/').next()).filter(is_name).unwrap_or(UNKNOWN_TABLE)
    }

    /// The same ARN, which can outlive the record that it was read from.
    #[must_use]
    pub fn into_owned(self) -> StreamArn<'static> {
        StreamArn(Cow::Owned(self.0.into_owned()))
    }
}

/// The table's name in a stream's ARN; `unknown` if there is no ARN, or it has another shape.
#[must_use]
pub fn table<'s>(stream_arn: Option<&'s StreamArn<'_>>) -> &'s str {
    stream_arn.map_or(UNKNOWN_TABLE, StreamArn::table)
}

/// The account in an ARN, `arn:<partition>:<service>:<region>:<account>:<resource>`, if any.
#[must_use]
pub fn account_id(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

/// A Lambda function's ARN, `arn:<partition>:lambda:<region>:<account>:function:<name>`, qualified with a version.
/// Replaces the version or alias that the ARN may already end with.
#[must_use]
pub fn with_version(function_arn: &str, version: &str) -> String {
    let unqualified: Vec<&str> = function_arn.split(':').take(7).collect();
    format!("{}:{version}", unqualified.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        "arn:aws:dynamodb:eu-central-1:905418349556:table/Configuration/stream/2024-09-11T09:00:17.927";
    const FUNCTION: &str = "arn:aws:lambda:eu-central-1:123456789012:function:config-audit-dev-audit";

    #[test]
    fn a_streams_arn_names_its_table() {
        for (arn, name) in [
            (STREAM, "Configuration"),
            ("arn:aws-cn:dynamodb:cn-north-1:905418349556:table/a_b-c.D/stream/x", "a_b-c.D"),
            ("arn:aws:dynamodb:eu-central-1:905418349556:table/Configuration", "Configuration"),
            ("", "unknown"),
            ("arn:aws:sqs:x", "unknown"),
            ("x:table/a b/", "unknown"),
            ("x:table//stream/y", "unknown"),
            // The name becomes part of object keys, and they become part of paths.
            ("x:table/../stream/y", "unknown"),
            ("x:table/./stream/y", "unknown"),
            ("x:table/.../stream/y", "..."),
        ] {
            let parsed = StreamArn::new(arn.to_owned());
            assert_eq!((parsed.as_str(), parsed.table()), (arn, name));
            assert_eq!(table(Some(&parsed)), name);
        }
        assert_eq!(table(None), "unknown");
    }

    #[test]
    fn an_arn_names_its_account() {
        assert_eq!(account_id(FUNCTION), Some("123456789012"));
        assert_eq!(account_id(STREAM), Some("905418349556"));
        for arn in ["", "arn:aws:lambda:eu-central-1", "arn:aws:s3:::bucket"] {
            assert_eq!(account_id(arn), None, "{arn:?}");
        }
    }

    #[test]
    fn a_functions_arn_gets_the_version_that_runs() {
        for qualifier in ["", ":live", ":7", ":$LATEST"] {
            assert_eq!(
                with_version(&format!("{FUNCTION}{qualifier}"), "42"),
                format!("{FUNCTION}:42"),
                "{qualifier:?}"
            );
        }
    }
}
