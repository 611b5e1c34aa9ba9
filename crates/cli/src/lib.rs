//! The command `config-audit`, for operators of the audit Lambda and readers of its audit trail.
//!
//! [`commands`] has one file or folder for each command. What the entries of the Audit table say as a whole is in
//! `config-audit-trail`, and `config-audit-tables` reads both tables; [`tables`] has their options. `config-audit-faults` plays
//! faults for the alarms and the dashboards. [`aws`] is the user's account, [`moment`] a time on the command line, [`files`]
//! the files of the repository, [`place`] a bucket or a copy of it, [`witnesses`] what the witness function stored there, [`entry`] an entry in a line for people, [`lines`] entries as rows and JSON, [`telemetry`] the
//! function's telemetry, [`progress`] the progress of long commands, and [`terminal`] the one module that writes.
//!
//! It may use every package of this workspace. No package uses this one: it is a library only for its tests.

pub mod aws;
pub mod commands;
pub mod entry;
pub mod files;
pub mod lines;
pub mod moment;
pub mod place;
pub mod progress;
pub mod tables;
pub mod telemetry;
pub mod terminal;
pub mod witnesses;
