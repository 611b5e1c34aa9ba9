//! The failure bucket behind a small trait, its S3 client, and what is put into it.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

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

/// The failure bucket in S3.
#[derive(Debug, Clone)]
pub struct S3Quarantine {
    client: Client,
    bucket: String,
}

impl S3Quarantine {
    /// Puts objects into `bucket`. The client is expected to retry by itself.
    #[must_use]
    pub fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned() }
    }
}

impl Quarantine for S3Quarantine {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), QuarantineError> {
        let request = self.client.put_object().bucket(&self.bucket).key(key).content_type("application/json");
        let Err(error) = request.body(body.into()).send().await else { return Ok(()) };
        let bucket = &self.bucket;
        let (code, message) = match error.code() {
            Some(code @ "NoSuchBucket") => {
                (code, format!("the failure bucket {bucket} does not exist; create it, or set FAILURE_BUCKET"))
            }
            Some(code @ "AccessDenied") => (
                code,
                format!("the function may not write to the failure bucket {bucket}; allow its role s3:PutObject on it"),
            ),
            Some(code) => (code, format!("the failure bucket {bucket} refused a record ({code})")),
            None if matches!(error, SdkError::ServiceError(_)) => {
                ("unknown", format!("the failure bucket {bucket} refused a record"))
            }
            None => (
                "unavailable",
                format!("the failure bucket {bucket} could not be reached: {}", DisplayErrorContext(&error)),
            ),
        };
        Err(QuarantineError { code: code.to_owned(), message })
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
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
pub fn quarantine_key(stream_arn: Option<&str>, raw: &RawValue) -> String {
    format!("quarantined/{}/{}.json", table(stream_arn), hex(&Sha256::digest(raw.get())))
}

/// The key of the object for a record whose values are left out of its entries. It comes from the record's ID alone,
/// since the entries name it and must be the same each time.
#[must_use]
pub fn omitted_key(stream_arn: Option<&str>, event_id: &str) -> String {
    let plain = event_id.len() <= 128 && event_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let name = if plain { event_id.to_owned() } else { hex(&Sha256::digest(event_id)) };
    format!("omitted/{}/{name}.json", table(stream_arn))
}

/// The table's name in a stream's ARN, `arn:aws:dynamodb:<region>:<account>:table/<name>/stream/<label>`.
#[must_use]
pub fn table(stream_arn: Option<&str>) -> &str {
    let name = stream_arn.and_then(|arn| arn.split_once(":table/")?.1.split('/').next());
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    name.filter(is_name).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:dynamodb:eu-central-1:905418349556:table/Configuration/stream/2024-09-11T09:00:17.927";

    #[test]
    fn keys_are_the_same_for_the_same_record_and_differ_for_another() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let key = quarantine_key(Some(ARN), &raw("{}"));
        assert!(key.starts_with("quarantined/Configuration/44136fa355b3678a"), "{key}");
        assert_eq!(key, quarantine_key(Some(ARN), &raw("{}")));
        assert_ne!(key, quarantine_key(Some(ARN), &raw("[]")));
        assert_eq!(omitted_key(Some(ARN), "97f346f5"), "omitted/Configuration/97f346f5.json");
        assert!(omitted_key(None, "../../x").starts_with("omitted/unknown/"));
        assert!(!omitted_key(None, "../../x").contains(".."));
    }

    #[test]
    fn tables_are_read_from_arns() {
        for (arn, name) in [
            (Some(ARN), "Configuration"),
            (None, "unknown"),
            (Some("arn:aws:sqs:x"), "unknown"),
            (Some("x:table/a b/"), "unknown"),
        ] {
            assert_eq!(table(arn), name);
        }
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
