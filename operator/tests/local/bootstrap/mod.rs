//! The Lambda's own binary, whole, on real engines.
//!
//! [`scene`] runs it and holds every invocation to what is promised of all of them; the rest says what is promised of
//! some: what is stored, when the store fails, when the settings are wrong, in the failure bucket, and in the
//! telemetry.

mod commands;
mod emf;
pub(crate) mod engine;
mod entries;
mod faults;
mod misconfiguration;
mod proxy;
mod quarantine;
mod records;
mod scene;
mod secrets;
mod segments;
mod spans;
mod telemetry;
