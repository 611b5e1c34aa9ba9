//! The Lambda's own binary on real engines.
//!
//! [`scene`] runs it and checks what is promised for every invocation. The others check what is promised for some: what
//! is stored, what happens when the store fails, when everything fails, or when the settings are wrong, the failure
//! bucket, and the telemetry.

mod commands;
mod emf;
mod endurance;
pub(crate) mod engine;
mod entries;
mod environment;
mod faults;
mod hostile;
mod limits;
mod memory;
mod misconfiguration;
pub(crate) mod proxy;
mod quarantine;
pub(crate) mod records;
pub(crate) mod scene;
mod secrets;
mod segments;
mod spans;
mod telemetry;
mod wire;
