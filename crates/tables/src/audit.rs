//! The Audit table.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeyType, KeysAndAttributes, ReturnConsumedCapacity, ScalarAttributeType, TableDescription,
};
use config_audit::stream::MAX_KEY_BYTES;
use config_audit_local::aws::tables::{HISTORY_INDEX, item, stream_arn};

use crate::SdkItem;
use crate::batch::{MAX_BATCH, Patience, THROTTLED};
use crate::describe::{TableError, describe};
use crate::error::AwsError;
use config_audit_trail::Step;

/// The Audit table.
#[derive(Debug, Clone)]
pub struct AuditTable {
    client: Client,
    name: String,
    /// Where it is, for error messages.
    place: String,
}

impl AuditTable {
    /// The table of this name. `place` says where it is in error messages: `in eu-central-1`.
    #[must_use]
    pub fn new(client: Client, name: &str, place: impl Into<String>) -> Self {
        Self { client, name: name.to_owned(), place: place.into() }
    }

    /// All entries of an item, by time.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn entries(&self, key: &str) -> Result<Vec<SdkItem>, AwsError> {
        // No entry can have such a key, and DynamoDB rejects the query.
        if key.len() > MAX_KEY_BYTES {
            return Ok(Vec::new());
        }
        let request = self.client.query().table_name(&self.name).index_name(HISTORY_INDEX);
        let request = request.key_condition_expression("itemKey = :key");
        let request = request.expression_attribute_values(":key", AttributeValue::S(key.to_owned()));
        let mut pages = request.into_paginator().send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.index_error("dynamodb:Query", &error))?;
            entries.extend(page.items.unwrap_or_default());
        }
        Ok(entries)
    }

    /// All entries of an item, as steps.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn steps(&self, key: &str) -> Result<Vec<Step>, AwsError> {
        let entries = self.entries(key).await?;
        Ok(entries.into_iter().map(|entry| Step::read(item(entry))).collect())
    }

    /// A page of the keys of all entries, in the index's order, and the start of the next page.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn keys(&self, start: Option<SdkItem>) -> Result<(Vec<String>, Option<SdkItem>), AwsError> {
        let request = self.client.scan().table_name(&self.name).index_name(HISTORY_INDEX);
        let request = request.projection_expression("itemKey").set_exclusive_start_key(start);
        let page = request.send().await.map_err(|error| self.index_error("dynamodb:Scan", &error))?;
        let key = |mut item: SdkItem| match item.remove("itemKey") {
            Some(AttributeValue::S(key)) => Some(key),
            _ => None,
        };
        let mut keys: Vec<String> = page.items.unwrap_or_default().into_iter().filter_map(key).collect();
        // The entries of one item are adjacent.
        keys.dedup();
        Ok((keys, page.last_evaluated_key))
    }

    /// A page of all entries, in no particular order, and the start of the next page.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn page(&self, start: Option<SdkItem>) -> Result<(Vec<SdkItem>, Option<SdkItem>), AwsError> {
        self.scan(start, None).await
    }

    /// Like [`AuditTable::page`], but without the entries' values and provenance.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn outlines(&self, start: Option<SdkItem>) -> Result<(Vec<SdkItem>, Option<SdkItem>), AwsError> {
        self.scan(start, Some("id, itemKey, modificationTime, updatedAttribute")).await
    }

    async fn scan(
        &self,
        start: Option<SdkItem>,
        attributes: Option<&str>,
    ) -> Result<(Vec<SdkItem>, Option<SdkItem>), AwsError> {
        let request = self.client.scan().table_name(&self.name).set_exclusive_start_key(start);
        let request = request.set_projection_expression(attributes.map(str::to_owned));
        let page = request.send().await.map_err(|error| self.error("dynamodb:Scan", &error))?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }

    /// The entry with this ID, if it exists.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn entry(&self, id: &str) -> Result<Option<SdkItem>, AwsError> {
        self.get(id, false).await
    }

    /// The entry with this ID, if it exists now: a consistent read.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn current_entry(&self, id: &str) -> Result<Option<SdkItem>, AwsError> {
        self.get(id, true).await
    }

    async fn get(&self, id: &str, is_consistent: bool) -> Result<Option<SdkItem>, AwsError> {
        // No entry can have such a key, and DynamoDB rejects the query.
        if id.is_empty() || id.len() > MAX_KEY_BYTES {
            return Ok(None);
        }
        let request = self.client.get_item().table_name(&self.name).key("id", AttributeValue::S(id.to_owned()));
        let request = request.consistent_read(is_consistent);
        Ok(request.send().await.map_err(|error| self.error("dynamodb:GetItem", &error))?.item)
    }

    /// The entries with these IDs, by ID. IDs without an entry are left out.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn entries_by_id(&self, ids: &[&str]) -> Result<HashMap<String, SdkItem>, AwsError> {
        // DynamoDB rejects a batch with duplicate keys, or with a key that no entry can have.
        let mut ids: Vec<&str> = ids.iter().copied().filter(|id| !id.is_empty() && id.len() <= MAX_KEY_BYTES).collect();
        ids.sort_unstable();
        ids.dedup();
        let permission = format!("dynamodb:BatchGetItem on table {}", self.name);
        let action = || format!("reading table {} {}", self.name, self.place);
        let mut entries = HashMap::with_capacity(ids.len());
        for batch in ids.chunks(MAX_BATCH) {
            let key = |id: &&str| HashMap::from([("id".to_owned(), AttributeValue::S((*id).to_owned()))]);
            let mut left: Vec<SdkItem> = batch.iter().map(key).collect();
            let mut patience = Patience::default();
            while !left.is_empty() {
                let requested = left.len();
                let keys = KeysAndAttributes::builder()
                    .set_keys(Some(std::mem::take(&mut left)))
                    .build()
                    .map_err(|error| AwsError { action: action(), code: None, reason: error.to_string() })?;
                let output = self.client.batch_get_item().request_items(&self.name, keys).send().await;
                let output = output.map_err(|error| self.error("dynamodb:BatchGetItem", &error))?;
                for entry in output.responses.unwrap_or_default().into_values().flatten() {
                    if let Some(AttributeValue::S(id)) = entry.get("id") {
                        let id = id.clone();
                        entries.insert(id, entry);
                    }
                }
                left.extend(output.unprocessed_keys.unwrap_or_default().into_values().flat_map(|keys| keys.keys));
                if !patience.is_left_after(requested, left.len()).await {
                    return Err(AwsError::of_code(action(), &permission, THROTTLED));
                }
            }
        }
        Ok(entries)
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, for error messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Writes an entry. Returns false if the table already has one with its ID.
    ///
    /// # Errors
    /// If AWS returns an error.
    pub async fn put_new(&self, entry: SdkItem) -> Result<bool, AwsError> {
        let request = self.client.put_item().table_name(&self.name).set_item(Some(entry));
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        match request.condition_expression("attribute_not_exists(id)").send().await {
            // Only DynamoDB returns what was requested; a proxy that answers 200 does not.
            Ok(output) if output.consumed_capacity.is_some() => Ok(true),
            Ok(_) => Err(AwsError {
                action: format!("writing to table {} {}", self.name, self.place),
                code: None,
                reason: "the response does not confirm that the entry is stored".to_owned(),
            }),
            Err(error) if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                Ok(false)
            }
            Err(error) => {
                let permission = format!("dynamodb:PutItem on table {}", self.name);
                Err(AwsError::new(format!("writing to table {} {}", self.name, self.place), &permission, &error))
            }
        }
    }

    /// The ARN of the table's stream; `None` if it has no stream with both images.
    ///
    /// # Errors
    /// If AWS returns an error, or the table is not an Audit table.
    pub async fn stream(&self) -> Result<Option<String>, TableError> {
        let description = describe(&self.client, &self.name, &self.place).await?;
        match lacks(&description) {
            Some(lack) => Err(TableError::NotAudit { table: self.name.clone(), place: self.place.clone(), lack }),
            None => Ok(stream_arn(&description)),
        }
    }

    fn error<E, R>(&self, permission: &str, error: &SdkError<E, R>) -> AwsError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let action = format!("reading table {} {}", self.name, self.place);
        AwsError::new(action, &format!("{permission} on table {}", self.name), error)
    }

    /// Why the index cannot be read.
    fn index_error<E, R>(&self, permission: &str, error: &SdkError<E, R>) -> AwsError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let action = format!("reading table {} {}", self.name, self.place);
        let mentions = |words: &str| error.message().is_some_and(|message| message.contains(words));
        let reason = match error.code() {
            Some("ValidationException") if mentions("specified index") => {
                format!("it has no index {HISTORY_INDEX}; docs/security.md has the command that adds it")
            }
            Some("ValidationException") if mentions("backfilling") => {
                format!("its index {HISTORY_INDEX} is still being built; try again when it is ACTIVE")
            }
            _ => {
                let permission = format!("{permission} on table {} and its indexes", self.name);
                return AwsError::new(action, &permission, error);
            }
        };
        // Not DynamoDB's code, because the problem is the table, not the request.
        AwsError { action, code: None, reason }
    }
}

/// What a table lacks to be an Audit table.
fn lacks(table: &TableDescription) -> Option<&'static str> {
    let is_id = matches!(table.key_schema(), [key] if key.attribute_name == "id" && key.key_type == KeyType::Hash);
    let is_text = table
        .attribute_definitions()
        .iter()
        .any(|attribute| attribute.attribute_name == "id" && attribute.attribute_type == ScalarAttributeType::S);
    let has_index = table.global_secondary_indexes().iter().any(|index| index.index_name() == Some(HISTORY_INDEX));
    if !is_id || !is_text {
        Some("the key `id` of type S")
    } else if !has_index {
        Some("the index itemKey-modificationTime-index (docs/security.md has the command that adds it)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use config_audit_local::{AwsSettings, Database};

    use super::*;

    #[tokio::test]
    async fn entries_are_found_by_their_ids_in_batches() {
        let database = Database::memory(0, AwsSettings::dummy()).await.unwrap();
        database.ensure_audit_table("Audit").await.unwrap();
        let table = AuditTable::new(database.client().clone(), "Audit", "here");
        for number in 0..=MAX_BATCH {
            let put =
                database.client().put_item().table_name("Audit").item("id", AttributeValue::S(number.to_string()));
            let put = put.item("itemKey", AttributeValue::S("K".to_owned()));
            put.item("modificationTime", AttributeValue::S(String::from("t"))).send().await.unwrap();
        }
        let too_long = "x".repeat(MAX_KEY_BYTES + 1);
        let numbers: Vec<String> = (0..2 * MAX_BATCH).map(|number| number.to_string()).collect();
        let mut ids: Vec<&str> = numbers.iter().map(String::as_str).collect();
        ids.extend(["7", "", too_long.as_str()]);
        let found = table.entries_by_id(&ids).await.unwrap();
        assert_eq!(found.len(), MAX_BATCH + 1);
        assert!(found.iter().all(|(id, entry)| entry["id"] == AttributeValue::S(id.clone())));
        assert!(table.entries_by_id(&[]).await.unwrap().is_empty());
        database.stop().await;
    }
}
