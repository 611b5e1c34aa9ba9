//! The laws: what must hold at each write, at each answer, and when all has settled. A law reads the ledger, or the log of
//! one invocation, and returns what breaks it; it changes nothing.

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

/// How a key in the failure bucket begins, for a record that no retry can mend.
const QUARANTINED: &str = "quarantined/";
/// How it begins for the full record of values that were left out.
const OMITTED: &str = "omitted/";
/// The reason of a record whose entry DynamoDB finds invalid.
const REJECTED: &str = "rejected_by_dynamodb";
