//! An item as it was at one time: as a table, as JSON, as CSV.

use std::collections::BTreeMap;

use config_audit_local::aws::entry::Plain;
use serde_dynamo::AttributeValue;

use super::lines::{json, shortened};
use crate::terminal::{Terminal, Tone, harmless};
use crate::trail::Item;

/// The attributes of an item, in the order of their names; without values where only the names are wanted.
pub(super) struct ItemAtTime {
    attributes: BTreeMap<String, AttributeValue>,
    names_only: bool,
}

impl ItemAtTime {
    pub(super) fn new(item: Item, names_only: bool) -> Self {
        Self { attributes: item.into_iter().collect(), names_only }
    }

    pub(super) fn show_table(&self, terminal: Terminal) {
        let rows = self.rows().map(|(name, value)| {
            (name.escape_debug().to_string(), value.map(|value| shortened(&harmless(&value))).unwrap_or_default())
        });
        let head = ("attribute".to_owned(), if self.names_only { String::new() } else { "value".to_owned() });
        let rows: Vec<(String, String)> = std::iter::once(head).chain(rows).collect();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (index, (name, value)) in rows.iter().enumerate() {
            let line = format!("{name:width$}  {value}");
            let line = line.trim_end();
            terminal.result(&if index == 0 { terminal.paint(Tone::Heading, line) } else { line.to_owned() });
        }
    }

    pub(super) fn json(&self) -> String {
        if self.names_only {
            json(&self.attributes.keys().collect::<Vec<_>>())
        } else {
            let attributes = self.attributes.iter().map(|(name, value)| (name, Plain(value)));
            json(&attributes.collect::<BTreeMap<_, _>>())
        }
    }

    pub(super) fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // Writing to memory does not fail.
        let _ = writer.write_record(if self.names_only { &["attribute"][..] } else { &["attribute", "value"] });
        for (name, value) in self.rows() {
            let _ = writer.write_record(std::iter::once(name.to_owned()).chain(value));
        }
        String::from_utf8_lossy(&writer.into_inner().unwrap_or_default()).into_owned()
    }

    fn rows(&self) -> impl Iterator<Item = (&str, Option<String>)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), (!self.names_only).then(|| json(&Plain(value)))))
    }
}
