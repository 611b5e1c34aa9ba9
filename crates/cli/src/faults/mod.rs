//! The faults that alarms are checked against and dashboards are drawn for.
//!
//! [`catalog`] lists them. The simulator plays each through the function's own handler ([`play`]), and CloudWatch gets what it
//! would get in production: the function's log lines, minutes late, and AWS's own metrics. The alarms are the deployed
//! ones, and [`config_audit_cloudwatch`] evaluates them.

pub mod case;
pub mod catalog;
mod deployed;
pub mod month;
mod playback;
mod received;
pub mod trial;

pub use deployed::{DeployedAlarms, ReadAlarmsError};
pub use playback::{Playback, PlayedCase, play, play_all};
pub use received::{LATE_MINUTES, REGION, minute_of, resolve, time};
