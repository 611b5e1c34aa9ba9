//! The result of a run of `redrive`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use config_audit_cloudwatch::units::{count, duration, thousands};
use serde::Serialize;

use super::replay::{Fate, Seen};
use crate::terminal::{Text, Tone};

/// The maximum number of item keys shown per object.
const MAX_ITEMS_SHOWN: usize = 10;

/// The result of a run. Serialises as the document for tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Whether nothing was written, and the other fields are what a run would do.
    pub dry_run: bool,
    /// Whether the run ended before it had seen all objects.
    pub interrupted: bool,
    /// Objects whose records were replayed.
    pub objects: usize,
    /// Of those, the ones moved to the archive.
    pub archived: usize,
    /// Full records of omitted values, which are never replayed.
    pub omitted: usize,
    /// Records that show tampering, which are never replayed.
    pub tampering: usize,
    /// The outcomes of the records.
    pub records: Records,
    /// Entries that are now stored; those that already were are rewritten with the same content.
    pub entries_written: usize,
    /// Why records were in the bucket, with the number for each reason.
    pub reasons: BTreeMap<String, usize>,
    /// Objects without records that can be replayed, with what is wrong with them.
    pub damaged: BTreeMap<String, String>,
    /// Objects that still contain records to replay, with the reason.
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
            Fate::Tampering => self.tampering += 1,
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
        format!(
            "{} replayed, {} archived, {} damaged, {} left so far",
            count(self.objects, "object", "objects"),
            thousands(self.archived),
            thousands(self.damaged.len()),
            thousands(self.left.len())
        )
    }

    /// For people. The last line is the verdict.
    #[must_use]
    pub fn lines(&self) -> Vec<Text> {
        let line = |heading: &str, text: String| Tone::Heading.paint(heading) + "  " + text;
        let Records { received, audited, unchanged, quarantined, failed } = self.records;
        let mut lines = vec![
            line("Objects", format!("{} replayed, {} archived", thousands(self.objects), thousands(self.archived))),
            line(
                "Records",
                format!(
                    "{received} = {audited} audited + {unchanged} unchanged + {quarantined} quarantined again + {failed} failed"
                ),
            ),
            line("Entries", format!("{} written", thousands(self.entries_written))),
        ];
        if !self.reasons.is_empty() {
            let reasons: Vec<_> = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            lines.push(line("Records were there for", reasons.join(", ")));
        }
        if self.omitted > 0 {
            let records = count(self.omitted, "full record", "full records");
            lines.push(line("Omitted", format!("{records}, which audit entries refer to, left alone")));
        }
        if self.tampering > 0 {
            let records = count(self.tampering, "record", "records");
            lines.push(line("Tampering", format!("{records} of entries that somebody altered or deleted, left alone")));
        }
        for (name, objects) in [("Damaged", &self.damaged), ("Left", &self.left)] {
            if !objects.is_empty() {
                lines.push(Tone::Bad.paint(name) + format!("  {}", thousands(objects.len())));
            }
            lines.extend(objects.iter().map(|(key, reason)| format!("  {key}  {reason}").into()));
        }
        lines.push(self.verdict());
        lines
    }

    fn verdict(&self) -> Text {
        let left = self.damaged.len() + self.left.len();
        match (self.dry_run, self.interrupted, left) {
            (true, ..) => "This was a dry run: nothing was written; this is what a run would do.".into(),
            (false, true, _) => Tone::Bad.paint("The run ended early: run it again for the rest."),
            (false, false, 0) if self.objects == 0 => Tone::Good.paint("There was nothing to replay."),
            (false, false, 0) => Tone::Good.paint("Everything was replayed."),
            (false, false, 1) => Tone::Bad.paint("1 object is left; it is named above, with the reason."),
            (false, false, left) => {
                Tone::Bad.paint(format!("{} objects are left; they are named above, with the reason.", thousands(left)))
            }
        }
    }
}

/// One object of a dry run, for people; nothing for one that is not replayed.
#[must_use]
pub fn describe(seen: &Seen, now: DateTime<Utc>) -> Vec<Text> {
    let age = seen
        .modified
        .map(|time| format!(", {} old", duration((now - time).num_milliseconds().max(0) as f64)))
        .unwrap_or_default();
    let what = match &seen.fate {
        Fate::Omitted | Fate::Tampering | Fate::Skipped => return Vec::new(),
        Fate::Damaged(damage) => format!("damaged: {damage}"),
        Fate::NotAnObject(reason) => format!("damaged: {reason}"),
        Fate::Unreadable(reason) => reason.clone(),
        Fate::Replayed(replayed) => {
            let counts = replayed.counts;
            let mut items: Vec<_> = replayed.item_keys.iter().take(MAX_ITEMS_SHOWN).cloned().collect();
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
            let outcomes =
                if outcomes.is_empty() { String::new() } else { format!("; would be {}", outcomes.join(", ")) };
            format!("{}: {}{of}{outcomes}", replayed.reason, count(counts.total(), "record", "records"))
        }
    };
    vec![format!("{}{age}", seen.key).into(), format!("  {what}").into()]
}
