//! CSV that is safe to show on a terminal, and to open in a spreadsheet.

use config_audit_text::{csv_line, raw_csv_line};

use super::text::Text;

/// Rows as lines of CSV.
#[must_use]
pub fn csv(rows: impl IntoIterator<Item = Vec<String>>) -> Vec<Text> {
    rows.into_iter().map(|row| csv_row(row, false)).collect()
}

/// A row as a line of CSV. If it is raw, cells that a spreadsheet would take for formulas stay as they are.
#[must_use]
pub fn csv_row(row: impl IntoIterator<Item = impl AsRef<str>>, is_raw: bool) -> Text {
    if is_raw { raw_csv_line(row) } else { csv_line(row) }.into()
}
