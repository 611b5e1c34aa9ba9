//! What is wrong with an entry, according to its witnesses.

use serde_json::{Value, json};

/// An entry that is not as it was witnessed. Contains no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The entry's ID.
    pub id: String,
    /// The key of its item, if the table still has the entry.
    pub item_key: Option<String>,
    /// Its time of the change, if the table still has the entry.
    pub time: Option<String>,
    /// When its first witness says that it was stored.
    pub stored: Option<String>,
    /// What is wrong.
    pub kind: FindingKind,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// Its content is not what was witnessed.
    Altered,
    /// It was witnessed, and is gone.
    Deleted,
    /// It was witnessed twice, with different content.
    Rewritten,
    /// It was never witnessed, though it would have been if it had been stored at its time; or it was stored before its time.
    Forged,
}

impl FindingKind {
    /// Its name, for tools.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Deleted => "deleted",
            Self::Rewritten => "rewritten",
            Self::Forged => "forged",
        }
    }
}

impl Finding {
    /// The finding in words, without the item's key.
    #[must_use]
    pub fn text(&self) -> String {
        let id = &self.id;
        let of = self.time.as_ref().map(|time| format!(" of {time}")).unwrap_or_default();
        let stored = self.stored.as_ref().map(|stored| format!(" at {stored}")).unwrap_or_default();
        match self.kind {
            FindingKind::Altered => {
                format!("the entry {id}{of} is not the one that was stored{stored}: it was altered")
            }
            FindingKind::Deleted => format!("the entry {id} was stored{stored}, and is gone: it was deleted"),
            FindingKind::Rewritten => {
                format!(
                    "the entry {id}{of} was stored{stored}, and again with other content: it was deleted in between"
                )
            }
            FindingKind::Forged => format!(
                "the entry {id}{of} has no witness that fits its time: it is forged, or was stored in the last minutes, long after its \
                 change (by a redrive, or by the function after an outage)"
            ),
        }
    }

    /// The finding as JSON, for tools.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "itemKey": self.item_key, "finding": self.kind.name(), "entry": self.id, "time": self.time,
            "stored": self.stored, "text": self.text(),
        })
    }
}
