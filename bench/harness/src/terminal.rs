//! What goes to standard error: errors, and what a run is at.

#![allow(clippy::print_stderr, reason = "this is the only place")]

use std::fmt::Display;

/// Says why there are no figures.
pub(crate) fn error(error: &impl Display) {
    eprintln!("bench: {error}");
}

/// Says what is being measured.
pub(crate) fn progress(what: &impl Display) {
    eprintln!("bench: {what} …");
}
