//! The entries of an item, one per line: as rows of a table, as JSON, or as CSV.

use std::collections::HashMap;

use config_audit_local::aws::entry::Entry;
use serde::Serialize;

use config_audit_tables::SdkItem;
use config_audit_trail::{Change, Gap, Step};

/// An entry, and the change that it records.
#[derive(Debug, Serialize)]
pub struct Line {
    #[serde(flatten)]
    entry: Entry,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    backfilled: bool,
    /// What is wrong with the trail at this entry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<String>,
    #[serde(skip)]
    what: String,
}

/// The entries in the order of the fold. Unreadable entries have no place in that order, so they come last.
#[must_use]
pub fn lines(steps: &[Step], entries: Vec<SdkItem>) -> Vec<Line> {
    let entries = entries.into_iter().map(Entry::from_item);
    let mut by_id: HashMap<String, Entry> = entries.map(|entry| (entry.text("id").to_owned(), entry)).collect();
    let mut lines: Vec<Line> =
        steps.iter().filter_map(|step| Some(Line::new(by_id.remove(&step.id)?, &step.change))).collect();
    let mut rest: Vec<Entry> = by_id.into_values().collect();
    rest.sort_by(|one, other| one.order().cmp(&other.order()));
    lines.extend(rest.into_iter().map(|entry| Line::new(entry, &Change::Unreadable)));
    lines
}

impl Line {
    fn new(entry: Entry, change: &Change) -> Self {
        let what = match change {
            Change::Insert(_) => "(created)",
            Change::Modify { attribute, .. } => attribute,
            Change::Remove(_) => "(removed)",
            Change::Snapshot(_) => "(backfilled)",
            Change::Unreadable => "(unreadable)",
        };
        Self { entry, backfilled: matches!(change, Change::Snapshot(_)), findings: Vec::new(), what: what.to_owned() }
    }

    /// The time of the change, according to the entry.
    #[must_use]
    pub fn time(&self) -> &str {
        self.entry.text("modificationTime")
    }

    /// An attribute of the entry as JSON, if it has it.
    fn value(&self, name: &str) -> String {
        // Maps with string keys, numbers and strings cannot fail.
        self.entry.value(name).map_or_else(String::new, |value| serde_json::to_string(&value).unwrap_or_default())
    }

    /// The line as a row of CSV, with the columns of [`COLUMNS`](config_audit_tables::export::COLUMNS).
    #[must_use]
    pub fn csv_row(&self) -> Vec<String> {
        let text = |name: &str| self.entry.text(name).to_owned();
        vec![
            text("modificationTime"),
            text("itemKey"),
            text("updatedAttribute"),
            self.value("oldValue"),
            self.value("newValue"),
            self.backfilled.to_string(),
            text("id"),
        ]
    }

    /// Adds the gaps that show at this entry.
    pub fn add_findings(&mut self, gaps: &[Gap]) {
        let here = gaps.iter().filter(|gap| gap.entry.as_deref() == Some(self.entry.text("id")));
        self.findings.extend(here.map(ToString::to_string));
    }

    /// Removes the configuration's values.
    pub fn remove_values(&mut self) {
        self.entry = self.entry.without_values();
    }
}

/// The lines as the rows of a table, with its heading.
#[must_use]
pub fn rows(lines: &[Line]) -> Vec<[String; 4]> {
    let heading = ["time", "attribute", "old", "new"].map(str::to_owned);
    let rows = lines.iter().map(|line| {
        let time = line.entry.text("modificationTime").to_owned();
        [time, line.what.clone(), line.value("oldValue"), line.value("newValue")]
    });
    std::iter::once(heading).chain(rows).collect()
}
