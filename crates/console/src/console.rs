//! The console, which starts and ends with a world.

use std::io;
use std::sync::Arc;

use axum::Router;
use config_audit_cloudwatch::alarms::AlarmsError;
use config_audit_local::server::{Callers, Server};
use config_audit_local::{BoundedEvents, World};
use config_audit_tables::{AuditTable, ConfigurationTable, TableError};
use tokio::task::JoinSet;

use crate::activity::Activity;
use crate::alarms::Alarms;
use crate::faults::Load;
use crate::items::Items;
use crate::key::AccessKey;
use crate::layout::{Frame, Section};
use crate::practice::Incidents;
use crate::site::{Site, protected, trail_only};
use crate::token::FormToken;
use crate::trail::{READ_PAUSE, Trail, TrailOwner};

/// The console's default port.
pub const DEFAULT_CONSOLE_PORT: u16 = 8010;

/// What the console must know about a world.
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
    activity: Option<Arc<Activity>>,
    trail: TrailOwner,
    /// What its pages need, if they need one.
    key: Option<AccessKey>,
    server: Option<Server>,
    /// Aborted when this is dropped.
    tasks: JoinSet<()>,
}

/// Why the console cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The port cannot be bound.
    #[error("cannot serve the console on 127.0.0.1:{port} (choose another with --console-port, or 0 for any)")]
    Port {
        /// The port.
        port: u16,
        /// The operating system's error.
        source: io::Error,
    },
    /// The world has no tables of its own.
    #[error("the console needs a local world whose tables are on this machine")]
    NoTables,
    /// The Configuration table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A bundled alarm is not valid, which is a bug.
    #[error(transparent)]
    Alarms(#[from] AlarmsError),
}

/// Where the local world's tables are, for error messages.
const LOCAL_PLACE: &str = "in the local world";
/// The message at the top of an account's pages.
const READ_ONLY: &str = "This console can only read the account. Values are hidden until you ask for them.";

impl Console {
    /// The console of this world. Subscribe `events` before the world starts, so that nothing is missed:
    /// [`Activity::subscribe`].
    ///
    /// # Errors
    /// If the world has no tables on this machine, or they cannot be read.
    pub async fn new(world: &World, settings: &ConsoleSettings, events: BoundedEvents) -> Result<Self, ConsoleError> {
        let database = world.database().ok_or(ConsoleError::NoTables)?;
        let client = database.client().clone();
        let activity = Arc::new(Activity::new(world.stream_arn()));
        let items = Items::new(client.clone(), &settings.table, &settings.key_attribute, world.audit_table());
        let token = FormToken::random();
        let place = format!("local world: {} → {}", items.table(), items.audit_table());
        let frame = Frame { sections: Site::SECTIONS, place, notice: None };
        let audit = AuditTable::new(client.clone(), world.audit_table(), LOCAL_PLACE);
        let configuration = ConfigurationTable::find(client, &settings.table, LOCAL_PLACE).await?;
        let entries = Arc::clone(activity.entries());
        let seen = Some(Arc::clone(&activity));
        let trail = Arc::new(Trail::new(frame.clone(), audit, Some(configuration), entries, seen, token.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&activity).follow(events));
        // Entries from an earlier run with the same directory.
        tasks.spawn(Arc::clone(&trail).follow(READ_PAUSE));
        let alarms = Arc::new(Alarms::bundled()?);
        tasks.spawn(Arc::clone(&alarms).follow(Arc::clone(&activity)));
        let site = Site {
            frame,
            activity: Arc::clone(&activity),
            alarms,
            breaker: world.breaker().clone(),
            can_break_table: database.is_embedded(),
            load: Load::default(),
            items,
            incidents: Incidents::bundled()?,
            token,
        };
        let router = site.router(Arc::clone(&trail));
        Ok(Self { router, activity: Some(activity), trail: TrailOwner(trail), key: None, server: None, tasks })
    }

    /// The read-only console of an account's trail, whose address carries its key. Without the Configuration table, it cannot
    /// tell whether an item's trail ends in the item's current state.
    #[must_use]
    pub fn of_account(audit: AuditTable, configuration: Option<ConfigurationTable>) -> Self {
        let place = format!("table {} {}", audit.name(), audit.place());
        let frame = Frame { sections: &[Section::Trail], place, notice: Some(READ_ONLY) };
        let trail = Trail::new(frame, audit, configuration, Arc::default(), None, FormToken::random());
        let trail = Arc::new(trail);
        let key = AccessKey::random();
        let router = protected(key.clone().require(trail_only(Arc::clone(&trail))));
        Self { router, activity: None, trail: TrailOwner(trail), key: Some(key), server: None, tasks: JoinSet::new() }
    }

    /// Serves it on 127.0.0.1, on this port; with 0, the system picks one.
    ///
    /// # Errors
    /// If the port cannot be bound.
    pub async fn listen(&mut self, port: u16) -> Result<(), ConsoleError> {
        let server = Server::start(port, self.router.clone(), Callers::Browser).await;
        self.server = Some(server.map_err(|source| ConsoleError::Port { port, source })?);
        Ok(())
    }

    /// Serves it on the requested port; without one, on the default port, or on any port if that is in use.
    ///
    /// # Errors
    /// If the port cannot be bound.
    pub async fn listen_at(&mut self, asked: Option<u16>, usual: u16) -> Result<(), ConsoleError> {
        match (self.listen(asked.unwrap_or(usual)).await, asked) {
            (Err(ConsoleError::Port { .. }), None) => self.listen(0).await,
            (listening, _) => listening,
        }
    }

    /// The address to open, with the key if its pages need one; empty before it listens.
    #[must_use]
    pub fn url(&self) -> String {
        let url = self.server.as_ref().map(Server::url).unwrap_or_default();
        self.key.as_ref().filter(|_| !url.is_empty()).map_or(url.clone(), |key| key.address(&url))
    }

    /// Stops it.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        // Otherwise a live page would keep its connection open.
        self.trail.0.close();
        if let Some(activity) = &self.activity {
            activity.close();
        }
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}
