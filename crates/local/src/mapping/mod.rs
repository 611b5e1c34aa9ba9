//! The event source mapping: delivers a table's stream to the function, as Lambda does.
//!
//! [`config_audit_mapping`] decides everything, so what runs here is what the simulator tries a million times.
//! [`poller`] reads the stream, invokes the function, and writes batches that Lambda gives up on to the failure bucket.
//! [`record`] formats records as Lambda does, and [`checkpoint`] stores the position. `warnings` reports each error
//! once.

pub mod checkpoint;
pub mod poller;
pub mod record;
mod warnings;
