//! Reads the whole table into the index.

use std::sync::{Arc, PoisonError};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use config_audit_cloudwatch::units::{count, thousands};
use config_audit_local::aws::item;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;

use super::Trail;
use super::index::{Head, MAX_ENTRIES};
use crate::site::{Refusal, done};
use crate::text::Visible;
use crate::token::{Nothing, Sent};

/// How far the table has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub(super) enum Reading {
    /// Not requested yet.
    #[default]
    NotRead,
    /// It goes on.
    Running {
        /// How many entries have been read.
        entries: usize,
    },
    /// The whole table has been read.
    Done {
        /// How many entries it had.
        entries: usize,
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

    /// Reads the whole table, unless that is in progress already.
    pub(crate) async fn read(self: Arc<Self>) {
        {
            let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*reading, Reading::Running { .. }) {
                return;
            }
            *reading = Reading::Running { entries: 0 };
        }
        self.changed();
        let (mut entries, mut start) = (0, None);
        loop {
            match self.audit.page(start).await {
                Ok((items, next)) => {
                    entries += items.len();
                    for entry in items {
                        self.index.add(Head::of(&item(entry)));
                    }
                    start = next;
                }
                Err(error) => return self.set_reading(Reading::Failed { error: error.to_string() }),
            }
            if start.is_none() {
                return self.set_reading(Reading::Done { entries });
            }
            self.set_reading(Reading::Running { entries });
        }
    }

    /// The progress, for people.
    pub(super) fn reading_message(&self) -> Markup {
        let dropped = self.index.size().1;
        html! {
            @match self.reading() {
                Reading::Running { entries } => {
                    p.message role="status" { "Reading the trail: " (count(entries, "entry", "entries")) " so far." }
                }
                Reading::Failed { error } => p.message.bad role="alert" { (Visible(&error)) "." },
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

/// Starts reading the table.
///
/// # Errors
/// If the form does not have our token.
pub(super) async fn start(
    State(trail): State<Arc<Trail>>,
    headers: HeaderMap,
    _: Sent<Nothing>,
) -> Result<Response, Refusal> {
    tokio::spawn(Arc::clone(&trail).read());
    Ok(done(&headers, "/trail", json!({ "started": true })))
}
