//! The entries of an item, one a line: as a table, as JSON, as CSV.

use std::collections::HashMap;

use config_audit_local::aws::entry::Entry;
use serde::Serialize;

use crate::tables::SdkItem;
use crate::terminal::{Terminal, Tone, harmless};
use crate::trail::{Change, Step};

/// How wide a value may be in the table.
const VALUE_WIDTH: usize = 40;

/// An entry, and what it says was done.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    #[serde(flatten)]
    entry: Entry,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    backfilled: bool,
    #[serde(skip)]
    what: String,
}

/// The entries in the order of the fold. What cannot be read has no place in that order, and comes last.
pub(super) fn lines(steps: &[Step], entries: Vec<SdkItem>) -> Vec<Line> {
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
        Self { entry, backfilled: matches!(change, Change::Snapshot(_)), what: what.to_owned() }
    }

    /// The time of the change, as the entry says it.
    pub(super) fn time(&self) -> &str {
        self.entry.text("modificationTime")
    }

    pub(super) fn remove_values(&mut self) {
        self.entry = self.entry.without_values();
    }
}

pub(super) fn json(value: &impl Serialize) -> String {
    // Maps with string keys, numbers and strings do not fail.
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn show_table(lines: &[Line], terminal: Terminal) {
    let head = ["time", "attribute", "old", "new"].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(lines.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    for (index, [time, attribute, old, new]) in rows.iter().enumerate() {
        let [first, second, third] = widths;
        let line = format!("{time:first$}  {attribute:second$}  {old:third$}  {new}");
        let line = line.trim_end();
        terminal.result(&if index == 0 { terminal.paint(Tone::Heading, line) } else { line.to_owned() });
    }
}

fn row(line: &Line) -> [String; 4] {
    let entry = &line.entry;
    let value = |name: &str| entry.value(name).map_or_else(String::new, |value| shortened(&harmless(&json(&value))));
    let text = |text: &str| text.escape_debug().to_string();
    [text(entry.text("modificationTime")), text(&line.what), value("oldValue"), value("newValue")]
}

pub(super) fn shortened(text: &str) -> String {
    if text.chars().count() <= VALUE_WIDTH {
        return text.to_owned();
    }
    let cut: String = text.chars().take(VALUE_WIDTH - 1).collect();
    format!("{cut}…")
}

pub(super) fn csv(lines: &[Line]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record([
        "modificationTime",
        "itemKey",
        "updatedAttribute",
        "oldValue",
        "newValue",
        "backfilled",
        "id",
    ]);
    for line in lines {
        let entry = &line.entry;
        let value = |name: &str| entry.value(name).map_or_else(String::new, |value| json(&value));
        let _ = writer.write_record([
            entry.text("modificationTime"),
            entry.text("itemKey"),
            entry.text("updatedAttribute"),
            &value("oldValue"),
            &value("newValue"),
            if line.backfilled { "true" } else { "false" },
            entry.text("id"),
        ]);
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
