//! DynamoDB: dynoxide in this process with its HTTP API on 127.0.0.1, or another endpoint; and our two tables in it.

mod api;
mod embedded;

use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, StreamSpecification, StreamViewType, TableDescription, TableStatus,
};

use crate::aws::entry::Entry;
use crate::aws::tables::{HISTORY_INDEX, stream_arn};
use crate::aws::{AwsSettings, error_message};
use crate::event::{EventBus, WorldTable};
use crate::faults::Breaker;
use crate::server::{Callers, Server};

/// A DynamoDB endpoint that is ready for requests.
#[derive(Debug)]
pub struct Database {
    url: String,
    aws: AwsSettings,
    client: Client,
    /// The embedded database's server.
    server: Option<Server>,
}

/// How an embedded database is connected to its world.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    pub(crate) breaker: Breaker,
    pub(crate) bus: EventBus,
    /// The tables whose writes are published, by name.
    pub(crate) tables: Vec<(String, WorldTable)>,
}

/// Why a database could not be started, or a request failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The embedded database cannot be opened.
    #[error("cannot open the embedded database in {place}: {message}")]
    Open {
        /// The file, or "memory".
        place: String,
        /// The database's reason.
        message: String,
    },
    /// The port cannot be bound.
    #[error("cannot serve DynamoDB on 127.0.0.1:{port} (choose another with --port, or 0 for any)")]
    Port {
        /// The port.
        port: u16,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A request failed.
    #[error("DynamoDB at {url} cannot {action}: {message}")]
    Request {
        /// The endpoint.
        url: String,
        /// What it should have done.
        action: String,
        /// Why it did not.
        message: String,
    },
    /// An existing table has no stream, or one without both images.
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

/// How long a new table may take to become active. DynamoDB Local takes seconds, the embedded database no time.
const TABLE_WAIT: Duration = Duration::from_mins(1);

impl Database {
    /// An embedded database in memory, which lasts as long as this value.
    ///
    /// # Errors
    /// If the port cannot be bound.
    pub async fn memory(port: u16, aws: AwsSettings) -> Result<Self, DatabaseError> {
        Self::embedded(None, port, aws, Connections::default()).await
    }

    /// An embedded database kept in the file `dynamodb.sqlite` of this directory.
    ///
    /// # Errors
    /// When the file cannot be opened or written, or the port cannot be bound.
    pub async fn in_directory(directory: &Path, port: u16, aws: AwsSettings) -> Result<Self, DatabaseError> {
        Self::embedded(Some(directory), port, aws, Connections::default()).await
    }

    /// An embedded database in this directory, or in memory, connected to its world.
    pub(crate) async fn embedded(
        directory: Option<&Path>,
        port: u16,
        aws: AwsSettings,
        connections: Connections,
    ) -> Result<Self, DatabaseError> {
        let file = directory.map(|directory| directory.join("dynamodb.sqlite"));
        let place = file.as_ref().map_or_else(|| "memory".to_owned(), |file| file.display().to_string());
        let open = |message| DatabaseError::Open { place: place.clone(), message };
        let path = match &file {
            Some(file) => file.to_str().ok_or_else(|| open("the path is not UTF-8".to_owned()))?.to_owned(),
            None => embedded::in_memory(),
        };
        let database = embedded::open(&path).map_err(|error| open(error.to_string()))?;
        let server = Server::start(port, api::router(database, connections), Callers::Programs).await;
        let server = server.map_err(|source| DatabaseError::Port { port, source })?;
        let url = server.url();
        Ok(Self { server: Some(server), ..Self::at(&url, aws) })
    }

    /// The database behind this endpoint, such as DynamoDB Local's.
    #[must_use]
    pub fn at(url: &str, aws: AwsSettings) -> Self {
        Self { url: url.to_owned(), client: aws.dynamodb(url), aws, server: None }
    }

    /// The endpoint's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it runs in this process. Only then can the breaker break it.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.server.is_some()
    }

    /// A client for it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A client for its streams.
    #[must_use]
    pub fn streams(&self) -> aws_sdk_dynamodbstreams::Client {
        self.aws.streams(&self.url)
    }

    /// Creates the Configuration table if it is missing: one string key, and a stream with both images.
    /// Returns the stream's ARN.
    ///
    /// # Errors
    /// When a request fails, or the table exists without such a stream.
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
    /// are written; an existing table may have none.
    ///
    /// # Errors
    /// When a request fails.
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
                .map_err(|error| self.failed("create an index", error.to_string()))?;
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
    /// When a request fails.
    pub async fn entries(&self, table: &str) -> Result<Vec<Entry>, DatabaseError> {
        let mut entries = Vec::new();
        // Without a limit dynoxide reads the rest of the table for each page.
        let scan = self.client.scan().table_name(table).consistent_read(true).limit(1000);
        let mut pages = scan.into_paginator().items().send();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| self.failed(format!("scan {table}"), error_message(&error)))?;
            entries.push(Entry::from_item(item));
        }
        entries.sort_by(|left, right| left.order().cmp(&right.order()));
        Ok(entries)
    }

    /// Stops the embedded database; does nothing to another endpoint.
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
            Err(error) => Err(self.failed(format!("describe {table}"), error_message(&error))),
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
            .map_err(|error| self.failed(format!("create {table}"), error_message(&error)))?;
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
        definition.build().map_err(|error| self.failed("define an attribute", error.to_string()))
    }

    fn key(&self, name: &str, key_type: KeyType) -> Result<KeySchemaElement, DatabaseError> {
        let element = KeySchemaElement::builder().attribute_name(name).key_type(key_type);
        element.build().map_err(|error| self.failed("define a key", error.to_string()))
    }

    fn both_images(&self) -> Result<StreamSpecification, DatabaseError> {
        let stream =
            StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewAndOldImages);
        stream.build().map_err(|error| self.failed("define a stream", error.to_string()))
    }

    fn failed(&self, action: impl Into<String>, message: String) -> DatabaseError {
        DatabaseError::Request { url: self.url.clone(), action: action.into(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_in_use_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Database::memory(port, AwsSettings::dummy()).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Port { port: named, .. } if named == port), "{error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    }

    #[tokio::test]
    async fn tables_are_created_once_and_have_streams() {
        let database = Database::memory(0, AwsSettings::dummy()).await.unwrap();
        let audit = database.ensure_audit_table("Audit").await.unwrap().unwrap();
        assert_eq!(database.ensure_audit_table("Audit").await.unwrap(), Some(audit));
        let configuration = database.ensure_configuration_table("Configuration", "key").await.unwrap();
        assert_eq!(database.ensure_configuration_table("Configuration", "key").await.unwrap(), configuration);
        database.stop().await;
    }
}
