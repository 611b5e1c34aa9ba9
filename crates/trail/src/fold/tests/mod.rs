//! Histories, and the entries that the function writes for them.

mod examples;
mod properties;

use chrono::DateTime;
use config_audit::audit::{self, Context};
use config_audit::aws::arn::StreamArn;
use config_audit::clock::timestamp;
use config_audit::stream::{self, Images};
use config_audit::value::equal;
use proptest::prelude::*;
use serde_dynamo::AttributeValue;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::backfill::backfill_id;
use crate::fold::Fold;
use crate::step::{Change, Step, WholeItem};
use crate::value::{Item, attributes};

/// The first second of all histories.
const EPOCH: i64 = 1_726_045_348;

/// What really happened to an item: the seconds since the epoch, and the item from then on.
type History = Vec<(i64, Option<Item>)>;

fn value(json: serde_json::Value) -> AttributeValue {
    serde_json::from_value(json).unwrap()
}

/// Values of all types, few enough that they recur.
fn any_value() -> impl Strategy<Value = AttributeValue> {
    prop::sample::select(vec![
        value(json!({"N": "1"})),
        value(json!({"N": "2"})),
        value(json!({"S": "1"})),
        value(json!({"BOOL": true})),
        value(json!({"NULL": true})),
        value(json!({"B": "AAE="})),
        value(json!({"SS": ["a", "b"]})),
        value(json!({"NS": ["1", "2"]})),
        value(json!({"BS": ["AAE="]})),
        value(json!({"L": [{"N": "1"}, {"S": "x"}]})),
        value(json!({"M": {"a": {"N": "1"}}})),
    ])
}

fn any_item() -> impl Strategy<Value = Item> {
    let few = prop_oneof![3 => prop::sample::select(vec!["1", "2", "3"]).prop_map(|n| value(json!({ "N": n }))), 1 => any_value()];
    prop::collection::hash_map(prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned), few, 0..4).prop_map(
        |mut item| {
            item.insert("key".to_owned(), value(json!({"S": "K"})));
            item
        },
    )
}

/// An item that is created, changed, removed and created again, often within the same second.
fn any_history() -> impl Strategy<Value = History> {
    let change =
        (prop::sample::select(vec![0, 0, 0, 1, 400]), prop_oneof![5 => any_item().prop_map(Some), 1 => Just(None)]);
    (any_item(), prop::collection::vec(change, 0..14)).prop_map(|(first, changes)| {
        let mut history = vec![(EPOCH, Some(first))];
        for (later, item) in changes {
            let (time, before) = history.last().unwrap().clone();
            if item.is_some() || before.is_some() {
                history.push((time + later, item));
            }
        }
        history
    })
}

/// The entries that the function writes for this history.
fn entries(history: &History) -> Vec<Item> {
    let mut entries = Vec::new();
    let mut before: Option<Box<RawValue>> = None;
    for (number, (time, item)) in history.iter().enumerate() {
        let after = item.as_ref().map(|item| to_raw_value(item).unwrap());
        let images = match (before.as_deref(), after.as_deref()) {
            (None, Some(new)) => Images::Insert { new: serde_json::from_str(new.get()).unwrap() },
            (Some(old), Some(new)) => Images::Modify {
                old: serde_json::from_str(old.get()).unwrap(),
                new: serde_json::from_str(new.get()).unwrap(),
            },
            (Some(old), None) => Images::Remove { old: serde_json::from_str(old.get()).unwrap() },
            (None, None) => continue,
        };
        let change = stream::Change {
            stream_arn: Some(StreamArn::new("arn")),
            event_id: number.to_string().into(),
            item_key: "K".into(),
            created: None,
            principal: None,
            sequence_number: Some((1000 + number).to_string().into()),
            images,
        };
        let time = DateTime::from_timestamp(*time, 0).unwrap();
        let context = Context { provenance: Some(None) };
        let plan = audit::plan(change, time, &context, String::new);
        entries.extend(plan.entries.iter().map(|entry| entry.item().into_inner()));
        before = after;
    }
    entries
}

/// The steps as a table returns them, in no particular order and without provenance.
fn shuffled(history: &History) -> impl Strategy<Value = Vec<Step>> + use<> {
    Just(steps(entries(history))).prop_shuffle()
}

fn steps(entries: Vec<Item>) -> Vec<Step> {
    let without_provenance = entries.into_iter().map(|mut entry| {
        entry.remove("provenance");
        entry
    });
    without_provenance.map(Step::read).collect()
}

fn with_steps() -> impl Strategy<Value = (History, Vec<Step>)> {
    any_history().prop_flat_map(|history| (Just(history.clone()), shuffled(&history)))
}

fn text(time: i64) -> String {
    timestamp(DateTime::from_timestamp(time, 0).unwrap())
}

fn truth(history: &History, time: i64) -> Option<&Item> {
    history.iter().rev().find(|(since, _)| *since <= time).and_then(|(_, item)| item.as_ref())
}

fn last(history: &History) -> Option<&Item> {
    history.last().unwrap().1.as_ref()
}

fn is_equal(one: &Item, other: &Item) -> bool {
    equal(&AttributeValue::M(one.clone()), &AttributeValue::M(other.clone()))
}

fn is_intact(fold: &Fold, item: Option<&Item>) -> bool {
    fold.gaps.is_empty() && fold.against(item).is_empty()
}

/// Why the function omits a value that DynamoDB rejects.
const REJECTED: &str = "DynamoDB rejects the entry with this value";

/// A note in place of a value, as the function writes it.
fn note(why: &str, value: &AttributeValue) -> AttributeValue {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let hash = config_audit::value::canonical_hash(value);
    let members = [
        ("omitted", text(why)),
        ("bytes", AttributeValue::N("410000".to_owned())),
        ("sha256", text(&hash)),
        ("record", text("s3://bucket/key")),
    ];
    AttributeValue::M(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn hash(item: &Item) -> String {
    config_audit::value::canonical_hash(&AttributeValue::M(item.clone()))
}

fn snapshot(time: i64, item: &Item) -> Step {
    Step {
        id: backfill_id("K").to_string(),
        time: text(time),
        sequence: None,
        event: None,
        omission: None,
        change: Change::Snapshot(WholeItem::Known(attributes(item.clone()))),
    }
}
