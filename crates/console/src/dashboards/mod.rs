//! The dashboards that are deployed, drawn as CloudWatch draws them.
//!
//! `values` works out what each widget shows, `draw` makes HTML of it, with `chart` for its graphs; the command draws simulated
//! faults with them. `page` shows them on the local world's metrics and log.

mod chart;
mod draw;
mod log;
mod page;
mod values;

pub use chart::{ChartError, Mark, Points};
pub use draw::{Links, STYLE, draw};
pub(crate) use page::{BUNDLED, bundled, index, live, page};
pub use values::{AlarmState, Data, LineValues, LogResult, Number, Values, values};

#[cfg(test)]
mod tests;
