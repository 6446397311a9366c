//! The harness: starts a real fleet in a temporary folder and speaks to it, so that a test is a few lines.
//!
//! ```no_run
//! # async fn a_test() {
//! use workfleet_tests::{Fleet, Probe};
//! let fleet = Fleet::start().await;
//! let id = fleet.submit(&Probe::echo("hello")).await;
//! let task = fleet.ended(&id).await;
//! assert_eq!(task["output"]["echo"], "hello");
//! # }
//! ```
//!
//! Everything is real: the pinned nats-server, the programs as `make test` has built them, signals, ports and files. The
//! alternative, dispatcher and worker as tasks inside the test's process, would start faster, but no task can be killed
//! with SIGKILL or frozen with SIGSTOP, and that is what the fleet's guarantees are about.
//!
//! In the order in which a test meets them:
//! - [`Fleet`]: what is started, and everything a test asks of it.
//! - [`Probe`]: the input of the worker that does what a test tells it, and [`runs`], what that worker wrote down.
//! - [`Http`] and [`sse`]: the REST edge; the gRPC edge is the generated client.
//! - [`Receiver`]: whom webhooks are sent to, well-behaved or not.
//! - [`Worker`], [`Nats`], [`Cluster`], [`Process`]: what is killed, frozen and started again.
//! - [`Stand`] and [`Proxy`]: several dispatchers behind clients that go on, and links that are cut, stalled and slowed.
//! - [`Keys`] and [`Thief`]: a broker that knows who may do what, and somebody who tries what is not his to do.
//! - [`Authority`]: whom a fleet over TLS trusts.
//! - [`MailSink`]: the SMTP server that mails arrive at.
//! - [`Observer`]: counts how often each result was stored.
//! - [`stores`] and [`memory`]: what lies in the object stores, and how much memory a process took.
//! - [`Traces`] and [`jaeger`]: where spans arrive.
//! - [`eventually`]: how a test waits.

mod authority;
mod cluster;
mod fleet;
mod http;
pub mod jaeger;
mod keys;
mod mail_sink;
pub mod memory;
mod nats;
mod observer;
mod place;
mod probe;
mod process;
mod proxy;
mod queues;
mod receiver;
pub mod runs;
pub mod sse;
mod stand;
pub mod stores;
mod traces;
mod wait;
mod worker;

pub use authority::Authority;
pub use cluster::{Broker, Cluster, ClusterBuilder, SERVERS};
pub use fleet::{Fleet, FleetBuilder};
pub use http::{Answer, Http, Request, client, get};
pub use keys::{Keys, Thief};
pub use mail_sink::MailSink;
pub use nats::Nats;
pub use observer::Observer;
pub use place::{program, workspace};
pub use probe::Probe;
pub use process::{Process, Spec};
pub use proxy::{Link, Proxy};
pub use queues::QueueSettings;
pub use receiver::{Call, Reaction, Receiver};
pub use stand::{Edges, Stand, StandPlan};
pub use traces::{Span, Traces};
pub use wait::{eventually, eventually_within};
pub use worker::Worker;

/// The probe's messages, generated as a worker's are.
#[allow(rustdoc::all)]
pub mod kinds {
    include!(concat!(env!("OUT_DIR"), "/kinds.rs"));
}
