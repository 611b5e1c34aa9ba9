//! The laws: what must hold at each write, at each answer, and once everything has settled. A law reads the ledger, or
//! the log of one invocation, and returns the violations; it changes nothing.

mod answer;
mod cause;
mod end;
mod entry;
mod invocation;
mod metrics;
mod need;

pub(crate) use answer::of_an_answer;
pub(crate) use end::{at_the_end, of_an_expiry, of_the_destination};
pub(crate) use entry::{of_a_request, of_an_entry};
pub(crate) use invocation::of_an_invocation;
