//! The commands of `config-audit`, one file or folder each: its arguments, what it does, and how it prints the result.

pub mod alarms;
pub mod backfill;
pub mod dashboards;
pub mod history;
pub mod invoke;
pub mod local;
pub mod redrive;
pub mod tail;
pub mod verify;
