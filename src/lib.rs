//! config-audit
pub mod audit;
pub mod clock;
pub mod handler;
pub mod quarantine;
pub mod report;
pub mod settings;
pub mod store;
pub mod stream;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod value;
pub mod writer;
