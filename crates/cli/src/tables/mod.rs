//! The two tables, as the commands read them: page by page, and several items at a time.

mod audit;
mod configuration;
mod describe;

pub use audit::AuditTable;
pub use configuration::{ConfigurationTable, KeyedItem};
pub use describe::TableError;

/// How many items the commands read at the same time.
pub const CONCURRENCY: usize = 16;
