//! The operator's side of config-audit: everything that runs on a person's own machine, and nothing that ships.
//!
//! [`local`] is the local world: the real `bootstrap` binary under a Runtime API of our own, an embedded DynamoDB, an
//! embedded S3, an X-Ray daemon and an event source mapping that behaves as Lambda's does. It is a library that *tells*
//! what happens in it ([`local::Happening`]); what a person sees is made by whoever listens.
//!
//! The commands are thin: [`invoke`] runs one event through the function, [`run_local`] keeps the world up. [`history`],
//! [`verify`], [`backfill`], [`tail`] and [`redrive`] work on the tables and the failure bucket of an account, or of the
//! local world; what entries tell together is in [`trail`]. [`alarms`] tries the deployed alarms on simulated faults, and
//! [`dashboards`] draws the deployed dashboards of them, with [`cloudwatch`] to evaluate both.
//! [`entry`] writes audit entries as plain JSON, [`telemetry`] makes sense of what the function printed and traced,
//! and [`terminal`] is the one module that prints.

pub mod alarms;
pub mod aws;
pub mod backfill;
pub mod clock;
pub mod cloudwatch;
pub mod dashboards;
pub mod entry;
pub mod environment;
pub mod files;
pub mod history;
pub mod invoke;
pub mod local;
pub mod redrive;
pub mod run_local;
pub mod tail;
pub mod telemetry;
pub mod terminal;
pub mod trail;
pub mod verify;
