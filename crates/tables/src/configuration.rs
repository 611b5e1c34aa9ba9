//! The Configuration table.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{AttributeValue, KeyType, KeysAndAttributes, ScalarAttributeType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config_audit::canary::is_canary;
use config_audit::stream::key_text;
use config_audit::value::Number;
use config_audit_local::aws::item;

use crate::SdkItem;
use crate::batch::{MAX_BATCH, Patience, THROTTLED};
use crate::describe::{TableError, describe};
use crate::error::AwsError;
use config_audit_trail::Item;

/// The Configuration table.
#[derive(Debug, Clone)]
pub struct ConfigurationTable {
    client: Client,
    name: String,
    /// Where it is, for error messages.
    place: String,
    key_attribute: String,
    key_type: ScalarAttributeType,
}

/// An item of the Configuration table, and its key as entries write it.
#[derive(Debug, Clone)]
pub struct KeyedItem {
    /// Its `itemKey`.
    pub key: String,
    /// The item.
    pub item: Item,
}

impl ConfigurationTable {
    /// The table of this name. Asks AWS for its key.
    ///
    /// # Errors
    /// If AWS returns an error, or the table has a sort key.
    pub async fn find(client: Client, name: &str, place: impl Into<String>) -> Result<Self, TableError> {
        let place = place.into();
        let description = describe(&client, name, &place).await?;
        let mut key_attribute = String::new();
        for element in description.key_schema() {
            if element.key_type != KeyType::Hash {
                return Err(TableError::SortKey { table: name.to_owned() });
            }
            key_attribute.clone_from(&element.attribute_name);
        }
        let definition =
            description.attribute_definitions().iter().find(|definition| definition.attribute_name == key_attribute);
        let key_type = definition.map_or(ScalarAttributeType::S, |definition| definition.attribute_type.clone());
        Ok(Self { client, name: name.to_owned(), place, key_attribute, key_type })
    }

    /// A page of all items except the canary, and the start of the next page.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn page(&self, start: Option<SdkItem>) -> Result<(Vec<KeyedItem>, Option<SdkItem>), AwsError> {
        let request = self.client.scan().table_name(&self.name).consistent_read(true).set_exclusive_start_key(start);
        let page = request.send().await.map_err(|error| self.error("dynamodb:Scan", &error))?;
        let items = page.items.unwrap_or_default().into_iter().filter_map(|attributes| {
            let item = item(attributes);
            Some(KeyedItem { key: self.key(&item)?, item }).filter(|keyed| !self.is_canary(&keyed.item))
        });
        Ok((items.collect(), page.last_evaluated_key))
    }

    /// Whether this item is the canary.
    pub(crate) fn is_canary(&self, item: &Item) -> bool {
        is_canary(item, &self.key_attribute)
    }

    /// The item that entries with this `itemKey` belong to, if it exists.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn item(&self, key: &str) -> Result<Option<Item>, AwsError> {
        let Some(value) = self.key_value(key) else { return Ok(None) };
        let request = self.client.get_item().table_name(&self.name).consistent_read(true);
        let output = request.key(&self.key_attribute, value).send().await;
        let item = output.map_err(|error| self.error("dynamodb:GetItem", &error))?.item.map(item);
        // DynamoDB also finds item 1 by the key 1.0, but all of the item's entries have the key 1.
        Ok(item.filter(|item| self.key(item).as_deref() == Some(key)))
    }

    /// Which of these keys have no item.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn missing(&self, keys: &[String]) -> Result<Vec<String>, AwsError> {
        let mut existing = HashSet::new();
        for batch in self.distinct(keys).chunks(MAX_BATCH) {
            let mut left: Vec<SdkItem> =
                batch.iter().map(|value| HashMap::from([(self.key_attribute.clone(), value.clone())])).collect();
            let mut patience = Patience::default();
            while !left.is_empty() {
                let requested = left.len();
                let asked = KeysAndAttributes::builder()
                    .set_keys(Some(std::mem::take(&mut left)))
                    .consistent_read(true)
                    .projection_expression("#key")
                    .expression_attribute_names("#key", &self.key_attribute)
                    .build()
                    .map_err(|error| AwsError { action: self.reading(), code: None, reason: error.to_string() })?;
                let output = self.client.batch_get_item().request_items(&self.name, asked).send().await;
                let output = output.map_err(|error| self.error("dynamodb:BatchGetItem", &error))?;
                let found = output.responses.unwrap_or_default().into_values().flatten();
                existing.extend(found.filter_map(|attributes| self.key(&item(attributes))));
                left.extend(output.unprocessed_keys.unwrap_or_default().into_values().flat_map(|keys| keys.keys));
                if !patience.is_left_after(requested, left.len()).await {
                    let permission = format!("dynamodb:BatchGetItem on table {}", self.name);
                    return Err(AwsError::of_code(self.reading(), &permission, THROTTLED));
                }
            }
        }
        Ok(keys.iter().filter(|key| !existing.contains(*key)).cloned().collect())
    }

    /// The distinct key values of these texts: DynamoDB rejects a batch with both 1 and 1.0.
    fn distinct(&self, keys: &[String]) -> Vec<AttributeValue> {
        let mut numbers = HashSet::new();
        let is_new = |value: &AttributeValue| match value {
            AttributeValue::N(digits) => numbers.insert(Number::parse(digits)),
            _ => true,
        };
        keys.iter().filter_map(|key| self.key_value(key)).filter(is_new).collect()
    }

    /// An item's key as entries write it; `None` for an item without a key.
    fn key(&self, item: &Item) -> Option<String> {
        item.get(&self.key_attribute).and_then(key_text)
    }

    /// The key value of an entry's text; `None` for text that cannot be a key.
    fn key_value(&self, key: &str) -> Option<AttributeValue> {
        match self.key_type {
            ScalarAttributeType::N => Number::parse(key).map(|_| AttributeValue::N(key.to_owned())),
            ScalarAttributeType::B => STANDARD.decode(key).ok().map(|bytes| AttributeValue::B(bytes.into())),
            _ => Some(AttributeValue::S(key.to_owned())),
        }
    }

    fn reading(&self) -> String {
        format!("reading table {} {}", self.name, self.place)
    }

    fn error<E, R>(&self, permission: &str, error: &SdkError<E, R>) -> AwsError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        AwsError::new(self.reading(), &format!("{permission} on table {}", self.name), error)
    }
}
