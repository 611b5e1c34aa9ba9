//! config-audit: an AWS Lambda that writes an audit entry for every change in a DynamoDB table, from the table's stream.
//!
//! # A tour
//!
//! [`lambda`] takes events from Lambda, one by one. [`handler`] handles each: every record is a [`journey`], which
//! [`stream`] decodes and [`audit`] plans entries for; [`writer`] writes them through a [`store`], and [`quarantine`]
//! stores records that no retry can fix. The result is one value, a [`report`], from which [`telemetry`] makes logs,
//! metrics and spans, and from which the answer to Lambda is made.
//!
//! | to change | go to |
//! |---|---|
//! | what is read from a record, a kind of record | [`stream`] |
//! | what an entry has in it; values that are too large for it | [`audit`]; its `limits` |
//! | the function that watches the Audit table | [`witness`] |
//! | which item is the canary, and has no entries | [`canary`] |
//! | when two values are equal | [`value`] |
//! | the steps for a record, and their order | [`journey`] |
//! | batches, retries, time-outs, requests in flight | [`writer`]; which errors are retried: [`store::dynamodb`] |
//! | connecting, start-up | [`lambda`] |
//! | objects for the failure bucket, how many at once | [`quarantine::uploader`] |
//! | how much time an invocation has, why it fails as a whole | [`invocation`] |
//! | what an error of DynamoDB or S3 means | [`store::dynamodb`], [`bucket::s3`] |
//! | why a record fails or is quarantined | [`reason`] |
//! | a metric | its row in [`telemetry::catalog`] |
//! | a member of the wide line | [`telemetry::Telemetry::wide_line`] |
//! | a log line about a record | [`telemetry::records`] |
//! | a span | [`telemetry::traces`] |
//! | a setting | [`settings`] |
//!
//! Outside this crate: the commands are in `crates/cli`, the faults for testing alarms in `crates/faults`, the alarms in
//! `alarms`, Lambda's redelivery in `serverless/trigger.yml`. `CONTRIBUTING.md` explains step by step how to extend each.
//!
//! # Invariants
//!
//! - A record is acknowledged only when its entries are known to be stored, or it is known to be in the failure bucket.
//! - [`stream`], [`audit`], [`canary`] and [`value`] do no I/O, read no clock and no environment, and print nothing.
//! - Only [`telemetry::output`] writes to standard output and standard error; each line
//!   on standard output is one JSON object.
//! - Only [`settings`] reads the environment, and only [`clock`] the time (`clippy.toml` enforces both).
//! - No value of a configuration item appears in a log line, a metric, a span or an error. Errors of libraries that
//!   could quote one are not passed on; our own words describe the problem.
//! - One [`report::Report`] describes everything an invocation did; nothing logs, counts or traces outside it.

pub mod audit;
pub mod aws;
pub mod bucket;
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
pub mod witness;
pub mod writer;
