//! An object in the failure bucket: a record that the function kept, or a batch that Lambda gave up on. Pure.

use config_audit::stream::{NotAnEvent, records};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::event_of;

/// The most records that the handler is given at once. A Lambda batch may have 10,000, and the deadline applies to each
/// part.
const MAX_RECORDS: usize = 250;

/// The records of an object, ready to be replayed.
#[derive(Debug, PartialEq, Eq)]
pub struct FailedRecords {
    /// Why it is there: the function's reason, or Lambda's condition, such as `RetryAttemptsExhausted`.
    pub reason: String,
    /// The invocation that failed, for the note about what fails again; empty if the object does not say.
    pub request_id: String,
    /// The function, likewise.
    pub function_arn: String,
    /// Events with the records byte for byte: the IDs of entries and the keys of objects are derived from them.
    pub events: Vec<Vec<u8>>,
}

/// Why an object cannot be replayed. Never quotes it: it may hold configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// No bytes.
    #[error("it is empty")]
    Empty,
    /// More bytes than any Lambda batch has.
    #[error("it has {0} bytes, more than any record or batch")]
    TooLarge(u64),
    /// The JSON stops too early.
    #[error("its JSON ends in the middle; it was cut short")]
    CutShort,
    /// Not JSON.
    #[error("it is not valid JSON (line {line}, column {column})")]
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
    #[error("its payload is not a DynamoDB Streams event: it is not valid JSON, or has no list `Records`")]
    NotAnEvent,
}

/// The two kinds of objects, told apart by their fields.
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
/// [`ObjectError`] if it holds no records.
pub fn read(body: &[u8]) -> Result<FailedRecords, ObjectError> {
    if body.is_empty() {
        return Err(ObjectError::Empty);
    }
    let document: Document<'_> = serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Eof => ObjectError::CutShort,
        Category::Data => ObjectError::OtherJson,
        Category::Syntax | Category::Io => ObjectError::NotJson { line: error.line(), column: error.column() },
    })?;
    match (document.record, document.payload) {
        (Some(record), None) => Ok(FailedRecords {
            reason: code(document.reason),
            request_id: document.request_id.unwrap_or_default(),
            function_arn: document.function_arn.unwrap_or_default(),
            events: vec![event(&[record])],
        }),
        (None, Some(payload)) => {
            // Lambda puts the event into a string; other ways of delivering the same record do not.
            let text: String = serde_json::from_str(payload.get()).unwrap_or_else(|_| payload.get().to_owned());
            let records = records(text.as_bytes()).map_err(|NotAnEvent| ObjectError::NotAnEvent)?;
            let context = document.request_context.unwrap_or_default();
            Ok(FailedRecords {
                reason: code(context.condition),
                request_id: context.request_id.unwrap_or_default(),
                function_arn: context.function_arn.unwrap_or_default(),
                events: records.chunks(MAX_RECORDS).map(event).collect(),
            })
        }
        _ => Err(ObjectError::OtherJson),
    }
}

fn event(records: &[&RawValue]) -> Vec<u8> {
    event_of(records.iter().map(|record| record.get())).into_bytes()
}

/// A reason as the function or Lambda writes it. Anything else is not theirs, and is not repeated.
fn code(reason: Option<String>) -> String {
    let is_code = |text: &String| {
        (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    };
    reason.filter(is_code).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use config_audit::quarantine::StoredRecord;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn texts(failed: &FailedRecords) -> Vec<String> {
        failed.events.iter().flat_map(|event| records(event).unwrap()).map(|record| record.get().to_owned()).collect()
    }

    fn document(document: &Value) -> Result<FailedRecords, ObjectError> {
        read(document.to_string().as_bytes())
    }

    /// JSON in the ways that people and machines write it.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("1.50E+3".to_owned()),
            Just("12345678901234567890123456789012345678".to_owned()),
            any::<String>().prop_map(|text| json!(text).to_string()),
            Just(r#""\ud83d\u00e9\/""#.to_owned()),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[ {} ]", values.join(" ,"))),
                prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|members| {
                    let members: Vec<_> =
                        members.iter().map(|(name, value)| format!("{} : {value}", json!(name))).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        /// IDs and keys come from the record's text, so not even a space may change.
        #[test]
        fn what_the_function_kept_is_read_to_the_letter(text in any_json(), detail in any::<String>()) {
            let record = RawValue::from_string(text.clone()).unwrap();
            let kept = StoredRecord { reason: "no_key", detail: &detail, request_id: "r", function_arn: &detail, record: &record };
            let failed = read(&kept.body()).unwrap();
            prop_assert_eq!(texts(&failed), [text]);
            prop_assert_eq!((failed.reason.as_str(), failed.request_id.as_str(), failed.function_arn), ("no_key", "r", detail));
        }

        #[test]
        fn what_lambda_gave_up_is_read_to_the_letter(all in prop::collection::vec(any_json(), 0..5), is_text in any::<bool>()) {
            let event = format!(r#"{{"Records":[{}]}}"#, all.join(","));
            let payload = if is_text { json!(event).to_string() } else { event };
            let context = r#"{"requestId":"r","functionArn":"f","condition":"RecordAgeExceeded"}"#;
            let failed = read(format!(r#"{{"requestContext":{context},"payload":{payload}}}"#).as_bytes()).unwrap();
            prop_assert_eq!(texts(&failed), all);
            prop_assert_eq!((&*failed.reason, &*failed.request_id, &*failed.function_arn), ("RecordAgeExceeded", "r", "f"));
        }

        /// However an object was cut short, it is recognised as damaged.
        #[test]
        fn a_part_of_an_object_is_never_taken_for_one(text in any_json(), part in 0.0..1.0) {
            let record = RawValue::from_string(text).unwrap();
            let whole = StoredRecord { reason: "no_key", detail: "", request_id: "", function_arn: "", record: &record }.body();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a place in the object")]
            let end = (whole.len() as f64 * part) as usize;
            let error = if end == 0 { ObjectError::Empty } else { ObjectError::CutShort };
            // Cut in the middle of a character, it is not valid UTF-8 either.
            let result = read(&whole[..end]);
            prop_assert!(result == Err(error) || matches!(result, Err(ObjectError::NotJson { .. })), "{:?}", result);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
        }
    }

    #[test]
    fn a_large_batch_is_replayed_in_parts() {
        let all: Vec<_> = (0..=2 * MAX_RECORDS).collect();
        let failed = document(&json!({ "payload": { "Records": all } })).unwrap();
        assert_eq!(failed.events.len(), 3);
        assert_eq!(texts(&failed), all.iter().map(ToString::to_string).collect::<Vec<_>>());
    }

    #[test]
    fn reasons_that_are_not_the_functions_are_not_said() {
        for reason in [json!("a secret"), json!("53cret"), json!("x".repeat(41)), json!(""), Value::Null] {
            assert_eq!(document(&json!({ "reason": reason, "record": {} })).unwrap().reason, "unknown");
        }
    }

    #[test]
    fn what_has_both_or_neither_is_not_guessed_at() {
        for object in
            [json!({ "record": {}, "payload": "{\"Records\":[]}" }), json!({}), json!({ "Records": [] }), json!(3)]
        {
            assert_eq!(document(&object), Err(ObjectError::OtherJson), "{object}");
        }
    }
}
