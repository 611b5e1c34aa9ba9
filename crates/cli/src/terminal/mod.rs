//! The one module that writes: results to standard output; notices, progress and errors to standard error.
//!
//! Keys, names and values are written by anyone who may change the configuration. So everything is written as lines, and a
//! terminal shows each character of a line instead of acting on it ([`text`]). Colours and progress are for terminals only,
//! and not where `NO_COLOR` or `TERM=dumb` forbids them.

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

/// How wide a line should be where nobody knows the width.
const DEFAULT_WIDTH: usize = 120;
/// Starts the line again: the cursor moves to its start, and the rest is cleared.
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

/// Standard output does not take what was written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub struct WriteError(#[source] std::io::Error);

impl WriteError {
    /// Whether it is a pipe that nobody reads any more, as after `| head`.
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

    /// How many columns a line of a result should have at most.
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
        let json = serde_json::to_string(value).map_err(|error| WriteError(error.into()))?;
        // Outside of strings, a line feed is only space.
        self.document(&escape_document(&json).replace('\n', " "))
    }

    /// Prints a result for tools: JSON with indentation.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json(self, value: &impl Serialize) -> Result<(), WriteError> {
        let json = serde_json::to_string_pretty(value).map_err(|error| WriteError(error.into()))?;
        self.document(&escape_document(&json))
    }

    /// Prints several lines of the program's own as they are. Nothing of anybody else's may be in them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn document(self, text: &str) -> Result<(), WriteError> {
        clear_progress();
        let mut output = std::io::stdout().lock();
        writeln!(output, "{}", text.trim_end_matches('\n')).and_then(|()| output.flush()).map_err(WriteError)
    }

    /// Prints a line to standard error: a notice, or an error. Nobody can be told if that fails.
    pub fn note(self, text: impl Into<Text>) {
        clear_progress();
        let _ = writeln!(std::io::stderr().lock(), "{}", text.into());
    }

    /// Shows how far a long command is, where standard error is a terminal. The next line takes its place.
    pub fn show_progress(self, text: &str) {
        if self.progress {
            let width = columns(std::io::stderr()).unwrap_or(DEFAULT_WIDTH);
            let text = escape(text);
            // A terminal may wrap a line that is as wide as itself.
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

fn clear_progress() {
    if PROGRESS_IS_SHOWN.swap(false, Ordering::Relaxed) {
        let mut output = std::io::stderr().lock();
        let _ = write!(output, "{CLEAR_LINE}").and_then(|()| output.flush());
    }
}

/// The width of a terminal; `None` for what is not one, or does not know it.
fn columns(output: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(output).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}
