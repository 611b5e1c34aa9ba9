//! The local world: the function's real binary with everything that surrounds it in AWS, on 127.0.0.1.
//!
//! | in AWS | here |
//! |---|---|
//! | DynamoDB and its streams | [`database`]: dynoxide in this process, or any endpoint |
//! | the S3 buckets | [`bucket`]: the S3 API over a directory |
//! | Lambda's execution environment, Runtime API and X-Ray daemon | [`function`] |
//! | the witness function and its bucket | `witness`, if the world has one |
//! | the event source mapping | [`mapping`]: `config-audit-mapping` decides, a poller reads the stream |
//!
//! [`World`] puts them together, and [`faults`] breaks them on purpose. Each part publishes what happens as a
//! [`WorldEvent`] on the [`EventBus`]; none of them prints. [`aws`] holds what is true of DynamoDB tables anywhere: it
//! does not know the local world.
//!
//! From this workspace it uses the mapping, the Lambda's library (its clock and environment) and
//! `config-audit-cloudwatch`, which reads the function's log lines. It does not know the simulator or the command.

pub mod aws;
pub mod bucket;
pub mod database;
mod entries;
pub mod event;
pub mod faults;
pub mod function;
pub mod invocation;
pub mod mapping;
pub mod server;
mod witness;
pub mod world;

pub use aws::AwsSettings;
pub use bucket::Bucket;
pub use database::Database;
pub use event::{BoundedEvents, EventBus, Received, WorldEvent, WorldTable};
pub use faults::{Breaker, Faults};
pub use function::{Function, FunctionSettings, Trace};
pub use invocation::{CompletedInvocation, ErrorReport, InvocationError, Outcome};
pub use world::{Source, Store, World, WorldError, WorldSettings};
