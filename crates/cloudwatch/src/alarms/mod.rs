//! Alarms: what they are, how a template declares them, and how their states change.
//!
//! [`Alarms::read`] reads the templates, [`Metrics`](crate::metrics::Metrics) holds the data, and [`Alarms::evaluate`]
//! computes how the states change. `rule.rs` decides the state of one alarm, and says which of its rules are AWS's and
//! which are assumptions.

mod composite;
mod definition;
mod evaluation;
mod parse;
mod promise;
mod properties;
mod rule;
mod set;

pub use composite::{CompositeRule, RuleError};
pub use definition::{Alarm, Kind, MetricAlarm};
pub use evaluation::Transition;
pub use promise::{Promise, runbook_name};
pub use rule::{Comparison, MissingData, State, ThresholdRule};
pub use set::{Alarms, AlarmsError};
