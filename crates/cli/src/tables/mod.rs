//! The two tables, as the commands read them: page by page, and several items at a time.

mod audit;
mod configuration;
mod describe;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use clap::builder::UnknownArgumentValueParser;

use crate::trail::Item;

pub use audit::AuditTable;
pub use configuration::{ConfigurationTable, KeyedItem};
pub use describe::TableError;

/// The two tables, for the commands that read both.
#[derive(Debug, Args)]
pub struct TableArguments {
    /// The Configuration table
    #[arg(long, value_name = "NAME")]
    pub configuration_table: String,
    #[arg(long = "table", hide = true, value_parser = UnknownArgumentValueParser::suggest_arg("--configuration-table"))]
    _former_name: Option<String>,
    /// The Audit table
    #[arg(long, value_name = "NAME")]
    pub audit_table: String,
}

/// How many items the commands read at the same time.
pub const CONCURRENCY: usize = 16;

/// An item in the SDK's type.
pub type SdkItem = HashMap<String, AttributeValue>;

/// The item in the SDK's type, to be written. [`config_audit_local::aws::item`] is the way back.
#[must_use]
pub fn sdk_item(item: Item) -> SdkItem {
    item.into_iter().map(|(name, value)| (name, value.into())).collect()
}
