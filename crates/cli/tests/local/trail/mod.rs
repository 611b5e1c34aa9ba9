//! The commands that read the trail, as a user runs them: on a trail that the real function wrote, on a hundred thousand
//! entries, and where AWS refuses.

mod backfill;
mod commands;
mod export;
mod history;
mod keys;
mod large;
pub(crate) mod permissions;
pub(crate) mod scene;
mod tailing;
