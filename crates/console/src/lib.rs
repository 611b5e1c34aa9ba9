//! The console: web pages that show the local world while it runs.
//!
//! [`Console`] serves them on 127.0.0.1. Everything is embedded in the binary and rendered here as HTML with SVG. A
//! browser without JavaScript shows all of it; with JavaScript, pages update live.
//!
//! - [`activity`] is the recent activity, built from the world's events and kept in bounded memory.
//! - `site` has the routes and the security headers; `live` sends updates; `key` protects the trail of an account.
//! - `practice` plays incidents with the simulator, and does not touch the world.
//! - `trail` works on any Audit table, including one in an account.
//! - `overview` and its siblings are the pages: each builds a view, which becomes HTML or JSON.
//!
//! From this workspace it uses the local world, the tables and their trail, the mapping's sequence numbers,
//! CloudWatch's alarms and dashboards, the faults, and the Lambda's library. It does not know the command.

pub mod activity;
mod address;
mod alarms;
mod assets;
mod console;
pub mod dashboards;
mod faults;
mod invocations;
mod items;
mod key;
mod layout;
mod live;
mod markdown;
mod overview;
mod practice;
mod prometheus;
mod site;
#[cfg(test)]
mod testing;
mod text;
mod token;
mod trail;

pub use activity::Activity;
pub use console::{Console, ConsoleError, ConsoleSettings, DEFAULT_CONSOLE_PORT};
