//! The contract of the fleet: what a dispatcher and a worker have to agree on, and nothing else.
//!
//! In here there is no I/O, no clock and no NATS client: times and random numbers are arguments, decisions are values.
//! That is why the very same functions can be called by the worker, by tests, and by the model that explores every
//! order of crashes (`tests/model`).
//!
//! In the order in which a task meets them:
//! - [`id`]: queues and task ids; a task's id alone tells where to look for it.
//! - [`blob`]: large payloads and outputs, and whose they are.
//! - [`names`]: every subject, stream, consumer, bucket and header name in the system.
//! - [`settings`]: what is set per queue, with defaults and bounds.
//! - [`schema`]: descriptor sets by hash, and which change of a kind is compatible.
//! - [`wire`]: an envelope as (subject, headers, bytes), and back.
//! - [`lifecycle`]: the states of a task and which may follow which.
//! - [`settlement`]: what a worker may do with a delivery, and in which order it stores what came of it.
//! - [`backoff`]: how long a retry waits.
//! - [`limits`]: every bound of the contract, by name.

extern crate self as workfleet_proto;

pub mod backoff;
pub mod blob;
pub mod id;
pub mod lifecycle;
pub mod limits;
pub mod names;
pub mod schema;
pub mod settings;
pub mod settlement;
mod task;
pub mod wire;

pub use task::Task;

/// The fleet's own messages, generated from `workfleet/v1/*.proto`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    unused_qualifications,
    rust_2018_idioms,
    rustdoc::all
)]
pub mod v1 {
    tonic::include_proto!("workfleet.v1");

    /// The descriptor set of this package, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/workfleet.v1.descriptors"));
}

/// The kinds that come with the project, one module for each file in `proto/kinds`.
#[allow(rustdoc::all)]
pub mod kinds {
    include!(concat!(env!("OUT_DIR"), "/kinds.rs"));
}
