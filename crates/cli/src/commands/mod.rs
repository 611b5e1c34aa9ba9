//! The commands of `config-audit`, one file or folder each: its arguments, what it does, and how it prints the result.
//! `main.rs` has the list of them with their help.

pub mod alarms;
pub mod backfill;
pub mod completions;
pub mod console;
pub mod dashboards;
pub mod history;
pub mod invoke;
pub mod local;
pub mod redrive;
pub mod tail;
pub mod verify;
