//! The commands of `config-audit`, one file or folder each: arguments, what it does, and how it shows it.

pub mod alarms;
pub mod backfill;
pub mod dashboards;
pub mod history;
pub mod invoke;
pub mod local;
pub mod redrive;
pub mod tail;
pub mod verify;
