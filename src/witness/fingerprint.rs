//! What identifies the content of an entry without revealing it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_dynamo::AttributeValue;

use crate::value::canonical_hash;

/// The attribute that says which record an entry comes from. A redelivery may add it, leave it out, or give it another
/// `traceId`: it depends on a setting, and on the invocation.
const PROVENANCE: &str = "provenance";

/// The hashes of an entry's content, each a [`canonical_hash`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Of everything but the provenance. The entry's ID is a part of it, so equal values of two entries do not have
    /// equal hashes.
    #[serde(rename = "sha256")]
    pub content: String,
    /// Of the provenance without its `traceId`; `None` if there is nothing else in it.
    #[serde(rename = "provenanceSha256", skip_serializing_if = "Option::is_none", default)]
    pub provenance: Option<String>,
}

impl Fingerprint {
    /// The fingerprint of an entry, as DynamoDB has it.
    #[must_use]
    pub fn of(mut entry: HashMap<String, AttributeValue>) -> Self {
        let provenance = match entry.remove(PROVENANCE) {
            Some(AttributeValue::M(mut members)) => {
                members.remove("traceId");
                (!members.is_empty()).then_some(AttributeValue::M(members))
            }
            other => other,
        };
        Self { content: canonical_hash(&AttributeValue::M(entry)), provenance: provenance.as_ref().map(canonical_hash) }
    }

    /// Whether both are of the same entry, written by the function at two deliveries of the same record.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let has_other_provenance =
            self.provenance.is_some() && other.provenance.is_some() && self.provenance != other.provenance;
        self.content == other.content && !has_other_provenance
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::value::tests::any_value;

    fn fingerprint(entry: &Value) -> Fingerprint {
        Fingerprint::of(serde_json::from_value(entry.clone()).unwrap())
    }

    fn entry() -> Value {
        json!({
            "id": {"S": "1cfb5917-3592-456f-a518-4c7146a4e455"},
            "itemKey": {"S": "K"},
            "modificationTime": {"S": "2024-09-11T09:02:28.000Z"},
            "updatedAttribute": {"S": "value"},
            "oldValue": {"N": "1"},
            "newValue": {"N": "2"},
        })
    }

    fn with_provenance(provenance: &Value) -> Value {
        let mut entry = entry();
        entry["provenance"] = json!({ "M": provenance });
        entry
    }

    /// An auditor can compute it: the hash is from `sha256sum` of the JSON with sorted names, without white space.
    #[test]
    fn the_hash_of_an_entry_is_stable() {
        assert_eq!(
            fingerprint(&entry()),
            Fingerprint {
                content: "73bc84d71e9107c9fa3673523d088d3a1c76a71515ac5cf0db72cdbc84137397".to_owned(),
                provenance: None
            }
        );
    }

    #[test]
    fn what_another_delivery_may_change_is_no_alteration() {
        let plain = fingerprint(&entry());
        let first = fingerprint(&with_provenance(&json!({ "eventId": {"S": "e"}, "traceId": {"S": "1-a"} })));
        let second = fingerprint(&with_provenance(&json!({ "eventId": {"S": "e"}, "traceId": {"S": "1-b"} })));
        let forged = fingerprint(&with_provenance(&json!({ "eventId": {"S": "f"}, "traceId": {"S": "1-b"} })));
        for (one, other, agree) in
            [(&plain, &first, true), (&first, &second, true), (&second, &forged, false), (&plain, &forged, true)]
        {
            assert_eq!((one.agrees_with(other), other.agrees_with(one)), (agree, agree));
        }
    }

    #[test]
    fn each_other_attribute_counts() {
        let original = fingerprint(&entry());
        for name in ["id", "itemKey", "modificationTime", "updatedAttribute", "oldValue", "newValue", "another"] {
            let mut altered = entry();
            altered[name] = json!({ "S": "x" });
            assert!(!original.agrees_with(&fingerprint(&altered)), "{name}");
        }
    }

    proptest! {
        #[test]
        fn two_values_agree_only_if_they_are_the_same(one in any_value(), other in any_value()) {
            let of = |value: &AttributeValue| Fingerprint::of(HashMap::from([("newValue".to_owned(), value.clone())]));
            prop_assert_eq!(of(&one).agrees_with(&of(&one)), true);
            let is_same = crate::value::canonical_json(&one) == crate::value::canonical_json(&other);
            prop_assert_eq!(of(&one).agrees_with(&of(&other)), is_same);
        }
    }
}
