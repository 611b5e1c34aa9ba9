//! The console: web pages that show the local world while it runs.
//!
//! [`Console`] serves them on 127.0.0.1. Everything is rendered here, as HTML with SVG, and embedded in the binary; a browser
//! without JavaScript shows all of it, and one with it shows what happens as it happens.
//!
//! - [`activity`] is what happened lately, in bounded memory, made from the world's events.
//! - `site` has the addresses, and what keeps the pages to themselves; `live` sends what changes.
//! - `trail` works on any Audit table, an account's too.
//! - `overview` and its neighbours are the pages: each makes a view of what it shows, which becomes HTML or JSON.
//!
//! Of this workspace it uses the local world, the tables and their trail, the mapping's sequence numbers, CloudWatch's units, and the Lambda's library. It
//! knows nothing of the command.

pub mod activity;
mod address;
mod alarms;
mod assets;
mod console;
mod faults;
mod invocations;
mod items;
mod layout;
mod live;
mod overview;
mod prometheus;
mod site;
mod text;
mod token;
mod trail;

pub use activity::Activity;
pub use console::{Console, ConsoleError, ConsoleSettings, DEFAULT_CONSOLE_PORT};
