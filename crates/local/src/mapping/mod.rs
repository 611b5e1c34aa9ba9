//! The event source mapping: takes a table's stream to the function, as Lambda does.
//!
//! What it decides is the model's ([`config_audit_mapping`]), so what is simulated a million times is what
//! runs here. [`poller`] reads the stream, invokes, and writes what Lambda gives up to the failure bucket. [`event`]
//! writes records as Lambda writes them, [`checkpoint`] keeps where we are.

pub mod checkpoint;
pub mod event;
pub mod poller;
