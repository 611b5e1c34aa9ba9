//! The result of a run of `redrive`.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::replay::{Fate, Seen};
use crate::terminal::{Terminal, Tone};

/// How many item keys of one object are shown.
const MAX_ITEMS_SHOWN: usize = 10;

/// The result of a run. Serialises as the document for tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Whether nothing was written, and the rest is what a run would do.
    pub dry_run: bool,
    /// Whether the run ended before it had seen all objects.
    pub interrupted: bool,
    /// Objects whose records were replayed.
    pub objects: usize,
    /// Of those, the ones moved to the archive.
    pub archived: usize,
    /// Full records of omitted values, which are never replayed.
    pub omitted: usize,
    /// What became of the records.
    pub records: Records,
    /// Entries that are stored now; those that were before are written again with the same content.
    pub entries_written: usize,
    /// Why records were in the bucket, and how many for each reason.
    pub reasons: BTreeMap<String, usize>,
    /// Objects that contain no records that could be replayed, with what is wrong with them.
    pub damaged: BTreeMap<String, String>,
    /// Objects that still contain records to be replayed, with the reason.
    pub left: BTreeMap<String, String>,
}

/// How many records had each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Records {
    /// All.
    pub received: usize,
    /// All entries stored.
    pub audited: usize,
    /// Nothing changed, so there are no entries.
    pub unchanged: usize,
    /// In the failure bucket again.
    pub quarantined: usize,
    /// Not known to be stored.
    pub failed: usize,
}

impl Summary {
    /// Counts an object.
    pub fn add(&mut self, seen: Seen) {
        match seen.fate {
            Fate::Omitted => self.omitted += 1,
            Fate::Skipped => {}
            Fate::Damaged(damage) => drop(self.damaged.insert(seen.key, damage.to_string())),
            Fate::NotAnObject(reason) => drop(self.damaged.insert(seen.key, reason.to_string())),
            Fate::Unreadable(reason) => drop(self.left.insert(seen.key, reason)),
            Fate::Replayed(replayed) => {
                let counts = replayed.counts;
                self.objects += 1;
                self.archived += usize::from(replayed.archived);
                self.records.received += counts.total();
                self.records.audited += counts.audited;
                self.records.unchanged += counts.unchanged;
                self.records.quarantined += counts.quarantined;
                self.records.failed += counts.failed;
                self.entries_written += replayed.entries_written;
                *self.reasons.entry(replayed.reason).or_default() += counts.total();
                self.left.extend(replayed.left);
            }
        }
    }

    /// Whether everything was replayed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.interrupted && self.damaged.is_empty() && self.left.is_empty()
    }

    /// The progress of a run, in one line.
    #[must_use]
    pub fn progress(&self) -> String {
        let Self { objects, archived, damaged, left, .. } = self;
        format!(
            "{objects} objects replayed, {archived} archived, {} damaged, {} left so far",
            damaged.len(),
            left.len()
        )
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self, terminal: Terminal) -> String {
        let mut text = String::new();
        let heading = |text: &str| terminal.paint(Tone::Heading, text);
        let Records { received, audited, unchanged, quarantined, failed } = self.records;
        let how = match (self.dry_run, self.interrupted) {
            (true, _) => "  (a dry run: nothing was written; this is what a run would do)",
            (false, true) => "  (ended early: run it again for the rest)",
            (false, false) => "",
        };
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "{}  {} replayed, {} archived{how}", heading("Objects"), self.objects, self.archived);
        let _ = writeln!(
            text,
            "{}  {received} = {audited} audited + {unchanged} unchanged + {quarantined} quarantined again + {failed} failed",
            heading("Records"),
        );
        let _ = writeln!(text, "{}  {} written", heading("Entries"), self.entries_written);
        if !self.reasons.is_empty() {
            let reasons: Vec<_> = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            let _ = writeln!(text, "{}  {}", heading("Records were there for"), reasons.join(", "));
        }
        if self.omitted > 0 {
            let _ = writeln!(
                text,
                "{}  {} full records, which audit entries refer to, left alone",
                heading("Omitted"),
                self.omitted
            );
        }
        for (name, objects) in [("Damaged", &self.damaged), ("Left", &self.left)] {
            if !objects.is_empty() {
                let _ = writeln!(text, "{}  {}", terminal.paint(Tone::Bad, name), objects.len());
            }
            for (key, reason) in objects {
                let _ = writeln!(text, "  {}  {reason}", key.escape_debug());
            }
        }
        text
    }
}

/// One object of a dry run, for people.
#[must_use]
pub fn describe(seen: &Seen, now: DateTime<Utc>) -> Option<String> {
    let age = seen.modified.map(|time| format!(", {} old", age(now - time))).unwrap_or_default();
    let key = seen.key.escape_debug();
    Some(match &seen.fate {
        Fate::Omitted | Fate::Skipped => return None,
        Fate::Damaged(damage) => format!("{key}{age}\n  damaged: {damage}"),
        Fate::NotAnObject(reason) => format!("{key}{age}\n  damaged: {reason}"),
        Fate::Unreadable(reason) => format!("{key}{age}\n  {reason}"),
        Fate::Replayed(replayed) => {
            let counts = replayed.counts;
            let records = if counts.total() == 1 { "record" } else { "records" };
            let shown = replayed.item_keys.iter().take(MAX_ITEMS_SHOWN);
            let mut items: Vec<_> = shown.map(|key| key.escape_debug().to_string()).collect();
            if replayed.item_keys.len() > MAX_ITEMS_SHOWN {
                items.push(format!("{} more", replayed.item_keys.len() - MAX_ITEMS_SHOWN));
            }
            let of = if items.is_empty() { String::new() } else { format!(" of {}", items.join(", ")) };
            let outcomes = [
                (counts.audited, "audited"),
                (counts.unchanged, "unchanged"),
                (counts.quarantined, "quarantined again"),
                (counts.failed, "failed"),
            ];
            let outcomes = outcomes.iter().filter(|(count, _)| *count > 0);
            let outcomes: Vec<_> = outcomes.map(|(count, outcome)| format!("{count} {outcome}")).collect();
            let mut text = format!("{key}{age}\n  {}: {} {records}{of}", replayed.reason, counts.total());
            if !outcomes.is_empty() {
                let _ = write!(text, "; would be {}", outcomes.join(", "));
            }
            text
        }
    })
}

/// A length of time in its largest unit.
fn age(time: TimeDelta) -> String {
    match time.num_minutes() {
        minutes if minutes < 120 => format!("{} min", minutes.max(0)),
        minutes if minutes < 48 * 60 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 60 / 24),
    }
}
