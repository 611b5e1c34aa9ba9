//! config-audit
pub mod audit;
pub mod stream;
pub mod value;
