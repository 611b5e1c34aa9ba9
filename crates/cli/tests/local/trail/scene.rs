//! Two tables on an engine, entries as the function writes them, and the command.

use std::collections::HashMap;
use std::path::Path;
use std::process::Output;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, PutRequest, ScalarAttributeType,
    WriteRequest,
};
use chrono::DateTime;
use config_audit::audit::{Context, plan};
use config_audit::aws::arn::StreamArn;
use config_audit::clock::timestamp;
use config_audit::stream::{Change, Images};
use config_audit_local::{AwsSettings, Database};
use config_audit_tables::{SdkItem, sdk_item};
use config_audit_trail::Item;
use futures_util::stream::{StreamExt, iter};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::bootstrap::engine::Engine;
use crate::support::config_audit;

pub(crate) const CONFIGURATION: &str = "Configuration-trail";
pub(crate) const AUDIT: &str = "Audit-trail";
/// Verifying both tables.
pub(crate) const VERIFY: &[&str] = &["verify", "--configuration-table", CONFIGURATION, "--audit-table", AUDIT];
/// The first second of histories: 2024-09-11T09:02:28Z.
pub(crate) const EPOCH: i64 = 1_726_045_348;

/// What happened to an item: seconds, and the item from then on.
pub(crate) type History = Vec<(i64, Option<Item>)>;

#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) database: Database,
    pub(crate) aws: AwsSettings,
}

impl Tables {
    pub(crate) async fn on(engine: Engine) -> Self {
        let (database, aws) = engine.database().await;
        Self::of(database, aws).await
    }

    /// On the embedded engine, kept in this directory.
    pub(crate) async fn in_directory(directory: &Path) -> Self {
        let aws = AwsSettings::dummy();
        Self::of(Database::in_directory(directory, 0, aws.clone()).await.unwrap(), aws).await
    }

    /// On DynamoDB Local, with a Configuration table whose key `id` has this type.
    pub(crate) async fn with_key(key_type: ScalarAttributeType) -> Self {
        let (database, aws) = Engine::DynamoDbLocal.database().await;
        database.ensure_audit_table(AUDIT).await.unwrap();
        let attribute = AttributeDefinition::builder().attribute_name("id").attribute_type(key_type).build().unwrap();
        let element = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
        let create =
            database.client().create_table().table_name(CONFIGURATION).billing_mode(BillingMode::PayPerRequest);
        create.attribute_definitions(attribute).key_schema(element).send().await.unwrap();
        Self { database, aws }
    }

    async fn of(database: Database, aws: AwsSettings) -> Self {
        database.ensure_configuration_table(CONFIGURATION, "key").await.unwrap();
        database.ensure_audit_table(AUDIT).await.unwrap();
        Self { database, aws }
    }

    /// Writes all of these, in no particular order.
    pub(crate) async fn write(&self, table: &str, items: impl IntoIterator<Item = SdkItem>) {
        let put =
            |item| WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(item)).build().unwrap());
        let requests: Vec<WriteRequest> = items.into_iter().map(|item| put(item).build()).collect();
        iter(requests.chunks(25))
            .for_each_concurrent(8, async |chunk| {
                let mut left = HashMap::from([(table.to_owned(), chunk.to_vec())]);
                while !left.is_empty() {
                    let output = self.database.client().batch_write_item().set_request_items(Some(left)).send().await;
                    left = output.unwrap().unprocessed_items.unwrap_or_default();
                }
            })
            .await;
    }

    pub(crate) async fn delete(&self, table: &str, key: &str, value: &str) {
        let value = AttributeValue::S(value.to_owned());
        self.database.client().delete_item().table_name(table).key(key, value).send().await.unwrap();
    }

    /// Somebody changes an attribute of an entry.
    pub(crate) async fn alter(&self, id: &str, attribute: &str, value: AttributeValue) {
        let update = self.database.client().update_item().table_name(AUDIT).key("id", AttributeValue::S(id.to_owned()));
        let update = update.update_expression("SET #name = :value").expression_attribute_names("#name", attribute);
        update.expression_attribute_values(":value", value).send().await.unwrap();
    }

    /// Runs the command on these tables.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        run_at(self.database.url(), &self.aws, arguments).await
    }

    /// Verifies, without waiting for entries that are still to come.
    pub(crate) async fn verify(&self) -> Ran {
        self.run(&[VERIFY, &["--settle", "0", "--output", "json"]].concat()).await
    }

    pub(crate) async fn backfill(&self, more: &[&str]) -> Ran {
        self.run(&[&["backfill", "--configuration-table", CONFIGURATION, "--audit-table", AUDIT], more].concat()).await
    }

    pub(crate) async fn history(&self, key: &str, more: &[&str]) -> Ran {
        self.run(&[&["history", key, "--audit-table", AUDIT], more].concat()).await
    }
}

pub(crate) async fn run_at(url: &str, aws: &AwsSettings, arguments: &[&str]) -> Ran {
    let output = command(url, aws, arguments).output().await.unwrap();
    Ran::from(&output)
}

pub(crate) fn command(url: &str, aws: &AwsSettings, arguments: &[&str]) -> tokio::process::Command {
    let mut command = config_audit();
    command.envs(aws.environment()).args(arguments).args(["--endpoint-url", url]);
    command
}

/// How a run of the command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<&Output> for Ran {
    fn from(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Self { code: output.status.code().unwrap(), stdout, stderr }
    }
}

impl Ran {
    /// The JSON objects on standard output, one per line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What `verify` found, and its summary.
    pub(crate) fn findings(&self) -> (Vec<Value>, Value) {
        let mut lines = self.lines();
        let summary = lines.pop().unwrap_or_else(|| panic!("{self:?}"))["summary"].take();
        (lines, summary)
    }

    /// Everything that it printed.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// An item with this key and these numbers.
pub(crate) fn item(key: &str, numbers: &[(&str, i64)]) -> Item {
    let numbers =
        numbers.iter().map(|(name, number)| ((*name).to_owned(), serde_dynamo::AttributeValue::N(number.to_string())));
    numbers.chain([("key".to_owned(), serde_dynamo::AttributeValue::S(key.to_owned()))]).collect()
}

/// The entries that the function writes for a history, oldest first.
pub(crate) fn entries(key: &str, history: &History) -> Vec<SdkItem> {
    let mut entries = Vec::new();
    let mut before: Option<Box<RawValue>> = None;
    for (number, (time, item)) in history.iter().enumerate() {
        let after = item.as_ref().map(|item| to_raw_value(item).unwrap());
        let images = match (before.as_deref(), after.as_deref()) {
            (None, Some(new)) => Images::Insert { new: serde_json::from_str(new.get()).unwrap() },
            (Some(old), Some(new)) => Images::Modify {
                old: serde_json::from_str(old.get()).unwrap(),
                new: serde_json::from_str(new.get()).unwrap(),
            },
            (Some(old), None) => Images::Remove { old: serde_json::from_str(old.get()).unwrap() },
            (None, None) => continue,
        };
        let change = Change {
            stream_arn: Some(StreamArn::new("arn")),
            event_id: format!("{key} {number}").into(),
            item_key: key.into(),
            created: None,
            principal: None,
            sequence_number: None,
            images,
        };
        let time = DateTime::from_timestamp(*time, 0).unwrap();
        let plan = plan(change, time, &Context::default(), String::new);
        entries.extend(plan.entries.iter().map(|entry| sdk_item(entry.item().into_inner())));
        before = after;
    }
    entries
}

pub(crate) fn id(entry: &SdkItem) -> String {
    entry["id"].as_s().unwrap().clone()
}

/// A time, as entries write it.
pub(crate) fn text(time: i64) -> String {
    timestamp(DateTime::from_timestamp(time, 0).unwrap())
}
