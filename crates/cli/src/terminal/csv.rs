//! CSV that is safe to show on a terminal, and to open in a spreadsheet.

use super::text::{Text, escape_as_json};

/// Rows as lines of CSV.
///
/// No cell has a line feed or moves a cursor. A spreadsheet treats a cell that begins like a formula as one, so such a
/// cell gets a leading apostrophe, unless it is a number. Cells are quoted, because a spreadsheet may treat semicolons
/// as separators.
#[must_use]
pub fn csv(rows: impl IntoIterator<Item = Vec<String>>) -> Vec<Text> {
    let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::NonNumeric).from_writer(Vec::new());
    for row in rows {
        // Writing to memory cannot fail.
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
