//! The values of an audit entry, on one line for people.

use config_audit_local::aws::entry::Entry;

use crate::terminal::table::fit;
use crate::terminal::text::{cut, escape, width};

/// Between the old value and the new one.
const ARROW: &str = " → ";
/// Shown in place of the value of an attribute that did not exist.
const NONE: &str = "(none)";

/// The values of an entry, such as `3600 → 1800`; a whole item that was created or removed has only one side. Long
/// values are truncated, so that the text takes about this many columns.
#[must_use]
pub fn values(entry: &Entry, columns: usize) -> String {
    let is_of_attribute = !entry.text("updatedAttribute").is_empty();
    let values: Vec<String> = ["oldValue", "newValue"]
        .into_iter()
        .filter_map(|name| match entry.value(name) {
            // Maps with string keys, numbers and strings cannot fail.
            Some(value) => Some(escape(&serde_json::to_string(&value).unwrap_or_default()).into_owned()),
            None => is_of_attribute.then(|| NONE.to_owned()),
        })
        .collect();
    let mut widths: Vec<usize> = values.iter().map(|value| width(value)).collect();
    fit(&mut widths, columns.saturating_sub(width(ARROW) * values.len().saturating_sub(1)));
    let values: Vec<_> = values.iter().zip(widths).map(|(value, width)| cut(value, width)).collect();
    values.join(ARROW)
}

#[cfg(test)]
mod tests {
    use serde_dynamo::AttributeValue;

    use super::*;

    fn shown(columns: usize, attributes: &[(&str, &str)]) -> String {
        let attributes = attributes.iter().map(|(name, text)| {
            let number = |text: &str| text.parse::<i64>().is_ok();
            let value = if number(text) { AttributeValue::N } else { AttributeValue::S };
            ((*name).to_owned(), value((*text).to_owned()))
        });
        values(&Entry::from_item(attributes), columns)
    }

    #[test]
    fn the_values_of_an_entry_are_shown_and_long_ones_truncated() {
        let long = "x".repeat(100);
        assert_eq!(shown(80, &[("updatedAttribute", "a"), ("oldValue", "3600"), ("newValue", "1800")]), "3600 → 1800");
        assert_eq!(shown(80, &[("updatedAttribute", "a"), ("newValue", "1800")]), "(none) → 1800");
        assert_eq!(shown(80, &[("newValue", "created")]), "\"created\"");
        let cut = shown(30, &[("updatedAttribute", "a"), ("oldValue", "3600"), ("newValue", &long)]);
        assert_eq!(cut, "3600 → \"xxxxxxxxxxxxxxxxxxxxx…");
        assert_eq!(width(&cut), 30);
    }
}
