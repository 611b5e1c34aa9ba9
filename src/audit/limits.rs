//! DynamoDB's limits on an item, and how an entry is made to fit them.

use serde_dynamo::AttributeValue;
use uuid::fmt::Hyphenated;

use super::entry::{Entry, EntryValue};
use crate::clock::TIMESTAMP_LENGTH;
use crate::value::size;

/// The largest item that DynamoDB stores, in bytes, names included
/// (Amazon DynamoDB Developer Guide, "Service, account, and table quotas").
pub const MAX_ITEM_BYTES: usize = 400 * 1024;
/// The maximum number of levels of lists and maps in the value of an attribute. DynamoDB allows 32 levels (the same
/// page, "Nested attribute depth"), including the item itself.
pub const MAX_NESTING: usize = 31;

/// Makes an entry fit DynamoDB's limits: replaces values that are nested too deeply, and as many of the largest ones as
/// necessary, by a note with the value's size, its hash, and the location of the full record. Returns how many values it
/// replaced.
pub(super) fn fit(entry: &mut Entry<'_>, full_record: &impl Fn() -> String) -> usize {
    let mut omitted = 0;
    for value in whole_values(entry).filter(|value| value.depth() > MAX_NESTING) {
        *value = note(Omission::TooDeep, value, full_record());
        omitted += 1;
    }
    for _ in 0..2 {
        if item_size(entry) <= MAX_ITEM_BYTES {
            break;
        }
        let Some(largest) = whole_values(entry).max_by_key(|value| value.size()) else { break };
        *largest = note(Omission::TooLarge, largest, full_record());
        omitted += 1;
    }
    omitted
}

impl Entry<'_> {
    /// Replaces the entry's values with notes, for when DynamoDB rejects the entry although it is within the documented
    /// limits. Returns how many values it replaced; a note stays as it is.
    pub fn omit_values(&mut self, full_record: &str) -> usize {
        whole_values(self).map(|value| *value = note(Omission::Rejected, value, full_record.to_owned())).count()
    }
}

/// Why a value is omitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Omission {
    /// It has more than [`MAX_NESTING`] levels.
    TooDeep,
    /// The entry would be larger than [`MAX_ITEM_BYTES`].
    TooLarge,
    /// DynamoDB rejects the entry, although it is within the documented limits.
    Rejected,
}

impl Omission {
    const fn text(self) -> &'static str {
        match self {
            Self::TooDeep => "nested deeper than 31 levels",
            Self::TooLarge => "the entry would be larger than 400 KB",
            Self::Rejected => "DynamoDB rejects the entry with this value",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        // Older entries say 32.
        let older = (text == "nested deeper than 32 levels").then_some(Self::TooDeep);
        older.or_else(|| [Self::TooDeep, Self::TooLarge, Self::Rejected].into_iter().find(|why| why.text() == text))
    }
}

/// A note in place of an omitted value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note<'a> {
    /// Why the value is omitted.
    pub why: Omission,
    /// The value's size.
    pub bytes: usize,
    /// The value's hash.
    pub hash: &'a str,
}

impl<'a> Note<'a> {
    /// Reads a note; `None` for any other value, even one with the same members but another reason.
    #[must_use]
    pub fn read(value: &'a AttributeValue) -> Option<Self> {
        let AttributeValue::M(members) = value else { return None };
        let member = |name: &str| members.get(name);
        match (member("omitted"), member("bytes"), member("sha256"), member("record")) {
            (
                Some(AttributeValue::S(why)),
                Some(AttributeValue::N(bytes)),
                Some(AttributeValue::S(hash)),
                Some(AttributeValue::S(_)),
            ) if members.len() == 4 && hash.len() == 64 => {
                Some(Self { why: Omission::parse(why)?, bytes: bytes.parse().ok()?, hash })
            }
            _ => None,
        }
    }
}

/// The hash in the note of an omitted value; `None` for a value that is not such a note.
#[must_use]
pub fn omitted_hash(value: &AttributeValue) -> Option<&str> {
    Note::read(value).map(|note| note.hash)
}

/// The values that have not been replaced by notes.
fn whole_values<'e, 'a>(entry: &'e mut Entry<'a>) -> impl Iterator<Item = &'e mut EntryValue<'a>> {
    let values = entry.old_value.iter_mut().chain(&mut entry.new_value);
    values.filter(|value| !matches!(value, EntryValue::Note(_)))
}

/// The size of [`Entry::item`], without making it.
fn item_size(entry: &Entry<'_>) -> usize {
    let attribute = |name: &str, size: usize| name.len() + size;
    let optional = |name: &str, size: Option<usize>| size.map_or(0, |size| attribute(name, size));
    attribute("id", Hyphenated::LENGTH)
        + attribute("itemKey", entry.item_key.len())
        + attribute("modificationTime", TIMESTAMP_LENGTH)
        + optional("updatedAttribute", entry.updated_attribute.as_ref().map(|name| name.len()))
        + optional("oldValue", entry.old_value.as_ref().map(EntryValue::size))
        + optional("newValue", entry.new_value.as_ref().map(EntryValue::size))
        + optional("provenance", entry.provenance.as_ref().map(|provenance| size(&provenance.value())))
}

/// The note that replaces a value in an entry.
fn note(why: Omission, value: &EntryValue<'_>, full_record: String) -> EntryValue<'static> {
    let text = |text: String| AttributeValue::S(text);
    let members = [
        ("omitted", text(why.text().to_owned())),
        ("bytes", AttributeValue::N(value.size().to_string())),
        ("sha256", text(value.canonical_hash())),
        ("record", text(full_record)),
    ];
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    EntryValue::Note(AttributeValue::M(members.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Provenance, entry_id};
    use crate::value::canonical_hash;
    use crate::value::tests::value;
    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::json;
    use serde_json::value::{RawValue, to_raw_value};

    fn entry<'a>(old_value: Option<&'a RawValue>, new_value: Option<&'a RawValue>) -> Entry<'a> {
        let value = |value: &'a RawValue| EntryValue::Attribute(serde_json::from_str(value.get()).unwrap());
        Entry {
            id: entry_id(None, "event", Some("value")),
            item_key: "KEY".into(),
            modification_time: DateTime::UNIX_EPOCH,
            updated_attribute: Some("value".into()),
            old_value: old_value.map(value),
            new_value: new_value.map(value),
            provenance: None,
        }
    }

    fn raw(value: &AttributeValue) -> Box<RawValue> {
        to_raw_value(value).unwrap()
    }

    fn text_of(bytes: usize) -> Box<RawValue> {
        raw(&AttributeValue::S("x".repeat(bytes)))
    }

    fn nested_value(levels: usize) -> AttributeValue {
        (0..levels).fold(AttributeValue::Bool(true), |inner, _| AttributeValue::L(vec![inner]))
    }

    fn nested(levels: usize) -> Box<RawValue> {
        raw(&nested_value(levels))
    }

    /// The value as it is sent.
    fn sent(value: Option<&EntryValue<'_>>) -> AttributeValue {
        serde_json::from_value(serde_json::to_value(value.unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn an_entry_within_the_limits_is_not_changed() {
        let (old, new) = (text_of(10), nested(31));
        let mut small = entry(Some(&old), Some(&new));
        let before = small.clone();
        assert_eq!(fit(&mut small, &|| "s3://b/k".to_owned()), 0);
        assert_eq!(small, before);
    }

    #[test]
    fn an_entry_of_exactly_the_limit_is_complete_and_one_of_a_byte_more_is_not() {
        let rest = item_size_exactly(&entry(None, Some(&text_of(0))));
        assert_eq!(fit(&mut entry(None, Some(&text_of(MAX_ITEM_BYTES - rest))), &String::new), 0);
        assert_eq!(fit(&mut entry(None, Some(&text_of(MAX_ITEM_BYTES - rest + 1))), &String::new), 1);
    }

    fn item_size_exactly(entry: &Entry<'_>) -> usize {
        entry.item().iter().map(|(name, value)| name.len() + size(value)).sum()
    }

    #[test]
    fn a_value_that_is_too_large_is_replaced_and_the_other_is_kept() {
        let (number, text) = (raw(&value(json!({"N": "1"}))), text_of(500_000));
        let mut large = entry(Some(&number), Some(&text));
        let hash = large.new_value.as_ref().unwrap().canonical_hash();
        assert_eq!(fit(&mut large, &|| "s3://failures/omitted/x.json".to_owned()), 1);
        assert_eq!(sent(large.old_value.as_ref()), value(json!({"N": "1"})));
        assert_eq!(
            serde_json::to_value(large.new_value).unwrap(),
            json!({"M": {
                "omitted": {"S": "the entry would be larger than 400 KB"},
                "bytes": {"N": "500000"},
                "sha256": {"S": hash},
                "record": {"S": "s3://failures/omitted/x.json"}
            }})
        );
    }

    #[test]
    fn a_note_is_recognized_and_has_the_hash_of_its_value() {
        let omitted = AttributeValue::S("x".repeat(10));
        let note = || {
            let json = raw(&omitted);
            let EntryValue::Note(note) = note(
                Omission::Rejected,
                &EntryValue::Attribute(serde_json::from_str(json.get()).unwrap()),
                String::new(),
            ) else {
                panic!("it is a note")
            };
            note
        };
        assert_eq!(omitted_hash(&note()), Some(&*canonical_hash(&omitted)));
        assert_eq!(Note::read(&note()).map(|note| (note.why, note.bytes)), Some((Omission::Rejected, 10)));
        assert_eq!(omitted_hash(&omitted), None);
        assert_eq!(omitted_hash(&value(json!({"M": {"sha256": {"S": canonical_hash(&omitted)}}}))), None);
        // Configuration may have members with the same names: only a map with exactly these is a note.
        for other in ["omitted", "bytes", "record", "sha256"] {
            let AttributeValue::M(mut members) = note() else { panic!("it is a map") };
            let member = members.remove(other).unwrap();
            members.insert("other".to_owned(), member);
            assert_eq!(omitted_hash(&AttributeValue::M(members)), None, "without {other}");
        }
        // A map that has them with other values is not a note either.
        for (name, wrong) in [
            ("omitted", json!({"S": "why"})),
            ("bytes", json!({"S": "10"})),
            ("sha256", json!({"S": "0"})),
            ("record", json!({"N": "1"})),
        ] {
            let AttributeValue::M(mut members) = note() else { panic!("it is a map") };
            members.insert(name.to_owned(), value(wrong));
            assert_eq!(omitted_hash(&AttributeValue::M(members)), None, "{name}");
        }
        let AttributeValue::M(mut longer) = note() else { panic!("it is a map") };
        longer.insert("other".to_owned(), omitted);
        assert_eq!(omitted_hash(&AttributeValue::M(longer)), None);
    }

    #[test]
    fn both_values_are_omitted_only_if_one_is_not_enough() {
        let texts = [150_000, 300_000, 410_000, 420_000].map(text_of);
        let mut one = entry(Some(&texts[0]), Some(&texts[1]));
        let old_value = one.old_value.clone();
        assert_eq!(fit(&mut one, &String::new), 1);
        assert_eq!(one.old_value, old_value);
        let mut both = entry(Some(&texts[2]), Some(&texts[3]));
        assert_eq!(fit(&mut both, &String::new), 2);
    }

    /// No stream has names and IDs this long. If one did, its entries would still be stored.
    #[test]
    fn whatever_makes_an_entry_too_large_its_value_is_omitted() {
        let (long, text) = ("x".repeat(300_000), text_of(150_000));
        let provenance =
            Provenance { event_id: (&*long).into(), sequence_number: None, trace_id: None, principal: None };
        let entry = || entry(None, Some(&text));
        for mut large in [
            Entry { item_key: (&*long).into(), ..entry() },
            Entry { updated_attribute: Some((&*long).into()), ..entry() },
            Entry { provenance: Some(provenance), ..entry() },
        ] {
            assert_eq!(fit(&mut large, &String::new), 1);
            assert!(item_size_exactly(&large) <= MAX_ITEM_BYTES);
        }
    }

    #[test]
    fn an_entry_that_dynamodb_rejects_is_left_without_values() {
        let (old, new) = (text_of(1), nested(2));
        let mut entry = entry(Some(&old), Some(&new));
        let hashes = [&entry.old_value, &entry.new_value].map(|value| value.as_ref().unwrap().canonical_hash());
        assert_eq!(entry.omit_values("s3://b/k"), 2);
        let notes = [&entry.old_value, &entry.new_value].map(|value| sent(value.as_ref()));
        assert_eq!(notes.each_ref().map(|note| omitted_hash(note).unwrap()), [&*hashes[0], &*hashes[1]]);
        assert_eq!(entry.omit_values("s3://b/k"), 0, "notes have no values");
    }

    #[test]
    fn a_value_that_is_nested_too_deeply_is_replaced() {
        let (old, new) = (nested(32), nested(31));
        let mut deep = entry(Some(&old), Some(&new));
        assert_eq!(fit(&mut deep, &|| "s3://b/k".to_owned()), 1);
        assert!(matches!(&deep.old_value, Some(EntryValue::Note(_))));
        assert_eq!(sent(deep.new_value.as_ref()), nested_value(31));
    }

    proptest! {
        #[test]
        fn every_entry_fits_the_limits(old in 0_usize..600_000, new in 0_usize..600_000, levels in 0_usize..40) {
            let list = AttributeValue::L(vec![nested_value(levels), AttributeValue::S("x".repeat(new))]);
            let (old, new) = (text_of(old), raw(&list));
            let mut entry = entry(Some(&old), Some(&new));
            fit(&mut entry, &|| "s3://b/k".to_owned());
            prop_assert!(item_size_exactly(&entry) <= MAX_ITEM_BYTES);
            prop_assert_eq!(item_size(&entry), item_size_exactly(&entry));
            prop_assert!(whole_values(&mut entry).all(|value| value.depth() <= MAX_NESTING));
        }
    }
}
