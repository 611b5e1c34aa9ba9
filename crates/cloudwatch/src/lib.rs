//! What CloudWatch and X-Ray make of a function's log lines and segments, and of the alarms and dashboards that are deployed.
//!
//! Pure: no I/O, no clock, no SDK, and no other package of this workspace.
//!
//! - [`telemetry`] reads log lines and X-Ray segments; [`logs`] decides which lines become metrics and which ones CloudWatch
//!   rejects; [`units`] writes values with a unit that people can read.
//! - [`metrics`] holds metric data, and [`math`] evaluates expressions of it.
//! - [`alarms`] reads alarms and says how their states change; [`dashboard`] reads dashboards. Both come from the files that
//!   are deployed, which are [`template`]s or contain placeholders as templates do.

pub mod alarms;
pub mod dashboard;
pub mod logs;
pub mod math;
pub mod metrics;
pub mod telemetry;
pub mod template;
pub mod units;
