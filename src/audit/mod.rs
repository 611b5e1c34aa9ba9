//! What goes out: the audit entries of a change.
//!
//! **Invariant:** nothing here does I/O, reads a clock or the environment, or prints. The same change always has the same
//! entries, byte for byte.

mod entry;
mod id;
mod limits;

pub use entry::{EncodedEntry, Entry, Provenance};
pub use id::entry_id;
pub use limits::{MAX_ITEM_BYTES, MAX_NESTING, omitted_hash};

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_dynamo::{AttributeValue, Item};

use crate::stream::{Change, Images};
use crate::value::equal;

/// What an invocation adds to the entries of its changes.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// `Some` if entries have their provenance: the invocation's trace ID, if it has one.
    pub provenance: Option<Option<String>>,
}

/// What must be written for one change.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The entries; none if nothing changed.
    pub entries: Vec<Entry>,
    /// How many attributes changed, if the change is a modification.
    pub attributes_changed: usize,
    /// How many values were too large or too deeply nested for an entry, and were replaced by a note.
    pub values_omitted: usize,
}

/// Plans the entries of a change. `modification_time` is the change's own time, or a substitute if it has none;
/// `full_record` says where the full record will be, for entries with omitted values.
#[must_use]
pub fn plan(
    change: Change,
    modification_time: DateTime<Utc>,
    context: &Context,
    full_record: impl Fn() -> String,
) -> Plan {
    let provenance = context.provenance.as_ref().map(|trace_id| Provenance {
        event_id: change.event_id.clone(),
        sequence_number: change.sequence_number.clone(),
        trace_id: trace_id.clone(),
        principal: change.principal.clone(),
    });
    let entry =
        |attribute: Option<String>, old_value: Option<AttributeValue>, new_value: Option<AttributeValue>| Entry {
            id: entry_id(change.stream_arn.as_ref(), &change.event_id, attribute.as_deref()),
            item_key: change.item_key.clone(),
            modification_time,
            updated_attribute: attribute,
            old_value,
            new_value,
            provenance: provenance.clone(),
        };
    let whole = |image: Item| Some(AttributeValue::M(image.into_inner()));
    let mut attributes_changed = 0;
    let mut entries = match change.images {
        Images::Insert { new } => vec![entry(None, None, whole(new))],
        Images::Remove { old } => vec![entry(None, whole(old), None)],
        Images::Modify { old, new } => {
            let differences = differences(old.into_inner(), new.into_inner());
            attributes_changed = differences.len();
            differences.into_iter().map(|(name, old, new)| entry(Some(name), old, new)).collect()
        }
    };
    let values_omitted = entries.iter_mut().map(|entry| limits::fit(entry, &full_record)).sum();
    Plan { entries, attributes_changed, values_omitted }
}

type Difference = (String, Option<AttributeValue>, Option<AttributeValue>);

/// The top-level attributes that differ, in order of name.
fn differences(mut old: HashMap<String, AttributeValue>, mut new: HashMap<String, AttributeValue>) -> Vec<Difference> {
    let names: BTreeSet<String> = old
        .iter()
        .filter(|(name, value)| !new.get(*name).is_some_and(|new| equal(value, new)))
        .map(|(name, _)| name)
        .chain(new.keys().filter(|name| !old.contains_key(*name)))
        .cloned()
        .collect();
    names
        .into_iter()
        .map(|name| {
            let (old, new) = (old.remove(&name), new.remove(&name));
            (name, old, new)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::arn::StreamArn;
    use crate::value::tests::{any_value, value};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const ARN: &str = "arn:aws:dynamodb:eu-central-1:905418349556:table/Configuration/stream/x";

    fn item(json: Value) -> Item {
        serde_json::from_value(json).unwrap()
    }

    fn change(images: Images) -> Change {
        Change {
            stream_arn: Some(StreamArn::parse(ARN.to_owned())),
            event_id: "97f346f54443196d55233e83d8b8f944".to_owned(),
            sequence_number: Some("9700002673137973216305".to_owned()),
            item_key: "CACHE_TTL_SEC".to_owned(),
            created: DateTime::from_timestamp(1_726_045_348, 0),
            images,
            principal: None,
        }
    }

    fn plan_of(images: Images) -> Plan {
        let change = change(images);
        let time = change.created.unwrap();
        plan(change, time, &Context::default(), || "s3://failures/record.json".to_owned())
    }

    /// The items that a plan writes, without their IDs.
    fn items_of(images: Images) -> Vec<Value> {
        let items = plan_of(images).entries.into_iter().map(|entry| {
            let mut item = serde_json::to_value(entry.item()).unwrap();
            assert!(item.as_object_mut().unwrap().remove("id").is_some());
            item
        });
        items.collect()
    }

    fn setting(number: &str) -> Item {
        item(json!({"key": {"S": "CACHE_TTL_SEC"}, "value": {"N": number}}))
    }

    #[test]
    fn the_first_example_of_the_contract() {
        assert_eq!(
            items_of(Images::Insert { new: setting("3600") }),
            [json!({
                "itemKey": {"S": "CACHE_TTL_SEC"},
                "modificationTime": {"S": "2024-09-11T09:02:28.000Z"},
                "newValue": {"M": {"key": {"S": "CACHE_TTL_SEC"}, "value": {"N": "3600"}}}
            })]
        );
    }

    #[test]
    fn the_second_example_of_the_contract() {
        assert_eq!(
            items_of(Images::Modify { old: setting("3600"), new: setting("1800") }),
            [json!({
                "itemKey": {"S": "CACHE_TTL_SEC"},
                "modificationTime": {"S": "2024-09-11T09:02:28.000Z"},
                "updatedAttribute": {"S": "value"},
                "oldValue": {"N": "3600"},
                "newValue": {"N": "1800"}
            })]
        );
    }

    #[test]
    fn a_removal_has_the_whole_old_image() {
        let written = items_of(Images::Remove { old: setting("1800") });
        assert_eq!(written[0]["oldValue"], json!({"M": {"key": {"S": "CACHE_TTL_SEC"}, "value": {"N": "1800"}}}));
        assert_eq!(written[0].get("newValue"), None);
        assert_eq!(written[0].get("updatedAttribute"), None);
    }

    #[test]
    fn a_modification_that_changes_nothing_has_no_entries() {
        let plan = plan_of(Images::Modify { old: setting("3600"), new: setting("3.6E3") });
        assert_eq!(plan.entries, []);
        assert_eq!(plan.attributes_changed, 0);
    }

    #[test]
    fn each_attribute_that_differs_has_an_entry_in_the_order_of_their_names() {
        let old = item(json!({"key": {"S": "K"}, "b": {"N": "1"}, "gone": {"S": "x"}, "same": {"BOOL": true}}));
        let new = item(json!({"key": {"S": "K"}, "b": {"N": "2"}, "added": {"NULL": true}, "same": {"BOOL": true}}));
        let entries = plan_of(Images::Modify { old, new }).entries;
        let parts: Vec<_> = entries
            .iter()
            .map(|entry| (entry.updated_attribute.as_deref().unwrap(), &entry.old_value, &entry.new_value))
            .collect();
        assert_eq!(
            parts,
            [
                ("added", &None, &Some(value(json!({"NULL": true})))),
                ("b", &Some(value(json!({"N": "1"}))), &Some(value(json!({"N": "2"})))),
                ("gone", &Some(value(json!({"S": "x"}))), &None),
            ]
        );
    }

    #[test]
    fn provenance_is_added_if_it_is_switched_on() {
        let mut change = change(Images::Insert { new: setting("1") });
        change.principal = Some("dynamodb.amazonaws.com".to_owned());
        let time = change.created.unwrap();
        let context = Context { provenance: Some(Some("1-5759e988-bd862e3fe1be46a994272793".to_owned())) };
        let plan = plan(change, time, &context, String::new);
        assert_eq!(
            serde_json::to_value(plan.entries[0].item()).unwrap()["provenance"],
            json!({"M": {
                "eventId": {"S": "97f346f54443196d55233e83d8b8f944"},
                "sequenceNumber": {"S": "9700002673137973216305"},
                "traceId": {"S": "1-5759e988-bd862e3fe1be46a994272793"},
                "principal": {"S": "dynamodb.amazonaws.com"}
            }})
        );
    }

    /// The same image in new maps. Each map has its own hasher, so its members are in another order.
    fn rebuilt(image: &Item) -> Item {
        fn rebuilt_value(value: &AttributeValue) -> AttributeValue {
            match value {
                AttributeValue::L(members) => AttributeValue::L(members.iter().map(rebuilt_value).collect()),
                AttributeValue::M(members) => AttributeValue::M(
                    members.iter().map(|(name, member)| (name.clone(), rebuilt_value(member))).collect(),
                ),
                other => other.clone(),
            }
        }
        let members: HashMap<_, _> = image.iter().map(|(name, value)| (name.clone(), rebuilt_value(value))).collect();
        Item::from(members)
    }

    /// A note that replaces a value has a hash of the value's text, which must not depend on the order of its members.
    #[test]
    fn the_same_large_value_leaves_the_same_note() {
        let members: serde_json::Map<_, _> =
            (0..5_000).map(|n| (format!("member-{n}"), json!({"S": "x".repeat(100)}))).collect();
        let image = item(json!({"key": {"S": "K"}, "value": {"M": members}}));
        let plan = plan_of(Images::Insert { new: image.clone() });
        assert_eq!(plan.values_omitted, 1);
        assert_eq!(plan, plan_of(Images::Insert { new: rebuilt(&image) }));
    }

    fn any_item() -> impl Strategy<Value = Item> {
        prop::collection::hash_map("[a-e]", any_value(), 0..5).prop_map(Item::from)
    }

    proptest! {
        /// Applying the entries to the old image gives the new one: nothing is missing, nothing is added.
        #[test]
        fn the_entries_of_a_modification_are_the_difference(old in any_item(), new in any_item()) {
            let plan = plan_of(Images::Modify { old: old.clone(), new: new.clone() });
            let mut folded = old.into_inner();
            for entry in &plan.entries {
                let name = entry.updated_attribute.clone().unwrap();
                prop_assert_eq!(folded.get(&name), entry.old_value.as_ref());
                let sent: HashMap<_, _> = entry.item().into_inner();
                prop_assert_eq!(sent.get("oldValue"), entry.old_value.as_ref());
                prop_assert_eq!(sent.get("newValue"), entry.new_value.as_ref());
                match entry.new_value.clone() {
                    Some(value) => folded.insert(name, value),
                    None => folded.remove(&name),
                };
            }
            prop_assert!(equal(&AttributeValue::M(folded), &AttributeValue::M(new.into_inner())));
            prop_assert_eq!(plan.attributes_changed, plan.entries.len());
            let ids: std::collections::HashSet<_> = plan.entries.iter().map(|entry| entry.id).collect();
            prop_assert_eq!(ids.len(), plan.entries.len());
        }

        #[test]
        fn the_same_change_has_the_same_entries_whatever_the_order_of_its_maps(old in any_item(), new in any_item()) {
            let again = Images::Modify { old: rebuilt(&old), new: rebuilt(&new) };
            prop_assert_eq!(plan_of(Images::Modify { old, new }), plan_of(again));
        }
    }
}
