//! Lambda's event source mapping for a DynamoDB stream, and what it leaves in the failure bucket.
//!
//! [`shard`] decides what happens to a shard's records. The simulator runs it a million times, and the local world uses
//! it to deliver real streams to a real function. [`destination`] writes the object for a batch that Lambda gives up
//! on; [`object`] reads such an object, and those that the function itself keeps.
//!
//! Pure: no I/O, no clock, no async. Its only dependency in this workspace is the Lambda's library, to read an event's
//! records.

pub mod destination;
pub mod object;
mod sequence;
pub mod shard;

pub use sequence::SequenceNumber;
pub use shard::{Condition, MappingSettings, ShardState, Step, StreamRecord};

use std::sync::Arc;

/// The event with these records, as Lambda sends it: `{"Records": […]}`.
#[must_use]
pub fn event(records: &[Arc<StreamRecord>]) -> String {
    event_of(records.iter().map(|record| record.json.as_str()))
}

/// The same, for records as JSON.
fn event_of<'a>(records: impl Iterator<Item = &'a str>) -> String {
    let records: Vec<_> = records.collect();
    format!("{{\"Records\":[{}]}}", records.join(","))
}
