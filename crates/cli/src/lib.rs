//! The command `config-audit`: for those who run the audit Lambda, and for those who read what it wrote.
//!
//! [`commands`] has one file or folder for each command. [`trail`] is what the entries of the Audit table say together; it is
//! pure, and [`tables`] reads both tables for it. [`faults`] plays faults for the alarms and the dashboards. [`aws`] is the
//! user's account, [`files`] the files of a directory, [`moment`] a time on the command line, [`progress`] the progress of long
//! commands, and [`terminal`] the one module that prints.
//!
//! It may use every package of this workspace, but [`trail`] uses only the Lambda's library and the mapping's sequence numbers.
//! No package uses this one: it is a library only for its tests.

pub mod aws;
pub mod commands;
pub mod faults;
pub mod files;
pub mod moment;
pub mod progress;
pub mod tables;
pub mod terminal;
pub mod trail;
