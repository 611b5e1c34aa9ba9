//! Tables, for the terminal and as Markdown.

use std::fmt::Write;

/// A table with a header. The first column is text, the others are figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push<S: Into<String>>(&mut self, row: impl IntoIterator<Item = S>) {
        self.rows.push(row.into_iter().map(Into::into).collect());
    }

    /// The table as text with aligned columns.
    pub(crate) fn terminal(&self) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let width = |column: usize| lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let mut text = String::new();
        for row in lines() {
            for (column, cell) in row.iter().enumerate() {
                let width = width(column).unwrap_or_default();
                let _ = if column == 0 { write!(text, "{cell:width$}") } else { write!(text, "  {cell:>width$}") };
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }

    /// The table as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |row: &[String]| format!("| {} |\n", row.join(" | "));
        let rule = format!("|---|{}\n", "---:|".repeat(self.header.len().saturating_sub(1)));
        [line(&self.header), rule].into_iter().chain(self.rows.iter().map(|row| line(row))).collect()
    }
}

/// A number with three significant digits and thousands separators.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        1_000.0.. => {
            let mut text = format!("{value:.0}");
            for place in (1..text.len()).rev().filter(|place| (text.len() - place) % 3 == 0).collect::<Vec<_>>() {
                text.insert(place, ',');
            }
            return text;
        }
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let texts: Vec<String> = [1e6, 28_684.0, 2_683.4, 706.2, 26.73, 2.034, 0.33].map(number).to_vec();
        assert_eq!(texts, ["1,000,000", "28,684", "2,683", "706", "26.7", "2.03", "0.33"]);
    }

    #[test]
    fn a_table_has_the_same_cells_everywhere() {
        let mut table = Table::new(["", "ours"]);
        table.push(["batch of 100", "1.2"]);
        assert_eq!(table.terminal(), "              ours\nbatch of 100   1.2\n");
        assert_eq!(table.markdown(), "|  | ours |\n|---|---:|\n| batch of 100 | 1.2 |\n");
    }
}
