//! The commands of `config-audit`, one file or folder each, with arguments, logic and output. `main.rs` lists them with
//! their help.

pub mod alarms;
pub mod backfill;
pub mod completions;
pub mod console;
pub mod dashboards;
pub mod export;
pub mod history;
pub mod invoke;
pub mod local;
pub mod redrive;
pub mod seal;
pub mod tail;
pub mod verify;
