//! Makes untrusted text safe to show in a terminal, a browser and a spreadsheet.

use std::fmt::Write as _;

/// Whether a character is simply shown: it is not invisible, does not move a cursor, and does not change the text's
/// direction. A combining accent is printable.
#[must_use]
pub fn is_printable(character: char) -> bool {
    // The standard library has the Unicode tables for this, but exposes them only through escaping.
    matches!(character, ' '..='~') || ['a', character].iter().collect::<String>().escape_debug().eq(['a', character])
}

/// The text with a JSON escape for each unprintable character, such as `\u000a` or `\u202e`.
#[must_use]
pub fn escape_as_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_printable(character) {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// A row as one line of CSV, without a line feed.
///
/// No cell has a line feed or moves a cursor. A spreadsheet treats a cell that begins like a formula as one, so such a
/// cell gets a leading apostrophe, unless it is a number. Cells are quoted, because a spreadsheet may treat semicolons
/// as separators.
#[must_use]
pub fn csv_line(row: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    line(row, without_formula)
}

/// Like [`csv_line`], but for machines: a cell that begins like a formula stays as it is.
#[must_use]
pub fn raw_csv_line(row: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    line(row, |text| text)
}

fn line(row: impl IntoIterator<Item = impl AsRef<str>>, finish: impl Fn(String) -> String) -> String {
    let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::NonNumeric).from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_record(row.into_iter().map(|text| finish(escape_as_json(text.as_ref()))));
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()
}

fn without_formula(text: String) -> String {
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
    let is_formula = text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) && !is_number;
    if is_formula { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_without_formulas_and_control_characters() {
        for (cell, line) in [
            ("a\"b", "\"a\"\"b\""),
            ("a;b,c", "\"a;b,c\""),
            ("", "\"\""),
            ("false", "\"false\""),
            ("-5", "-5"),
            ("1e3", "1e3"),
            ("=1+1", "\"'=1+1\""),
            (" =1+1", "\"' =1+1\""),
            ("-5+1", "\"'-5+1\""),
            ("@i", "\"'@i\""),
            ("＝1", "\"'＝1\""),
            ("x\r\ny", "\"x\\u000d\\u000ay\""),
            ("\t=1", "\"\\u0009=1\""),
            ("\u{1b}[2K\u{202e}", "\"\\u001b[2K\\u202e\""),
        ] {
            assert_eq!(csv_line([cell]), line, "{cell:?}");
        }
        assert_eq!(csv_line(["key", "1", ""]), "\"key\",1,\"\"");
    }

    #[test]
    fn a_raw_row_keeps_its_formulas_and_is_still_one_line() {
        assert_eq!(raw_csv_line(["=1+1", "@i", "-5", "x\n"]), "\"=1+1\",\"@i\",-5,\"x\\u000a\"");
    }
}
