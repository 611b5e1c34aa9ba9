//! One record, from its raw JSON to its entries.
//!
//! Whatever comes in is refused without being quoted, or makes entries that have exactly the contract's attributes, that
//! DynamoDB takes, that lose nothing, and that are the same each time.

#![no_main]

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::DateTime;
use config_audit::audit::{Context, Entry, MAX_ITEM_BYTES, MAX_NESTING, Plan, plan};
use config_audit::clock::timestamp;
use config_audit::stream::{Change, Images, decode};
use config_audit::value::{canonical_json, depth, equal, size, validate};
use config_audit_fuzz::{MARKER, enlarged, mutate};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use serde::Deserialize;
use serde_dynamo::{AttributeValue, Item};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::{Variant, Version};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate(data, 0, size, max_size, seed) });

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(input) else { return Corpus::Reject };
    let text = enlarged(text);
    let Ok(raw) = serde_json::from_str::<&RawValue>(&text) else { return Corpus::Reject };
    let decoded = decode(raw, "key");
    assert_eq!(decoded, decode(raw, "key"), "a record is decoded in the same way each time");
    match decoded {
        Err(refusal) => assert!(!format!("{refusal} {refusal:?}").contains(MARKER), "the refusal quotes the record"),
        Ok(change) => {
            let record: Record = serde_json::from_str(raw.get()).expect("what was decoded is a record");
            check(&change, &record.dynamodb);
        }
    }
    Corpus::Keep
});

#[derive(Deserialize)]
struct Record {
    dynamodb: ImagesAsTheyStand,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImagesAsTheyStand {
    old_image: Option<Value>,
    new_image: Option<Value>,
}

fn check(change: &Change, json: &ImagesAsTheyStand) {
    let (old, new) = match &change.images {
        Images::Insert { new } => (None, Some(new)),
        Images::Modify { old, new } => (Some(old), Some(new)),
        Images::Remove { old } => (Some(old), None),
    };
    for (item, json) in [(old, &json.old_image), (new, &json.new_image)] {
        let Some(item) = item else { continue };
        check_values(item);
        assert!(json.as_ref().is_some_and(|json| is_lossless(json, item)), "a value is not what the record says");
    }
    let planned = plan_of(change, &Context::default());
    assert_eq!(planned, plan_of(change, &Context::default()), "a change makes the same entries each time");
    check_plan(change, &planned, false);
    let trace_id = "1-5759e988-bd862e3fe1be46a994272793".to_owned();
    check_plan(change, &plan_of(change, &Context { provenance: Some(Some(trace_id)) }), true);
    if let Images::Modify { old, new } = &change.images
        && planned.values_omitted == 0
    {
        check_difference(old.clone(), new.clone(), &planned.entries);
    }
}

fn plan_of(change: &Change, context: &Context) -> Plan {
    let time = change.created.unwrap_or(DateTime::UNIX_EPOCH);
    plan(change.clone(), time, context, || "s3://failures/record.json".to_owned())
}

fn check_values(item: &Item) {
    for value in item.values() {
        assert_eq!(validate(value), Ok(()), "what was decoded is valid");
        assert!(equal(value, value), "a value equals itself");
        let text = canonical_json(value);
        let back: AttributeValue = serde_json::from_str(&text).expect("the canonical text is a value");
        assert!(equal(value, &back) && equal(&back, value), "the canonical text is the value");
        assert_eq!(canonical_json(&back), text);
    }
}

/// Whether the item has each value as the record's JSON has it. Bytes may be in another spelling of base64.
fn is_lossless(image: &Value, item: &Item) -> bool {
    fn same(json: &Value, other: &Value) -> bool {
        match (json, other) {
            (Value::Object(json), Value::Object(other)) => {
                let is_binary = |name: &str| json.len() == 1 && (name == "B" || name == "BS");
                json.len() == other.len()
                    && json.iter().all(|(name, value)| {
                        other.get(name).is_some_and(|other| is_binary(name) && !other.is_object() || same(value, other))
                    })
            }
            (Value::Array(json), Value::Array(other)) => {
                json.len() == other.len() && json.iter().zip(other).all(|(json, other)| same(json, other))
            }
            (json, other) => json == other,
        }
    }
    same(image, &serde_json::to_value(item).expect("an item is JSON"))
}

fn check_plan(change: &Change, plan: &Plan, with_provenance: bool) {
    let ids: HashSet<_> = plan.entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), plan.entries.len(), "IDs are distinct");
    match &change.images {
        Images::Insert { .. } | Images::Remove { .. } => assert_eq!(plan.entries.len(), 1),
        Images::Modify { .. } => assert_eq!(plan.attributes_changed, plan.entries.len()),
    }
    for entry in &plan.entries {
        assert_eq!(entry.id.get_version(), Some(Version::Random));
        assert_eq!(entry.id.get_variant(), Variant::RFC4122);
        assert_eq!(timestamp(entry.modification_time).len(), 24, "times sort as text");
        let mut expected = BTreeSet::from(["id", "itemKey", "modificationTime"]);
        expected.extend(match &change.images {
            Images::Insert { .. } => vec!["newValue"],
            Images::Remove { .. } => vec!["oldValue"],
            Images::Modify { old, new } => {
                let name = entry.updated_attribute.as_deref().expect("it names the attribute");
                assert!(old.contains_key(name) || new.contains_key(name));
                [("oldValue", old), ("newValue", new)]
                    .into_iter()
                    .filter_map(|(member, item)| item.contains_key(name).then_some(member))
                    .chain(["updatedAttribute"])
                    .collect()
            }
        });
        expected.extend(with_provenance.then_some("provenance"));
        let item = entry.item();
        assert_eq!(item.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
        check_limits(entry, &item);
    }
}

fn check_limits(entry: &Entry, item: &Item) {
    assert!(item.values().all(|value| depth(value) <= MAX_NESTING), "an entry is nested too deep");
    let bytes = |item: &Item| item.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
    if bytes(item) > MAX_ITEM_BYTES {
        // No stream has names or IDs of such a size. Then at least the values are left out.
        let of_values: usize = entry.old_value.iter().chain(&entry.new_value).map(size).sum();
        assert!(of_values < 1_024, "an entry is too large for its values");
    }
}

/// Applied to the old image, the entries give the new one: nothing is lost, nothing is invented.
fn check_difference(old: Item, new: Item, entries: &[Entry]) {
    let mut folded: HashMap<String, AttributeValue> = old.into_inner();
    for entry in entries {
        let name = entry.updated_attribute.clone().expect("it names the attribute");
        assert_eq!(folded.get(&name), entry.old_value.as_ref());
        match entry.new_value.clone() {
            Some(value) => folded.insert(name, value),
            None => folded.remove(&name),
        };
    }
    let (folded, new) = (AttributeValue::M(folded), AttributeValue::M(new.into_inner()));
    assert!(equal(&folded, &new) && equal(&new, &folded), "the entries are not the difference");
}
