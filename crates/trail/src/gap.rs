//! A place where the trail breaks.

use std::fmt;

/// A place where the trail breaks. Its text contains no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What must be missing, unless an entry was altered.
    pub kind: GapKind,
    /// The time of the last entry that fits, if any.
    pub after: Option<String>,
    /// The time of the entry that does not fit; `None` if the Configuration table does not fit.
    pub before: Option<String>,
    /// The ID of that entry.
    pub entry: Option<String>,
}

/// What is missing or altered at a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GapKind {
    /// A change of this attribute.
    Attribute(String),
    /// A change of some attribute: the item does not have the hash that an entry gives.
    Item,
    /// The item's creation.
    Creation,
    /// The item's removal.
    Removal,
    /// Backfilling read another value of this attribute; without an attribute, an item that did not exist then.
    Snapshot(Option<String>),
    /// A note takes the place of a value that is within DynamoDB's limits.
    Note,
    /// Entries of one stream record have different times.
    RecordTimes,
    /// Neither the function nor backfilling writes an entry like this.
    Unreadable,
    /// The budget ran out before an order was found in which all changes fit, so there may or may not be one.
    Undecided,
}

impl fmt::Display for Gap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = match (&self.after, &self.before) {
            (Some(after), Some(before)) => format!(" between {after} and {before}"),
            (Some(after), None) => format!(" after {after}"),
            (None, Some(before)) => format!(" before {before}"),
            (None, None) => String::new(),
        };
        match &self.kind {
            GapKind::Attribute(name) => {
                write!(formatter, "a change of attribute {name}{between} is missing, or an entry was altered")
            }
            GapKind::Item => write!(formatter, "a change{between} is missing, or an entry was altered"),
            GapKind::Creation => write!(formatter, "its creation{between} is missing, or an entry was altered"),
            GapKind::Removal => write!(formatter, "its removal{between} is missing, or an entry was altered"),
            GapKind::Snapshot(Some(name)) => write!(
                formatter,
                "the backfilled entry and the others disagree about attribute {name}: a change{between} is missing, or an \
                 entry was altered"
            ),
            GapKind::Snapshot(None) => write!(
                formatter,
                "the backfilled entry shows the item at a time when it did not exist according to the others: its \
                 creation{between} is missing, or an entry was altered"
            ),
            GapKind::Note => {
                let at = self.before.as_ref().map(|time| format!(" of {time}")).unwrap_or_default();
                write!(
                    formatter,
                    "the entry{at} has a note in place of a value that is within DynamoDB's limits, so it was altered"
                )
            }
            GapKind::RecordTimes => {
                let times =
                    [&self.after, &self.before].into_iter().flatten().cloned().collect::<Vec<_>>().join(" and ");
                write!(formatter, "two entries of one stream record have different times, {times}, so one was altered")
            }
            GapKind::Unreadable => {
                write!(
                    formatter,
                    "neither the function nor `backfill` writes an entry like this, so it was altered or added"
                )
            }
            GapKind::Undecided => {
                let at = self.before.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
                write!(
                    formatter,
                    "it cannot be determined whether a change is missing or an entry was altered: too many changes were made \
                     within one second{at} to try all their orders"
                )
            }
        }
    }
}
