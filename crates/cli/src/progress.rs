//! The progress of long commands, for people.

use std::time::Duration;

use config_audit::clock::Clock;
use tokio::time::Instant;

use crate::terminal::Terminal;

/// Shows the progress of a long command, several times per second.
#[derive(Debug)]
pub struct Progress {
    terminal: Terminal,
    last: Option<Instant>,
}

impl Progress {
    const INTERVAL: Duration = Duration::from_millis(200);

    /// Nothing is shown yet.
    #[must_use]
    pub fn new(terminal: Terminal) -> Self {
        Self { terminal, last: None }
    }

    /// Shows this, unless the last update is too recent.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        let now = Clock::System.instant();
        if self.last.is_none_or(|last| now.duration_since(last) >= Self::INTERVAL) {
            self.last = Some(now);
            self.terminal.show_progress(&text());
        }
    }
}
