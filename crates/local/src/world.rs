//! The local world as a whole: starts its parts, connects them, and stops them.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::aws::AwsSettings;
use crate::aws::entry::Entry;
use crate::aws::stream::{StreamError, StreamReader};
use crate::bucket::{Bucket, BucketError, StoredObject};
use crate::database::{Connections, Database, DatabaseError};
use crate::entries::publish_entries;
use crate::event::{EventBus, WorldEvent, WorldTable};
use crate::faults::Breaker;
use crate::function::{Function, FunctionError, FunctionSettings};
use crate::invocation::CompletedInvocation;
use crate::mapping::checkpoint::{Checkpoint, CheckpointError};
use crate::mapping::poller::{Endpoints, EventSourceMapping};
use crate::witness::Witness;
use config_audit_mapping::MappingSettings;

/// Where the function stores its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// DynamoDB and S3 in this process.
    Embedded {
        /// DynamoDB's port; 0 lets the system pick one.
        port: u16,
    },
    /// DynamoDB behind this URL; S3 in this process.
    Endpoint(String),
    /// The user's AWS account. Nothing is started or created, and entries and failures cannot be listed.
    Aws,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct WorldSettings {
    /// Where entries and failures are stored.
    pub store: Store,
    /// The credentials and the region.
    pub aws: AwsSettings,
    /// Where data and the mapping's checkpoint are stored; if `None`, in memory and in a temporary directory.
    pub directory: Option<PathBuf>,
    /// The function. Its variables override those that the world sets.
    pub function: FunctionSettings,
    /// The Audit table.
    pub audit_table: String,
    /// The failure bucket.
    pub failure_bucket: String,
    /// The table whose stream invokes the function; without one, only [`World::invoke`] does.
    pub source: Option<Source>,
}

/// A table whose changes are audited.
#[derive(Debug, Clone)]
pub struct Source {
    /// The Configuration table.
    pub table: String,
    /// Its key, a string.
    pub key_attribute: String,
    /// The witness bucket; `None` to run no witness.
    pub witness_bucket: Option<String>,
    /// The event source mapping between its stream and the function.
    pub mapping: MappingSettings,
}

impl WorldSettings {
    /// A world in memory for this binary, on ports that the system picks, without a source.
    #[must_use]
    pub fn new(bootstrap: impl Into<PathBuf>) -> Self {
        Self {
            store: Store::Embedded { port: 0 },
            aws: AwsSettings::dummy(),
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
            witness_bucket: None,
            mapping: MappingSettings::default(),
        }
    }
}

/// Why the world did not start, or could not be read.
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
    /// The directory cannot be created or locked.
    #[error("the directory {} cannot be used (allow writing, or name another directory)", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another world uses the directory.
    #[error("the directory {} is in use by another local world; stop that one, or name another directory", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A source needs a store on this machine.
    #[error("the AWS account has its own event source mapping; use the embedded store or an endpoint")]
    SourceOnAws,
}

/// A running world. [`World::stop`] stops it in order; dropping it stops everything at once.
#[derive(Debug)]
pub struct World {
    database: Option<Database>,
    bucket: Option<Arc<Bucket>>,
    function: Arc<Mutex<Function>>,
    audit_table: String,
    stream_arn: Option<String>,
    breaker: Breaker,
    /// Aborted when this is dropped.
    tasks: JoinSet<()>,
    /// Removed with this value.
    _temporary: Option<TempDir>,
    /// No other world uses the directory while this is open.
    _lock: Option<File>,
}

impl World {
    /// Starts all parts that the settings require. They publish what happens on the bus.
    ///
    /// # Errors
    /// When a part cannot be started. Parts that were already started are stopped.
    pub async fn start(settings: WorldSettings, bus: EventBus) -> Result<Self, WorldError> {
        let WorldSettings { store, aws, directory, mut function, audit_table, failure_bucket, source } = settings;
        let breaker = Breaker::default();
        if store == Store::Aws {
            if source.is_some() {
                return Err(WorldError::SourceOnAws);
            }
            function.inherit_environment = true;
            let function = Arc::new(Mutex::new(Function::start(function, bus, breaker.clone()).await?));
            return Ok(Self {
                database: None,
                bucket: None,
                function,
                audit_table,
                stream_arn: None,
                breaker,
                tasks: JoinSet::new(),
                _temporary: None,
                _lock: None,
            });
        }
        let (root, temporary) = if let Some(directory) = &directory {
            (directory.clone(), None)
        } else {
            let created = tempfile::tempdir();
            let created = created.map_err(|source| WorldError::Directory { path: std::env::temp_dir(), source })?;
            (created.path().to_owned(), Some(created))
        };
        let lock = directory.as_deref().map(lock).transpose()?;

        let database = match &store {
            Store::Embedded { port } => {
                let configuration = source.as_ref().map(|source| (source.table.clone(), WorldTable::Configuration));
                let tables = configuration.into_iter().chain([(audit_table.clone(), WorldTable::Audit)]).collect();
                let connections = Connections { breaker: breaker.clone(), bus: bus.clone(), tables };
                Database::embedded(directory.as_deref(), *port, aws.clone(), connections).await?
            }
            Store::Endpoint(url) => Database::at(url, aws.clone()),
            Store::Aws => return Err(WorldError::SourceOnAws),
        };
        let audit_stream = database.ensure_audit_table(&audit_table).await?;
        let bucket = Arc::new(Bucket::start(&root.join("s3"), &failure_bucket, &aws, breaker.clone()).await?);

        connect(&mut function, &aws, &audit_table, &database, &bucket);
        if let Some(source) = &source {
            let key = function.environment.entry("KEY_ATTRIBUTE".to_owned());
            key.or_insert_with(|| source.key_attribute.clone());
        }
        let function_arn = function.arn();
        let witness = function.clone();
        let function = Arc::new(Mutex::new(Function::start(function, bus.clone(), breaker.clone()).await?));

        let mut tasks = JoinSet::new();
        let mut stream_arn = None;
        if let Some(source) = source {
            let stream = database.ensure_configuration_table(&source.table, &source.key_attribute).await?;
            stream_arn = Some(stream.clone());
            let checkpoint = match &directory {
                Some(directory) => Checkpoint::in_file(directory.join("checkpoint.json"), &stream)?,
                None => Checkpoint::in_memory(&stream),
            };
            if let (Some(stream_arn), Some(bucket_name)) = (audit_stream.clone(), source.witness_bucket) {
                let (streams, failures) = (database.streams(), Arc::clone(&bucket));
                let witness = Witness { function: witness, streams, stream_arn, failures, bucket: bucket_name };
                tasks.spawn(witness.start(directory.as_deref(), bus.clone()).await?);
            }
            if let Some(audit_stream) = audit_stream {
                let mut entries = StreamReader::new(database.streams(), audit_stream, BTreeMap::new());
                entries.refresh().await?;
                // Entries of an earlier run are not new.
                entries.skip_to_now().await?;
                tasks.spawn(publish_entries(entries, bus.clone()));
            } else {
                let message = format!("table {audit_table} has no stream, so new entries cannot be shown");
                bus.publish(WorldEvent::Warning { message });
            }
            let endpoints = Endpoints {
                streams: database.streams(),
                stream_arn: stream,
                function: Arc::clone(&function),
                function_arn,
                destination: Arc::clone(&bucket),
            };
            let mapping = EventSourceMapping::new(source.mapping, endpoints, checkpoint, bus, breaker.clone());
            tasks.spawn(mapping.run());
        }
        let (database, bucket) = (Some(database), Some(bucket));
        Ok(Self {
            database,
            bucket,
            function,
            audit_table,
            stream_arn,
            breaker,
            tasks,
            _temporary: temporary,
            _lock: lock,
        })
    }

    /// The database; `None` if it is in an AWS account.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// The failure bucket; `None` if it is in an AWS account.
    #[must_use]
    pub fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_deref()
    }

    /// The Audit table's name.
    #[must_use]
    pub fn audit_table(&self) -> &str {
        &self.audit_table
    }

    /// The ARN of the stream that invokes the function, if any.
    #[must_use]
    pub fn stream_arn(&self) -> Option<&str> {
        self.stream_arn.as_deref()
    }

    /// The switch that breaks parts of the world, or repairs them. Only an embedded table can be broken.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Invokes the function with this event directly, without the mapping.
    ///
    /// # Errors
    /// When no process can be started.
    pub async fn invoke(&self, event: Vec<u8>) -> Result<CompletedInvocation, WorldError> {
        Ok(self.function.lock().await.invoke(event).await?)
    }

    /// All entries of the Audit table; empty if it is in an AWS account.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn entries(&self) -> Result<Vec<Entry>, WorldError> {
        match &self.database {
            Some(database) => Ok(database.entries(&self.audit_table).await?),
            None => Ok(Vec::new()),
        }
    }

    /// All objects of the failure bucket; empty if it is in an AWS account.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn failures(&self) -> Result<Vec<StoredObject>, WorldError> {
        match &self.bucket {
            Some(bucket) => Ok(bucket.objects().await?),
            None => Ok(Vec::new()),
        }
    }

    /// Stops everything: first deliveries, then the function's process, then the servers; removes temporary data last.
    pub async fn stop(mut self) {
        // Waits until the tasks have released the function.
        self.tasks.shutdown().await;
        self.function.lock().await.stop().await;
        if let Some(bucket) = self.bucket.take().and_then(Arc::into_inner) {
            bucket.stop().await;
        }
        if let Some(database) = self.database.take() {
            database.stop().await;
        }
    }
}

/// Tells the function where its table and its bucket are, unless it has been told already.
fn connect(
    function: &mut FunctionSettings,
    aws: &AwsSettings,
    audit_table: &str,
    database: &Database,
    bucket: &Bucket,
) {
    function.region.clone_from(&aws.region);
    let variables = [
        ("AUDIT_TABLE", audit_table.to_owned()),
        ("FAILURE_BUCKET", bucket.name().to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", database.url().to_owned()),
        ("AWS_ENDPOINT_URL_S3", bucket.url()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    for (name, value) in variables.into_iter().chain(aws.environment()) {
        function.environment.entry(name).or_insert(value);
    }
}

/// Creates the directory if it is missing, and locks it for this process. The system releases the lock when the process
/// ends, however it ends.
fn lock(directory: &Path) -> Result<File, WorldError> {
    let unusable = |source| WorldError::Directory { path: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(unusable)?;
    let file = File::create(directory.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WorldError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;

    /// Longer than any test takes.
    const GENEROUS: Duration = Duration::from_mins(2);

    /// A world that never invokes its function.
    fn settings(directory: Option<&Path>) -> WorldSettings {
        let mut settings = WorldSettings::new("/nowhere/bootstrap");
        settings.source = Some(Source::default());
        settings.directory = directory.map(ToOwned::to_owned);
        settings
    }

    async fn put(world: &World, id: &str) {
        let put = world.database().unwrap().client().put_item().table_name("Audit-local");
        put.item("id", AttributeValue::S(id.to_owned())).send().await.unwrap();
    }

    #[tokio::test]
    async fn a_world_that_does_not_start_leaves_nothing_running() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("checkpoint.json"), "{").unwrap();
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let error = World::start(settings(Some(directory.path())), bus).await.unwrap_err();
        assert!(matches!(error, WorldError::Checkpoint(CheckpointError::Content { .. })), "{error}");
        // The channel closes when nothing is left that could publish.
        let closed = async { while events.recv().await.is_some() {} };
        tokio::time::timeout(GENEROUS, closed).await.unwrap();
    }

    #[tokio::test]
    async fn a_directory_has_one_world_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let start = || World::start(settings(Some(directory.path())), EventBus::new());
        let world = start().await.unwrap();
        let error = start().await.unwrap_err();
        assert!(matches!(&error, WorldError::InUse { path } if path == directory.path()), "{error}");
        assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
        world.stop().await;
        start().await.unwrap().stop().await;
    }

    #[tokio::test]
    async fn a_new_entry_is_published_and_neither_a_rewrite_nor_one_of_an_earlier_run_is() {
        let directory = tempfile::tempdir().unwrap();
        let world = World::start(settings(Some(directory.path())), EventBus::new()).await.unwrap();
        put(&world, "earlier").await;
        world.stop().await;

        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let world = World::start(settings(Some(directory.path())), bus).await.unwrap();
        for id in ["one", "one", "two"] {
            put(&world, id).await;
        }
        let mut stored = Vec::new();
        let both = async {
            while stored.len() < 2 {
                if let WorldEvent::EntryStored { entry } = &*events.recv().await.unwrap() {
                    stored.push(entry.text("id").to_owned());
                }
            }
        };
        tokio::time::timeout(GENEROUS, both).await.unwrap();
        assert_eq!(stored, ["one", "two"]);
        assert_eq!(world.entries().await.unwrap().len(), 3);
        world.stop().await;
    }
}
