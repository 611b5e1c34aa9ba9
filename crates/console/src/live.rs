//! Live parts of pages, using server-sent events.
//!
//! A client gets the newest state of each part, at most a few times per second, and no history. So there is no queue:
//! while a client does not read, nothing is rendered for it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use maud::Markup;
use tokio::sync::watch;

use crate::activity::CLOSED;
use crate::overview;
use crate::site::Site;

/// The shortest time between two events.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest time between two updates, because rates and ages change on their own.
const TICK: Duration = Duration::from_secs(1);

/// A part of a page: its ID, and its content.
pub(crate) type Part = (&'static str, Markup);

/// The live parts of the overview.
pub(crate) async fn overview(State(site): State<Arc<Site>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    stream(site.activity.revision(), move || overview::parts(&site))
}

/// Live parts, rendered when the revision changes and every second.
pub(crate) fn stream(
    revision: watch::Receiver<u64>,
    parts: impl Fn() -> Vec<Part> + Send + 'static,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(events(revision, parts))
}

/// The parts that changed since the last event, as a JSON object of markup by ID; ends with the console.
fn events(
    revision: watch::Receiver<u64>,
    parts: impl Fn() -> Vec<Part> + Send + 'static,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let sent: HashMap<&str, String> = HashMap::new();
    unfold((revision, sent, parts, true), async |(mut revision, mut sent, parts, is_first)| {
        if !is_first {
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            if *revision.borrow_and_update() == CLOSED {
                return None;
            }
            let mut changed = serde_json::Map::new();
            for (id, content) in parts() {
                let content = content.into_string();
                if sent.get(id) != Some(&content) {
                    changed.insert(id.to_owned(), content.clone().into());
                    sent.insert(id, content);
                }
            }
            if !changed.is_empty() {
                let event = Event::default().data(serde_json::Value::from(changed).to_string());
                return Some((Ok(event), (revision, sent, parts, false)));
            }
            // An error means that the console has ended.
            if let Ok(Err(_)) = tokio::time::timeout(TICK, revision.changed()).await {
                return None;
            }
        }
    })
}
