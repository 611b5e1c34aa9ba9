//! What `verify` has checked.

use config_audit_cloudwatch::units::{count, thousands};
use serde_json::{Value, json};

use crate::terminal::{Text, Tone};
use crate::trail::Origin;

use super::finding::Verdict;

/// What was checked. The counts of proven items include deleted ones.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Summary {
    /// Items of the Configuration table.
    pub(super) items: usize,
    /// Items that only have entries.
    pub(super) deleted: usize,
    entries: usize,
    /// Items that are proven from their creation.
    created: usize,
    /// Items that are proven from their backfilled entry.
    backfilled: usize,
    /// Items that are proven from their first entry, though no entry records their creation.
    older: usize,
    /// Items with findings.
    broken: usize,
    pub(super) findings: usize,
    /// The findings that say only that nobody can tell.
    undecided: usize,
}

impl Summary {
    /// Counts an item.
    pub(super) fn add(&mut self, verdict: &Verdict) {
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

    /// How far the verification is.
    pub(super) fn progress(&self, waiting: usize) -> String {
        format!("{}; {} to read again", self.read(), count(waiting, "item", "items"))
    }

    /// For people. The verdict is a line of its own.
    pub(super) fn lines(&self) -> Vec<Text> {
        let counts = format!(
            "{}: {} proven from their creation, {} from a backfilled entry, {} older than the trail, {} with findings",
            self.read(),
            thousands(self.created),
            thousands(self.backfilled),
            count(self.older, "looks", "look"),
            thousands(self.broken),
        );
        let mut lines = vec![counts.into(), self.verdict()];
        if self.findings == 0 && self.older > 0 {
            // A backfilled entry would hide that a creation was deleted.
            lines.push(
                "Find out which, before `config-audit backfill` gives them a first entry. If the trail began with its table, \
                 or was backfilled, use --complete: then each of them is a finding."
                    .into(),
            );
        }
        lines
    }

    /// What was read.
    fn read(&self) -> String {
        let items = count(self.items, "item", "items");
        let deleted = count(self.deleted, "deleted item", "deleted items");
        let entries = count(self.entries, "entry", "entries");
        format!("{items}, {deleted}, {entries}")
    }

    fn verdict(&self) -> Text {
        let findings = count(self.findings, "finding", "findings");
        let undecided = thousands(self.undecided);
        match (self.findings, self.undecided, self.older) {
            (0, _, 0) => Tone::Good.paint("The trail is intact."),
            (0, _, 1) => Tone::Heading.paint(
                "The trail is intact, but 1 item looks older than the trail: it is older, or its creation is missing.",
            ),
            (0, _, older) => Tone::Heading.paint(format!(
                "The trail is intact, but {} items look older than the trail: they are older, or their creation is missing.",
                thousands(older)
            )),
            (all, undecided_only, _) if all == undecided_only => {
                Tone::Bad.paint(format!("Nobody can tell whether the trail is intact: {undecided} undecided."))
            }
            (_, 0, _) => Tone::Bad.paint(format!("The trail is not intact: {findings}.")),
            _ => Tone::Bad.paint(format!("The trail is not intact: {findings}, {undecided} of them undecided.")),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "items": self.items, "deletedItems": self.deleted, "entries": self.entries,
            "provenFromCreation": self.created, "provenFromBackfill": self.backfilled, "olderThanTheTrail": self.older,
            "itemsWithFindings": self.broken, "findings": self.findings, "undecided": self.undecided,
        })
    }
}
