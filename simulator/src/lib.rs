//! The whole path of an audit on a virtual clock.

pub mod mapping;
