//! The event source mapping: takes a table's stream to the function, as Lambda does.
//!
//! [`shard`] decides and does nothing else: no I/O, no clock, so a simulator can run it a million times. [`poller`]
//! reads the stream, invokes, and writes what Lambda gives up to the failure bucket. [`event`] writes the event as
//! Lambda writes it, [`destination`] the record of a batch that was given up, [`checkpoint`] keeps where we are.

pub mod checkpoint;
pub mod destination;
pub mod event;
pub mod poller;
mod sequence;
pub mod shard;

pub use sequence::SequenceNumber;
pub use shard::{Condition, MappingSettings, ShardState, Step, StreamRecord};
