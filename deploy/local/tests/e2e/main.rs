//! The supervisor from outside: real programs, started and killed for real. They must have been built
//! (`cargo build --workspace --bins`, which `make test` does first).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fleet;
mod guard;
mod support;
