//! Example histories, each for one aspect.

use std::collections::HashMap;

use serde_dynamo::AttributeValue;
use serde_json::json;

use super::{EPOCH, History, REJECTED, entries, hash, last, note, snapshot, text, value};
use crate::budget::Budget;
use crate::fold::{MAX_STEPS, Origin, fold, fold_within};
use crate::gap::GapKind;
use crate::step::{Change, Step, WholeItem};
use crate::value::{Item, attributes};

fn number(n: usize) -> AttributeValue {
    value(json!({ "N": n.to_string() }))
}

fn modify(id: usize, time: i64, old: usize, new: usize) -> Step {
    let change =
        Change::Modify { attribute: "a".to_owned(), old: Some(number(old).into()), new: Some(number(new).into()) };
    Step { id: format!("{id:05}"), time: text(time), sequence: None, event: None, omission: None, change }
}

fn insert(time: i64, item: Item) -> Step {
    Step {
        id: "insert".to_owned(),
        time: text(time),
        sequence: None,
        event: None,
        omission: None,
        change: Change::Insert(WholeItem::Known(attributes(item))),
    }
}

#[test]
fn a_gap_has_the_attribute_the_times_and_the_entry_but_no_value() {
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

/// Backfilling read an item that was too large for an entry; since then one attribute was changed.
#[test]
fn an_item_backfilled_by_its_hash_is_proven_by_the_hash() {
    let item = |a, b| Item::from([("a".to_owned(), number(a)), ("b".to_owned(), number(b))]);
    let mut seen = snapshot(EPOCH, &item(1, 7));
    seen.change = Change::Snapshot(WholeItem::Omitted(hash(&item(1, 7))));
    let change = Change::Modify { attribute: "a".to_owned(), old: Some(number(1).into()), new: Some(number(2).into()) };
    let modify =
        Step { id: "modify".to_owned(), time: text(EPOCH + 1000), sequence: None, event: None, omission: None, change };
    for steps in [vec![seen.clone()], vec![seen, modify]] {
        let a = steps.len();
        let fold = fold(steps, Some(&item(a, 7)));
        assert_eq!((fold.origin, fold.against(Some(&item(a, 7)))), (Origin::Backfill, Vec::new()));
        let kinds: Vec<_> = fold.against(Some(&item(a, 8))).into_iter().map(|gap| gap.kind).collect();
        assert_eq!(kinds, [GapKind::Item]);
    }
}

/// As many changes of an item within a second as DynamoDB allows, in the worst order, with recurring values.
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
    assert_eq!(fold.gaps[0].kind, GapKind::Unreadable);
}

/// Within one second, an item is created and removed 12 times, its attribute changes meanwhile, and it is too large for the
/// entries of its removals. One of these has a hash that the item never had, so no order fits, but only trying them all
/// shows that.
fn many_large_items_within_a_second() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut add = |change| {
        let id = format!("{:03}", steps.len());
        steps.push(Step { id, time: text(EPOCH), sequence: None, event: None, omission: None, change });
    };
    for n in 0..12 {
        let item = |n| Item::from([("a".to_owned(), number(n))]);
        let change = |old, new| Change::Modify {
            attribute: "a".to_owned(),
            old: Some(number(old).into()),
            new: Some(number(new).into()),
        };
        add(Change::Insert(WholeItem::Known(attributes(item(n)))));
        add(change(n, n + 100));
        add(change(n + 100, n));
        add(Change::Remove(WholeItem::Omitted(hash(&item(if n == 11 { 1000 } else { n })))));
    }
    steps
}

#[test]
fn a_second_with_too_many_orders_is_undecided_and_keeps_its_entries() {
    let steps = many_large_items_within_a_second();
    let budget = Budget::new(MAX_STEPS);
    let fold = fold_within(&budget, steps.clone(), None);
    assert!(fold.is_undecided(), "{} of {MAX_STEPS} steps are left, and the gaps are {:?}", budget.left(), fold.gaps);
    assert_eq!(fold.gaps.iter().map(|gap| &gap.kind).collect::<Vec<_>>(), [&GapKind::Undecided]);
    assert!(fold.gaps[0].to_string().contains("at 2024-09-11T09:02:28.000Z"), "{}", fold.gaps[0]);
    // The end is uncertain, so the fold reports nothing about it either.
    assert_eq!(fold.against(Some(&Item::new())), []);
    let ids = |steps: &[Step]| {
        let mut ids: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&fold.steps), ids(&steps));
}

#[test]
fn all_searches_of_a_fold_share_its_budget() {
    let mut steps = Vec::new();
    for second in 0..50 {
        steps.extend(many_large_items_within_a_second().into_iter().map(|mut step| {
            step.time = text(EPOCH + second);
            step
        }));
    }
    let budget = Budget::new(10_000);
    let fold = fold_within(&budget, steps, None);
    assert!(fold.is_undecided() && budget.left() < 5_000, "{} steps are left", budget.left());
}

/// An order that fits proves the trail, however little of the budget is left.
#[test]
fn an_order_is_certain_even_if_the_budget_is_nearly_spent() {
    let item = |n| Item::from([("a".to_owned(), number(n))]);
    let mut removal = insert(EPOCH, item(2));
    removal.change = Change::Remove(WholeItem::Known(attributes(item(2))));
    let steps = vec![insert(EPOCH, item(1)), modify(1, EPOCH, 1, 2), removal, insert(EPOCH, item(3))];
    let needed = (1..100).find(|steps_left| {
        let fold = fold_within(&Budget::new(*steps_left), steps.clone(), None);
        assert!(fold.is_undecided() || fold.gaps.is_empty(), "{:?}", fold.gaps);
        !fold.is_undecided()
    });
    assert!(needed.is_some_and(|steps| (4..40).contains(&steps)), "{needed:?}");
}

/// What the function writes about values around the limits, including whole items, is never taken for an alteration.
#[test]
fn notes_that_the_function_writes_are_believed() {
    let deep = (0..40).fold(number(1), |inner, _| AttributeValue::L(vec![inner]));
    let of_size = |size: usize| AttributeValue::S("x".repeat(size));
    let values = [number(1), of_size(250_000), of_size(200_000), deep, of_size(409_000), of_size(99_000), number(1)];
    let key = ("key".to_owned(), value(json!({ "S": "K" })));
    let item = |value: &AttributeValue| Item::from([key.clone(), ("a".to_owned(), value.clone())]);
    let mut history: History = values.iter().zip(EPOCH..).map(|(value, time)| (time, Some(item(value)))).collect();
    for time in [EPOCH + 20, EPOCH + 40] {
        history.extend([(time, None), (time + 10, Some(item(&of_size(409_550))))]);
    }
    let steps: Vec<Step> = entries(&history).into_iter().map(Step::read).collect();
    let notes = steps.iter().filter(|step| step.omission.is_some()).count();
    assert_eq!((notes, steps.iter().filter(|step| step.change == Change::Unreadable).count()), (3, 0));
    let fold = fold(steps, last(&history));
    assert_eq!((&*fold.gaps, &*fold.against(last(&history))), (&[][..], &[][..]));
}

/// The item has the value, so the note that takes its place is needless, unless DynamoDB is said to have rejected it.
#[test]
fn a_note_in_place_of_a_small_value_is_a_gap_with_its_entry() {
    let small = Item::from([("a".to_owned(), number(2))]);
    for (why, found) in [
        ("the entry would be larger than 400 KB", vec![GapKind::Note]),
        ("nested deeper than 31 levels", vec![GapKind::Note]),
        (REJECTED, Vec::new()),
    ] {
        let mut altered = modify(1, EPOCH + 60, 1, 2);
        let Change::Modify { new, .. } = &mut altered.change else { panic!("it is a change") };
        *new = Some(note(why, &number(2)).into());
        let fold = fold(vec![insert(EPOCH, Item::from([("a".to_owned(), number(1))])), altered], Some(&small));
        assert_eq!(fold.gaps, [], "the entries alone do not say what it is");
        let gaps = fold.against(Some(&small));
        assert_eq!(gaps.iter().map(|gap| gap.kind.clone()).collect::<Vec<_>>(), found, "{why}");
        for gap in gaps {
            assert_eq!((gap.entry.as_deref(), gap.before.as_deref()), (Some("00001"), Some(&*text(EPOCH + 60))));
            assert!(gap.to_string().starts_with("the entry of 2024-09-11T09:03:28.000Z has a note"), "{gap}");
        }
    }
}

#[test]
fn the_entries_of_one_record_have_one_time() {
    let of_record = |id, time, event: Option<&str>| {
        let mut step = modify(id, time, id, id + 1);
        step.event = event.map(str::to_owned);
        step
    };
    let gaps = |steps| {
        let kinds = fold(steps, None).gaps.into_iter().filter(|gap| gap.kind == GapKind::RecordTimes);
        kinds.map(|gap| gap.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(gaps(vec![of_record(1, EPOCH, None), of_record(2, EPOCH + 1, None)]), [] as [&str; 0]);
    assert_eq!(gaps(vec![of_record(1, EPOCH, Some("e")), of_record(2, EPOCH, Some("e"))]), [] as [&str; 0]);
    assert_eq!(
        gaps(vec![of_record(1, EPOCH, Some("e")), of_record(2, EPOCH + 1, Some("e"))]),
        [
            "two entries of one stream record have different times, 2024-09-11T09:02:28.000Z and 2024-09-11T09:02:29.000Z, so \
          one was altered"
        ]
    );
}
