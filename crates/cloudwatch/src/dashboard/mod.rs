//! Dashboards, from the deployed files (Amazon CloudWatch API Reference, "Dashboard Body Structure and Syntax"): what
//! each widget draws, and from which data.
//!
//! Only what the bundled dashboards use is supported; anything else is an error that names it.

mod body;
mod model;
mod parse;

pub use model::{Axis, COLUMNS, Content, Dashboard, Graph, Line, Numbers, Threshold, Widget};
pub use parse::DashboardError;
