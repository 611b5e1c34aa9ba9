//! The console: starts with a world, and ends with it.

use std::io;
use std::sync::Arc;

use axum::Router;
use config_audit_local::server::{Callers, Server};
use config_audit_local::{BoundedEvents, World};
use tokio::task::JoinSet;

use crate::activity::Activity;
use crate::items::Items;
use crate::site::Site;
use crate::token::FormToken;

/// The port of the console where it is free.
pub const DEFAULT_CONSOLE_PORT: u16 = 8010;

/// What the console must know of a world.
#[derive(Debug, Clone)]
pub struct ConsoleSettings {
    /// The Configuration table.
    pub table: String,
    /// Its key.
    pub key_attribute: String,
}

/// The console of a world. Dropping it stops it.
#[derive(Debug)]
pub struct Console {
    router: Router,
    activity: Arc<Activity>,
    server: Option<Server>,
    /// Aborted when this is dropped.
    tasks: JoinSet<()>,
}

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The port cannot be bound.
    #[error("cannot serve the console on 127.0.0.1:{port} (choose another with --console-port, or 0 for any)")]
    Port {
        /// The port.
        port: u16,
        /// The system's reason.
        source: io::Error,
    },
    /// The world has no tables of its own.
    #[error("the console needs a world with tables on this machine")]
    NoTables,
}

impl Console {
    /// The console of this world. `events` must be subscribed before the world starts, so that nothing is missed:
    /// [`Activity::subscribe`].
    ///
    /// # Errors
    /// When the world has no tables on this machine.
    pub fn new(world: &World, settings: &ConsoleSettings, events: BoundedEvents) -> Result<Self, ConsoleError> {
        let database = world.database().ok_or(ConsoleError::NoTables)?;
        let activity = Arc::new(Activity::new(world.stream_arn()));
        let items =
            Items::new(database.client().clone(), &settings.table, &settings.key_attribute, world.audit_table());
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&activity).follow(events));
        let router = Site { activity: Arc::clone(&activity), items, token: FormToken::random() }.router();
        Ok(Self { router, activity, server: None, tasks })
    }

    /// Serves it on 127.0.0.1, at this port, or at one that the system picks for 0.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub async fn listen(&mut self, port: u16) -> Result<(), ConsoleError> {
        let server = Server::start(port, self.router.clone(), Callers::Browser).await;
        self.server = Some(server.map_err(|source| ConsoleError::Port { port, source })?);
        Ok(())
    }

    /// Its address; empty before it listens.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.as_ref().map(Server::url).unwrap_or_default()
    }

    /// Stops it.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        // A live page would keep its connection open.
        self.activity.close();
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}
