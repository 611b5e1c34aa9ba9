//! The local world as a whole: starts its parts, connects them, stops them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::bucket::{Bucket, BucketError, StoredObject};
use super::clients::Identity;
use super::database::{Database, DatabaseError};
use super::function::{Function, FunctionError, FunctionSettings, Invoked};
use super::happening::{Happening, Happenings};
use super::mapping::checkpoint::{Checkpoint, CheckpointError};
use super::mapping::poller::EventSourceMapping;
use super::stream::{StreamError, StreamReader};
use crate::entry::Entry;
use config_audit_mapping::MappingSettings;

/// How often to look for new entries.
const ENTRIES_POLL: Duration = Duration::from_millis(100);

/// What the function's store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// DynamoDB and S3 in this process.
    Embedded {
        /// DynamoDB's port; 0 lets the system pick one.
        port: u16,
    },
    /// DynamoDB behind this URL; S3 in this process.
    Endpoint(String),
    /// The user's AWS account. Nothing is started and nothing created; entries and failures can't be listed.
    Aws,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct WorldSettings {
    /// Where entries and failures go.
    pub store: Store,
    /// Who we are to it.
    pub identity: Identity,
    /// Where data and the mapping's checkpoint are kept; without one, in memory and a temporary directory.
    pub directory: Option<PathBuf>,
    /// The function. Variables that it has already win over those that the world sets.
    pub function: FunctionSettings,
    /// The Audit table.
    pub audit_table: String,
    /// The failure bucket.
    pub failure_bucket: String,
    /// The table whose stream invokes the function; without one, only [`World::invoke`] does.
    pub source: Option<Source>,
}

/// A table whose changes are to be audited.
#[derive(Debug, Clone)]
pub struct Source {
    /// The Configuration table.
    pub table: String,
    /// Its key, a string.
    pub key_attribute: String,
    /// The event source mapping between its stream and the function.
    pub mapping: MappingSettings,
}

impl WorldSettings {
    /// A world in memory for this binary, at ports that the system picks, with no source.
    #[must_use]
    pub fn new(bootstrap: impl Into<PathBuf>) -> Self {
        Self {
            store: Store::Embedded { port: 0 },
            identity: Identity::throw_away(),
            directory: None,
            function: FunctionSettings::new(bootstrap),
            audit_table: "Audit-local".to_owned(),
            failure_bucket: "audit-failures-local".to_owned(),
            source: None,
        }
    }
}

impl Default for Source {
    fn default() -> Self {
        Self {
            table: "Configuration-local".to_owned(),
            key_attribute: "key".to_owned(),
            mapping: MappingSettings::default(),
        }
    }
}

/// Why the world did not start, or could not answer.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The failure bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The function.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The Audit table's stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The directory can't be made.
    #[error("the directory {} can't be made", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A source needs a store that is here.
    #[error("the real account has its own event source mapping; use an embedded store or an endpoint")]
    SourceOnAws,
}

/// A running world. [`World::stop`] ends it in order; dropping it ends everything too, at once.
#[derive(Debug)]
pub struct World {
    database: Option<Database>,
    bucket: Option<Arc<Bucket>>,
    function: Arc<Mutex<Function>>,
    audit_table: String,
    tasks: Vec<JoinHandle<()>>,
    /// Removed with this value.
    _temporary: Option<TempDir>,
}

impl World {
    /// Starts everything that the settings ask for, and tells what happens from then on.
    ///
    /// # Errors
    /// When a part can't be started; those that were are stopped.
    pub async fn start(settings: WorldSettings, happenings: Happenings) -> Result<Self, WorldError> {
        let WorldSettings { store, identity, directory, mut function, audit_table, failure_bucket, source } = settings;
        if store == Store::Aws {
            if source.is_some() {
                return Err(WorldError::SourceOnAws);
            }
            function.inherit_environment = true;
            let function = Arc::new(Mutex::new(Function::start(function, happenings).await?));
            let (database, bucket, tasks) = (None, None, Vec::new());
            return Ok(Self { database, bucket, function, audit_table, tasks, _temporary: None });
        }
        let (place, temporary) = if let Some(directory) = &directory {
            (directory.clone(), None)
        } else {
            let made = tempfile::tempdir();
            let made = made.map_err(|source| WorldError::Directory { path: std::env::temp_dir(), source })?;
            (made.path().to_owned(), Some(made))
        };
        std::fs::create_dir_all(&place).map_err(|source| WorldError::Directory { path: place.clone(), source })?;

        let database = match (&store, &directory) {
            (Store::Embedded { port }, Some(directory)) => {
                Database::in_directory(directory, *port, identity.clone()).await?
            }
            (Store::Embedded { port }, None) => Database::memory(*port, identity.clone()).await?,
            (Store::Endpoint(url), _) => Database::at(url, identity.clone()),
            (Store::Aws, _) => return Err(WorldError::SourceOnAws),
        };
        let audit_stream = database.ensure_audit_table(&audit_table).await?;
        let bucket = Arc::new(Bucket::start(&place.join("s3"), &failure_bucket, &identity).await?);

        function.region.clone_from(&identity.region);
        let world_sets = [
            ("AUDIT_TABLE", audit_table.clone()),
            ("FAILURE_BUCKET", failure_bucket),
            ("AWS_ENDPOINT_URL_DYNAMODB", database.url().to_owned()),
            ("AWS_ENDPOINT_URL_S3", bucket.url()),
        ];
        let world_sets = world_sets.map(|(name, value)| (name.to_owned(), value));
        for (name, value) in world_sets.into_iter().chain(identity.environment()) {
            function.environment.entry(name).or_insert(value);
        }
        if let Some(source) = &source {
            let key = function.environment.entry("KEY_ATTRIBUTE".to_owned());
            key.or_insert_with(|| source.key_attribute.clone());
        }
        let function = Arc::new(Mutex::new(Function::start(function, happenings.clone()).await?));

        let mut tasks = Vec::new();
        if let Some(source) = source {
            let stream = database.ensure_configuration_table(&source.table, &source.key_attribute).await?;
            match audit_stream {
                Some(audits) => {
                    let mut reader = StreamReader::new(database.streams(), audits, BTreeMap::new());
                    skip_to_the_end(&mut reader).await?;
                    tasks.push(tokio::spawn(tell_entries(reader, happenings.clone())));
                }
                None => happenings.tell(Happening::Trouble {
                    message: format!("table {audit_table} has no stream, so new entries can't be shown"),
                }),
            }
            let checkpoint = match &directory {
                Some(directory) => Checkpoint::in_directory(directory, &stream)?,
                None => Checkpoint::in_memory(&stream),
            };
            let mapping = EventSourceMapping::new(
                source.mapping,
                database.streams(),
                stream,
                checkpoint,
                Arc::clone(&function),
                Arc::clone(&bucket),
                happenings,
            );
            tasks.push(tokio::spawn(mapping.run()));
        }
        let (database, bucket) = (Some(database), Some(bucket));
        Ok(Self { database, bucket, function, audit_table, tasks, _temporary: temporary })
    }

    /// The database, unless it is the account's.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// The failure bucket, unless it is the account's.
    #[must_use]
    pub fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_deref()
    }

    /// Invokes the function with this event, past the mapping.
    ///
    /// # Errors
    /// When no process can be started.
    pub async fn invoke(&self, event: Vec<u8>) -> Result<Invoked, WorldError> {
        Ok(self.function.lock().await.invoke(event).await?)
    }

    /// All entries of the Audit table; none for the account's.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn entries(&self) -> Result<Vec<Entry>, WorldError> {
        match &self.database {
            Some(database) => Ok(database.entries(&self.audit_table).await?),
            None => Ok(Vec::new()),
        }
    }

    /// All objects of the failure bucket; none for the account's.
    ///
    /// # Errors
    /// When the bucket refuses.
    pub async fn failures(&self) -> Result<Vec<StoredObject>, WorldError> {
        match &self.bucket {
            Some(bucket) => Ok(bucket.objects().await?),
            None => Ok(Vec::new()),
        }
    }

    /// Ends everything: no more deliveries, then the function's process, then the servers; temporary data goes last.
    pub async fn stop(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // Waits until it has let go of the function.
            let _ = task.await;
        }
        self.function.lock().await.stop().await;
        if let Some(bucket) = self.bucket.take().and_then(Arc::into_inner) {
            bucket.stop().await;
        }
        if let Some(database) = self.database.take() {
            database.stop().await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Entries of an earlier run are no news.
async fn skip_to_the_end(reader: &mut StreamReader) -> Result<(), WorldError> {
    reader.refresh().await?;
    let shards: Vec<_> = reader.shards().map(|(id, _)| id.to_owned()).collect();
    for shard in shards {
        while !reader.read(&shard, 1000).await?.records.is_empty() {}
    }
    Ok(())
}

async fn tell_entries(mut reader: StreamReader, happenings: Happenings) {
    let mut polls = 0_u32;
    loop {
        // New shards are rare; what fails here is tried again, and the mapping tells of an endpoint that is away.
        if polls.is_multiple_of(50) {
            let _ = reader.refresh().await;
        }
        polls = polls.wrapping_add(1);
        let shards: Vec<_> = reader.shards().map(|(id, _)| id.to_owned()).collect();
        for shard in shards {
            let Ok(page) = reader.read(&shard, 1000).await else { continue };
            for change in page.records.into_iter().filter_map(|record| record.dynamodb) {
                // A redelivered record rewrites its entry; DynamoDB makes no record of that, the embedded one does.
                if let Some(image) = change.new_image.filter(|new| Some(new) != change.old_image.as_ref()) {
                    let item = image.into_iter().map(|(name, value)| (name, dynamodb_value(value))).collect();
                    happenings.tell(Happening::AuditStored { entry: Entry::from_item(item) });
                }
            }
        }
        tokio::time::sleep(ENTRIES_POLL).await;
    }
}

/// The Streams SDK has a value type of its own, the same in all but name.
fn dynamodb_value(value: aws_sdk_dynamodbstreams::types::AttributeValue) -> AttributeValue {
    serde_dynamo::AttributeValue::from(value).into()
}
