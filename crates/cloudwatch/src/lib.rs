//! What CloudWatch and X-Ray make of a function's log lines and segments, and of the alarms and dashboards that are deployed.
//!
//! Pure: no I/O, no clock, no SDK, and no other package of this workspace.
//!
//! - [`line`] parses what a function prints, and decides which lines become metrics and which ones CloudWatch rejects;
//!   [`span`] reads X-Ray segments; [`units`] writes values for people.
//! - [`metrics`] holds metric data, and [`math`] evaluates expressions of it.
//! - [`insights`] runs Logs Insights queries.
//! - [`alarms`] reads alarms and says how their states change; [`dashboard`] reads dashboards. Both come from the files that
//!   are deployed, which are [`template`]s or contain placeholders as templates do.

pub mod alarms;
pub mod dashboard;
pub mod insights;
pub mod line;
pub mod math;
pub mod metrics;
pub mod span;
pub mod template;
pub mod units;
