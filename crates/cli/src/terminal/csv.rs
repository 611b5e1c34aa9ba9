//! CSV that is safe to show on a terminal, and to open in a spreadsheet.

use config_audit_text::csv_line;

use super::text::Text;

/// Rows as lines of CSV.
#[must_use]
pub fn csv(rows: impl IntoIterator<Item = Vec<String>>) -> Vec<Text> {
    rows.into_iter().map(|row| csv_line(row).into()).collect()
}
