//! The one module that prints: results to standard output, progress and errors to standard error.
//!
//! Colours are used only on a terminal, and not if `NO_COLOR` is set. It is not an error if nobody reads the output any more.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use clap::ValueEnum;

use config_audit::settings::{Environment, ProcessEnvironment};
use config_audit_cloudwatch::line::EmfMetric;
use config_audit_cloudwatch::span::Span;
use config_audit_cloudwatch::units::duration;

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For tools.
    Json,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// A heading.
    Heading,
    /// Something that succeeded.
    Good,
    /// Something that failed.
    Bad,
    /// Something less important.
    Quiet,
}

/// Where output goes.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    colours: bool,
}

impl Terminal {
    /// This process's standard output and error.
    #[must_use]
    pub fn new() -> Self {
        let forbidden = ProcessEnvironment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: std::io::stdout().is_terminal() && !forbidden }
    }

    /// The same without colours.
    #[must_use]
    pub fn plain() -> Self {
        Self { colours: false }
    }

    /// The text in the tone's colour.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Quiet => "2",
        };
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Prints a result.
    pub fn result(self, text: &str) {
        let mut output = std::io::stdout().lock();
        let _ = writeln!(output, "{text}").and_then(|()| output.flush());
    }

    /// Prints a result; false if nobody reads it any more.
    #[must_use]
    pub fn tells(self, text: &str) -> bool {
        let mut output = std::io::stdout().lock();
        writeln!(output, "{text}").and_then(|()| output.flush()).is_ok()
    }

    /// Prints progress, or an error.
    pub fn progress(self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Metrics as a table: name, samples.
    #[must_use]
    pub fn metric_table(self, metrics: &[&EmfMetric]) -> String {
        let width = metrics.iter().map(|metric| metric.name.len()).max().unwrap_or_default();
        let mut table = String::new();
        for metric in metrics {
            // Writing to a string does not fail, here and below.
            let _ = writeln!(table, "  {:width$}  {}", metric.name, metric.summary());
        }
        table
    }

    /// Spans as a tree: name, duration, and whether it failed.
    #[must_use]
    pub fn span_tree(self, spans: &[Span]) -> String {
        let mut tree = String::new();
        self.write_spans(&mut tree, spans, 1);
        tree
    }

    fn write_spans(self, tree: &mut String, spans: &[Span], depth: usize) {
        for span in spans {
            let took = span.milliseconds.map_or_else(|| "in progress".to_owned(), duration);
            let failed = if span.failed { self.paint(Tone::Bad, " failed") } else { String::new() };
            let _ = writeln!(tree, "{}{}  {}{failed}", "  ".repeat(depth), span.name, self.paint(Tone::Quiet, &took));
            self.write_spans(tree, &span.children, depth + 1);
        }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

/// JSON that is safe to show on a terminal: characters that JSON allows but that would move the cursor or reverse the text are
/// escaped.
#[must_use]
pub fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '"' | '\'' | '\\' => text.push(character),
            _ => text.extend(character.escape_debug()),
        }
    }
    text
}

/// A text with every line indented by this many spaces.
#[must_use]
pub fn indent(text: &str, by: usize) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("{}{line}", " ".repeat(by))).collect();
    lines.join("\n")
}
