//! The trail: the entries of the Audit table, newest first; an item's history; whether the trail is intact.
//!
//! The pages only read a table, so they work on an account as they do on the local world. Only filling the index
//! differs: the local world announces each entry, an account's table is read on request.

mod difference;
mod entry;
mod export;
mod filter;
mod index;
mod item;
mod list;
mod reading;
mod row;
mod verify;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use config_audit_tables::{AuditTable, ConfigurationTable};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::reading::Reading;
use self::verify::Progress;
use crate::activity::Activity;
use crate::layout::Frame;
use crate::token::FormToken;

pub(crate) use index::{Head, Index};
pub(crate) use reading::READ_PAUSE;

/// A trail, as the pages show it.
#[derive(Debug)]
pub(crate) struct Trail {
    frame: Frame,
    audit: AuditTable,
    /// Without it, nothing can tell whether an item's trail ends in the item's current state.
    configuration: Option<ConfigurationTable>,
    index: Arc<Index>,
    /// The activity in the local world; `None` for an account.
    activity: Option<Arc<Activity>>,
    token: FormToken,
    reading: Mutex<Reading>,
    verification: Mutex<Progress>,
    /// Reads and verifies; `None` once the trail is closed.
    tasks: Mutex<Option<JoinSet<()>>>,
    /// Changes as reading and verifying progress.
    revision: watch::Sender<u64>,
}

/// Closes a trail when it is dropped. The trail's tasks have references to it, so it would not end before they do.
#[derive(Debug)]
pub(crate) struct TrailOwner(pub(crate) Arc<Trail>);

impl Drop for TrailOwner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Trail {
    /// The trail in this table. `activity` is for the local world, whose values are shown; an account's are hidden
    /// until the user asks for them.
    pub(crate) fn new(
        frame: Frame,
        audit: AuditTable,
        configuration: Option<ConfigurationTable>,
        index: Arc<Index>,
        activity: Option<Arc<Activity>>,
        token: FormToken,
    ) -> Self {
        Self {
            frame,
            audit,
            configuration,
            index,
            activity,
            token,
            reading: Mutex::default(),
            verification: Mutex::default(),
            tasks: Mutex::new(Some(JoinSet::new())),
            revision: watch::Sender::new(0),
        }
    }

    /// The addresses of its pages.
    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/trail", get(list::page))
            .route("/trail/read", post(reading::start))
            .route("/trail/item", get(item::page))
            .route("/trail/entry/{id}", get(entry::page))
            .route("/trail/verify", get(verify::page).post(verify::start))
            .route("/trail/export.csv", get(export::csv))
            .route("/trail/export.json", get(export::json))
            .route("/live/trail", get(list::live))
            .route("/live/verify", get(verify::live))
            .with_state(self)
    }

    /// Whether values are shown, given this parameter of a page's address.
    fn shows_values(&self, asked: &str) -> bool {
        match asked {
            "shown" => true,
            "hidden" => false,
            _ => self.activity.is_some(),
        }
    }

    fn request_id(&self, entry_id: &str) -> Option<String> {
        self.activity.as_ref()?.read(|known| known.invocation_of(entry_id).map(str::to_owned))
    }

    /// Runs this until it ends or the trail is closed.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = tasks.as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// Ends tasks and live pages.
    pub(crate) fn close(&self) {
        // Dropped, and so cancelled, after the lock is released.
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(tasks);
        self.revision.send_replace(crate::activity::CLOSED);
    }

    fn changed(&self) {
        self.revision.send_if_modified(|revision| {
            let is_open = *revision != crate::activity::CLOSED;
            *revision += u64::from(is_open);
            is_open
        });
    }
}

impl FromRef<Arc<Trail>> for FormToken {
    fn from_ref(trail: &Arc<Trail>) -> Self {
        trail.token.clone()
    }
}

#[cfg(test)]
mod tests;
