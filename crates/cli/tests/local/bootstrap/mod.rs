//! The Lambda's own binary, whole, on real engines.
//!
//! [`scene`] runs it and holds every invocation to what is promised of all of them; the rest says what is promised of
//! some: what is stored, when the store fails, when everything does, when the settings are wrong, in the failure bucket,
//! and in the telemetry.

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
