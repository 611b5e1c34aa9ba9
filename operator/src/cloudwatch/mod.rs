//! CloudWatch's alarms.

pub mod alarm;
pub mod composite;
pub mod math;
pub mod metrics;
