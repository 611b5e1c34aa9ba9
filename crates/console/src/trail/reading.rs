//! Reads the whole table into the index.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use config_audit::clock::Clock;
use config_audit_cloudwatch::units::{count, thousands};
use config_audit_local::aws::item;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;

use super::Trail;
use super::index::{Head, MAX_ENTRIES};
use crate::site::{Refusal, done};
use crate::text::{Visible, time};
use crate::token::{Nothing, Sent};

/// The minimum time between two readings of the local world's table, however many events are missed.
pub(crate) const READ_PAUSE: Duration = Duration::from_secs(10);

/// How far the table has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub(super) enum Reading {
    /// Not requested yet.
    #[default]
    NotRead,
    /// It is in progress.
    Running {
        /// How many entries have been read.
        entries: usize,
    },
    /// The whole table has been read.
    Done {
        /// How many entries it had.
        entries: usize,
        /// When reading it began. Entries that were stored later may be missing.
        since: DateTime<Utc>,
    },
    /// AWS returned an error.
    Failed {
        /// Why.
        error: String,
    },
}

impl Trail {
    pub(super) fn reading(&self) -> Reading {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_reading(&self, reading: Reading) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = reading;
        self.changed();
    }

    /// Reads the local world's table, and reads it again after events were missed, because there may have been entries
    /// among them.
    pub(crate) async fn follow(self: Arc<Self>, pause: Duration) {
        let Some(activity) = &self.activity else { return };
        loop {
            let missed = activity.read(|state| state.missed);
            while !Arc::clone(&self).read().await {
                tokio::time::sleep(pause).await;
            }
            while activity.read(|state| state.missed) == missed {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Reads the whole table. Returns false if that is in progress already.
    pub(crate) async fn read(self: Arc<Self>) -> bool {
        {
            let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*reading, Reading::Running { .. }) {
                return false;
            }
            *reading = Reading::Running { entries: 0 };
        }
        let _unfinished = Unfinished(&self);
        self.changed();
        self.index.begin_reading();
        let since = Clock::System.now();
        let (mut entries, mut start) = (0, None);
        loop {
            match self.audit.page(start).await {
                Ok((items, next)) => {
                    entries += items.len();
                    self.index.add_read(items.into_iter().map(|entry| Head::of(&item(entry))));
                    start = next;
                }
                Err(error) => {
                    self.index.end_reading(false);
                    self.set_reading(Reading::Failed { error: error.to_string() });
                    return true;
                }
            }
            if start.is_none() {
                self.index.end_reading(true);
                self.set_reading(Reading::Done { entries, since });
                return true;
            }
            self.set_reading(Reading::Running { entries });
        }
    }

    /// The progress, for people, and the button to read the table again.
    pub(super) fn reading_message(&self) -> Markup {
        let (known, dropped) = self.index.size();
        html! {
            @match self.reading() {
                Reading::Running { entries } => {
                    p.message role="status" { "Reading the trail: " (count(entries, "entry", "entries")) " so far." }
                }
                Reading::Failed { error } => {
                    p.message.bad role="alert" { (Visible(&error)) "." }
                    // Otherwise the rest of the page has it.
                    @if known > 0 || self.activity.is_some() { (self.reading_form("Read the table again")) }
                }
                Reading::Done { since, .. } if self.activity.is_none() => {
                    p.quiet { "The table was read at " (time(since)) ". Entries that were stored later are not listed." }
                    (self.reading_form("Read the table again"))
                }
                Reading::NotRead | Reading::Done { .. } => {}
            }
            @if dropped > 0 {
                p.quiet { "This list has the newest " (thousands(MAX_ENTRIES)) " entries; " (thousands(dropped))
                    " older ones are in the table, and on the pages of their items." }
            }
        }
    }

    /// The button that starts reading the table.
    pub(super) fn reading_form(&self, label: &str) -> Markup {
        html! {
            form.plain method="post" action="/trail/read" {
                input type="hidden" name="token" value=(self.token.as_str());
                button.second { (label) }
            }
        }
    }
}

/// Turns a reading that does not finish, because it panics or is cancelled, into a failed one.
struct Unfinished<'a>(&'a Trail);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if matches!(self.0.reading(), Reading::Running { .. }) {
            self.0.index.end_reading(false);
            self.0.set_reading(Reading::Failed { error: "reading the table stopped before its end".to_owned() });
        }
    }
}

/// Starts reading the table.
///
/// # Errors
/// If the form does not have our token.
pub(super) async fn start(
    State(trail): State<Arc<Trail>>,
    headers: HeaderMap,
    _: Sent<Nothing>,
) -> Result<Response, Refusal> {
    let reader = Arc::clone(&trail);
    trail.spawn(async move {
        reader.read().await;
    });
    Ok(done(&headers, "/trail", json!({ "started": true })))
}
