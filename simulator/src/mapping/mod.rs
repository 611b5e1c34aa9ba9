//! A model of Lambda's event source mapping.
//!
//! [`shard`] decides what happens to a shard's records and does nothing else: no I/O, no clock. The simulator runs it a
//! million times, and the local world of `config-audit` takes real streams to a real function by it. [`destination`] is
//! the record of a batch that Lambda gives up.

pub mod destination;
mod sequence;
pub mod shard;

pub use sequence::SequenceNumber;
pub use shard::{Condition, MappingSettings, ShardState, Step, StreamRecord};

use std::sync::Arc;

/// The event with these records, as Lambda sends it: `{"Records": […]}`.
#[must_use]
pub fn event(records: &[Arc<StreamRecord>]) -> String {
    let records: Vec<_> = records.iter().map(|record| record.json.as_str()).collect();
    format!("{{\"Records\":[{}]}}", records.join(","))
}
