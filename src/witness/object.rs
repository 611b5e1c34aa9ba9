//! The object in the witness bucket for the entries of one invocation.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::fingerprint::Fingerprint;
use crate::aws::arn::{StreamArn, table};
use crate::value::hex;

/// The prefix of the objects' keys.
pub const PREFIX: &str = "entries/";

/// What the bucket keeps about one entry. It contains no value, only their hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The entry's ID.
    pub id: String,
    /// Its fingerprint.
    #[serde(flatten)]
    pub fingerprint: Fingerprint,
    /// When DynamoDB stored the entry, as the stream has it; `None` if it does not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stored: Option<String>,
}

/// An object's content. It depends on nothing but the records, so a redelivery of the same records has the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessObject {
    /// The entries, in the order of the stream.
    pub entries: Vec<Witness>,
}

impl WitnessObject {
    /// The object's body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        // Text can always be written as JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The key of the object with this body: `entries/TABLE/YYYY/MM/DD/SHA-256 OF THE BODY.json`. The day is that of the first
/// entry's storage. So an object that is not what the function wrote can be recognized by its key.
#[must_use]
pub fn object_key(stream_arn: Option<&StreamArn<'_>>, stored: Option<DateTime<Utc>>, body: &[u8]) -> String {
    let day = stored.unwrap_or_default().format("%Y/%m/%d");
    format!("{PREFIX}{}/{day}/{}.json", table(stream_arn), hex(&Sha256::digest(body)))
}

/// Whether an object with this key has the body that the function gave it.
#[must_use]
pub fn is_authentic(key: &str, body: &[u8]) -> bool {
    let name = key.rsplit('/').next().and_then(|name| name.strip_suffix(".json"));
    name.is_some_and(|name| name == hex(&Sha256::digest(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_recognized_by_its_key() {
        let witness = |id: &str| Witness {
            id: id.to_owned(),
            fingerprint: Fingerprint { content: "ab".to_owned(), provenance: None },
            stored: Some("2024-09-11T09:02:28.000Z".to_owned()),
        };
        let body = WitnessObject { entries: vec![witness("1"), witness("2")] }.body();
        assert_eq!(
            String::from_utf8_lossy(&body),
            r#"{"entries":[{"id":"1","sha256":"ab","stored":"2024-09-11T09:02:28.000Z"},{"id":"2","sha256":"ab","stored":"2024-09-11T09:02:28.000Z"}]}"#
        );
        let arn = StreamArn::new("arn:aws:dynamodb:eu-central-1:1:table/Audit/stream/2024-09-11T09:00:17.927");
        let key = object_key(Some(&arn), DateTime::from_timestamp(1_726_045_348, 0), &body);
        assert!(key.starts_with("entries/Audit/2024/09/11/"), "{key}");
        assert!(is_authentic(&key, &body));
        assert!(!is_authentic(&key, &WitnessObject { entries: vec![witness("1")] }.body()));
        assert!(!is_authentic("entries/Audit/2024/09/11/x", &body));
        assert_eq!(object_key(None, None, &body), key.replace("Audit/2024/09/11", "unknown/1970/01/01"));
    }
}
