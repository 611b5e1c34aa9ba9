//! Identifiers of audit entries.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::aws::arn::StreamArn;

/// The ID of the entry for one attribute of one record; `attribute` is `None` for an entry about the whole item.
///
/// It has the form of a version 4 UUID (RFC 9562, section 5.4). Its 122 free bits are the first ones of
/// `SHA-256(stream ARN ‖ 0x00 ‖ event ID ‖ 0x00 ‖ attribute)`, where a missing ARN counts as empty text. So a redelivered
/// record has the same IDs, and overwrites the entries of its first delivery. ARNs and event IDs have no zero byte, and
/// names of attributes are never empty, so different inputs are never hashed as the same bytes.
#[must_use]
pub fn entry_id(stream_arn: Option<&StreamArn<'_>>, event_id: &str, attribute: Option<&str>) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(stream_arn.map_or("", StreamArn::as_str));
    hash.update([0]);
    hash.update(event_id);
    hash.update([0]);
    hash.update(attribute.unwrap_or_default());
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::{Variant, Version};

    fn id_of(arn: &str, event_id: &str, attribute: Option<&str>) -> Uuid {
        entry_id(Some(&StreamArn::new(arn.to_owned())), event_id, attribute)
    }

    /// A later release must give a redelivered record the same IDs. The hash is from
    /// `printf 'arn\0id\0value' | sha256sum`.
    #[test]
    fn ids_are_stable() {
        assert_eq!(id_of("arn", "id", Some("value")).to_string(), "1cfb5917-3592-456f-a518-4c7146a4e455");
    }

    /// The hash is from `printf '\0id\0value' | sha256sum`.
    #[test]
    fn a_record_without_an_arn_keeps_its_id_too() {
        assert_eq!(entry_id(None, "id", Some("value")).to_string(), "55603a4a-8b3d-428a-8906-a0d16cb63b51");
        assert_eq!(entry_id(None, "id", None), id_of("", "id", None));
    }

    proptest! {
        #[test]
        fn ids_are_version_4_in_form_and_differ_with_every_part(arn in "[a-z:]{0,20}", event in "[0-9a-f]{1,32}", name in ".{1,10}") {
            let id = id_of(&arn, &event, Some(&name));
            prop_assert_eq!(id.get_version(), Some(Version::Random));
            prop_assert_eq!(id.get_variant(), Variant::RFC4122);
            prop_assert_eq!(id, id_of(&arn, &event, Some(&name)));
            prop_assert_ne!(id, id_of(&arn, &event, None));
            prop_assert_ne!(id, id_of(&format!("{arn}x"), &event, Some(&name)));
            prop_assert_ne!(id, id_of(&arn, &format!("{event}0"), Some(&name)));
            prop_assert_ne!(id, id_of(&arn, &event, Some(&format!("{name}x"))));
        }
    }
}
