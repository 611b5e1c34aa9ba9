//! CSV that is safe to show on a terminal, and to open in a spreadsheet.

use super::text::{Text, escape_as_json};

/// Rows as lines of CSV.
///
/// No cell has a line feed or moves a cursor. A spreadsheet takes a cell for a formula that begins as one does, so such a cell
/// gets an apostrophe before it, unless it is a number. Cells are quoted, because a spreadsheet may take semicolons for commas.
#[must_use]
pub fn csv(rows: impl IntoIterator<Item = Vec<String>>) -> Vec<Text> {
    let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::NonNumeric).from_writer(Vec::new());
    for row in rows {
        // Writing to memory does not fail.
        let _ = writer.write_record(row.iter().map(|text| cell(text)));
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(Text::from).collect()
}

fn cell(text: &str) -> String {
    let text = escape_as_json(text);
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
    let is_formula = text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) && !is_number;
    if is_formula { format!("'{text}") } else { text }
}
