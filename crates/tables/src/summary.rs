//! The results of a verification.

use config_audit_cloudwatch::units::{count, thousands};
use config_audit_trail::{Origin, Verdict};
use serde_json::{Value, json};

/// Whether a trail is intact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soundness {
    /// It is intact.
    Intact,
    /// It is intact as far as it goes, but some items look older than the trail.
    Doubtful,
    /// It is not intact, or that cannot be decided.
    Broken,
}

/// What was checked. Counts of proven items include deleted items.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Deleted items, which have only entries.
    pub items: usize,
    /// Items that only have entries.
    pub deleted: usize,
    entries: usize,
    /// Items proven from their creation.
    created: usize,
    /// Items proven from their backfilled entry.
    backfilled: usize,
    /// Items proven from their first entry, although no entry records their creation.
    older: usize,
    /// Items with findings.
    broken: usize,
    /// The number of findings.
    pub findings: usize,
    /// The number of undecided findings.
    undecided: usize,
}

impl Summary {
    /// Counts an item.
    pub(crate) fn add(&mut self, verdict: &Verdict) {
        self.entries += verdict.entries;
        self.findings += verdict.findings.len();
        self.undecided += verdict.findings.iter().filter(|finding| finding.is_undecided()).count();
        match verdict.origin {
            _ if !verdict.findings.is_empty() => self.broken += 1,
            Origin::Creation => self.created += 1,
            Origin::Backfill => self.backfilled += 1,
            Origin::Unknown => self.older += 1,
        }
    }

    /// What was checked, in one line.
    #[must_use]
    pub fn counts(&self) -> String {
        format!(
            "{}: {} proven from their creation, {} from a backfilled entry, {} older than the trail, {} with findings",
            self.read(),
            thousands(self.created),
            thousands(self.backfilled),
            count(self.older, "looks", "look"),
            thousands(self.broken),
        )
    }

    /// What was read.
    #[must_use]
    pub fn read(&self) -> String {
        let items = count(self.items, "item", "items");
        let deleted = count(self.deleted, "deleted item", "deleted items");
        let entries = count(self.entries, "entry", "entries");
        format!("{items}, {deleted}, {entries}")
    }

    /// The conclusion, in one sentence.
    #[must_use]
    pub fn verdict(&self) -> (Soundness, String) {
        let findings = count(self.findings, "finding", "findings");
        let undecided = thousands(self.undecided);
        match (self.findings, self.undecided, self.older) {
            (0, _, 0) => (Soundness::Intact, "The trail is intact.".to_owned()),
            (0, _, 1) => (
                Soundness::Doubtful,
                "The trail is intact, but 1 item looks older than the trail: it is older, or its creation is missing."
                    .to_owned(),
            ),
            (0, _, older) => (
                Soundness::Doubtful,
                format!(
                    "The trail is intact, but {} items look older than the trail: they are older, or their creation is \
                     missing.",
                    thousands(older)
                ),
            ),
            (all, undecided_only, _) if all == undecided_only => (
                Soundness::Broken,
                format!("It cannot be determined whether the trail is intact: {undecided} undecided."),
            ),
            (_, 0, _) => (Soundness::Broken, format!("The trail is not intact: {findings}.")),
            _ => (Soundness::Broken, format!("The trail is not intact: {findings}, {undecided} of them undecided.")),
        }
    }

    /// The summary as JSON, for tools.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "items": self.items, "deletedItems": self.deleted, "entries": self.entries,
            "provenFromCreation": self.created, "provenFromBackfill": self.backfilled, "olderThanTheTrail": self.older,
            "itemsWithFindings": self.broken, "findings": self.findings, "undecided": self.undecided,
        })
    }
}
