//! What `verify` has checked.

use serde_json::{Value, json};

use crate::progress::thousands;
use crate::terminal::{Terminal, Tone};
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
    /// Items that are proven from their first entry, though no entry tells of their creation.
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
        format!(
            "{} items, {} deleted items, {} entries; {} items to read again",
            thousands(self.items),
            thousands(self.deleted),
            thousands(self.entries),
            thousands(waiting)
        )
    }

    pub(super) fn text(&self, terminal: Terminal) -> String {
        let counts = format!(
            "{} items, {} deleted items, {} entries: {} proven from their creation, {} from a backfilled entry, {} look \
             older than the trail, {} with findings",
            thousands(self.items),
            thousands(self.deleted),
            thousands(self.entries),
            thousands(self.created),
            thousands(self.backfilled),
            thousands(self.older),
            thousands(self.broken),
        );
        format!("{counts}\n{}", self.result(terminal))
    }

    fn result(&self, terminal: Terminal) -> String {
        let findings = thousands(self.findings);
        match (self.findings, self.undecided, self.older) {
            (0, _, 0) => terminal.paint(Tone::Good, "The trail is intact."),
            (0, _, older) => {
                let result = format!(
                    "The trail is intact, but {} items look older than the trail: they are older, or their creation is \
                     missing.",
                    thousands(older)
                );
                // A backfilled entry would hide that a creation was deleted.
                let advice = "Find out which, before `config-audit backfill` gives them a first entry. If the trail began \
                              with its table, or was backfilled, use --complete: then each of them is a finding.";
                format!("{}\n{advice}", terminal.paint(Tone::Heading, &result))
            }
            (all, undecided, _) if all == undecided => terminal
                .paint(Tone::Bad, &format!("Nobody can tell whether the trail is intact: {findings} undecided.")),
            (_, 0, _) => terminal.paint(Tone::Bad, &format!("The trail is not intact: {findings} findings.")),
            (_, undecided, _) => {
                let undecided = thousands(undecided);
                let result = format!("The trail is not intact: {findings} findings, {undecided} of them undecided.");
                terminal.paint(Tone::Bad, &result)
            }
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
