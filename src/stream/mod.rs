//! What comes in: an event of DynamoDB Streams, record by record.
//!
//! **Invariant:** nothing here does I/O, reads a clock or the environment, or prints. Each record is decoded on its own
//! from its raw JSON, so that a bad one never costs the others.

mod record;

pub use record::{Change, Images, NotAChange, NotAChangeRecord, Refusal, decode, salvage};

use serde::Deserialize;
use serde_json::value::RawValue;

/// An event as Lambda's event source mapping sends it, each record still raw.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a RawValue>,
}

/// Why an event as a whole cannot be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the event is no DynamoDB Streams event: it has no member `Records` that is a list; \
     the function is to be invoked by an event source mapping on a DynamoDB stream"
)]
pub struct NotAnEvent;

/// Splits an event into its records.
///
/// # Errors
///
/// [`NotAnEvent`] where the JSON is of another shape. The error never quotes the event: it holds configuration.
pub fn records(event: &RawValue) -> Result<Vec<&RawValue>, NotAnEvent> {
    serde_json::from_str::<Event<'_>>(event.get()).map(|event| event.records).map_err(|_| NotAnEvent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_split_without_looking_into_its_records() {
        let event = RawValue::from_string(r#"{"Records":[{"a":1}, 5 ,"nonsense",null]}"#.to_owned()).unwrap();
        let records: Vec<_> = records(&event).unwrap().into_iter().map(RawValue::get).collect();
        assert_eq!(records, [r#"{"a":1}"#, "5", "\"nonsense\"", "null"]);
    }

    #[test]
    fn what_is_no_event_is_refused_without_being_quoted() {
        for text in ["{}", "[]", "null", "3", r#""secret""#, r#"{"Records":"secret"}"#, r#"{"records":[]}"#] {
            let event = RawValue::from_string(text.to_owned()).unwrap();
            let error = records(&event).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{text}");
        }
    }
}
