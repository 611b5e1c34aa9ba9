//! The Configuration table and the Audit table: reads them page by page, and checks them against each other.
//!
//! [`AuditTable`] and [`ConfigurationTable`] read; [`export`] reads a whole trail by time; [`Verification`] proves that
//! the trail is complete, or reports what is wrong. [`AwsError`] says why a request failed.
//!
//! From this workspace it uses the trail, the shared facts about tables (`config_audit_local::aws`), and CloudWatch's
//! units. It does not know the command, the console, or how clients are made.

mod audit;
mod batch;
mod configuration;
mod describe;
mod error;
pub mod export;
mod summary;
mod verification;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use config_audit_trail::Item;

pub use audit::AuditTable;
pub use configuration::{ConfigurationTable, KeyedItem};
pub use describe::TableError;
pub use error::{AwsError, without_credentials};
pub use summary::{Soundness, Summary};
pub use verification::{Observer, Verification, VerificationSettings};

/// How many items the commands read concurrently.
pub const CONCURRENCY: usize = 16;

/// An item in the SDK's type.
pub type SdkItem = HashMap<String, AttributeValue>;

/// The item in the SDK's type, for writing. [`config_audit_local::aws::item`] is the inverse.
#[must_use]
pub fn sdk_item(item: Item) -> SdkItem {
    item.into_iter().map(|(name, value)| (name, value.into())).collect()
}
