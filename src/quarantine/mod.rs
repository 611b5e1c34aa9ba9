//! The failure bucket behind a small trait, and what is put into it.

pub mod s3;

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::aws::arn::{StreamArn, table};
use crate::value::hex;

/// Where records are kept that no retry can mend, and the full records of values that were too large for an entry.
pub trait Quarantine {
    /// Puts an object. An object of the same key is replaced.
    ///
    /// # Errors
    ///
    /// [`QuarantineError`]; whether the object was put then is not known.
    fn put(&self, key: &str, body: Vec<u8>) -> impl Future<Output = Result<(), QuarantineError>>;

    /// Where an object of this key is, as an `s3://` URL.
    fn url(&self, key: &str) -> String;
}

/// The failure bucket did not take an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QuarantineError {
    /// AWS's error code, or `unavailable`.
    pub code: String,
    /// What was wrong, and what to do.
    pub message: String,
}

/// What stands in the failure bucket for one record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptRecord<'a> {
    /// Why it is here: the code of a [`crate::report::Cause`], or `value_omitted`.
    pub reason: &'a str,
    /// The same in one sentence.
    pub detail: &'a str,
    /// The invocation that put it here.
    pub request_id: &'a str,
    /// The function that put it here.
    pub function_arn: &'a str,
    /// The record as the stream delivered it, to the letter.
    pub record: &'a RawValue,
}

impl KeptRecord<'_> {
    /// The object's body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        // Texts and raw JSON have nothing in them that cannot be written as JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The key of the object for a record that no retry can mend. It comes from the record's own text, so that a record
/// delivered again is kept once, and no two records share one.
#[must_use]
pub fn quarantine_key(stream_arn: Option<&StreamArn>, raw: &RawValue) -> String {
    format!("quarantined/{}/{}.json", table(stream_arn), hex(&Sha256::digest(raw.get())))
}

/// The key of the object for a record whose values are left out of its entries. It comes from the record's ID alone,
/// since the entries name it and must be the same each time.
#[must_use]
pub fn omitted_key(stream_arn: Option<&StreamArn>, event_id: &str) -> String {
    let plain = event_id.len() <= 128 && event_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let name = if plain { event_id.to_owned() } else { hex(&Sha256::digest(event_id)) };
    format!("omitted/{}/{name}.json", table(stream_arn))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:dynamodb:eu-central-1:905418349556:table/Configuration/stream/2024-09-11T09:00:17.927";

    #[test]
    fn keys_are_the_same_for_the_same_record_and_differ_for_another() {
        let arn = StreamArn::parse(ARN.to_owned());
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let key = quarantine_key(Some(&arn), &raw("{}"));
        assert!(key.starts_with("quarantined/Configuration/44136fa355b3678a"), "{key}");
        assert_eq!(key, quarantine_key(Some(&arn), &raw("{}")));
        assert_ne!(key, quarantine_key(Some(&arn), &raw("[]")));
        assert_eq!(omitted_key(Some(&arn), "97f346f5"), "omitted/Configuration/97f346f5.json");
        assert!(omitted_key(None, "../../x").starts_with("omitted/unknown/"));
        assert!(!omitted_key(None, "../../x").contains(".."));
    }

    #[test]
    fn the_record_is_kept_to_the_letter() {
        let record = RawValue::from_string(r#"{ "b":1.50, "a": "é" }"#.to_owned()).unwrap();
        let kept = KeptRecord {
            reason: "no_key",
            detail: "it has no key",
            request_id: "r",
            function_arn: "f",
            record: &record,
        };
        let body = String::from_utf8(kept.body()).unwrap();
        assert_eq!(
            body,
            r#"{"reason":"no_key","detail":"it has no key","requestId":"r","functionArn":"f","record":{ "b":1.50, "a": "é" }}"#
        );
    }
}
