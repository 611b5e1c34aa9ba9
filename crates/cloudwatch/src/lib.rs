//! How CloudWatch and X-Ray interpret a function's log lines and segments, and the deployed alarms and dashboards.
//!
//! Pure: no I/O, no clock, no SDK, and no other package of this workspace.
//!
//! - [`line`] parses what a function prints, and decides which lines become metrics and which ones CloudWatch rejects;
//!   [`span`] reads X-Ray segments; [`units`] writes values for people.
//! - [`metrics`] holds metric data, and [`math`] evaluates expressions over it.
//! - [`insights`] runs Logs Insights queries.
//! - [`alarms`] reads alarms and computes how their states change; [`dashboard`] reads dashboards. Both come from the
//!   deployed files, which are [`template`]s or contain placeholders as templates do.

pub mod alarms;
pub mod dashboard;
pub mod insights;
pub mod line;
pub mod math;
pub mod metrics;
pub mod span;
pub mod template;
pub mod units;
