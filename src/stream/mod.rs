//! The input: an event of DynamoDB Streams, record by record.
//!
//! **Invariant:** nothing here does I/O, reads a clock or the environment, or prints. Each record is decoded on its own
//! from its raw JSON, so that a bad record never affects the others.

mod event_name;
mod record;

pub use event_name::EventName;
pub use record::{Change, Identity, Images, MAX_KEY_BYTES, NotAChange, Refusal, decode, identify, key_text};

use serde::Deserialize;
use serde_json::value::RawValue;

/// An event as Lambda's event source mapping sends it, with its records still raw.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a RawValue>,
}

/// Why an event cannot be processed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the event is not a DynamoDB Streams event: it is not valid JSON, or its member `Records` is not a list; \
     invoke the function through an event source mapping on a DynamoDB stream"
)]
pub struct NotAnEvent;

/// The stream lacks an image; this is its view type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongViewType(pub String);

/// Splits an event into its records.
///
/// # Errors
///
/// [`NotAnEvent`] if it is not valid JSON, or has another shape. The error never quotes the event, which holds
/// configuration.
pub fn records(event: &[u8]) -> Result<Vec<&RawValue>, NotAnEvent> {
    serde_json::from_slice::<Event<'_>>(event).map(|event| event.records).map_err(|_| NotAnEvent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_split_without_decoding_its_records() {
        let event = br#"{"Records":[{"a":1}, 5 ,"nonsense",null]}"#;
        let records: Vec<_> = records(event).unwrap().into_iter().map(RawValue::get).collect();
        assert_eq!(records, [r#"{"a":1}"#, "5", "\"nonsense\"", "null"]);
    }

    #[test]
    fn an_invalid_event_is_rejected_without_being_quoted() {
        for event in [
            &b""[..],
            b"{}",
            b"[]",
            b"null",
            b"3",
            br#""secret""#,
            br#"{"Records":"secret"}"#,
            br#"{"records":[]}"#,
            b"{\"Records\":[secret",
            b"{\"Records\":[]} secret",
            b"{\"Records\":[\"secret \xff\"]}",
        ] {
            let error = records(event).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{event:?}");
        }
    }
}
