//! The objects in the failure bucket.

pub mod uploader;

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::aws::arn::{StreamArn, table};
use crate::value::hex;

/// The object in the failure bucket for one record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredRecord<'a> {
    /// Why the record is here: the code of a [`crate::reason::Reason`].
    pub reason: &'a str,
    /// The reason in one sentence.
    pub detail: &'a str,
    /// The ID of the invocation that put it here.
    pub request_id: &'a str,
    /// The ARN of the function that put it here.
    pub function_arn: &'a str,
    /// The record, byte for byte as the stream delivered it.
    pub record: &'a RawValue,
}

impl StoredRecord<'_> {
    /// The object's body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        // Strings and raw JSON can always be written as JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The key of the object for a record that no retry can fix. It is derived from the record's text, so that a redelivered
/// record is stored once, and no two records share a key.
#[must_use]
pub fn quarantine_key(stream_arn: Option<&StreamArn<'_>>, raw: &RawValue) -> String {
    format!("quarantined/{}/{}.json", table(stream_arn), hex(&Sha256::digest(raw.get())))
}

/// The key of the object for a record with values that its entries omit. It is derived from the event ID alone: the entries
/// refer to it, and must be the same at each delivery.
#[must_use]
pub fn omitted_key(stream_arn: Option<&StreamArn<'_>>, event_id: &str) -> String {
    let is_plain = event_id.len() <= 128 && event_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let name = if is_plain { event_id.to_owned() } else { hex(&Sha256::digest(event_id)) };
    format!("omitted/{}/{name}.json", table(stream_arn))
}

/// The key of the object for a record of the Audit table's stream that shows tampering, or that cannot be read. `redrive`
/// does not read these: they are no changes of configuration.
#[must_use]
pub fn tampering_key(stream_arn: Option<&StreamArn<'_>>, raw: &RawValue) -> String {
    format!("tampering/{}/{}.json", table(stream_arn), hex(&Sha256::digest(raw.get())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:dynamodb:eu-central-1:905418349556:table/Configuration/stream/2024-09-11T09:00:17.927";

    #[test]
    fn the_same_record_has_the_same_key_and_another_has_another() {
        let arn = StreamArn::new(ARN.to_owned());
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
    fn the_record_is_stored_byte_for_byte() {
        let record = RawValue::from_string(r#"{ "b":1.50, "a": "é" }"#.to_owned()).unwrap();
        let kept = StoredRecord {
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
