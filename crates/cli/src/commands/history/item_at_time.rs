//! An item as it was at one time: as rows of a table or of CSV, as JSON.

use std::collections::BTreeMap;

use config_audit_local::aws::entry::Plain;
use serde_dynamo::AttributeValue;

use crate::terminal::{Terminal, WriteError};
use config_audit_trail::Item;

/// The attributes of an item, ordered by name; without values if only the names are wanted.
pub(super) struct ItemAtTime {
    attributes: BTreeMap<String, AttributeValue>,
    names_only: bool,
}

impl ItemAtTime {
    pub(super) fn new(item: Item, names_only: bool) -> Self {
        Self { attributes: item.into_iter().collect(), names_only }
    }

    /// With a heading.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, value: &dyn Fn() -> String| {
            if self.names_only { vec![name.to_owned()] } else { vec![name.to_owned(), value()] }
        };
        // Maps with string keys, numbers and strings cannot fail.
        let json = |value: &AttributeValue| serde_json::to_string(&Plain(value)).unwrap_or_default();
        let rows = self.attributes.iter().map(|(name, value)| row(name, &|| json(value)));
        std::iter::once(row("attribute", &|| "value".to_owned())).chain(rows).collect()
    }

    pub(super) fn print_json(&self, terminal: Terminal) -> Result<(), WriteError> {
        if self.names_only {
            terminal.json_line(&self.attributes.keys().collect::<Vec<_>>())
        } else {
            let attributes = self.attributes.iter().map(|(name, value)| (name, Plain(value)));
            terminal.json_line(&attributes.collect::<BTreeMap<_, _>>())
        }
    }
}
