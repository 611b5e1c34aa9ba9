//! `simulate`.
fn main() {}
