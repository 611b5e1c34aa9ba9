//! Identifiers of audit entries.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// The ID of the entry for one attribute of one record; `attribute` is `None` for an entry about the whole item.
///
/// A version 4 UUID in form (RFC 9562, section 5.4), whose 122 bits are the first ones of
/// `SHA-256(stream ARN ‖ 0x00 ‖ event ID ‖ 0x00 ‖ attribute)`. So a record that is delivered again gets the same IDs,
/// and writes over the entries that it wrote before. No ARN and no event ID has a zero byte, and no attribute's name is
/// empty, so different inputs are never joined to the same bytes.
#[must_use]
pub fn entry_id(stream_arn: &str, event_id: &str, attribute: Option<&str>) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(stream_arn);
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
    use super::entry_id;
    use proptest::prelude::*;
    use uuid::{Variant, Version};

    /// Entries are found by their IDs years later: the way they are made must not change. The hash was taken with
    /// `printf 'arn\0id\0value' | sha256sum`.
    #[test]
    fn ids_stay_what_they_are() {
        assert_eq!(entry_id("arn", "id", Some("value")).to_string(), "1cfb5917-3592-456f-a518-4c7146a4e455");
    }

    proptest! {
        #[test]
        fn ids_are_version_4_in_form_and_differ_with_every_part(arn in "[a-z:]{0,20}", event in "[0-9a-f]{1,32}", name in ".{1,10}") {
            let id = entry_id(&arn, &event, Some(&name));
            prop_assert_eq!(id.get_version(), Some(Version::Random));
            prop_assert_eq!(id.get_variant(), Variant::RFC4122);
            prop_assert_eq!(id, entry_id(&arn, &event, Some(&name)));
            prop_assert_ne!(id, entry_id(&arn, &event, None));
            prop_assert_ne!(id, entry_id(&format!("{arn}x"), &event, Some(&name)));
            prop_assert_ne!(id, entry_id(&arn, &format!("{event}0"), Some(&name)));
            prop_assert_ne!(id, entry_id(&arn, &event, Some(&format!("{name}x"))));
        }
    }
}
