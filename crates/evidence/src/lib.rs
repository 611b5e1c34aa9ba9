//! Evidence: what the witnesses of entries prove about a trail.
//!
//! The witness function stores a [`Witness`](config_audit::witness::Witness) of every entry in a bucket whose objects
//! cannot be changed. A [`Comparison`] takes the entries of the Audit table and the witnesses, in any order, and names each
//! entry that is not as it was witnessed. A [`Seal`] is a digest of the witnesses so far, to be kept by somebody else.
//!
//! Both read millions of entries in bounded memory: the rows wait in temporary files.

mod comparison;
mod finding;
mod merkle;
mod seal;
mod spool;

pub use comparison::{Comparison, Counts, Judgement, StoredEntry, Suspect};
pub use finding::{Finding, FindingKind};
pub use merkle::{Hash, Tree};
pub use seal::{Seal, SealError};
pub use spool::SpoolError;
