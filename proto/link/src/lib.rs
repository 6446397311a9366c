//! What both sides of the broker share, so that it is written once: a dispatcher and a worker know nothing of each
//! other, but both keep a connection, publish in pipelines, read from the leader and tell the same story in telemetry.
//!
//! - [`config`]: variables, typed, every mistake reported together.
//! - [`broker`]: the connection to NATS.
//! - [`pipeline`]: publishes that wait for their own outcome.
//! - [`read`]: reads that a decision may rest on.
//! - [`batch`]: many messages in one question, for lists.
//! - [`blobs`]: large payloads, outputs and uploads in object stores.
//! - [`kinds`]: the contracts in the bucket `KINDS`.
//! - [`telemetry`]: traces, metrics and logs.
//! - [`admin`]: health and metrics over HTTP, for processes that have no other HTTP.
//! - [`ready`]: where a process listens, for whoever started it.
//! - [`tls`]: certificates and keys in files.
//! - [`time`]: the clock that people read.
//!
//! The alternative was to let each side write its own; docs/decisions/0002-one-link-crate.md says why not.

pub mod admin;
pub mod batch;
pub mod blobs;
pub mod broker;
pub mod config;
pub mod kinds;
pub mod pipeline;
pub mod read;
pub mod ready;
pub mod telemetry;
pub mod time;
pub mod tls;
