//! The progress of long commands, for people.

use std::time::Duration;

use config_audit::clock::Clock;
use tokio::time::Instant;

use crate::terminal::Terminal;

/// Prints a long command's progress every few seconds.
#[derive(Debug)]
pub struct Progress {
    terminal: Terminal,
    last: Instant,
}

impl Progress {
    const INTERVAL: Duration = Duration::from_secs(5);

    /// Begins now.
    #[must_use]
    pub fn new(terminal: Terminal) -> Self {
        Self { terminal, last: Clock::System.instant() }
    }

    /// Prints this, unless something was printed within the last few seconds.
    pub fn print(&mut self, text: impl FnOnce() -> String) {
        let now = Clock::System.instant();
        if now.duration_since(self.last) >= Self::INTERVAL {
            self.last = now;
            self.terminal.progress(&text());
        }
    }
}

/// A number with its thousands separated: `12,345`.
#[must_use]
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_separated() {
        let texts = [0, 999, 1_000, 12_345, 1_000_000].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "1,000,000"]);
    }
}
