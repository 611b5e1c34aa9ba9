//! The one module that writes: results to standard output; notices, progress and errors to standard error.
//!
//! Anyone who may change the configuration controls keys, names and values. So all output consists of lines, and a
//! terminal shows each character of a line instead of acting on it ([`text`]). Colours and progress are only for
//! terminals, unless `NO_COLOR` or `TERM=dumb` disables them.

pub mod csv;
pub mod table;
pub mod text;

use std::io::{IsTerminal, Write as _};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use serde::Serialize;

pub use self::text::{Text, Tone};

use self::text::{cut, escape, escape_document};
use config_audit::settings::{Environment, ProcessEnvironment};

/// The line width if the terminal's width is unknown.
const DEFAULT_WIDTH: usize = 120;
/// Restarts the line: moves the cursor to its start and clears the rest.
const CLEAR_LINE: &str = "\r\u{1b}[K";

/// Whether the last line on standard error is progress, which the next line replaces. A process has one standard error.
static PROGRESS_IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For tools.
    Json,
}

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub struct WriteError(#[source] std::io::Error);

impl WriteError {
    /// Whether it is a closed pipe, as after `| head`.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        self.0.kind() == std::io::ErrorKind::BrokenPipe
    }
}

/// Where output goes.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    colours: bool,
    progress: bool,
}

impl Terminal {
    /// This process's standard output and error.
    #[must_use]
    pub fn new() -> Self {
        let is_dumb = ProcessEnvironment.get("TERM").is_some_and(|value| value == "dumb");
        let is_plain = ProcessEnvironment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colours: std::io::stdout().is_terminal() && !is_dumb && !is_plain,
            progress: std::io::stderr().is_terminal() && !is_dumb,
        }
    }

    /// Whether results are printed in colours.
    #[must_use]
    pub fn has_colours(self) -> bool {
        self.colours
    }

    /// The maximum width of a result line, in columns.
    #[must_use]
    pub fn width(self) -> usize {
        columns(std::io::stdout()).unwrap_or(DEFAULT_WIDTH)
    }

    /// Prints a line of a result.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn line(self, text: impl Into<Text>) -> Result<(), WriteError> {
        self.document(&text.into().render(self.colours))
    }

    /// Prints the lines of a result.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn lines(self, lines: impl IntoIterator<Item = Text>) -> Result<(), WriteError> {
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// Prints a result for tools: JSON in one line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json_line(self, value: &impl Serialize) -> Result<(), WriteError> {
        self.document(&one_line(value)?)
    }

    /// Prints an element of a JSON array in one line. The brackets are lines of their own.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json_element(self, value: &impl Serialize, is_first: bool) -> Result<(), WriteError> {
        let separator = if is_first { ' ' } else { ',' };
        self.document(&format!("{separator}{}", one_line(value)?))
    }

    /// Prints a result for tools: JSON with indentation.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json(self, value: &impl Serialize) -> Result<(), WriteError> {
        let json = serde_json::to_string_pretty(value).map_err(|error| WriteError(error.into()))?;
        self.document(&escape_document(&json))
    }

    /// Prints several lines of the program's own unchanged. They must not contain untrusted text.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn document(self, text: &str) -> Result<(), WriteError> {
        clear_progress();
        let mut output = std::io::stdout().lock();
        writeln!(output, "{}", text.trim_end_matches('\n')).and_then(|()| output.flush()).map_err(WriteError)
    }

    /// Prints a notice or an error to standard error. If that fails, it cannot be reported.
    pub fn note(self, text: impl Into<Text>) {
        clear_progress();
        let _ = writeln!(std::io::stderr().lock(), "{}", text.into());
    }

    /// Shows the progress of a long command, if standard error is a terminal. The next line replaces it.
    pub fn show_progress(self, text: &str) {
        if self.progress {
            let width = columns(std::io::stderr()).unwrap_or(DEFAULT_WIDTH);
            let text = escape(text);
            // A terminal may wrap a line of exactly its width.
            let text = cut(&text, width.saturating_sub(1));
            PROGRESS_IS_SHOWN.store(true, Ordering::Relaxed);
            let mut output = std::io::stderr().lock();
            let _ = write!(output, "{CLEAR_LINE}{text}").and_then(|()| output.flush());
        }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

/// A value as JSON in one line, safe for a terminal.
fn one_line(value: &impl Serialize) -> Result<String, WriteError> {
    let json = serde_json::to_string(value).map_err(|error| WriteError(error.into()))?;
    // Outside strings, a line feed is only whitespace.
    Ok(escape_document(&json).replace('\n', " "))
}

fn clear_progress() {
    if PROGRESS_IS_SHOWN.swap(false, Ordering::Relaxed) {
        let mut output = std::io::stderr().lock();
        let _ = write!(output, "{CLEAR_LINE}").and_then(|()| output.flush());
    }
}

/// The width of a terminal; `None` if it is not a terminal, or its width is unknown.
fn columns(output: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(output).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}
