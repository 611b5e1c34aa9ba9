//! The whole path of an audit on a virtual clock: nothing lost, nothing twice, whatever goes wrong.
//!
//! A run is made of one seed: [`scenario`] is what the writers do and which faults come when; [`world`] plays it on one
//! thread, with the Lambda's real handler, the mapping as Lambda has it, and a table and a bucket that fail in every
//! way of [`fault`]. [`change`] is the reference: which entries a change must have. A campaign makes many runs, and fails
//! where it has not seen every fault. A run that breaks a promise is made [`shrink`]er, until it can be read.
//!
//! Of this workspace it uses the Lambda's library and the mapping. It does no I/O; its time is virtual.

mod bucket;
pub mod campaign;
pub mod change;
pub mod fault;
mod function;
mod laws;
mod ledger;
mod log;
mod mapping;
pub mod observed;
mod run;
pub mod scenario;
pub mod shrink;
mod stream;
mod table;
pub mod world;
