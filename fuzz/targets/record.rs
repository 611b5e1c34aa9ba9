//! One record, from its raw JSON to its entries.
//!
//! Any input is refused without being quoted, or produces entries that have exactly the contract's attributes, that
//! DynamoDB accepts, that lose nothing, and that are the same each time.

#![no_main]

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::DateTime;
use config_audit::audit::{Context, Entry, MAX_ITEM_BYTES, MAX_NESTING, Plan, plan};
use config_audit::clock::timestamp;
use config_audit::stream::{Change, Images, decode};
use config_audit::value::{JsonItem, JsonValue, canonical_json, equal, size};
use config_audit_fuzz::{MARKER, enlarged, mutate};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use serde::Deserialize;
use serde_dynamo::{AttributeValue, Item};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
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

fn check(change: &Change<'_>, json: &ImagesAsTheyStand) {
    let (old, new) = match &change.images {
        Images::Insert { new } => (None, Some(new)),
        Images::Modify { old, new } => (Some(old), Some(new)),
        Images::Remove { old } => (Some(old), None),
    };
    for (item, json) in [(old, &json.old_image), (new, &json.new_image)] {
        let Some(item) = item else { continue };
        check_values(item);
        assert!(
            json.as_ref().is_some_and(|json| is_lossless(json, &tree(item))),
            "a value is not what the record says"
        );
    }
    let planned = plan_of(change, &Context::default());
    assert_eq!(planned, plan_of(change, &Context::default()), "a change makes the same entries each time");
    check_plan(change, &planned, false);
    let trace_id = "1-5759e988-bd862e3fe1be46a994272793".to_owned();
    check_plan(change, &plan_of(change, &Context { provenance: Some(Some(trace_id)) }), true);
    if let Images::Modify { old, new } = &change.images
        && planned.values_omitted == 0
    {
        check_difference(old, new, &planned.entries);
    }
}

fn plan_of<'a>(change: &Change<'a>, context: &Context) -> Plan<'a> {
    let time = change.created.unwrap_or(DateTime::UNIX_EPOCH);
    plan(change.clone(), time, context, || "s3://failures/record.json".to_owned())
}

/// The item, read by another implementation.
fn tree(item: &JsonItem<'_>) -> HashMap<String, AttributeValue> {
    let value = |json| serde_json::from_str(json).expect("what was decoded is a value");
    item.attributes().iter().map(|(name, attribute)| (name.to_string(), value(attribute.json()))).collect()
}

fn check_values(item: &JsonItem<'_>) {
    let tree = tree(item);
    assert_eq!(item.attributes().len(), tree.len());
    for (name, value) in item.attributes() {
        let tree = &tree[&**name];
        assert_eq!((value.size(), value.invalid()), (size(tree), None), "what was decoded is valid");
        assert!(value.is_same_value(value) && equal(tree, tree), "a value equals itself");
        let text = canonical_json(tree);
        let back: AttributeValue = serde_json::from_str(&text).expect("the canonical text is a value");
        assert!(equal(tree, &back) && equal(&back, tree), "the canonical text is the value");
        assert_eq!(canonical_json(&back), text);
    }
}

/// Whether the item has each value as in the record's JSON. The base64 of binary values may be spelled differently.
fn is_lossless(image: &Value, item: &HashMap<String, AttributeValue>) -> bool {
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

fn check_plan(change: &Change<'_>, plan: &Plan<'_>, with_provenance: bool) {
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
                assert!(old.get(name).is_some() || new.get(name).is_some());
                [("oldValue", old), ("newValue", new)]
                    .into_iter()
                    .filter_map(|(member, item)| item.get(name).is_some().then_some(member))
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

fn check_limits(entry: &Entry<'_>, item: &Item) {
    let is_deep = |value: &AttributeValue| {
        let json = to_raw_value(value).expect("a value is JSON");
        serde_json::from_str::<JsonValue<'_>>(json.get()).expect("it is a value").depth() > MAX_NESTING
    };
    assert!(!item.values().any(is_deep), "an entry is nested too deep");
    let bytes = |item: &Item| item.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
    if bytes(item) > MAX_ITEM_BYTES {
        // No stream has names or IDs of this size. If one had, at least the values would be left out.
        let of_values: usize = entry.old_value.iter().chain(&entry.new_value).map(|value| value.size()).sum();
        assert!(of_values < 1_024, "an entry is too large for its values");
    }
}

/// Applied to the old image, the entries give the new one: nothing is lost, nothing is invented.
fn check_difference(old: &JsonItem<'_>, new: &JsonItem<'_>, entries: &[Entry<'_>]) {
    let mut folded = tree(old);
    for entry in entries {
        let (name, sent) = (entry.updated_attribute.as_deref().expect("it names the attribute"), entry.item());
        assert_eq!(folded.get(name), sent.get("oldValue"));
        match sent.get("newValue") {
            Some(value) => folded.insert(name.to_owned(), value.clone()),
            None => folded.remove(name),
        };
    }
    let (folded, new) = (AttributeValue::M(folded), AttributeValue::M(tree(new)));
    assert!(equal(&folded, &new) && equal(&new, &folded), "the entries are not the difference");
}
