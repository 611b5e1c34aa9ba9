//! One item's entries, folded: their order, the item at any time, and what is missing or altered.
//!
//! # How it is found
//!
//! An entry must begin with the value that the one before it left. The stream tells the time to the second, so entries
//! of one second have no order but this one; where they carry the stream's sequence numbers, those decide. In the end
//! the item must be what the Configuration table has ([`Fold::against`]).
//!
//! An item that was created before the trail began is unknown at first: an entry tells the value of its attribute
//! before, a removal or a backfilled entry tells all of them. An item or a value that was too large for an entry is known
//! by its hash, and compared by it.
//!
//! # What is found, and what nobody could find
//!
//! Of an item whose first entry is its creation, every single loss and every alteration of what a single entry says was
//! changed is found: each entry moves one attribute from one value to another, and the sum of these moves is fixed by
//! where the item began and what it is now. Nothing in the trail itself tells of these:
//!
//! - The loss of an item's first entry, its creation: it then looks older than the trail ([`Origin::Unknown`]). The loss
//!   of a later creation can look so too, if the item was created and removed within its first second. Where the trail
//!   began with its table, or all items that are older have been backfilled, none should look so
//!   (`config-audit verify --complete`).
//! - The loss of several entries that lead back to where they began: of `1 -> 2` and `2 -> 1`; of a removal and the
//!   creation of the same item again; of all entries of an item that is no more.
//! - Of an item that is older than the trail, an altered old value in the first entry of an attribute.
//! - An entry whose time was altered without changing the order, or whose ID or provenance was altered.
//! - A change of an item that is known by its hash alone when it is created, removed or backfilled, if the values that are
//!   known do not make up the whole item; or, of one that was backfilled so, if it was changed within the same minutes.
//! - What a note of an omitted value says besides its hash.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{DateTime, TimeDelta};
use config_audit::clock::timestamp;
use serde_dynamo::AttributeValue;

use super::instant::{Found, chain, search};
use super::state::{State, Value, advance, lacks};
use super::{Change, Image, Item, Step, Whole, same};

/// How far the clock that a backfilled entry was timed by may be from the moment at which the item was read: the time of
/// one page, and the difference of two clocks.
pub const SNAPSHOT_WINDOW: TimeDelta = TimeDelta::minutes(5);

/// How often an item that is not known is folded anew with other choices.
const MAX_RUNS: usize = 256;
/// How many ends of one second there are to choose from.
const MAX_ENDS: usize = 8;

/// What the entries of one item tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// The entries in the order of the changes, backfilled ones at the beginning of their second.
    pub steps: Vec<Step>,
    /// Where the trail breaks.
    pub gaps: Vec<Gap>,
    /// What the trail of the item begins with.
    pub origin: Origin,
    /// The item before all steps.
    initial: State,
    /// The items that begin with these steps, by index; more is known of them than their first step says.
    lives: BTreeMap<usize, Image>,
    /// The hash of the item that the last life began with, where it was left out of its entry.
    hash: Option<String>,
    /// When each attribute was last told of.
    told: HashMap<String, String>,
    /// When the item's last life or absence began.
    began: Option<String>,
}

/// What the trail of an item begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The item's creation.
    Creation,
    /// A backfilled entry, of an item that was there before its first change.
    Backfill,
    /// A change of an item that was there before: it is older than the trail, or its creation is missing.
    Unknown,
}

/// A place at which the trail breaks. Its text has no value in it, and is fit for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What must be missing, unless an entry was altered.
    pub lack: Lack,
    /// The last time that the trail told of it; `None` where it never did.
    pub after: Option<String>,
    /// The time of the entry that does not fit; `None` where it is the Configuration table that does not.
    pub before: Option<String>,
    /// The ID of that entry.
    pub entry: Option<String>,
}

/// What is missing at a gap, or altered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// A change of this attribute.
    Attribute(String),
    /// A change of some attribute: the item does not have the hash that an entry tells.
    Item,
    /// The item's creation.
    Creation,
    /// The item's removal.
    Removal,
    /// Backfilling saw another value of this attribute, or another item.
    Snapshot(Option<String>),
    /// The entry is none that the function or backfilling writes.
    Unreadable,
    /// More changes within a second than can be put in order.
    Order,
}

impl fmt::Display for Gap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = match (&self.after, &self.before) {
            (Some(after), Some(before)) => format!(" between {after} and {before}"),
            (Some(after), None) => format!(" after {after}"),
            (None, Some(before)) => format!(" before {before}"),
            (None, None) => String::new(),
        };
        match &self.lack {
            Lack::Attribute(name) => {
                let name = name.escape_debug();
                write!(formatter, "a change of attribute {name}{between} is missing, or an entry was altered")
            }
            Lack::Item => write!(formatter, "a change{between} is missing, or an entry was altered"),
            Lack::Creation => write!(formatter, "its creation{between} is missing, or an entry was altered"),
            Lack::Removal => write!(formatter, "its removal{between} is missing, or an entry was altered"),
            Lack::Snapshot(Some(name)) => write!(
                formatter,
                "the backfilled entry and the others disagree about attribute {}: a change{between} is missing, or an \
                 entry was altered",
                name.escape_debug()
            ),
            Lack::Snapshot(None) => write!(
                formatter,
                "the backfilled entry shows the item at a time at which the others say that it did not exist: its \
                 creation{between} is missing, or an entry was altered"
            ),
            Lack::Unreadable => write!(formatter, "an entry is none that was ever written, so it was altered or added"),
            Lack::Order => write!(formatter, "too many changes within one second{between} to tell their order"),
        }
    }
}

/// Folds the entries of one item, which may come in any order.
///
/// `item` is what the item is now, where that is known. It only settles what entries leave open: of an attribute that
/// was unknown and went back and forth within one second, where it ended.
#[must_use]
pub fn fold(mut steps: Vec<Step>, item: Option<&Item>) -> Fold {
    steps.sort_by(|one, other| (&one.time, &one.sequence, &one.id).cmp(&(&other.time, &other.sequence, &other.id)));
    let (changes, others): (Vec<Step>, Vec<Step>) =
        steps.into_iter().partition(|step| !matches!(step.change, Change::Snapshot(_) | Change::Unreadable));
    let (snapshots, unreadable): (Vec<Step>, Vec<Step>) = others.into_iter().partition(Step::is_backfilled);
    let mut fold = best_run(&changes, &snapshots, item).into_fold(&changes);
    let is_backfilled = !snapshots.is_empty();
    for snapshot in snapshots {
        fold.place(snapshot);
    }
    for step in unreadable {
        let gap =
            Gap { lack: Lack::Unreadable, after: None, before: Some(step.time.clone()), entry: Some(step.id.clone()) };
        fold.gaps.push(gap);
    }
    if is_backfilled && fold.origin == Origin::Unknown {
        fold.origin = Origin::Backfill;
    }
    fold
}

/// The run that fits; where none does, one that breaks least.
fn best_run<'a>(changes: &'a [Step], snapshots: &'a [Step], item: Option<&'a Item>) -> Run<'a> {
    let mut best: Option<(usize, Run<'a>)> = None;
    for was_there in beginnings(changes) {
        let mut choices = Vec::new();
        for _ in 0..MAX_RUNS {
            let run = Run::of(changes, snapshots, item, *was_there, std::mem::take(&mut choices));
            let breaks = run.breaks();
            choices = next_choices(&run.choices);
            if best.as_ref().is_none_or(|(least, _)| breaks < *least) {
                best = Some((breaks, run));
            }
            if breaks == 0 || choices.is_empty() {
                break;
            }
        }
    }
    best.map_or_else(|| Run::of(&[], snapshots, item, true, Vec::new()), |(_, run)| run)
}

/// The last choice that has another possibility, changed to that; nothing when there is none.
fn next_choices(made: &[(usize, usize)]) -> Vec<usize> {
    let Some(last) = made.iter().rposition(|(choice, of)| choice + 1 < *of) else { return Vec::new() };
    let mut choices: Vec<usize> = made[..=last].iter().map(|(choice, _)| *choice).collect();
    choices[last] += 1;
    choices
}

/// Whether the item was there before these changes: both, where they can't tell.
fn beginnings(changes: &[Step]) -> &'static [bool] {
    let Some(first) = changes.first() else { return &[true] };
    let instant = changes.iter().take_while(|step| step.time == first.time && step.sequence == first.sequence);
    let (mut insertions, mut removals) = (0, 0);
    for step in instant {
        insertions += usize::from(matches!(step.change, Change::Insert(_)));
        removals += usize::from(matches!(step.change, Change::Remove(_)));
    }
    match insertions.cmp(&removals) {
        std::cmp::Ordering::Greater => &[false],
        std::cmp::Ordering::Less => &[true],
        std::cmp::Ordering::Equal if insertions == 0 => &[true],
        std::cmp::Ordering::Equal => &[false, true],
    }
}

/// A fold under way.
struct Run<'a> {
    changes: &'a [Step],
    snapshots: &'a [Step],
    item: Option<&'a Item>,
    /// What was chosen where an item that is not known leaves a choice, and of how many possibilities.
    choices: Vec<(usize, usize)>,
    /// What to choose.
    chosen: Vec<usize>,
    order: Vec<usize>,
    gaps: Vec<Gap>,
    state: State,
    initial: State,
    lives: BTreeMap<usize, Image>,
    hash: Option<(String, usize)>,
    told: HashMap<String, String>,
    began: Option<String>,
}

impl<'a> Run<'a> {
    fn of(
        changes: &'a [Step],
        snapshots: &'a [Step],
        item: Option<&'a Item>,
        was_there: bool,
        chosen: Vec<usize>,
    ) -> Self {
        let state = was_there.then(Image::unknown);
        let mut run = Self {
            changes,
            snapshots,
            item,
            choices: Vec::new(),
            chosen,
            order: Vec::new(),
            gaps: Vec::new(),
            initial: state.clone(),
            state,
            lives: BTreeMap::new(),
            hash: None,
            told: HashMap::new(),
            began: None,
        };
        let mut at = 0;
        while let Some(first) = changes.get(at) {
            let end = at + changes[at..].partition_point(|step| step.time == first.time);
            run.instant(at, end);
            at = end;
        }
        run
    }

    /// The changes of one second.
    fn instant(&mut self, begin: usize, end: usize) {
        let changes = self.changes;
        if changes[begin..end].iter().all(|step| step.sequence.is_some()) {
            let mut at = begin;
            while at < end {
                let record = changes[at..end].partition_point(|step| step.sequence == changes[at].sequence);
                self.together(at, at + record);
                at += record;
            }
        } else {
            self.together(begin, end);
        }
    }

    /// Changes of which nothing says in which order they were made.
    fn together(&mut self, begin: usize, end: usize) {
        let changes = self.changes;
        let is_of_an_attribute = |step: &Step| matches!(step.change, Change::Modify { .. });
        if end - begin == 1 {
            self.apply(begin);
        } else if changes[begin..end].iter().all(is_of_an_attribute) {
            self.attribute_by_attribute(begin, end);
        } else {
            self.as_a_whole((begin..end).collect());
        }
    }

    fn attribute_by_attribute(&mut self, begin: usize, end: usize) {
        let changes = self.changes;
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, step) in changes[begin..end].iter().enumerate() {
            if let Change::Modify { attribute, .. } = &step.change {
                by_name.entry(attribute).or_default().push(begin + at);
            }
        }
        for (name, indices) in by_name {
            let pairs: Vec<_> = indices.iter().filter_map(|index| values_of(&changes[*index], name)).collect();
            let known = self.state.clone().unwrap_or_else(Image::unknown);
            let order = chain(known.get(name), &pairs, |values| {
                let told = self.told_later(name, end);
                let is_told = |index: &usize| told.iter().any(|told| same(*told, values[*index]));
                let (likely, others): (Vec<_>, Vec<_>) = (0..values.len()).partition(is_told);
                [likely, others].concat()[self.choose(values.len())]
            });
            for at in order {
                self.apply(indices[at]);
            }
        }
    }

    fn as_a_whole(&mut self, mut left: Vec<usize>) {
        let changes = self.changes;
        while !left.is_empty() {
            let (fitting, force) = match self.search(&left) {
                Found::Order(order) => (order, false),
                Found::Broken(order) => (order, true),
                Found::TooMany => {
                    self.gaps.push(self.gap(Lack::Order, &changes[left[0]]));
                    let gaps = self.gaps.len();
                    left.drain(..).for_each(|index| self.apply(index));
                    self.gaps.truncate(gaps);
                    return;
                }
            };
            let mut fitting: Vec<usize> = fitting.into_iter().map(|at| left[at]).collect();
            for index in &fitting {
                self.apply(*index);
            }
            if force {
                // The one that fits best goes on; of those alike, a change tells most of what the item was.
                let fits = |index: &&usize| {
                    let change = &changes[**index].change;
                    (lacks(&self.state, change).len(), !matches!(change, Change::Modify { .. }))
                };
                let next = left.iter().filter(|index| !fitting.contains(index)).min_by_key(fits).copied();
                fitting.extend(next);
                if let Some(index) = next {
                    self.apply(index);
                }
            }
            left.retain(|index| !fitting.contains(index));
        }
    }

    /// The number of breaks, the end included.
    fn breaks(&self) -> usize {
        let at_the_end = match (&self.state, self.item) {
            (Some(image), Some(item)) => image.differences(item).len(),
            (None, Some(_)) => 1,
            (_, None) => 0,
        };
        self.gaps.len() + at_the_end
    }

    fn choose(&mut self, of: usize) -> usize {
        let choice = self.chosen.get(self.choices.len()).copied().unwrap_or_default();
        self.choices.push((choice, of));
        choice
    }

    /// Searches an order for steps some of which are about the whole item.
    fn search(&mut self, left: &[usize]) -> Found {
        let changes = self.changes;
        let steps: Vec<&Step> = left.iter().map(|index| &changes[*index]).collect();
        let makes_unknown = |step: &&Step| matches!(step.change, Change::Insert(Whole::Omitted(_)));
        // Of an item that is known, all orders end alike.
        if self.state.as_ref().is_some_and(|image| image.is_open) || steps.iter().any(makes_unknown) {
            let later = left.iter().max().map_or(0, |last| last + 1);
            let names = |image: &Image| image.known.keys().cloned().collect::<Vec<_>>();
            let choice = self.choose(MAX_ENDS);
            let refused: RefCell<Vec<State>> = RefCell::default();
            let this = &*self;
            let goes_on = |end: &State| {
                let fits = |image: &Image| names(image).iter().all(|name| this.is_told_later(name, image, later));
                if !end.as_ref().is_none_or(fits) || refused.borrow().contains(end) {
                    return false;
                }
                let is_chosen = refused.borrow().len() == choice;
                refused.borrow_mut().push(end.clone());
                is_chosen
            };
            if let Found::Order(order) = search(&self.state, &steps, &goes_on) {
                return Found::Order(order);
            }
        }
        search(&self.state, &steps, &|_| true)
    }

    fn is_told_later(&self, name: &str, image: &Image, later: usize) -> bool {
        let told = self.told_later(name, later);
        let value = image.get(name).flatten();
        told.is_empty() || told.iter().any(|told| same(*told, value))
    }

    /// Which values an attribute may have had before these changes, as far as they and the item tell; none where they
    /// tell nothing. It says where an attribute that was unknown ended when it went in a circle.
    fn told_later(&self, name: &str, later: usize) -> Vec<Value<'a>> {
        let changes = self.changes;
        let mut told: Vec<Value<'a>> = Vec::new();
        let mut at = later;
        while let Some(first) = changes.get(at) {
            let end =
                at + changes[at..].partition_point(|step| step.time == first.time && step.sequence == first.sequence);
            let instant = &changes[at..end];
            let removal = only_removal(instant);
            let is_other = |step: &&Step| removal.is_none() || matches!(step.change, Change::Modify { .. });
            let pairs: Vec<_> = instant.iter().filter(is_other).filter_map(|step| values_of(step, name)).collect();
            // A value that these begin with more often than they end with it is the one they begin with.
            let times = |value, of_old: bool| {
                pairs.iter().filter(|(old, new)| same(if of_old { *old } else { *new }, value)).count()
            };
            let olds = pairs.iter().map(|(old, _)| *old);
            let (begin, circle): (Vec<_>, Vec<_>) = olds.partition(|old| times(*old, true) > times(*old, false));
            if !begin.is_empty() {
                narrow(&mut told, begin);
                return told;
            }
            if let Some(item) = removal {
                // All others came before it, and what goes in a circle ends as it began.
                narrow(&mut told, vec![item.get(name)]);
                return told;
            }
            narrow(&mut told, circle);
            if told.len() == 1 {
                return told;
            }
            let is_hidden = |step: &Step| {
                matches!(step.change, Change::Insert(Whole::Omitted(_)) | Change::Remove(Whole::Omitted(_)))
            };
            if instant.iter().any(is_hidden) {
                return told;
            }
            at = end;
        }
        // A snapshot tells nothing sure about a time that is near its own, or that of a later change.
        let far = later.checked_sub(1).and_then(|last| around(&changes[last].time)).map(|(_, far)| far);
        let snapshot = self.snapshots.iter().find_map(|step| match &step.change {
            Change::Snapshot(Whole::Known(item)) if Some(&step.time) > far.as_ref() => Some(item),
            _ => None,
        });
        if let Some(item) = snapshot.filter(|_| told.is_empty()).or(self.item) {
            narrow(&mut told, vec![item.get(name)]);
        }
        told
    }

    /// Goes on by one change, whether it fits or not.
    fn apply(&mut self, index: usize) {
        let step = &self.changes[index];
        for lack in lacks(&self.state, &step.change) {
            self.gaps.push(self.gap(lack, step));
        }
        match &step.change {
            Change::Modify { attribute, old, .. } => {
                if self.state.is_none() {
                    self.begin(Image::unknown());
                }
                let is_news = self.state.as_ref().is_some_and(|image| image.get(attribute).is_none());
                if is_news {
                    self.learn(attribute, old.clone());
                }
                self.told.insert(attribute.clone(), step.time.clone());
                advance(&mut self.state, &step.change);
            }
            Change::Insert(image) => {
                advance(&mut self.state, &step.change);
                if let Some(image) = self.state.clone() {
                    self.begin(image);
                }
                if let Whole::Omitted(hash) = image {
                    self.hash = Some((hash.clone(), index));
                }
                self.told.clear();
                self.began = Some(step.time.clone());
            }
            Change::Remove(image) => {
                if let Whole::Known(item) = image {
                    self.learn_all(item, &step.time);
                }
                self.hash = None;
                advance(&mut self.state, &step.change);
                self.told.clear();
                self.began = Some(step.time.clone());
            }
            Change::Snapshot(_) | Change::Unreadable => {}
        }
        self.order.push(index);
    }

    fn gap(&self, lack: Lack, step: &Step) -> Gap {
        let told = if let Lack::Attribute(name) = &lack { self.told.get(name) } else { self.told.values().max() };
        let after = told.or(self.began.as_ref()).cloned();
        Gap { lack, after, before: Some(step.time.clone()), entry: Some(step.id.clone()) }
    }

    /// A life of the item begins with the next step.
    fn begin(&mut self, image: Image) {
        self.hash = None;
        self.state = Some(image.clone());
        self.lives.insert(self.order.len(), image);
    }

    /// What the item's present life began with, for what is learned of it later.
    fn beginning(&mut self) -> Option<&mut Image> {
        match self.lives.last_entry() {
            Some(life) => Some(life.into_mut()),
            None => self.initial.as_mut(),
        }
    }

    fn learn(&mut self, attribute: &str, value: Option<AttributeValue>) {
        if let Some(image) = self.beginning() {
            image.known.entry(attribute.to_owned()).or_insert(value);
        }
    }

    /// The item, seen whole at its removal, tells what it had from its beginning on.
    fn learn_all(&mut self, item: &Item, removal: &str) {
        let Some(now) = self.state.clone().filter(|image| image.is_open) else { return };
        let Some(beginning) = self.beginning() else { return };
        close(beginning, &now, item);
        let hash = beginning.hash();
        if let (Some((told, index)), Some(hash)) = (self.hash.take(), hash)
            && told != hash
        {
            let Step { id, time, .. } = &self.changes[index];
            let (after, before) = (Some(time.clone()), Some(removal.to_owned()));
            self.gaps.push(Gap { lack: Lack::Item, after, before, entry: Some(id.clone()) });
        }
    }

    fn into_fold(self, changes: &[Step]) -> Fold {
        Fold {
            steps: self.order.iter().map(|index| changes[*index].clone()).collect(),
            gaps: self.gaps,
            origin: if self.initial.is_some() { Origin::Unknown } else { Origin::Creation },
            initial: self.initial,
            lives: self.lives,
            hash: self.hash.map(|(hash, _)| hash),
            told: self.told,
            began: self.began,
        }
    }
}

/// The attribute's value before and after a step that changes it or tells it; a step that does not is `None`.
fn values_of<'a>(step: &'a Step, name: &str) -> Option<(Value<'a>, Value<'a>)> {
    match &step.change {
        Change::Modify { attribute, old, new } if attribute == name => Some((old.as_ref(), new.as_ref())),
        Change::Insert(Whole::Known(item)) => Some((None, item.get(name))),
        Change::Remove(Whole::Known(item)) => Some((item.get(name), None)),
        _ => None,
    }
}

/// Keeps of the values that may be only those that may also be these; what contradicts is ignored.
fn narrow<'a>(told: &mut Vec<Value<'a>>, by: Vec<Value<'a>>) {
    let both: Vec<_> = by.iter().copied().filter(|value| told.iter().any(|told| same(*told, *value))).collect();
    if told.is_empty() {
        *told = by;
    } else if !both.is_empty() {
        *told = both;
    }
}

/// The times between which an item may have been read for a snapshot of this time.
fn around(time: &str) -> Option<(String, String)> {
    let time = DateTime::parse_from_rfc3339(time).ok()?.to_utc();
    let text = |delta| time.checked_add_signed(delta).map(timestamp);
    Some((text(-SNAPSHOT_WINDOW)?, text(SNAPSHOT_WINDOW)?))
}

/// The item that these changes removed, if that is all they did to it as a whole.
fn only_removal(steps: &[Step]) -> Option<&Item> {
    let mut whole = steps.iter().filter(|step| !matches!(step.change, Change::Modify { .. }));
    match (whole.next().map(|step| &step.change), whole.next()) {
        (Some(Change::Remove(Whole::Known(item))), None) => Some(item),
        _ => None,
    }
}

/// What an open item began with, from what is known of it now, and the item as it is.
fn close(beginning: &mut Image, now: &Image, item: &Item) {
    for (name, value) in item.iter().filter(|(name, _)| !now.known.contains_key(*name)) {
        beginning.known.entry(name.clone()).or_insert_with(|| Some(value.clone()));
    }
    beginning.is_open = false;
}

impl Fold {
    /// The item at the end of the trail; `None` where there is none.
    #[must_use]
    pub fn end(&self) -> Option<Image> {
        self.after(self.steps.len())
    }

    /// The item after all changes up to this time, the time included (in the form of entries' times).
    #[must_use]
    pub fn at(&self, time: &str) -> Option<Image> {
        self.after(self.steps.partition_point(|step| *step.time <= *time))
    }

    fn after(&self, steps: usize) -> State {
        let mut state = self.initial.clone();
        (0..steps).for_each(|index| self.step(&mut state, index));
        state
    }

    fn step(&self, state: &mut State, index: usize) {
        let change = &self.steps[index].change;
        let Some(image) = self.lives.get(&index) else { return advance(state, change) };
        *state = Some(image.clone());
        if !matches!(change, Change::Insert(_)) {
            advance(state, change);
        }
    }

    /// Whether there may be attributes that no entry tells of, in the item that is there at the end.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.end().is_some_and(|image| image.is_open)
    }

    /// Where the trail's end is not this item, which the Configuration table has, or has not.
    #[must_use]
    pub fn against(&self, item: Option<&Item>) -> Vec<Gap> {
        let lacks = match (self.end(), item) {
            (None, None) => Vec::new(),
            (None, Some(_)) => vec![Lack::Creation],
            (Some(_), None) => vec![Lack::Removal],
            (Some(image), Some(item)) => {
                let differences = image.differences(item);
                let has_its_hashes = || self.has_its_hash(&image, item) && self.has_its_backfilled_hash(&image, item);
                if differences.is_empty() && !has_its_hashes() {
                    vec![Lack::Item]
                } else {
                    differences.into_iter().map(Lack::Attribute).collect()
                }
            }
        };
        let told = |lack: &Lack| {
            if let Lack::Attribute(name) = lack { self.told.get(name) } else { self.told.values().max() }
        };
        let gap = |lack| Gap { after: told(&lack).or(self.began.as_ref()).cloned(), lack, before: None, entry: None };
        lacks.into_iter().map(gap).collect()
    }

    /// Whether the item had the hash that its creation tells, if it was too large for the entry.
    fn has_its_hash(&self, end: &Image, item: &Item) -> bool {
        let Some(hash) = self.hash.as_ref() else { return true };
        let Some(mut beginning) = self.lives.last_key_value().map(|(_, image)| image.clone()) else { return true };
        close(&mut beginning, end, item);
        beginning.hash().is_none_or(|known| known == *hash)
    }

    /// Whether the item had the hash that its backfilled entry tells, if it was too large for the entry.
    fn has_its_backfilled_hash(&self, end: &Image, item: &Item) -> bool {
        let note = self.steps.iter().find_map(|step| match &step.change {
            Change::Snapshot(Whole::Omitted(hash)) => Some((&step.time, hash)),
            _ => None,
        });
        let Some((time, hash)) = note else { return true };
        let mut known = self.clone();
        let beginning = match known.lives.last_entry() {
            Some(life) => Some(life.into_mut()),
            None => known.initial.as_mut(),
        };
        if let Some(beginning) = beginning {
            close(beginning, end, item);
        }
        // That there was no item at that time was told when the entry was placed.
        known.had_hash_around(time, hash).unwrap_or(true)
    }

    /// Puts a backfilled entry among the others, and learns from it what they leave open.
    fn place(&mut self, snapshot: Step) {
        let Change::Snapshot(whole) = &snapshot.change else { return };
        let no_item = Item::new();
        let item = if let Whole::Known(item) = whole { item } else { &no_item };
        if let (Whole::Known(_), Some(initial)) = (whole, self.initial.as_mut().filter(|image| image.is_open)) {
            for (name, value) in item {
                initial.known.entry(name.clone()).or_insert_with(|| Some(value.clone()));
            }
            initial.is_open = false;
        }
        let gaps = self.disagreements(&snapshot, whole);
        self.gaps.extend(gaps);
        let at = self.steps.partition_point(|step| step.time < snapshot.time);
        self.lives = std::mem::take(&mut self.lives)
            .into_iter()
            .map(|(index, image)| (if index >= at { index + 1 } else { index }, image))
            .collect();
        for name in item.keys() {
            let told = self.told.entry(name.clone()).or_insert_with(|| snapshot.time.clone());
            if *told < snapshot.time {
                told.clone_from(&snapshot.time);
            }
        }
        self.steps.insert(at, snapshot);
    }

    /// Where a backfilled entry shows what the item never was at about its time.
    fn disagreements(&self, snapshot: &Step, whole: &Whole) -> Vec<Gap> {
        let gap =
            |lack| Gap { lack, after: None, before: Some(snapshot.time.clone()), entry: Some(snapshot.id.clone()) };
        let differences = match whole {
            Whole::Known(item) => self.differences_around(&snapshot.time, item),
            Whole::Omitted(hash) => match self.had_hash_around(&snapshot.time, hash) {
                Some(false) => return vec![gap(Lack::Item)],
                had => had.map(|_| Vec::new()),
            },
        };
        match differences {
            None => vec![gap(Lack::Snapshot(None))],
            Some(names) => names.into_iter().map(|name| gap(Lack::Snapshot(Some(name)))).collect(),
        }
    }

    /// Whether the item may have had this hash at about this time; `None` where there was no item.
    fn had_hash_around(&self, time: &str, hash: &str) -> Option<bool> {
        let (from, to) = around(time)?;
        let is_change = |step: &&Step| !step.is_backfilled() && (&from..=&to).contains(&&step.time);
        let changes: Vec<&Step> = self.steps.iter().filter(is_change).collect();
        // Changes of one second may have been made in another order, and the item may have been read between them.
        let is_ordered = changes
            .windows(2)
            .all(|pair| pair[0].time != pair[1].time || (pair[0].sequence.is_some() && pair[1].sequence.is_some()));
        let mut had = None;
        self.around(time, |image| {
            let fits = had == Some(true) || !is_ordered || image.hash().is_none_or(|known| known == hash);
            had = Some(fits);
        })?;
        had
    }

    /// The attributes that were never like this at about this time; `None` where there was no item.
    ///
    /// Each attribute is compared for itself: of changes within one second nothing says how those of different attributes
    /// followed each other.
    #[must_use]
    pub fn differences_around(&self, time: &str, item: &Item) -> Option<Vec<String>> {
        let mut in_all: Option<Vec<String>> = None;
        self.around(time, |image| {
            let differences = image.differences(item);
            match &mut in_all {
                Some(names) => names.retain(|name| differences.contains(name)),
                None => in_all = Some(differences),
            }
        })?;
        in_all
    }

    /// Looks at each item that there was at about this time; `None` for a time that is none.
    fn around(&self, time: &str, mut look: impl FnMut(&Image)) -> Option<()> {
        let (from, to) = around(time)?;
        let mut state = self.initial.clone();
        for index in 0..=self.steps.len() {
            let is_later = index.checked_sub(1).is_some_and(|last| self.steps[last].time > to);
            let is_over = self.steps.get(index).is_some_and(|next| next.time < from);
            if let Some(image) = state.as_ref().filter(|_| !is_later && !is_over) {
                look(image);
            }
            if index < self.steps.len() {
                self.step(&mut state, index);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
