//! The whole path of an audit on a virtual clock: nothing is lost or duplicated, whatever goes wrong.
//!
//! One seed determines a run. A [`scenario`] says what the writers do and which faults occur when; [`world`] plays it
//! on one thread. Modules import only from further down this list:
//!
//! | module | contents |
//! |---|---|
//! | [`campaign`], [`shrink`] | many runs; a failing run shrunk until it is readable |
//! | [`world`] | one run, assembled from the parts below |
//! | [`tampering`] | somebody tampers with the Audit table, and the real witness handler watches |
//! | `mapping`, `function`, `stream` | the event source mapping's lanes; the function with the real handler; the writers and the stream |
//! | `table`, `bucket` | the Audit table and the failure bucket, with every fault |
//! | `run` | what all parts share: the clock, randomness, the tasks |
//! | `laws` | what must hold; a law reads the ledger or a log and returns violations |
//! | `ledger`, `log` | what happened in the run; what the table and the bucket saw of one invocation |
//! | [`observed`], `witness` | what CloudWatch gets, also from the witness function |
//! | [`scenario`], [`fault`] | what happens in a run; every kind of fault |
//! | [`change`], [`expected`], [`value`], `limits` | the reference model, which says what entries a change must have |
//!
//! From this workspace, it uses the Lambda's library, the mapping, and what compares entries with their witnesses. It does no I/O.

mod bucket;
pub mod campaign;
pub mod change;
pub mod expected;
pub mod fault;
mod function;
mod laws;
mod ledger;
mod limits;
mod log;
mod mapping;
pub mod observed;
mod run;
pub mod scenario;
pub mod shrink;
mod stream;
mod table;
pub mod tampering;
pub mod value;
mod witness;
pub mod world;
