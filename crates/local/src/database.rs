//! DynamoDB: dynoxide in this process, with its HTTP API on 127.0.0.1, or any other endpoint; and our two tables on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, StreamSpecification, StreamViewType, TableDescription, TableStatus,
};

use super::clients::{Identity, refusal};
use super::server::Server;
use crate::entry::Entry;

/// The index that makes an item's history one query.
pub const HISTORY_INDEX: &str = "itemKey-modificationTime-index";

/// A DynamoDB endpoint that is ready to be asked.
#[derive(Debug)]
pub struct Database {
    url: String,
    identity: Identity,
    client: Client,
    /// The embedded one's server.
    server: Option<Server>,
}

/// Why there is no database, or not the table in it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The embedded database can't be opened.
    #[error("can't open the embedded database in {place}: {message}")]
    Open {
        /// The file, or "memory".
        place: String,
        /// The database's reason.
        message: String,
    },
    /// The port can't be bound.
    #[error("can't serve DynamoDB on 127.0.0.1:{port} (choose another with --port, or 0 for any)")]
    Port {
        /// The port asked for.
        port: u16,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The endpoint refused, or did not answer.
    #[error("DynamoDB at {url} can't {what}: {message}")]
    Request {
        /// The endpoint.
        url: String,
        /// What was asked.
        what: String,
        /// The answer.
        message: String,
    },
    /// A table that was there already has no stream, or one that shows too little.
    #[error(
        "table {table} at {url} has no stream with NEW_AND_OLD_IMAGES; set its StreamSpecification, or name another table"
    )]
    NoStream {
        /// The table.
        table: String,
        /// The endpoint.
        url: String,
    },
    /// A table did not become active.
    #[error("table {table} at {url} was not ACTIVE after {} s", TABLE_WAIT.as_secs())]
    NotActive {
        /// The table.
        table: String,
        /// The endpoint.
        url: String,
    },
}

/// How long a new table may take. Amazon's own takes seconds, the embedded one nothing.
const TABLE_WAIT: Duration = Duration::from_mins(1);

impl Database {
    /// An embedded database that is gone with this value.
    ///
    /// # Errors
    /// When the port can't be bound.
    pub async fn memory(port: u16, identity: Identity) -> Result<Self, DatabaseError> {
        let database = dynoxide::Database::memory()
            .map_err(|error| DatabaseError::Open { place: "memory".to_owned(), message: error.to_string() })?;
        Self::embedded(database, port, identity).await
    }

    /// An embedded database kept in the file `dynamodb.sqlite` of this directory.
    ///
    /// # Errors
    /// When the file can't be opened or written, or the port can't be bound.
    pub async fn in_directory(directory: &Path, port: u16, identity: Identity) -> Result<Self, DatabaseError> {
        let file: PathBuf = directory.join("dynamodb.sqlite");
        let open = |message| DatabaseError::Open { place: file.display().to_string(), message };
        let path = file.to_str().ok_or_else(|| open("the path is not UTF-8".to_owned()))?;
        let database = dynoxide::Database::new(path).map_err(|error| open(error.to_string()))?;
        Self::embedded(database, port, identity).await
    }

    async fn embedded(database: dynoxide::Database, port: u16, identity: Identity) -> Result<Self, DatabaseError> {
        let server = Server::start(port, |listener, stopped| async move {
            let until = async move {
                let _ = stopped.await;
            };
            // Ends only when told to.
            let _ = dynoxide::server::serve_with_shutdown(listener, database, until).await;
        })
        .await
        .map_err(|source| DatabaseError::Port { port, source })?;
        let mut this = Self::at(&server.url(), identity);
        this.server = Some(server);
        Ok(this)
    }

    /// The database behind this endpoint, such as DynamoDB Local's.
    #[must_use]
    pub fn at(url: &str, identity: Identity) -> Self {
        Self { url: url.to_owned(), client: identity.dynamodb(url), identity, server: None }
    }

    /// The endpoint's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client for it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A client for its streams.
    #[must_use]
    pub fn streams(&self) -> aws_sdk_dynamodbstreams::Client {
        self.identity.streams(&self.url)
    }

    /// Creates the Configuration table if it is missing: one string key, and a stream with both images.
    /// Returns the stream's ARN.
    ///
    /// # Errors
    /// When the endpoint refuses, or the table is there without such a stream.
    pub async fn ensure_configuration_table(&self, table: &str, key: &str) -> Result<String, DatabaseError> {
        let description = if let Some(description) = self.describe(table).await? {
            description
        } else {
            let request = self
                .client
                .create_table()
                .attribute_definitions(self.attribute(key)?)
                .key_schema(self.key(key, KeyType::Hash)?)
                .stream_specification(self.both_images()?);
            self.create(table, request).await?
        };
        stream_arn(&description)
            .ok_or_else(|| DatabaseError::NoStream { table: table.to_owned(), url: self.url.clone() })
    }

    /// Creates the Audit table if it is missing: key `id`, and the index for histories.
    ///
    /// Returns the ARN of the table's stream. A table that we create has one, so that new entries can be shown as they
    /// are written; one that was there already may have none.
    ///
    /// # Errors
    /// When the endpoint refuses.
    pub async fn ensure_audit_table(&self, table: &str) -> Result<Option<String>, DatabaseError> {
        let description = if let Some(description) = self.describe(table).await? {
            description
        } else {
            let index = GlobalSecondaryIndex::builder()
                .index_name(HISTORY_INDEX)
                .key_schema(self.key("itemKey", KeyType::Hash)?)
                .key_schema(self.key("modificationTime", KeyType::Range)?)
                .projection(Projection::builder().projection_type(ProjectionType::All).build())
                .build()
                .map_err(|error| self.request("be asked for an index", error.to_string()))?;
            let request = self
                .client
                .create_table()
                .attribute_definitions(self.attribute("id")?)
                .attribute_definitions(self.attribute("itemKey")?)
                .attribute_definitions(self.attribute("modificationTime")?)
                .key_schema(self.key("id", KeyType::Hash)?)
                .global_secondary_indexes(index)
                .stream_specification(self.both_images()?);
            self.create(table, request).await?
        };
        Ok(stream_arn(&description))
    }

    /// All entries of the Audit table, oldest change first. Meant for the small tables of the local world.
    ///
    /// # Errors
    /// When the endpoint refuses.
    pub async fn entries(&self, table: &str) -> Result<Vec<Entry>, DatabaseError> {
        let mut entries = Vec::new();
        let mut pages = self.client.scan().table_name(table).consistent_read(true).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| self.request(format!("scan {table}"), refusal(&error)))?;
            entries.push(Entry::from_item(item));
        }
        entries.sort_by(|left, right| left.order().cmp(&right.order()));
        Ok(entries)
    }

    /// Stops the embedded database; leaves another endpoint alone.
    pub async fn stop(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }

    async fn describe(&self, table: &str) -> Result<Option<TableDescription>, DatabaseError> {
        match self.client.describe_table().table_name(table).send().await {
            Ok(output) => Ok(output.table),
            Err(error) if error.as_service_error().is_some_and(DescribeTableError::is_resource_not_found_exception) => {
                Ok(None)
            }
            Err(error) => Err(self.request(format!("describe {table}"), refusal(&error))),
        }
    }

    async fn create(
        &self,
        table: &str,
        request: aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder,
    ) -> Result<TableDescription, DatabaseError> {
        request
            .table_name(table)
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await
            .map_err(|error| self.request(format!("create {table}"), refusal(&error)))?;
        let active = async {
            loop {
                match self.describe(table).await? {
                    Some(table) if table.table_status == Some(TableStatus::Active) => return Ok(table),
                    _ => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        let not_active = |_| DatabaseError::NotActive { table: table.to_owned(), url: self.url.clone() };
        tokio::time::timeout(TABLE_WAIT, active).await.map_err(not_active)?
    }

    fn attribute(&self, name: &str) -> Result<AttributeDefinition, DatabaseError> {
        let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
        definition.build().map_err(|error| self.request("be asked for an attribute", error.to_string()))
    }

    fn key(&self, name: &str, key_type: KeyType) -> Result<KeySchemaElement, DatabaseError> {
        let element = KeySchemaElement::builder().attribute_name(name).key_type(key_type);
        element.build().map_err(|error| self.request("be asked for a key", error.to_string()))
    }

    fn both_images(&self) -> Result<StreamSpecification, DatabaseError> {
        let stream =
            StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewAndOldImages);
        stream.build().map_err(|error| self.request("be asked for a stream", error.to_string()))
    }

    fn request(&self, what: impl Into<String>, message: String) -> DatabaseError {
        DatabaseError::Request { url: self.url.clone(), what: what.into(), message }
    }
}

/// The ARN of the table's stream, where it has one with both images.
#[must_use]
pub fn stream_arn(table: &TableDescription) -> Option<String> {
    let stream = table.stream_specification.as_ref()?;
    let both = stream.stream_enabled && stream.stream_view_type == Some(StreamViewType::NewAndOldImages);
    both.then(|| table.latest_stream_arn.clone()).flatten()
}
