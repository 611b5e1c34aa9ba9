//! Why a record failed or was quarantined: every code, as data.
//!
//! The code is the `reason` of a log line, a member of `reasons` in the wide line, the `reason` of an object in the failure
//! bucket and the `error.type` of a record's span. `docs/semantics.md` has the same table; a test keeps the two in
//! sync.

use std::fmt;

use crate::store::StoreError;
use crate::stream::NotAChange;

/// Declares the reasons and their table.
macro_rules! reasons {
    ($($variant:ident = $code:literal, $meaning:literal, $help:literal;)*) => {
        /// Why a record failed or was quarantined.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
            /// DynamoDB answered with this error code, which is not among the others.
            DynamoDb(String),
        }

        impl Reason {
            /// Every reason with a code of this project, with what it means and what helps. DynamoDB's own error codes
            /// are not in it.
            pub const TABLE: &[(Self, &'static str, &'static str)] =
                &[$((Self::$variant, $meaning, $help)),*];

            /// The short name: for logs, metrics, spans and the failure bucket.
            #[must_use]
            pub fn code(&self) -> &str {
                match self {
                    $(Self::$variant => $code,)*
                    Self::DynamoDb(code) => code,
                }
            }
        }
    };
}

reasons! {
    Undecodable = "undecodable",
        "The record does not have the shape of a DynamoDB Streams record.",
        "Report a bug, and keep the object.";
    Incomplete = "incomplete",
        "The record lacks a member that every stream record has.",
        "Report a bug, and keep the object.";
    UnknownEventName = "unknown_event_name",
        "The record's event name is not INSERT, MODIFY or REMOVE.",
        "Report a bug, and keep the object.";
    NoKey = "no_key",
        "The record has no attribute of the name in `KEY_ATTRIBUTE`, or it is not a string, a number or binary.",
        "Set the parameter `keyAttribute` to the table's key, deploy, and redrive.";
    KeyTooLong = "key_too_long",
        "The key is longer than 2,048 bytes as text, too long for the Audit table's index. This happens to binary keys of more than 1,536 bytes.",
        "The change cannot be audited as it is: tell whoever writes the item. The object is the evidence of the change.";
    InvalidValue = "invalid_value",
        "An attribute has a value that DynamoDB would refuse.",
        "The change cannot be audited as it is: tell whoever writes the item. The object is the evidence of the change.";
    InvalidTime = "invalid_time",
        "The record's time is not in seconds from the year 1971 to the year 9999.",
        "Report a bug, and keep the object.";
    DuplicateEventId = "duplicate_event_id",
        "Another record of the same event, which comes first, has the same event ID and other content. This one is kept.",
        "Report a bug, and keep the object.";
    Panic = "panic",
        "The function panicked while it worked on the record.",
        "Report a bug with the log line that has the place, and keep the object.";
    RejectedByDynamoDb = "rejected_by_dynamodb",
        "DynamoDB rejects an entry of the record, even with notes in place of its values.",
        "The change cannot be audited as it is: tell whoever writes the item. The object is the evidence of the change.";
    ValueOmitted = "value_omitted",
        "DynamoDB does not take a value in an entry, and the failure bucket did not take the full record. In the bucket: the full record that an entry refers to.",
        "Do what the log line says about the bucket. The next delivery succeeds.";
    EntryAltered = "entry_altered",
        "Somebody altered an entry of the Audit table. In the bucket: the entry before and after.",
        "Follow the runbook [TrailTampered](runbooks/trail-tampered.md).";
    EntryDeleted = "entry_deleted",
        "Somebody deleted an entry of the Audit table. In the bucket: the entry.",
        "Follow the runbook [TrailTampered](runbooks/trail-tampered.md).";
    NotWitnessed = "not_witnessed",
        "The witness bucket did not take the witness of an entry.",
        "Do what the log line says about the bucket. Lambda tries again.";
    Deadline = "deadline",
        "There was no time left to write all entries of the record.",
        "Lambda tries again. If it lasts: look at throttling, at latency, and at the function's timeout.";
    Timeout = "timeout",
        "DynamoDB did not answer a request in time.",
        "Lambda tries again. If it lasts: see the AWS Health Dashboard.";
    Unprocessed = "unprocessed",
        "DynamoDB returned items unprocessed until there was no time left.",
        "Follow the runbook [AuditTableThrottled](runbooks/audit-table-throttled.md).";
    Connection = "connection",
        "DynamoDB could not be reached.",
        "Check the function's network, if it runs in a VPC, and the AWS Health Dashboard.";
    Response = "response",
        "DynamoDB's answer could not be read.",
        "Lambda tries again.";
    Dispatch = "dispatch",
        "A request could not be sent.",
        "Read the log line; it has the cause.";
    ViewType = "ViewType",
        "The stream does not have both images.",
        "Disable the table's stream, enable it with NEW_AND_OLD_IMAGES, and map the function to the new stream.";
    AuditTable = "AuditTable",
        "Nothing can be written to the Audit table: it is missing, has another key, or access is denied.",
        "Do what the error says.";
    Panicked = "Panicked",
        "The function panicked outside of a single record.",
        "Report a bug with the log line that has the place.";
}

impl Reason {
    /// Why entries are not known to be stored after a request failed with this error.
    #[must_use]
    pub fn of_store_error(error: &StoreError) -> Self {
        let known = Self::TABLE.iter().map(|(reason, ..)| reason).find(|reason| reason.code() == error.code);
        known.cloned().unwrap_or_else(|| Self::DynamoDb(error.code.clone()))
    }
}

impl From<NotAChange> for Reason {
    fn from(error: NotAChange) -> Self {
        match error {
            NotAChange::Undecodable { .. } => Self::Undecodable,
            NotAChange::Missing(_) => Self::Incomplete,
            NotAChange::UnknownEventName => Self::UnknownEventName,
            NotAChange::NoKey => Self::NoKey,
            NotAChange::KeyTooLong => Self::KeyTooLong,
            NotAChange::InvalidValue(_) => Self::InvalidValue,
            NotAChange::InvalidTime => Self::InvalidTime,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_reason_has_its_own_code_and_a_remedy() {
        let codes: HashSet<_> = Reason::TABLE.iter().map(|(reason, ..)| reason.code()).collect();
        assert_eq!(codes.len(), Reason::TABLE.len());
        for (reason, meaning, help) in Reason::TABLE {
            assert!(meaning.ends_with('.') && help.ends_with('.'), "{reason}");
        }
    }

    /// Operators look codes up there.
    #[test]
    fn each_reason_has_its_row_in_the_documents() {
        let page = include_str!("../docs/semantics.md");
        for (reason, meaning, help) in Reason::TABLE {
            let row = format!("| `{reason}` | {meaning} | {help} |");
            assert!(page.contains(&row), "docs/semantics.md has no row\n{row}");
        }
    }

    #[test]
    fn an_error_code_of_dynamodb_is_kept_as_it_is() {
        let error = |code: &str| StoreError {
            failure: crate::store::Failure::Unavailable,
            code: code.to_owned(),
            message: String::new(),
            request_id: None,
        };
        assert_eq!(Reason::of_store_error(&error("timeout")), Reason::Timeout);
        assert_eq!(Reason::of_store_error(&error("ThrottlingException")).code(), "ThrottlingException");
    }
}
