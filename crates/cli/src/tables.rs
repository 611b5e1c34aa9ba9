//! The two tables, as the commands read them: page by page, and several items at a time.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeyType, KeysAndAttributes, ScalarAttributeType, TableDescription};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config_audit::stream::key_text;
use tokio::time::Instant;

use crate::aws::{Aws, AwsError};
use crate::terminal::Terminal;
use crate::trail::{Item, Step};
use config_audit::clock::Clock;
use config_audit_local::aws::stream::StreamError;
use config_audit_local::aws::tables::{HISTORY_INDEX, item, stream_arn};

/// How many items are worked on at the same time.
pub const AT_A_TIME: usize = 16;
/// The most keys that one `BatchGetItem` takes.
const BATCH: usize = 100;

/// An item as the SDK has it.
pub type SdkItem = HashMap<String, AttributeValue>;

/// Why the trail can't be read.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// AWS.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Entries name an item by one attribute.
    #[error(
        "table {table} has a sort key, and entries name an item by its partition key alone; their trails can't be told apart"
    )]
    SortKey {
        /// The Configuration table.
        table: String,
    },
    /// There is nothing to follow.
    #[error(
        "table {table} has no stream with NEW_AND_OLD_IMAGES; enable one: aws dynamodb update-table --table-name {table} \
         --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
    )]
    NoStream {
        /// The Audit table.
        table: String,
    },
    /// The stream can't be read.
    #[error(
        "{error}; it needs dynamodb:DescribeStream, dynamodb:GetShardIterator and dynamodb:GetRecords on the stream of \
         table {table}"
    )]
    Stream {
        /// The Audit table.
        table: String,
        /// What the endpoint said.
        error: StreamError,
    },
    /// A signal handler can't be installed.
    #[error("can't wait for Ctrl-C")]
    Signal(#[source] std::io::Error),
}

/// The Audit table.
#[derive(Debug, Clone)]
pub struct Trail {
    client: Client,
    table: String,
}

impl Trail {
    /// The table of this name.
    #[must_use]
    pub fn new(aws: &Aws, table: &str) -> Self {
        Self { client: aws.dynamodb(), table: table.to_owned() }
    }

    /// All entries of an item, by time; with `since` and `until` (both included) only those of that time.
    ///
    /// # Errors
    /// When AWS refuses.
    pub async fn entries(&self, key: &str, since: Option<&str>, until: Option<&str>) -> Result<Vec<SdkItem>, AwsError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut request = self.client.query().table_name(&self.table).index_name(HISTORY_INDEX);
        request = request.expression_attribute_values(":key", text(key));
        let condition = match (since, until) {
            (None, None) => "itemKey = :key",
            (Some(_), None) => "itemKey = :key AND modificationTime >= :since",
            (None, Some(_)) => "itemKey = :key AND modificationTime <= :until",
            (Some(_), Some(_)) => "itemKey = :key AND modificationTime BETWEEN :since AND :until",
        };
        for (name, time) in [(":since", since), (":until", until)] {
            if let Some(time) = time {
                request = request.expression_attribute_values(name, text(time));
            }
        }
        let mut pages = request.key_condition_expression(condition).into_paginator().send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.refused("dynamodb:Query", &error))?;
            entries.extend(page.items.unwrap_or_default());
        }
        Ok(entries)
    }

    /// All entries of an item, as steps.
    ///
    /// # Errors
    /// When AWS refuses.
    pub async fn steps(&self, key: &str) -> Result<Vec<Step>, AwsError> {
        let entries = self.entries(key, None, None).await?;
        Ok(entries.into_iter().map(|entry| Step::read(item(entry))).collect())
    }

    /// A page of the keys of all entries, in the index's order, and where the next page begins.
    ///
    /// # Errors
    /// When AWS refuses.
    pub async fn keys(&self, start: Option<SdkItem>) -> Result<(Vec<String>, Option<SdkItem>), AwsError> {
        let request = self.client.scan().table_name(&self.table).index_name(HISTORY_INDEX);
        let request = request.projection_expression("itemKey").set_exclusive_start_key(start);
        let page = request.send().await.map_err(|error| self.refused("dynamodb:Scan", &error))?;
        let key = |mut item: SdkItem| match item.remove("itemKey") {
            Some(AttributeValue::S(key)) => Some(key),
            _ => None,
        };
        let mut keys: Vec<String> = page.items.unwrap_or_default().into_iter().filter_map(key).collect();
        // Entries of one item follow each other.
        keys.dedup();
        Ok((keys, page.last_evaluated_key))
    }

    /// Writes an entry, unless one of its ID is there. False when there is.
    ///
    /// # Errors
    /// When AWS refuses.
    pub async fn put_new(&self, entry: SdkItem) -> Result<bool, AwsError> {
        let request = self.client.put_item().table_name(&self.table).set_item(Some(entry));
        match request.condition_expression("attribute_not_exists(id)").send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                Ok(false)
            }
            Err(error) => {
                let permission = format!("dynamodb:PutItem on table {}", self.table);
                Err(AwsError::new(format!("writing to table {}", self.table), &permission, &error))
            }
        }
    }

    /// The ARN of the table's stream.
    ///
    /// # Errors
    /// When AWS refuses, or the table has no stream with both images.
    pub async fn stream(&self) -> Result<String, TrailError> {
        let table = describe(&self.client, &self.table).await?;
        stream_arn(&table).ok_or_else(|| TrailError::NoStream { table: self.table.clone() })
    }

    /// Why the index can't be read.
    fn refused<E, R>(&self, permission: &str, error: &SdkError<E, R>) -> AwsError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let action = format!("reading table {}", self.table);
        let says = |words: &str| error.message().is_some_and(|message| message.contains(words));
        let reason = match error.code() {
            Some("ValidationException") if says("specified index") => {
                format!("it has no index {HISTORY_INDEX}; docs/security.md has the command that adds it")
            }
            Some("ValidationException") if says("backfilling") => {
                format!("its index {HISTORY_INDEX} is still being built; try again when it is ACTIVE")
            }
            _ => {
                let permission = format!("{permission} on table {} and its indexes", self.table);
                return AwsError::new(action, &permission, error);
            }
        };
        AwsError { action, code: error.code().map(str::to_owned), reason }
    }
}

/// The Configuration table.
#[derive(Debug, Clone)]
pub struct Configuration {
    client: Client,
    table: String,
    key_attribute: String,
    key_type: ScalarAttributeType,
}

/// An item of the Configuration table, and the text by which entries name it.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Its `itemKey`.
    pub key: String,
    /// The item.
    pub item: Item,
}

impl Configuration {
    /// The table of this name, whose key is asked for.
    ///
    /// # Errors
    /// When AWS refuses, or the table has a sort key.
    pub async fn find(aws: &Aws, table: &str) -> Result<Self, TrailError> {
        let client = aws.dynamodb();
        let description = describe(&client, table).await?;
        let mut key_attribute = String::new();
        for element in description.key_schema() {
            if element.key_type != KeyType::Hash {
                return Err(TrailError::SortKey { table: table.to_owned() });
            }
            key_attribute.clone_from(&element.attribute_name);
        }
        let definition =
            description.attribute_definitions().iter().find(|definition| definition.attribute_name == key_attribute);
        let key_type = definition.map_or(ScalarAttributeType::S, |definition| definition.attribute_type.clone());
        Ok(Self { client, table: table.to_owned(), key_attribute, key_type })
    }

    /// A page of all items, and where the next page begins.
    ///
    /// # Errors
    /// When AWS refuses.
    pub async fn page(&self, start: Option<SdkItem>) -> Result<(Vec<Keyed>, Option<SdkItem>), AwsError> {
        let request = self.client.scan().table_name(&self.table).consistent_read(true).set_exclusive_start_key(start);
        let page = request.send().await.map_err(|error| self.refused("dynamodb:Scan", &error))?;
        let items = page.items.unwrap_or_default().into_iter().filter_map(|attributes| {
            let item = item(attributes);
            Some(Keyed { key: item.get(&self.key_attribute).and_then(key_text)?, item })
        });
        Ok((items.collect(), page.last_evaluated_key))
    }

    /// The item that entries name so; `None` where there is none.
    ///
    /// # Errors
    /// When AWS refuses.
    pub async fn item(&self, key: &str) -> Result<Option<Item>, AwsError> {
        let Some(value) = self.key_value(key) else { return Ok(None) };
        let request = self.client.get_item().table_name(&self.table).consistent_read(true);
        let output = request.key(&self.key_attribute, value).send().await;
        Ok(output.map_err(|error| self.refused("dynamodb:GetItem", &error))?.item.map(item))
    }

    /// Those of these keys that name no item.
    ///
    /// # Errors
    /// When AWS refuses.
    pub async fn missing(&self, keys: &[String]) -> Result<Vec<String>, AwsError> {
        let mut there = HashSet::new();
        for batch in keys.chunks(BATCH) {
            let values = batch.iter().filter_map(|key| self.key_value(key));
            let mut left: Vec<SdkItem> =
                values.map(|value| HashMap::from([(self.key_attribute.clone(), value)])).collect();
            while !left.is_empty() {
                let asked = KeysAndAttributes::builder()
                    .set_keys(Some(std::mem::take(&mut left)))
                    .consistent_read(true)
                    .projection_expression("#key")
                    .expression_attribute_names("#key", &self.key_attribute)
                    .build()
                    .map_err(|error| AwsError {
                        action: format!("reading table {}", self.table),
                        code: None,
                        reason: error.to_string(),
                    })?;
                let output = self.client.batch_get_item().request_items(&self.table, asked).send().await;
                let output = output.map_err(|error| self.refused("dynamodb:BatchGetItem", &error))?;
                let found = output.responses.unwrap_or_default().into_values().flatten().map(item);
                there.extend(found.filter_map(|item| item.get(&self.key_attribute).and_then(key_text)));
                // What DynamoDB gives back is asked again; the client itself slows down when DynamoDB throttles.
                left.extend(output.unprocessed_keys.unwrap_or_default().into_values().flat_map(|keys| keys.keys));
            }
        }
        Ok(keys.iter().filter(|key| !there.contains(*key)).cloned().collect())
    }

    /// The key that an entry's text stands for; `None` for text that no key has.
    fn key_value(&self, key: &str) -> Option<AttributeValue> {
        match self.key_type {
            ScalarAttributeType::N => {
                config_audit::value::Number::parse(key).map(|_| AttributeValue::N(key.to_owned()))
            }
            ScalarAttributeType::B => STANDARD.decode(key).ok().map(|bytes| AttributeValue::B(bytes.into())),
            _ => Some(AttributeValue::S(key.to_owned())),
        }
    }

    fn refused<E, R>(&self, permission: &str, error: &SdkError<E, R>) -> AwsError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        AwsError::new(format!("reading table {}", self.table), &format!("{permission} on table {}", self.table), error)
    }
}

async fn describe(client: &Client, table: &str) -> Result<TableDescription, AwsError> {
    let output = client.describe_table().table_name(table).send().await.map_err(|error| {
        AwsError::new(format!("describing table {table}"), &format!("dynamodb:DescribeTable on table {table}"), &error)
    })?;
    output.table.ok_or_else(|| AwsError {
        action: format!("describing table {table}"),
        code: None,
        reason: "the answer has no table in it".to_owned(),
    })
}

/// The item in the SDK's type, to be written.
#[must_use]
pub fn sdk_item(item: Item) -> SdkItem {
    item.into_iter().map(|(name, value)| (name, value.into())).collect()
}

/// How far a long command is, every few seconds.
#[derive(Debug)]
pub struct Progress {
    terminal: Terminal,
    last: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(5);

    /// Begins now.
    #[must_use]
    pub fn new(terminal: Terminal) -> Self {
        Self { terminal, last: Clock::System.instant() }
    }

    /// Says this, if the last time was long enough ago.
    pub fn tell(&mut self, text: impl FnOnce() -> String) {
        let now = Clock::System.instant();
        if now.duration_since(self.last) >= Self::EVERY {
            self.last = now;
            self.terminal.progress(&text());
        }
    }
}

/// A number with its thousands apart.
#[must_use]
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
