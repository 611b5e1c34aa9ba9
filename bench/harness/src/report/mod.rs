//! Reports the figures: as tables, verdicts, a chart, and in the documents.

pub(crate) mod cost;
mod document;
mod figures;
mod picture;
pub(crate) mod table;
pub(crate) mod verdict;

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::measure::{Figures, Plan};
use cost::{Prices, Stack};
use table::Table;
use verdict::Verdict;

/// A document that cannot be generated.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub(crate) struct DocumentError {
    path: PathBuf,
    source: io::Error,
}

/// Everything that a run reports.
pub(crate) struct Report<'a> {
    /// What was measured.
    pub(crate) plan: &'a Plan,
    /// The results.
    pub(crate) figures: &'a Figures,
    /// Whether they are good enough.
    pub(crate) verdicts: &'a [Verdict],
    /// What things cost.
    pub(crate) prices: &'a Prices,
    /// The parts of the packaged service that prices depend on.
    pub(crate) stack: &'a Stack,
}

impl Report<'_> {
    /// The report for the terminal.
    pub(crate) fn terminal(&self) -> String {
        let mut text = figures::table(self.plan, self.figures).terminal();
        if !self.figures.own_processors {
            text.push_str("There is one processor: what stands in for AWS shares it with what is measured.\n");
        }
        text.push('\n');
        text.push_str(&verdict::table(self.verdicts).terminal());
        if !self.figures.billed.is_empty() {
            for records in [1, 100] {
                let _ = writeln!(text, "\na million changes, batches of {records}");
                text.push_str(&self.changes(records).terminal());
            }
        }
        for verdict in self.verdicts.iter().filter(|verdict| verdict.is_missed()) {
            let _ = write!(text, "\nMISSED: {}", verdict.sentence());
        }
        text.push('\n');
        text
    }

    fn changes(&self, records: usize) -> Table {
        self.prices.changes(self.plan, self.stack, self.figures, records)
    }

    /// Writes the documents' generated parts, and the chart.
    ///
    /// # Errors
    /// When a document cannot be read, lacks a part, or cannot be written.
    pub(crate) fn write(&self, root: &Path) -> Result<(), DocumentError> {
        let mut subjects = Table::new(["column", "what it is"]);
        for subject in &self.plan.subjects {
            subjects.push([subject.name, subject.what]);
        }
        let figures = figures::table(self.plan, self.figures).markdown();
        let verdicts = verdict::table(self.verdicts).markdown();
        put(
            root,
            "docs/performance.md",
            &[("figures", figures), ("verdicts", verdicts), ("subjects", subjects.markdown())],
        )?;
        let svg = root.join("docs/images/performance.svg");
        fs::write(&svg, picture::svg(self.figures)).map_err(|source| DocumentError { path: svg, source })?;
        let storage = self.prices.storage(self.stack, self.figures).unwrap_or_default();
        let parts = [
            ("quiet", self.changes(1).markdown()),
            ("bulk", self.changes(100).markdown()),
            ("storage", storage),
            ("assumptions", self.prices.assumptions()),
        ];
        put(root, "docs/cost.md", &parts)
    }
}

/// Replaces parts of a document.
fn put(root: &Path, name: &str, parts: &[(&str, String)]) -> Result<(), DocumentError> {
    let path = root.join(name);
    let file = |source| DocumentError { path: path.clone(), source };
    let mut text = fs::read_to_string(&path).map_err(file)?;
    for (part, content) in parts {
        text = document::replace(&text, part, content).map_err(file)?;
    }
    fs::write(&path, text).map_err(file)
}
