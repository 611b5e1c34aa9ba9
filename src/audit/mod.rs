//! The output: the audit entries of a change.
//!
//! **Invariant:** nothing here does I/O, reads a clock or the environment, or prints. The same change always has the same
//! entries, byte for byte.

mod entry;
mod id;
mod limits;

pub use entry::{EncodedEntry, Entry, EntryValue, Provenance};
pub use id::entry_id;
pub use limits::{MAX_ITEM_BYTES, MAX_NESTING, Note, Omission, omitted_hash};

use std::borrow::Cow;
use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use crate::stream::{Change, Images};
use crate::value::{JsonItem, JsonValue};

/// What an invocation adds to the entries of its changes.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// `Some` if entries have their provenance: the invocation's trace ID, if it has one.
    pub provenance: Option<Option<String>>,
}

/// What must be written for one change.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<'a> {
    /// The entries; empty if nothing changed.
    pub entries: Vec<Entry<'a>>,
    /// How many attributes changed, if the change is a modification.
    pub attributes_changed: usize,
    /// How many values were too large or too deeply nested for an entry, and were replaced by a note.
    pub values_omitted: usize,
}

/// Plans the entries of a change. `modification_time` is the change's own time, or a substitute if it has none;
/// `full_record` says where the full record will be, for entries with omitted values.
#[must_use]
pub fn plan<'a>(
    change: Change<'a>,
    modification_time: DateTime<Utc>,
    context: &Context,
    full_record: impl Fn() -> String,
) -> Plan<'a> {
    let provenance = context.provenance.as_ref().map(|trace_id| Provenance {
        event_id: change.event_id.clone(),
        sequence_number: change.sequence_number.clone(),
        trace_id: trace_id.clone(),
        principal: change.principal.clone(),
    });
    let entry =
        |attribute: Option<Cow<'a, str>>, old_value: Option<EntryValue<'a>>, new_value: Option<EntryValue<'a>>| Entry {
            id: entry_id(change.stream_arn.as_ref(), &change.event_id, attribute.as_deref()),
            item_key: change.item_key.clone(),
            modification_time,
            updated_attribute: attribute,
            old_value,
            new_value,
            provenance: provenance.clone(),
        };
    let mut attributes_changed = 0;
    let mut entries = match change.images {
        Images::Insert { new } => vec![entry(None, None, Some(EntryValue::Item(new)))],
        Images::Remove { old } => vec![entry(None, Some(EntryValue::Item(old)), None)],
        Images::Modify { old, new } => {
            let value = |value: Option<JsonValue<'a>>| value.map(EntryValue::Attribute);
            let differences = differences(&old, &new);
            let entries: Vec<_> =
                differences.map(|(name, old, new)| entry(Some(name), value(old), value(new))).collect();
            attributes_changed = entries.len();
            entries
        }
    };
    let values_omitted = entries.iter_mut().map(|entry| limits::fit(entry, &full_record)).sum();
    Plan { entries, attributes_changed, values_omitted }
}

type Difference<'a> = (Cow<'a, str>, Option<JsonValue<'a>>, Option<JsonValue<'a>>);

/// The top-level attributes that differ, in order of name.
fn differences<'a>(old: &JsonItem<'a>, new: &JsonItem<'a>) -> impl Iterator<Item = Difference<'a>> {
    let (mut old, mut new) = (old.attributes().iter().peekable(), new.attributes().iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some((one, _)), Some((other, _))) => one.cmp(other),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return None,
            };
            let (before, after) = (old.next_if(|_| order.is_le()), new.next_if(|_| order.is_ge()));
            let is_same = before.zip(after).is_some_and(|((_, before), (_, after))| before.is_same_value(after));
            if let Some((name, _)) = before.or(after).filter(|_| !is_same) {
                return Some((name.clone(), before.map(|(_, value)| *value), after.map(|(_, value)| *value)));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::arn::StreamArn;
    use crate::value::equal;
    use crate::value::tests::any_value;
    use proptest::prelude::*;
    use serde_dynamo::{AttributeValue, Item};
    use serde_json::value::{RawValue, to_raw_value};
    use serde_json::{Value, json};
    use std::collections::HashMap;

    const ARN: &str = "arn:aws:dynamodb:eu-central-1:905418349556:table/Configuration/stream/x";

    fn change(images: Images<'_>) -> Change<'_> {
        Change {
            stream_arn: Some(StreamArn::new(ARN)),
            event_id: "97f346f54443196d55233e83d8b8f944".into(),
            sequence_number: Some("9700002673137973216305".into()),
            item_key: "CACHE_TTL_SEC".into(),
            created: DateTime::from_timestamp(1_726_045_348, 0),
            images,
            principal: None,
        }
    }

    fn plan_of(images: Images<'_>) -> Plan<'_> {
        let change = change(images);
        let time = change.created.unwrap();
        plan(change, time, &Context::default(), || "s3://failures/record.json".to_owned())
    }

    fn raw(item: &impl serde::Serialize) -> Box<RawValue> {
        to_raw_value(item).unwrap()
    }

    fn item(raw: &RawValue) -> JsonItem<'_> {
        serde_json::from_str(raw.get()).unwrap()
    }

    /// The items that a plan writes, without their IDs.
    fn items_of(images: Images<'_>) -> Vec<Value> {
        let items = plan_of(images).entries.into_iter().map(|entry| {
            let mut item = serde_json::to_value(entry.item()).unwrap();
            assert!(item.as_object_mut().unwrap().remove("id").is_some());
            item
        });
        items.collect()
    }

    fn setting(number: &str) -> Box<RawValue> {
        raw(&json!({"key": {"S": "CACHE_TTL_SEC"}, "value": {"N": number}}))
    }

    #[test]
    fn the_first_example_of_the_contract() {
        assert_eq!(
            items_of(Images::Insert { new: item(&setting("3600")) }),
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
            items_of(Images::Modify { old: item(&setting("3600")), new: item(&setting("1800")) }),
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
        let written = items_of(Images::Remove { old: item(&setting("1800")) });
        assert_eq!(written[0]["oldValue"], json!({"M": {"key": {"S": "CACHE_TTL_SEC"}, "value": {"N": "1800"}}}));
        assert_eq!(written[0].get("newValue"), None);
        assert_eq!(written[0].get("updatedAttribute"), None);
    }

    #[test]
    fn a_modification_that_changes_nothing_has_no_entries() {
        let (old, new) = (setting("3600"), setting("3.6E3"));
        let plan = plan_of(Images::Modify { old: item(&old), new: item(&new) });
        assert_eq!(plan.entries, []);
        assert_eq!(plan.attributes_changed, 0);
    }

    #[test]
    fn each_attribute_that_differs_has_an_entry_in_the_order_of_their_names() {
        let old = raw(&json!({"key": {"S": "K"}, "b": {"N": "1"}, "gone": {"S": "x"}, "same": {"BOOL": true}}));
        let new = raw(&json!({"key": {"S": "K"}, "b": {"N": "2"}, "added": {"NULL": true}, "same": {"BOOL": true}}));
        let entries = plan_of(Images::Modify { old: item(&old), new: item(&new) }).entries;
        let parts: Vec<_> =
            entries.iter().map(|entry| json!([entry.updated_attribute, entry.old_value, entry.new_value])).collect();
        assert_eq!(
            parts,
            [
                json!(["added", null, {"NULL": true}]),
                json!(["b", {"N": "1"}, {"N": "2"}]),
                json!(["gone", {"S": "x"}, null]),
            ]
        );
    }

    #[test]
    fn provenance_is_added_if_it_is_switched_on() {
        let setting = setting("1");
        let mut change = change(Images::Insert { new: item(&setting) });
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

    /// The same image with new maps. Each map has its own hasher, so the order of its members differs.
    fn rebuilt(image: &HashMap<String, AttributeValue>) -> HashMap<String, AttributeValue> {
        fn rebuilt_value(value: &AttributeValue) -> AttributeValue {
            match value {
                AttributeValue::L(members) => AttributeValue::L(members.iter().map(rebuilt_value).collect()),
                AttributeValue::M(members) => AttributeValue::M(rebuilt(members)),
                other => other.clone(),
            }
        }
        image.iter().map(|(name, member)| (name.clone(), rebuilt_value(member))).collect()
    }

    /// A note that replaces a value has a hash of the value's text, which must not depend on the order of its members.
    #[test]
    fn the_same_large_value_gets_the_same_note() {
        let members = (0..5_000).map(|n| (format!("member-{n}"), AttributeValue::S("x".repeat(100)))).collect();
        let image = HashMap::from([("value".to_owned(), AttributeValue::M(members))]);
        let (one, other) = (raw(&image), raw(&rebuilt(&image)));
        assert_ne!(one.get(), other.get());
        let plan = plan_of(Images::Insert { new: item(&one) });
        assert_eq!(plan.values_omitted, 1);
        assert_eq!(plan, plan_of(Images::Insert { new: item(&other) }));
    }

    fn any_item() -> impl Strategy<Value = HashMap<String, AttributeValue>> {
        prop::collection::hash_map("[a-e]", any_value(), 0..5)
    }

    proptest! {
        /// Applying the entries to the old image gives the new one: nothing is missing, nothing is added.
        #[test]
        fn the_entries_of_a_modification_are_the_difference(old in any_item(), new in any_item()) {
            let (old_json, new_json) = (raw(&old), raw(&new));
            let plan = plan_of(Images::Modify { old: item(&old_json), new: item(&new_json) });
            let mut folded = old;
            for entry in &plan.entries {
                let sent: Item = entry.item();
                let name = entry.updated_attribute.as_deref().unwrap().to_owned();
                prop_assert_eq!(folded.get(&name), sent.get("oldValue"));
                match sent.get("newValue") {
                    Some(value) => folded.insert(name, value.clone()),
                    None => folded.remove(&name),
                };
            }
            prop_assert!(equal(&AttributeValue::M(folded), &AttributeValue::M(new)));
            prop_assert_eq!(plan.attributes_changed, plan.entries.len());
            let ids: std::collections::HashSet<_> = plan.entries.iter().map(|entry| entry.id).collect();
            prop_assert_eq!(ids.len(), plan.entries.len());
        }

        #[test]
        fn the_same_change_has_the_same_entries_whatever_the_order_of_its_maps(old in any_item(), new in any_item()) {
            let items = [&old, &new, &rebuilt(&old), &rebuilt(&new)].map(raw);
            let [old, new, old_again, new_again] = items.each_ref().map(|json| item(json));
            let (one, other) = (Images::Modify { old, new }, Images::Modify { old: old_again, new: new_again });
            let sent = |images| plan_of(images).entries.iter().map(Entry::item).collect::<Vec<_>>();
            prop_assert_eq!(sent(one), sent(other));
        }
    }
}
