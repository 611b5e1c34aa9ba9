//! The Configuration and the Audit table, read page by page and several items at a time, and checked against each other.
//!
//! [`AuditTable`] and [`ConfigurationTable`] read; [`Verification`] proves that the trail is complete, or says what is wrong with
//! it. [`AwsError`] says why AWS refused.
//!
//! Of this workspace it uses the trail, what is true of tables anywhere (`config_audit_local::aws`), and CloudWatch's units. It knows
//! nothing of the command, of the console, or of how clients are made.

mod audit;
mod configuration;
mod describe;
mod error;
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

/// How many items the commands read at the same time.
pub const CONCURRENCY: usize = 16;

/// An item in the SDK's type.
pub type SdkItem = HashMap<String, AttributeValue>;

/// The item in the SDK's type, to be written. [`config_audit_local::aws::item`] is the way back.
#[must_use]
pub fn sdk_item(item: Item) -> SdkItem {
    item.into_iter().map(|(name, value)| (name, value.into())).collect()
}
