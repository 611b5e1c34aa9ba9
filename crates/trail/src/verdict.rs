//! What the entries of one item prove, and what is wrong with them.

use serde_json::{Value, json};

use crate::{Fold, Gap, GapKind, Item, Origin, Step, fold};

/// What the entries of one item prove.
#[derive(Debug)]
pub struct Verdict {
    /// How many entries there are.
    pub entries: usize,
    /// What the trail begins with.
    pub origin: Origin,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The time of the first entry, if the item looks older than that.
    pub older: Option<String>,
}

impl Verdict {
    /// What these entries prove about an item that is not being changed.
    #[must_use]
    pub fn of(steps: Vec<Step>, item: Option<&Item>) -> Self {
        let entries = steps.len();
        if steps.is_empty() {
            let findings = item.map(|_| Finding::NoEntry).into_iter().collect();
            return Self { entries, origin: Origin::Creation, findings, older: None };
        }
        let fold = fold(steps, item);
        let end = fold.against(item);
        Self::new(entries, fold, end)
    }

    /// The same for an item that is being changed: its entries may record changes after it was read at this time.
    #[must_use]
    pub fn of_changing(steps: Vec<Step>, item: Option<&Item>, time: &str) -> Self {
        if steps.is_empty() {
            return Self::of(steps, item);
        }
        let entries = steps.len();
        let fold = fold(steps, None);
        let existed = match item {
            Some(item) => fold.differences_around(time, item).is_some_and(|differences| differences.is_empty()),
            None => true,
        };
        let end = if existed { Vec::new() } else { fold.against(item) };
        Self::new(entries, fold, end)
    }

    fn new(entries: usize, fold: Fold, end: Vec<Gap>) -> Self {
        let older = fold.steps.first().filter(|_| fold.origin == Origin::Unknown).map(|first| first.time.clone());
        let findings = fold.gaps.into_iter().chain(end).map(Finding::Gap).collect();
        Self { entries, origin: fold.origin, findings, older }
    }
}

/// What is wrong with the trail of an item. Its text contains no value.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// The item exists, but no entry records it.
    NoEntry,
    /// No entry records its creation; the first one has this time.
    Older(String),
    /// The trail breaks, or it is undecided whether it does.
    Gap(Gap),
}

impl Finding {
    /// Whether it is only undecided.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Gap(Gap { kind: GapKind::Undecided, .. }))
    }

    /// In words.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::NoEntry => {
                "it has no entry: it is older than the trail and was never backfilled, or its entries are missing"
                    .to_owned()
            }
            Self::Older(first) => format!(
                "it looks older than its first entry of {first}: it is older than the trail, or its creation is missing"
            ),
            Self::Gap(gap @ Gap { entry: Some(entry), .. }) => format!("{gap} (entry {entry})"),
            Self::Gap(gap) => gap.to_string(),
        }
    }

    /// For tools: the finding about the item with this key.
    #[must_use]
    pub fn json(&self, key: &str) -> Value {
        let first = if let Self::Older(first) = self { Some(first) } else { None };
        let (kind, attribute, gap) = match self {
            Self::NoEntry => ("noEntry", None, None),
            Self::Older(_) => ("older", None, None),
            Self::Gap(gap) => {
                let (kind, attribute) = match &gap.kind {
                    GapKind::Attribute(name) => ("attribute", Some(name)),
                    GapKind::Item => ("item", None),
                    GapKind::Creation => ("creation", None),
                    GapKind::Removal => ("removal", None),
                    GapKind::Snapshot(name) => ("backfill", name.as_ref()),
                    GapKind::Unreadable => ("unreadable", None),
                    GapKind::Undecided => ("undecided", None),
                };
                (kind, attribute, Some(gap))
            }
        };
        json!({
            "itemKey": key, "finding": kind, "attribute": attribute, "after": gap.and_then(|gap| gap.after.as_ref()),
            "before": gap.and_then(|gap| gap.before.as_ref()).or(first), "entry": gap.and_then(|gap| gap.entry.as_ref()),
            "text": self.text(),
        })
    }
}
