//! Random histories, as the function writes them, against what was really done.

use std::collections::HashMap;

use config_audit::audit::{self, Context};
use config_audit::aws::arn::StreamArn;
use config_audit::stream::{self, Images};
use config_audit::value::equal;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use super::*;
use crate::trail::backfill_id;

/// The first second of all histories.
const EPOCH: i64 = 1_726_045_348;

/// What really happened to an item: the seconds since the epoch, and the item from then on.
type History = Vec<(i64, Option<Item>)>;

fn value(json: serde_json::Value) -> AttributeValue {
    serde_json::from_value(json).unwrap()
}

/// Few enough that values come back, of all types.
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

/// The entries that the function writes for it.
fn entries(history: &History) -> Vec<Item> {
    let mut entries = Vec::new();
    let mut before: Option<Item> = None;
    for (number, (time, item)) in history.iter().enumerate() {
        let images = match (before.take(), item.clone()) {
            (None, Some(new)) => Images::Insert { new: new.into() },
            (Some(old), Some(new)) => Images::Modify { old: old.into(), new: new.into() },
            (Some(old), None) => Images::Remove { old: old.into() },
            (None, None) => continue,
        };
        let change = stream::Change {
            stream_arn: Some(StreamArn::parse("arn".to_owned())),
            event_id: number.to_string(),
            item_key: "K".to_owned(),
            created: None,
            principal: None,
            sequence_number: Some((1000 + number).to_string()),
            images,
        };
        let time = DateTime::from_timestamp(*time, 0).unwrap();
        let context = Context { provenance: Some(None) };
        let plan = audit::plan(change, time, &context, String::new);
        entries.extend(plan.entries.iter().map(|entry| entry.item().into_inner()));
        before.clone_from(item);
    }
    entries
}

/// As a table gives them, in no order and without provenance.
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

/// A note in the place of a value, as the function leaves it.
fn note(value: &AttributeValue) -> AttributeValue {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let hash = audit::value_hash(value);
    let members = [
        ("omitted", text("why")),
        ("bytes", AttributeValue::N("1".to_owned())),
        ("sha256", text(&hash)),
        ("record", text("s3://bucket/key")),
    ];
    AttributeValue::M(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn hash(item: &Item) -> String {
    audit::value_hash(&AttributeValue::M(item.clone()))
}

fn snapshot(time: i64, item: &Item) -> Step {
    Step {
        id: backfill_id("K").to_string(),
        time: text(time),
        sequence: None,
        change: Change::Snapshot(Whole::Known(item.clone())),
    }
}

/// Every way to say something else with this entry.
fn alterations(step: &Step) -> Vec<Change> {
    let other = || value(json!({"S": "altered"}));
    let item_with = |item: &Item, change: &dyn Fn(&mut Item)| {
        let mut item = item.clone();
        change(&mut item);
        Whole::Known(item)
    };
    let images = |item: &Item| {
        vec![
            item_with(item, &|item| drop(item.insert("a".to_owned(), other()))),
            item_with(item, &|item| drop(item.insert("new".to_owned(), other()))),
            item_with(item, &|item| drop(item.remove("key"))),
        ]
    };
    match step.change.clone() {
        Change::Insert(Whole::Known(item)) => images(&item).into_iter().map(Change::Insert).collect(),
        Change::Remove(Whole::Known(item)) => images(&item).into_iter().map(Change::Remove).collect(),
        Change::Modify { attribute, old, new } => {
            let modify = |old, new| Change::Modify { attribute: attribute.clone(), old, new };
            vec![
                modify(Some(other()), new.clone()),
                modify(old.clone(), Some(other())),
                modify(None, Some(other())),
                modify(new.clone(), old.clone()),
                Change::Modify { attribute: "other".to_owned(), old, new },
            ]
        }
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_history_in_any_order_folds_to_what_was_done((history, steps) in with_steps()) {
        let fold = fold(steps, None);
        prop_assert_eq!(&fold.gaps, &[]);
        prop_assert_eq!((fold.origin, fold.is_open()), (Origin::Creation, false));
        for (time, _) in &history {
            let image = fold.at(&text(*time));
            prop_assert_eq!(image.is_some(), truth(&history, *time).is_some());
            if let (Some(image), Some(item)) = (image, truth(&history, *time)) {
                prop_assert!(is_equal(&image.item(), item));
            }
        }
        prop_assert_eq!(fold.at(&text(EPOCH - 1)), None);
        prop_assert_eq!(fold.against(last(&history)), []);
    }

    /// Every step begins where the one before it ended, so a history can be read from top to bottom.
    #[test]
    fn the_steps_follow_each_other((_, steps) in with_steps()) {
        let count = steps.len();
        let fold = fold(steps, None);
        prop_assert_eq!(fold.steps.len(), count);
        let mut state = None;
        for step in &fold.steps {
            prop_assert_eq!(lacks(&state, &step.change), []);
            advance(&mut state, &step.change);
        }
    }

    #[test]
    fn the_streams_own_order_is_kept_where_entries_tell_it(history in any_history()) {
        let entries = entries(&history);
        let mut expected: Vec<_> = entries.iter().map(|entry| Step::read(entry.clone())).collect();
        expected.sort_by(|one, other| one.sequence.cmp(&other.sequence));
        let expected: Vec<_> = expected.into_iter().map(|step| step.sequence).collect();
        let fold = fold(entries.into_iter().rev().map(Step::read).collect(), None);
        prop_assert_eq!(&fold.gaps, &[]);
        prop_assert_eq!(fold.steps.into_iter().map(|step| step.sequence).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn any_single_loss_is_found((history, mut steps) in with_steps(), lost in any::<Index>()) {
        let lost = steps.remove(lost.index(steps.len()));
        if steps.is_empty() {
            return Ok(());
        }
        let fold = fold(steps, last(&history));
        // The loss of its creation makes an item look older; within the second of a removal any creation may be it.
        let is_creation = matches!(lost.change, Change::Insert(_));
        prop_assert!(!is_intact(&fold, last(&history)) || (is_creation && fold.origin == Origin::Unknown), "{:?}", lost);
    }

    #[test]
    fn any_single_alteration_is_found((history, mut steps) in with_steps(), altered in any::<Index>(), how in any::<Index>()) {
        let at = altered.index(steps.len());
        let step = steps[at].clone();
        let changes = alterations(&step);
        let change = how.get(&changes).clone();
        prop_assume!(change != step.change);
        steps[at].change = change.clone();
        let fold = fold(steps, last(&history));
        prop_assert!(!is_intact(&fold, last(&history)), "{:?} became {:?}", step, change);
    }

    /// Where the trail begins in the middle, what it tells is true, and it breaks nowhere.
    #[test]
    fn of_an_item_that_is_older_nothing_false_is_told((history, mut steps) in with_steps(), from in any::<Index>()) {
        let from = history[from.index(history.len())].0;
        steps.retain(|step| *step.time > *text(from));
        if steps.is_empty() {
            return Ok(());
        }
        let was_there = truth(&history, from).is_some();
        let fold = fold(steps, last(&history));
        prop_assert_eq!(&fold.gaps, &[]);
        prop_assert_eq!(fold.origin, if was_there { Origin::Unknown } else { Origin::Creation });
        prop_assert_eq!(fold.against(last(&history)), []);
        for (time, _) in history.iter().filter(|(time, _)| *time >= from) {
            let image = fold.at(&text(*time));
            prop_assert_eq!(image.is_some(), truth(&history, *time).is_some());
            if let (Some(image), Some(item)) = (image, truth(&history, *time)) {
                prop_assert_eq!(image.differences(item), Vec::<String>::new());
            }
        }
    }

    /// A backfilled entry that comes with the changes makes them whole, whatever is going on meanwhile.
    #[test]
    fn a_backfilled_entry_fits_wherever_the_item_was_read(
        (history, mut steps) in with_steps(), from in any::<Index>(), read in any::<Index>(), off in -200..200_i64,
        is_too_large in any::<bool>(),
    ) {
        let from = history[from.index(history.len())].0;
        let of_then = history.iter().rfind(|(time, _)| *time <= from);
        let later: Vec<_> = history.iter().filter(|(time, _)| *time > from).chain(of_then).filter(|(_, item)| item.is_some()).collect();
        if later.is_empty() {
            return Ok(());
        }
        let (time, item) = read.get(&later);
        steps.retain(|step| *step.time > *text(from));
        let mut snapshot = snapshot(time + off, item.as_ref().unwrap());
        if is_too_large {
            snapshot.change = Change::Snapshot(Whole::Omitted(hash(item.as_ref().unwrap())));
        }
        steps.push(snapshot);
        let fold = fold(steps, last(&history));
        prop_assert_eq!(&fold.gaps, &[]);
        prop_assert_eq!(fold.against(last(&history)), []);
        prop_assert!(fold.origin != Origin::Unknown);
        if is_too_large {
            return Ok(());
        }
        prop_assert!(!fold.is_open());
        for (time, _) in history.iter().filter(|(time, _)| *time >= from) {
            if let (Some(image), Some(item)) = (fold.at(&text(*time)), truth(&history, *time)) {
                prop_assert!(is_equal(&image.item(), item));
            }
        }
    }

    /// Notes in the place of values, of whole items too, are as good as the values.
    #[test]
    fn values_that_were_left_out_are_compared_by_their_hash((history, steps) in with_steps(), which in any::<u64>(), lost in any::<Index>()) {
        let is_whole = |step: &Step| !matches!(step.change, Change::Modify { .. });
        // DynamoDB is too slow to create an item of that size twice within a second.
        let is_alone = |time: &str| steps.iter().filter(|step| step.time == time && is_whole(step)).count() == 1;
        let alone: Vec<String> = steps.iter().map(|step| step.time.clone()).filter(|time| is_alone(time)).collect();
        let mut rest = which;
        let mut left_out = || {
            rest = rest.rotate_left(1);
            rest % 3 == 0
        };
        let mut steps: Vec<_> = steps.into_iter().map(|mut step| {
            match &mut step.change {
                Change::Modify { old, new, .. } => {
                    for value in old.iter_mut().chain(new.iter_mut()) {
                        if left_out() {
                            *value = note(value);
                        }
                    }
                }
                Change::Insert(whole) | Change::Remove(whole) if alone.contains(&step.time) && left_out() => {
                    if let Whole::Known(item) = whole {
                        *whole = Whole::Omitted(hash(item));
                    }
                }
                _ => {}
            }
            step
        }).collect();
        let intact = fold(steps.clone(), last(&history));
        prop_assert_eq!(&intact.gaps, &[]);
        prop_assert_eq!(intact.against(last(&history)), []);
        prop_assert_eq!(intact.origin, Origin::Creation);
        // A change of an attribute is missed all the same, where the whole items are not left out.
        let lost = lost.index(steps.len());
        let all_known = steps.iter().all(|step| !matches!(step.change, Change::Insert(Whole::Omitted(_)) | Change::Remove(Whole::Omitted(_))));
        if all_known && matches!(steps[lost].change, Change::Modify { .. }) {
            steps.remove(lost);
            prop_assert!(!is_intact(&fold(steps, last(&history)), last(&history)));
        }
    }
}

fn number(n: usize) -> AttributeValue {
    value(json!({ "N": n.to_string() }))
}

fn modify(id: usize, time: i64, old: usize, new: usize) -> Step {
    let change = Change::Modify { attribute: "a".to_owned(), old: Some(number(old)), new: Some(number(new)) };
    Step { id: format!("{id:05}"), time: text(time), sequence: None, change }
}

fn insert(time: i64, item: Item) -> Step {
    Step { id: "insert".to_owned(), time: text(time), sequence: None, change: Change::Insert(Whole::Known(item)) }
}

#[test]
fn a_gap_names_the_attribute_the_times_and_the_entry_but_no_value() {
    let item = Item::from([("a".to_owned(), number(1))]);
    let fold = fold(vec![insert(EPOCH, item), modify(1, EPOCH + 1, 1, 2), modify(2, EPOCH + 60, 3, 4)], None);
    assert_eq!(fold.gaps.len(), 1);
    assert_eq!(fold.gaps[0].entry.as_deref(), Some("00002"));
    assert_eq!(
        fold.gaps[0].to_string(),
        "a change of attribute a between 2024-09-11T09:02:29.000Z and 2024-09-11T09:03:28.000Z is missing, or an entry \
         was altered"
    );
    let ended = fold.against(Some(&Item::from([("a".to_owned(), number(9))])));
    assert_eq!(
        ended[0].to_string(),
        "a change of attribute a after 2024-09-11T09:03:28.000Z is missing, or an entry was altered"
    );
}

/// More than DynamoDB lets an item change within a second, in the worst order, and with values that come back.
/// Backfilling saw an item that was too large for an entry; since then one attribute was changed.
#[test]
fn an_item_that_was_backfilled_by_its_hash_is_proven_by_it() {
    let item = |a, b| Item::from([("a".to_owned(), number(a)), ("b".to_owned(), number(b))]);
    let mut seen = snapshot(EPOCH, &item(1, 7));
    seen.change = Change::Snapshot(Whole::Omitted(hash(&item(1, 7))));
    let change = Change::Modify { attribute: "a".to_owned(), old: Some(number(1)), new: Some(number(2)) };
    let modify = Step { id: "modify".to_owned(), time: text(EPOCH + 1000), sequence: None, change };
    for steps in [vec![seen.clone()], vec![seen, modify]] {
        let a = steps.len();
        let fold = fold(steps, Some(&item(a, 7)));
        assert_eq!((fold.origin, fold.against(Some(&item(a, 7)))), (Origin::Backfill, Vec::new()));
        let lacks: Vec<_> = fold.against(Some(&item(a, 8))).into_iter().map(|gap| gap.lack).collect();
        assert_eq!(lacks, [Lack::Item]);
    }
}

#[test]
fn a_thousand_changes_within_a_second_are_put_in_order() {
    for values in [1001, 7] {
        let value = |n: usize| (n * n) % values;
        let changes = (0..1000).filter(|n| value(*n) != value(n + 1)).map(|n| modify(n, EPOCH, value(n), value(n + 1)));
        let mut steps: Vec<_> = changes.rev().collect();
        steps.insert(500, insert(EPOCH, Item::from([("a".to_owned(), number(value(0)))])));
        let fold = fold(steps, None);
        assert_eq!(fold.gaps, []);
        let end = HashMap::from([("a".to_owned(), number(value(1000)))]);
        assert_eq!(fold.against(Some(&end)), []);
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_a_gap() {
    let mut odd = modify(1, EPOCH, 1, 2);
    odd.change = Change::Unreadable;
    let fold = fold(vec![insert(EPOCH, Item::new()), odd], None);
    assert_eq!(fold.gaps.len(), 1);
    assert_eq!(fold.gaps[0].lack, Lack::Unreadable);
}
