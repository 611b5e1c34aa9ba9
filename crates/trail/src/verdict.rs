//! What the entries of one item prove, and what is wrong with them.

use config_audit::value::equal;
use serde_dynamo::AttributeValue;
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

/// What is known about the item itself when its entries are judged.
#[derive(Debug, Clone, PartialEq)]
pub enum Present {
    /// Nothing: there is no Configuration table to read it from.
    Unknown,
    /// It was the same before and after its entries were read. `None` if it does not exist.
    Steady(Option<Item>),
    /// It changed while its entries were read, so they may record later changes than the item has.
    Changing {
        /// The item before its entries were read; `None` if it did not exist.
        item: Option<Item>,
        /// When that was, in the form of entries' times.
        time: String,
    },
}

impl Present {
    /// What two reads of the item show: one at this time, before its entries were read, and one afterwards.
    #[must_use]
    pub fn of_reads(time: &str, before: Option<Item>, after: Option<Item>) -> Self {
        let (before, after) = (before.map(AttributeValue::M), after.map(AttributeValue::M));
        let is_same = match (&before, &after) {
            (Some(before), Some(after)) => equal(before, after),
            (None, None) => true,
            _ => false,
        };
        let item = before.and_then(|value| if let AttributeValue::M(item) = value { Some(item) } else { None });
        if is_same { Self::Steady(item) } else { Self::Changing { item, time: time.to_owned() } }
    }
}

impl Verdict {
    /// What these entries prove about an item that is not being changed.
    #[must_use]
    pub fn of(steps: Vec<Step>, item: Option<&Item>) -> Self {
        let entries = steps.len();
        let fold = fold(steps, item);
        Self::of_end(entries, &fold, item, || fold.against(item))
    }

    /// What these entries prove about an item that may be changing, and the entries in order.
    #[must_use]
    pub fn judge(steps: Vec<Step>, present: &Present) -> (Self, Fold) {
        let entries = steps.len();
        match present {
            Present::Unknown => {
                let fold = fold(steps, None);
                (Self::of_end(entries, &fold, None, Vec::new), fold)
            }
            Present::Steady(item) => {
                let fold = fold(steps, item.as_ref());
                (Self::of_end(entries, &fold, item.as_ref(), || fold.against(item.as_ref())), fold)
            }
            Present::Changing { item, time } => {
                let fold = fold(steps, None);
                let item = item.as_ref();
                let existed = match item {
                    Some(item) => fold.differences_around(time, item).is_some_and(|names| names.is_empty()),
                    None => true,
                };
                let end = || if existed { Vec::new() } else { fold.against(item) };
                (Self::of_end(entries, &fold, item, end), fold)
            }
        }
    }

    /// `end` has the gaps between the last entry and the item.
    fn of_end(entries: usize, fold: &Fold, item: Option<&Item>, end: impl FnOnce() -> Vec<Gap>) -> Self {
        if entries == 0 {
            let findings = item.map(|_| Finding::NoEntry).into_iter().collect();
            return Self { entries, origin: Origin::Creation, findings, older: None };
        }
        let older = fold.steps.first().filter(|_| fold.origin == Origin::Unknown).map(|first| first.time.clone());
        let findings = fold.gaps.iter().cloned().chain(end()).map(Finding::Gap).collect();
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

    /// Whether the item is merely ahead of its last entry. The entry of a change that was just made looks like that
    /// until it is stored.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        match self {
            Self::NoEntry => true,
            Self::Older(_) => false,
            Self::Gap(gap) => gap.before.is_none() && !self.is_undecided(),
        }
    }

    /// The finding in words.
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

    /// The finding about the item with this key as JSON, for tools.
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
                    GapKind::Note => ("note", None),
                    GapKind::RecordTimes => ("recordTimes", None),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TIMES: [&str; 3] = ["2024-09-11T09:00:00.000Z", "2024-09-11T09:01:00.000Z", "2024-09-11T09:02:00.000Z"];

    fn item(value: &str) -> Item {
        serde_json::from_value(json!({ "key": {"S": "K"}, "value": {"S": value} })).unwrap()
    }

    /// The item was created with `a`, and changed to `b` and `c`.
    fn steps() -> Vec<Step> {
        let entries = [
            json!({ "id": {"S": "1"}, "newValue": {"M": item("a")} }),
            json!({ "id": {"S": "2"}, "updatedAttribute": {"S": "value"}, "oldValue": {"S": "a"}, "newValue": {"S": "b"} }),
            json!({ "id": {"S": "3"}, "updatedAttribute": {"S": "value"}, "oldValue": {"S": "b"}, "newValue": {"S": "c"} }),
        ];
        let step = |(mut entry, time): (Value, &str)| {
            entry["itemKey"] = json!({ "S": "K" });
            entry["modificationTime"] = json!({ "S": time });
            Step::read(serde_json::from_value(entry).unwrap())
        };
        entries.into_iter().zip(TIMES).map(step).collect()
    }

    fn judge(steps: Vec<Step>, before: &str, after: &str) -> Vec<bool> {
        let present = Present::of_reads(TIMES[1], Some(item(before)), Some(item(after)));
        Verdict::judge(steps, &present).0.findings.iter().map(Finding::is_at_end).collect()
    }

    #[test]
    fn a_change_while_the_entries_are_read_is_not_a_gap() {
        assert!(judge(steps(), "b", "c").is_empty());
        // The item is the same in both reads, so an entry is ahead of the item.
        assert_eq!(judge(steps(), "b", "b"), [true]);
        // No entry has ever had this value.
        assert_eq!(judge(steps(), "x", "c"), [true]);
    }

    #[test]
    fn only_what_follows_the_last_entry_is_at_the_end() {
        let mut without_newest = steps();
        without_newest.pop();
        assert_eq!(judge(without_newest, "c", "c"), [true]);
        let mut without_second = steps();
        without_second.remove(1);
        assert_eq!(judge(without_second, "c", "c"), [false]);
        assert_eq!(judge(Vec::new(), "c", "c"), [true]);
        let undecided = Gap { kind: GapKind::Undecided, after: None, before: None, entry: None };
        assert!(!Finding::Gap(undecided).is_at_end());
    }

    #[test]
    fn without_a_configuration_table_nothing_is_missing_at_the_end() {
        let (verdict, fold) = Verdict::judge(steps(), &Present::Unknown);
        assert_eq!((verdict.findings.len(), fold.steps.len()), (0, 3));
    }
}
