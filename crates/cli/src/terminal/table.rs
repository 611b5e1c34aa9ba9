//! Tables that fit the terminal.

use super::text::{Text, Tone, cut, escape, width};

/// The space between two columns.
const GAP: &str = "  ";
/// The minimum width of a column.
const MIN_WIDTH: usize = 8;

/// Rows as lines, in columns; the first row is the heading. If the table would be wider than `limit`, the widest
/// columns are truncated, but never the first one.
#[must_use]
pub fn table(rows: &[impl AsRef<[String]>], limit: Option<usize>) -> Vec<Text> {
    let cells = |row: &[String]| row.iter().map(|cell| escape(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row.as_ref())).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
    let mut widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or_default()).collect();
    if let (Some(limit), Some((first, others))) = (limit, widths.split_first_mut()) {
        fit(others, limit.saturating_sub(*first + GAP.len() * others.len()));
    }
    let lines = rows.iter().enumerate().map(|(number, row)| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| padded(cell, *width)).collect();
        let line = cells.join(GAP).trim_end().to_owned();
        if number == 0 { Tone::Heading.paint(line) } else { line.into() }
    });
    lines.collect()
}

/// Reduces these widths until their sum is `limit`, the widest first.
pub fn fit(widths: &mut [usize], limit: usize) {
    for width in widths.iter_mut() {
        *width = (*width).min(limit.max(MIN_WIDTH));
    }
    while widths.iter().sum::<usize>() > limit {
        match widths.iter_mut().max() {
            Some(widest) if *widest > MIN_WIDTH => *widest -= 1,
            _ => return,
        }
    }
}

fn padded(cell: &str, columns: usize) -> String {
    let cell = cut(cell, columns);
    let space = columns.saturating_sub(width(&cell));
    format!("{cell}{}", " ".repeat(space))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rows: &[[&str; 3]], limit: Option<usize>) -> Vec<String> {
        let rows: Vec<[String; 3]> = rows.iter().map(|row| row.map(str::to_owned)).collect();
        table(&rows, limit).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_cells_in_every_script() {
        let rows = [["time", "old", "new"], ["1", "日本", "x\ny"], ["10", "a", ""]];
        assert_eq!(lines(&rows, None), ["time  old   new", "1     日本  x\\ny", "10    a"]);
    }

    #[test]
    fn only_the_widest_columns_are_truncated() {
        let long = "x".repeat(100);
        let rows = [["2024-09-11T09:02:28.000Z", "short", long.as_str()], ["", &long, &long]];
        for limit in [50, 60, 80, 120] {
            let lines = lines(&rows, Some(limit));
            assert!(lines.iter().all(|line| width(line) <= limit), "{lines:#?}");
            assert!(lines[0].starts_with("2024-09-11T09:02:28.000Z  short "), "{lines:#?}");
            assert!(lines[1].ends_with('…') && width(&lines[1]) == limit, "{lines:#?}");
        }
        // A narrower column would show nothing.
        assert_eq!(lines(&rows, Some(1))[1].matches("xxxxxxx…").count(), 2);
    }
}
