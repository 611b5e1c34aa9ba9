//! Random histories, as the function writes them, compared with what was really done.

use config_audit::audit::Omission;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use super::{
    EPOCH, REJECTED, any_history, entries, hash, is_equal, is_intact, last, note, snapshot, text, truth, value,
    with_steps,
};
use crate::fold::{Fold, Origin, fold};
use crate::gap::GapKind;
use crate::image::{Image, advance, conflicts_with};
use crate::step::{Change, Step, WholeItem};
use crate::value::{Attributes, Item, Value, attributes};

/// Every way to alter the meaning of this entry.
fn alterations(step: &Step) -> Vec<Change> {
    let other = || Value::from(value(json!({"S": "altered"})));
    let item_with = |item: &Attributes, change: &dyn Fn(&mut Attributes)| {
        let mut item = item.clone();
        change(&mut item);
        WholeItem::Known(item)
    };
    let images = |item: &Attributes| {
        vec![
            item_with(item, &|item| drop(item.insert("a".to_owned(), other()))),
            item_with(item, &|item| drop(item.insert("new".to_owned(), other()))),
            item_with(item, &|item| drop(item.remove("key"))),
        ]
    };
    match step.change.clone() {
        Change::Insert(WholeItem::Known(item)) => images(&item).into_iter().map(Change::Insert).collect(),
        Change::Remove(WholeItem::Known(item)) => images(&item).into_iter().map(Change::Remove).collect(),
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

/// Whether the budget of the searches was spent before everything fitted.
fn is_undecided(fold: &Fold) -> bool {
    fold.gaps.iter().any(|gap| gap.kind == GapKind::Undecided)
}

/// Whether an item was written so often within one second that not all orders of its entries can be tried.
fn is_crowded(history: &[(i64, Option<Item>)]) -> bool {
    history.chunk_by(|one, other| one.0 == other.0).any(|second| second.len() > 8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_time: 20_000, ..ProptestConfig::default() })]

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
            prop_assert_eq!(conflicts_with(&state, &step.change), []);
            advance(&mut state, &step.change);
        }
    }

    #[test]
    fn the_stream_order_is_kept_where_entries_record_it(history in any_history()) {
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
        // Without its creation an item looks older; within the second of a removal, that may be any creation.
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

    /// If the trail begins in the middle, what it says is true, and it has no breaks.
    #[test]
    fn nothing_false_is_said_about_an_older_item((history, mut steps) in with_steps(), from in any::<Index>()) {
        let from = history[from.index(history.len())].0;
        steps.retain(|step| *step.time > *text(from));
        if steps.is_empty() {
            return Ok(());
        }
        let was_there = truth(&history, from).is_some();
        let fold = fold(steps, last(&history));
        if is_undecided(&fold) {
            prop_assert!(is_crowded(&history));
            return Ok(());
        }
        prop_assert_eq!(&fold.gaps, &[]);
        prop_assert_eq!(fold.origin, if was_there { Origin::Unknown } else { Origin::Creation });
        prop_assert_eq!(fold.against(last(&history)), []);
        for (time, _) in history.iter().filter(|(time, _)| *time >= from) {
            let image = fold.at(&text(*time));
            prop_assert_eq!(image.is_some(), truth(&history, *time).is_some());
            if let (Some(image), Some(item)) = (image, truth(&history, *time)) {
                prop_assert_eq!(image.differences(&attributes(item.clone())), Vec::<String>::new());
            }
        }
    }

    /// A backfilled entry completes the changes, whatever else is going on at the time.
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
            snapshot.change = Change::Snapshot(WholeItem::Omitted(hash(item.as_ref().unwrap())));
        }
        steps.push(snapshot);
        let fold = fold(steps, last(&history));
        if is_undecided(&fold) {
            prop_assert!(is_crowded(&history));
            return Ok(());
        }
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

    /// The changes of one record have one time, and no change changes nothing.
    #[test]
    fn an_altered_time_of_one_of_several_changes_is_found(history in any_history(), altered in any::<Index>(), later in 1..100_i64) {
        let mut steps: Vec<Step> = entries(&history).into_iter().map(Step::read).collect();
        let at = altered.index(steps.len());
        let is_alone = steps.iter().filter(|step| step.event == steps[at].event).count() == 1;
        if is_alone {
            return Ok(());
        }
        steps[at].time = text(history.last().unwrap().0 + later);
        let fold = fold(steps, None);
        prop_assert!(fold.gaps.iter().any(|gap| gap.kind == GapKind::RecordTimes), "{:?}", fold.gaps);
    }

    /// A note in place of a small value is found if the value is known.
    #[test]
    fn a_needless_note_is_found((history, mut steps) in with_steps(), altered in any::<Index>(), is_deep in any::<bool>()) {
        let why = if is_deep { "nested deeper than 31 levels" } else { "the entry would be larger than 400 KB" };
        let at = altered.index(steps.len());
        let is_whole = |step: &Step| !matches!(step.change, Change::Modify { .. });
        // DynamoDB is too slow to create an item of that size twice within a second.
        let is_alone = steps.iter().filter(|step| step.time == steps[at].time && is_whole(step)).count() == 1;
        let omission = if is_deep { Omission::TooDeep } else { Omission::TooLarge };
        let id = steps[at].id.clone();
        match &mut steps[at].change {
            // The next change, or the item, has the new value.
            Change::Modify { new: Some(new), .. } => *new = note(why, new.get()).into(),
            Change::Insert(whole) | Change::Remove(whole) if is_alone => {
                let WholeItem::Known(item) = whole else { return Ok(()) };
                *whole = WholeItem::Omitted(Image::of(item).hash().unwrap());
                steps[at].omission = Some(omission);
            }
            _ => return Ok(()),
        }
        let fold = fold(steps, last(&history));
        let mut gaps = fold.gaps.clone();
        gaps.extend(fold.against(last(&history)));
        prop_assert!(gaps.iter().any(|gap| gap.kind == GapKind::Note && gap.entry.as_deref() == Some(&*id)), "{:?}", gaps);
    }

    /// Notes in place of values, including whole items, are as good as the values.
    #[test]
    fn omitted_values_are_compared_by_their_hash((history, steps) in with_steps(), which in any::<u64>(), lost in any::<Index>()) {
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
                            *value = note(REJECTED, value.get()).into();
                        }
                    }
                }
                Change::Insert(whole) | Change::Remove(whole) if alone.contains(&step.time) && left_out() => {
                    if let WholeItem::Known(item) = whole {
                        *whole = WholeItem::Omitted(Image::of(item).hash().unwrap());
                    }
                }
                _ => {}
            }
            step
        }).collect();
        let intact = fold(steps.clone(), last(&history));
        if is_undecided(&intact) {
            prop_assert!(is_crowded(&history));
            return Ok(());
        }
        prop_assert_eq!(&intact.gaps, &[]);
        prop_assert_eq!(intact.against(last(&history)), []);
        prop_assert_eq!(intact.origin, Origin::Creation);
        // A lost change of an attribute is still noticed if the whole items are not omitted.
        let lost = lost.index(steps.len());
        let all_known = steps.iter().all(|step| !matches!(step.change, Change::Insert(WholeItem::Omitted(_)) | Change::Remove(WholeItem::Omitted(_))));
        if all_known && matches!(steps[lost].change, Change::Modify { .. }) {
            steps.remove(lost);
            prop_assert!(!is_intact(&fold(steps, last(&history)), last(&history)));
        }
    }
}
