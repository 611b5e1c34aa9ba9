//! Output to standard error: errors, and a run's progress.

#![allow(clippy::print_stderr, reason = "this is the only place")]

use std::fmt::Display;

/// Reports why there are no figures.
pub(crate) fn error(error: &impl Display) {
    eprintln!("bench: {error}");
}

/// Reports what is being measured.
pub(crate) fn progress(what: &impl Display) {
    eprintln!("bench: {what} …");
}
