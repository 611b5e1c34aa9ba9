//! Compares the entries of the Audit table with their witnesses.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use config_audit::witness::{Fingerprint, Witness};
use serde::{Deserialize, Serialize};

use crate::finding::{Finding, FindingKind};
use crate::merkle::Tree;
use crate::spool::{Spool, SpoolError, position};

/// How long an entry's witness may take: the event source mapping waits half a minute for a batch, and Lambda retries.
const LAG: TimeDelta = TimeDelta::minutes(15);
/// An entry that is stored later than this after its change was redriven, or is not what it says: until then, Lambda
/// retries.
const LATE: TimeDelta = TimeDelta::hours(24);

/// An entry as the Audit table has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEntry {
    /// Its ID.
    pub id: String,
    /// The key of its item.
    pub item_key: String,
    /// Its time of the change.
    pub time: String,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

/// A row in the spool.
#[derive(Debug, Serialize, Deserialize)]
enum Row {
    Entry(StoredEntry),
    Witness(Kept, bool),
}

/// A witness, and when the bucket got it. What the witness itself says of time comes from the event that the function was
/// invoked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    witness: Witness,
    kept: Option<DateTime<Utc>>,
}

/// Collects entries and witnesses, in any order.
#[derive(Debug)]
pub struct Comparison {
    spool: Spool,
    /// The time of the first witness.
    begins: Option<String>,
    entries: usize,
    witnesses: usize,
}

/// How many entries there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that are as they were witnessed.
    pub proven: usize,
    /// Those too new to have a witness yet.
    pub pending: usize,
    /// Those older than the first witness, about which it proves nothing.
    pub older: usize,
    /// Those among the proven that were stored more than a day after their change, as a redrive does.
    pub late: usize,
}

/// Everything about one entry.
#[derive(Debug, Default)]
struct Group {
    entry: Option<StoredEntry>,
    witnesses: Vec<Kept>,
}

/// An entry that may not be as it was witnessed. It was read a while ago, so it must be read again.
#[derive(Debug)]
pub struct Suspect {
    group: Group,
    finding: Finding,
}

impl Default for Comparison {
    fn default() -> Self {
        Self::new()
    }
}

impl Comparison {
    /// Nothing is collected yet.
    #[must_use]
    pub fn new() -> Self {
        Self { spool: Spool::new(), begins: None, entries: 0, witnesses: 0 }
    }

    /// Adds an entry of the Audit table.
    ///
    /// # Errors
    /// [`SpoolError`] if the temporary files cannot be written.
    pub fn add_entry(&mut self, entry: StoredEntry) -> Result<(), SpoolError> {
        self.entries += 1;
        let id = entry.id.clone();
        self.spool.add(&id, &Row::Entry(entry))
    }

    /// Adds a witness that the bucket got at this time. The same one may come several times. `is_covered` is whether the
    /// digest covers it.
    ///
    /// # Errors
    /// [`SpoolError`] if the temporary files cannot be written.
    pub fn add_witness(
        &mut self,
        witness: Witness,
        kept: Option<DateTime<Utc>>,
        is_covered: bool,
    ) -> Result<(), SpoolError> {
        self.witnesses += 1;
        if let Some(stored) = &witness.stored
            && self.begins.as_ref().is_none_or(|begins| stored < begins)
        {
            self.begins = Some(stored.clone());
        }
        let id = witness.id.clone();
        self.spool.add(&id, &Row::Witness(Kept { witness, kept }, is_covered))
    }

    /// How many entries and how many witnesses were added.
    #[must_use]
    pub const fn collected(&self) -> (usize, usize) {
        (self.entries, self.witnesses)
    }

    /// The tree over the covered witnesses, without a comparison.
    ///
    /// # Errors
    /// [`SpoolError`] if the temporary files cannot be read.
    pub fn tree(self) -> Result<Tree, SpoolError> {
        let mut tree = Tree::default();
        for rows in self.spool.read::<Row>() {
            add_leaves(&mut tree, &rows?);
        }
        Ok(tree)
    }

    /// Compares what was collected, part by part. Call this when there is nothing more to add; the entries must have been
    /// read before the witnesses.
    #[must_use]
    pub fn judge(self, now: DateTime<Utc>) -> Judgement {
        let rules = Rules { begins: self.begins, now };
        Judgement { parts: Box::new(self.spool.read()), rules, counts: Counts::default(), tree: Tree::default() }
    }
}

/// The comparison, part by part.
pub struct Judgement {
    parts: Box<dyn Iterator<Item = Result<Vec<Row>, SpoolError>>>,
    rules: Rules,
    counts: Counts,
    tree: Tree,
}

/// What decides about an entry besides its witnesses.
#[derive(Debug, Clone)]
struct Rules {
    begins: Option<String>,
    now: DateTime<Utc>,
}

/// What an entry is.
enum Verdict {
    Proven {
        is_late: bool,
    },
    Pending,
    Older,
    /// Nothing is known of it: it was read while it was deleted.
    Absent,
    Wrong(Finding),
}

impl Judgement {
    /// Compares the next part; `None` after the last.
    ///
    /// # Errors
    /// [`SpoolError`] if the temporary files cannot be read.
    pub fn next_part(&mut self) -> Option<Result<Vec<Suspect>, SpoolError>> {
        Some(self.parts.next()?.map(|rows| self.part(rows)))
    }

    fn part(&mut self, rows: Vec<Row>) -> Vec<Suspect> {
        add_leaves(&mut self.tree, &rows);
        let mut groups = HashMap::<String, Group>::new();
        for row in rows {
            match row {
                Row::Entry(entry) => {
                    let group = groups.entry(entry.id.clone()).or_default();
                    group.entry = Some(entry);
                }
                Row::Witness(kept, _) => {
                    let witnesses = &mut groups.entry(kept.witness.id.clone()).or_default().witnesses;
                    match witnesses.iter_mut().find(|known| known.witness == kept.witness) {
                        // A redelivery stores it again.
                        Some(known) => known.kept = known.kept.min(kept.kept),
                        None => witnesses.push(kept),
                    }
                }
            }
        }
        let mut suspects: Vec<Suspect> = groups.into_values().filter_map(|group| self.count(group)).collect();
        suspects.sort_by(|one, other| one.finding.id.cmp(&other.finding.id));
        suspects
    }

    /// Counts an entry that is as it should be; returns any other.
    fn count(&mut self, group: Group) -> Option<Suspect> {
        match self.rules.verdict(&group) {
            Verdict::Proven { is_late } => {
                self.counts.proven += 1;
                self.counts.late += usize::from(is_late);
            }
            Verdict::Pending => self.counts.pending += 1,
            Verdict::Older => self.counts.older += 1,
            Verdict::Absent => {}
            Verdict::Wrong(finding) => return Some(Suspect { group, finding }),
        }
        None
    }

    /// Judges an entry again that was read again: `entry` is what the table has now. Returns what is still wrong.
    pub fn recheck(&mut self, suspect: Suspect, entry: Option<StoredEntry>) -> Option<Finding> {
        let group = Group { entry, ..suspect.group };
        self.count(group).map(|suspect| suspect.finding)
    }

    /// How many entries were counted so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The time of the first witness; `None` if there is none.
    #[must_use]
    pub fn begins(&self) -> Option<&str> {
        self.rules.begins.as_deref()
    }

    /// The tree over the covered witnesses of the parts so far.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl Suspect {
    /// What seems to be wrong.
    #[must_use]
    pub const fn finding(&self) -> &Finding {
        &self.finding
    }
}

impl Rules {
    /// The time of the first witness. Shards are delivered independently of one another, so others may have begun a little
    /// later.
    fn begins(&self) -> Option<DateTime<Utc>> {
        self.begins.as_deref().and_then(time)
    }

    fn verdict(&self, Group { entry, witnesses }: &Group) -> Verdict {
        // Without a time it sorts last, so that it does not hide one that has a time.
        let first =
            witnesses.iter().min_by_key(|Kept { witness, .. }| (witness.stored.is_none(), witness.stored.clone()));
        let wrong = |kind, id: &str| {
            Verdict::Wrong(Finding {
                id: id.to_owned(),
                item_key: entry.as_ref().map(|entry| entry.item_key.clone()),
                time: entry.as_ref().map(|entry| entry.time.clone()),
                stored: first.and_then(|first| first.witness.stored.clone()),
                kind,
            })
        };
        match (entry, first) {
            (None, None) => Verdict::Absent,
            (None, Some(first)) => wrong(FindingKind::Deleted, &first.witness.id),
            (Some(entry), Some(first)) => {
                let original = &first.witness.fingerprint;
                if !entry.fingerprint.agrees_with(original) {
                    wrong(FindingKind::Altered, &entry.id)
                } else if !witnesses.iter().all(|other| other.witness.fingerprint.agrees_with(original)) {
                    wrong(FindingKind::Rewritten, &entry.id)
                } else if is_early(entry, first) {
                    wrong(FindingKind::Forged, &entry.id)
                } else {
                    Verdict::Proven { is_late: is_late(entry, first) }
                }
            }
            (Some(entry), None) => match time(&entry.time) {
                Some(time) if time > self.now - LAG && time < self.now + LAG => Verdict::Pending,
                Some(time) if self.begins().is_none_or(|begins| time < begins + LAG) => Verdict::Older,
                _ => wrong(FindingKind::Forged, &entry.id),
            },
        }
    }
}

/// Whether the entry was stored long after its change. The later of both times counts.
fn is_late(entry: &StoredEntry, first: &Kept) -> bool {
    let stored = first.witness.stored.as_deref().and_then(time).max(first.kept);
    stored.is_some_and(|stored| time(&entry.time).is_none_or(|time| stored - time > LATE))
}

/// Whether the entry was stored before its change.
fn is_early(entry: &StoredEntry, first: &Kept) -> bool {
    let stored = first.witness.stored.as_deref().and_then(time).or(first.kept);
    stored.is_some_and(|stored| time(&entry.time).is_some_and(|time| time > stored + LAG))
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(Into::into)
}

/// Adds the covered witnesses of a part, each once, in order of their positions.
fn add_leaves(tree: &mut Tree, rows: &[Row]) {
    let leaf = |row: &Row| match row {
        Row::Witness(Kept { witness, .. }, true) => Some((position(&witness.id), leaf(witness))),
        _ => None,
    };
    for (_, leaf) in rows.iter().filter_map(leaf).collect::<BTreeSet<_>>() {
        tree.add(leaf.as_bytes());
    }
}

/// A witness as a leaf of the tree: a JSON list of the ID and the two hashes, without white space.
fn leaf(witness: &Witness) -> String {
    // Text can always be written as JSON.
    let Fingerprint { content, provenance } = &witness.fingerprint;
    serde_json::to_string(&(&witness.id, content, provenance.as_deref().unwrap_or_default())).unwrap_or_default()
}

#[cfg(test)]
mod tests;
