//! What an object of the failure bucket holds: a record that the function kept, or a batch that Lambda gave up. Pure.

use config_audit::stream::{NotAnEvent, records};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// The most records that are given to the handler at once. A batch of Lambda's may have 10,000, and the deadline is for
/// each part.
const AT_ONCE: usize = 250;

/// The records of an object, ready to be replayed.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    /// Why it is there: the function's reason, or Lambda's condition, such as `RetryAttemptsExhausted`.
    pub reason: String,
    /// The invocation that failed, for the note on what fails again; empty where the object does not say.
    pub request_id: String,
    /// The function, likewise.
    pub function_arn: String,
    /// Events with the records to the letter: entries have their IDs from them, and objects their keys.
    pub events: Vec<Vec<u8>>,
}

/// Why an object is none that can be replayed. Never quotes it: it may hold configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// No bytes.
    #[error("it is empty")]
    Empty,
    /// More bytes than any batch of Lambda's has.
    #[error("it has {0} bytes, more than any record or batch")]
    TooLarge(u64),
    /// The JSON stops too early.
    #[error("its JSON ends in the middle; it was cut short")]
    CutShort,
    /// No JSON.
    #[error("it is no JSON (line {line}, column {column})")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Other JSON.
    #[error(
        "it has neither a `record`, as the function keeps them, nor a `payload`, as Lambda's S3 destination delivers it"
    )]
    OtherJson,
    /// A payload without records.
    #[error("its payload is no DynamoDB Streams event: it is no JSON, or has no member `Records` that is a list")]
    NotAnEvent,
}

/// The two kinds of objects, told apart by what they have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    reason: Option<String>,
    request_id: Option<String>,
    function_arn: Option<String>,
    // A record may be `null`, like any nonsense in an event.
    #[serde(borrow, default, deserialize_with = "present")]
    record: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    request_context: Option<RequestContext>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    request_id: Option<String>,
    function_arn: Option<String>,
    condition: Option<String>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Reads an object.
///
/// # Errors
///
/// [`Damage`] where it holds no records.
pub fn read(body: &[u8]) -> Result<Held, Damage> {
    if body.is_empty() {
        return Err(Damage::Empty);
    }
    let document: Document<'_> = serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Eof => Damage::CutShort,
        Category::Data => Damage::OtherJson,
        Category::Syntax | Category::Io => Damage::NotJson { line: error.line(), column: error.column() },
    })?;
    match (document.record, document.payload) {
        (Some(record), None) => Ok(Held {
            reason: code(document.reason),
            request_id: document.request_id.unwrap_or_default(),
            function_arn: document.function_arn.unwrap_or_default(),
            events: vec![event(&[record])],
        }),
        (None, Some(payload)) => {
            // Lambda puts the event into a string; other ways of delivering the same record do not.
            let text: String = serde_json::from_str(payload.get()).unwrap_or_else(|_| payload.get().to_owned());
            let records = records(text.as_bytes()).map_err(|NotAnEvent| Damage::NotAnEvent)?;
            let context = document.request_context.unwrap_or_default();
            Ok(Held {
                reason: code(context.condition),
                request_id: context.request_id.unwrap_or_default(),
                function_arn: context.function_arn.unwrap_or_default(),
                events: records.chunks(AT_ONCE).map(event).collect(),
            })
        }
        _ => Err(Damage::OtherJson),
    }
}

fn event(records: &[&RawValue]) -> Vec<u8> {
    let texts: Vec<&str> = records.iter().map(|record| record.get()).collect();
    format!(r#"{{"Records":[{}]}}"#, texts.join(",")).into_bytes()
}

/// A reason as the function and Lambda write them. Anything else is not theirs, and not to be said.
fn code(reason: Option<String>) -> String {
    let is_code = |text: &String| {
        (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    };
    reason.filter(is_code).unwrap_or_else(|| "unknown".to_owned())
}
