//! The one place of this package that reads the process's environment.

#![allow(clippy::disallowed_methods, reason = "this is where the environment is read")]

/// The variable's value; none when it is not set, or not UTF-8.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
