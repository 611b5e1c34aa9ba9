//! The local world from outside: the function's process, the whole flow, the commands, the real bootstrap.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod account;
mod alarms;
mod bootstrap;
mod commands;
mod console;
mod full_disk;
mod function;
mod loopback;
mod monitoring;
mod output;
mod redrive;
mod support;
mod trail;
mod witness;
mod world;
