//! The local world: the function's real binary with everything that surrounds it in AWS, on 127.0.0.1.
//!
//! | in AWS | here |
//! |---|---|
//! | DynamoDB and its streams | [`database`]: dynoxide in this process, or any endpoint |
//! | the S3 failure bucket | [`bucket`]: the S3 API over a directory |
//! | Lambda's Runtime API | [`runtime_api`]: one server for each process it serves |
//! | Lambda's execution environment | [`function`]: starts, times, kills and restarts the process |
//! | the X-Ray daemon | [`xray`]: a UDP socket |
//! | the event source mapping | [`mapping`]: `config-audit-mapping` decides, a poller reads the stream |
//!
//! [`World`] puts them together. All of them tell what happens through [`Happenings`]; none of them prints.
//! [`entry`] shows an audit entry as plain JSON.
//!
//! Of this workspace it uses the mapping, the Lambda's library (its clock and environment) and `config-audit-cloudwatch`,
//! which reads the function's log lines. It knows neither the simulator nor the command.

pub mod bucket;
pub mod clients;
pub mod database;
pub mod entry;
pub mod function;
pub mod happening;
pub mod mapping;
pub mod runtime_api;
mod server;
pub mod stream;
pub mod world;
pub mod xray;

pub use bucket::Bucket;
pub use clients::Identity;
pub use database::Database;
pub use function::{Answer, ErrorReport, Function, FunctionSettings, Trace};
pub use happening::{Happening, Happenings};
pub use world::{Source, Store, World, WorldError, WorldSettings};

/// An error and what caused it, in one line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
