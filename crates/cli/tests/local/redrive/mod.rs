//! `redrive`: every record in the failure bucket that can be recovered is, exactly once, and nothing in the bucket is
//! lost.

mod command_line;
mod faults;
mod hostile;
mod replays;
pub(crate) mod scene;
