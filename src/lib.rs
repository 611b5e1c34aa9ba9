//! config-audit: an AWS Lambda that writes an audit entry for every change in a DynamoDB table, from the table's stream.
//!
//! # A tour
//!
//! [`lambda`] takes events from Lambda, one by one. [`handler`] works on each: every record is a [`journey`], which [`stream`]
//! decodes and [`audit`] plans entries for; [`writer`] writes them through a [`store`], and [`quarantine`] keeps what no retry can
//! mend. What was done is one value, a [`report`]; [`telemetry`] makes logs, metrics and spans from it, and the answer to Lambda
//! is made from it too.
//!
//! | to change | go to |
//! |---|---|
//! | what is read from a record, a kind of record | [`stream`] |
//! | what an entry has in it; values that are too large for it | [`audit`]; its `limits` |
//! | which item is the canary, and has no entries | [`canary`] |
//! | when two values are equal | [`value`] |
//! | what is done with a record, and in which order | [`journey`] |
//! | batches, retries, time-outs, requests in flight | [`writer`]; which errors are retried: [`store::dynamodb`] |
//! | connecting, start-up | [`lambda`] |
//! | objects for the failure bucket, how many at once | [`quarantine::uploader`] |
//! | how much time an invocation has, why it fails as a whole | [`invocation`] |
//! | what an error of DynamoDB or S3 means | [`store::dynamodb`], [`quarantine::s3`] |
//! | why a record fails or is quarantined | [`reason`] |
//! | a metric | its row in [`telemetry::catalog`] |
//! | a member of the wide line | [`telemetry::Telemetry::wide_line`] |
//! | a log line about a record | [`telemetry::records`] |
//! | a span | [`telemetry::traces`] |
//! | a setting | [`settings`] |
//!
//! Outside of this crate: the commands and the faults that alarms are tried with are in `crates/cli`, the alarms in `alarms`,
//! Lambda's redelivery in `serverless/trigger.yml`. `CONTRIBUTING.md` says step by step how each is extended.
//!
//! # Invariants
//!
//! - A record is acknowledged only when its entries are known to be stored, or it is known to be in the failure bucket.
//! - [`stream`], [`audit`], [`canary`] and [`value`] do no I/O, read no clock and no environment, and print nothing.
//! - Only [`telemetry::output`] writes to standard output and standard error; each line
//!   on standard output is one JSON object.
//! - Only [`settings`] reads the environment, and only [`clock`] the time (`clippy.toml` holds both).
//! - No value of a configuration item is in a log line, a metric, a span or an error. Errors of libraries that could
//!   quote one are not passed on; our own words describe the problem.
//! - What one invocation did is one [`report::Report`]; nothing logs, counts or traces beside it.

pub mod audit;
pub mod aws;
pub mod canary;
pub mod clock;
pub mod handler;
pub mod invocation;
pub mod journey;
pub mod lambda;
pub mod quarantine;
pub mod reason;
pub mod report;
pub mod settings;
pub mod store;
pub mod stream;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod value;
pub mod writer;
