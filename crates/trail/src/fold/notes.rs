//! Notes in place of values that need none.
//!
//! The function omits a value because the value or the entry exceeds a limit of DynamoDB. If another entry, or the item,
//! has a value of the same hash that is far within the limits, the note was put there by someone else. A note that says
//! that DynamoDB rejects the entry is always believed, because DynamoDB's reasons are not known.

use std::collections::HashMap;

use config_audit::audit::{MAX_NESTING, Note, Omission};
use config_audit::value::size;
use serde_dynamo::AttributeValue;

use super::folded::Fold;
use crate::gap::{Gap, GapKind};
use crate::image::Image;
use crate::step::{Change, SMALL, Step, WholeItem};
use crate::value::{Attribute, Attributes, Value, depth};

impl Fold {
    /// The entries with notes in place of values that need none, according to the other entries, and to the item if it is
    /// known.
    pub(super) fn needless_notes(&self, item: Option<&Attributes>) -> Vec<Gap> {
        if !self.steps.iter().any(has_note) {
            return Vec::new();
        }
        let known = self.known_values(item);
        let mut gaps = Vec::new();
        let mut state = self.initial.clone();
        for (index, step) in self.steps.iter().enumerate() {
            let before = if step.omission.is_some() { state.clone() } else { None };
            self.advance(&mut state, index);
            let is_needless = match (&step.change, step.omission) {
                (Change::Modify { old, new, .. }, _) => is_needless([old.as_ref(), new.as_ref()], &known),
                (Change::Insert(WholeItem::Omitted(hash)), Some(why)) => disproves(state.as_ref(), hash, why),
                (Change::Remove(WholeItem::Omitted(hash)), Some(why)) => disproves(before.as_ref(), hash, why),
                (Change::Snapshot(WholeItem::Omitted(hash)), Some(why)) => self.was_small_around(&step.time, hash, why),
                _ => false,
            };
            if is_needless {
                let (before, entry) = (Some(step.time.clone()), Some(step.id.clone()));
                gaps.push(Gap { kind: GapKind::Note, after: None, before, entry });
            }
        }
        gaps
    }

    /// The values that entries or the item have, by their hashes.
    fn known_values<'a>(&'a self, item: Option<&'a Attributes>) -> HashMap<&'a str, &'a Value> {
        let mut known = HashMap::new();
        let mut add = |value: &'a Value| {
            if !value.is_omitted() {
                known.insert(value.hash(), value);
            }
        };
        for step in &self.steps {
            match &step.change {
                Change::Modify { old, new, .. } => old.iter().chain(new).for_each(&mut add),
                change => change.item().into_iter().flat_map(Attributes::values).for_each(&mut add),
            }
        }
        item.into_iter().flat_map(Attributes::values).for_each(&mut add);
        known
    }

    fn was_small_around(&self, time: &str, hash: &str, why: Omission) -> bool {
        let mut was_small = false;
        // A time that cannot be read is a gap of its own.
        let _ = self.for_each_around(time, |image| was_small |= disproves(Some(image), hash, why));
        was_small
    }
}

fn has_note(step: &Step) -> bool {
    match &step.change {
        Change::Modify { old, new, .. } => old.iter().chain(new).any(Value::is_omitted),
        _ => step.omission.is_some(),
    }
}

/// Whether the item of this hash is completely known, and needs no note.
fn disproves(image: Option<&Image>, hash: &str, why: Omission) -> bool {
    let is_known = |image: &&Image| image.hash().as_deref() == Some(hash);
    image.filter(is_known).is_some_and(|image| needs_none(why, &[&AttributeValue::M(image.item())]))
}

/// Whether one of these values of an entry is a note that the known values disprove.
fn is_needless<'a>(values: [Attribute<'a>; 2], known: &HashMap<&str, &'a Value>) -> bool {
    let resolve = |value: &'a Value| match Note::read(value.get()) {
        Some(note) => known.get(note.hash).map(|known| (Some(note.why), known.get())),
        None => Some((None, value.get())),
    };
    let resolved: Vec<_> = values.into_iter().flatten().map(resolve).collect();
    let all: Option<Vec<_>> = resolved.iter().map(|value| value.map(|(_, value)| value)).collect();
    resolved.iter().flatten().any(|(why, value)| match why {
        Some(why @ Omission::TooDeep) => needs_none(*why, &[value]),
        Some(why) => all.as_ref().is_some_and(|all| needs_none(*why, all)),
        None => false,
    })
}

/// Whether an entry can have all these values, contrary to this reason.
fn needs_none(why: Omission, values: &[&AttributeValue]) -> bool {
    match why {
        Omission::TooDeep => values.iter().all(|value| depth(value) <= MAX_NESTING),
        Omission::TooLarge => values.iter().map(|value| size(value)).sum::<usize>() <= SMALL,
        Omission::Rejected => false,
    }
}
