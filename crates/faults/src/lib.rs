//! The faults that alarms are checked against, dashboards are drawn for, and incidents are practised with.
//!
//! [`catalog`] lists them. The simulator plays each through the function's own handler ([`play`]), and CloudWatch gets what it
//! would get in production: the function's log lines, minutes late, and AWS's own metrics. The alarms are the deployed
//! ones, and [`config_audit_cloudwatch`] evaluates them.

pub mod case;
pub mod catalog;
mod deployed;
mod loss;
pub mod month;
mod playback;
mod received;
pub mod trial;

pub use deployed::DeployedAlarms;
pub use loss::Loss;
pub use playback::{Playback, PlayedCase, play, play_all};
pub use received::{LATE_MINUTES, REGION, minute_of, resolve, time};
