//! Delivers events to somebody's URL, signed after the [Standard Webhooks](https://www.standardwebhooks.com)
//! specification. docs/workers/webhook.md says what it promises to those who submit and those who receive.
//!
//! The modules are the stations of a delivery, in its order:
//! - `settings`: the worker's own variables;
//! - `handler`: one attempt, from the request to the reply;
//! - `order`: the request, checked; `target`: its URL; `json`: its data as text;
//! - `secrets` and `sign`: what proves to the receiver who sent it;
//! - `client`: sends it and waits for the status, never longer than it may;
//! - `connect`, `resolve`, `address`: to whom a connection is made, and to whom never;
//! - `span`: what the trace tells of it;
//! - `verdict`, `retry_after`, `error`: what the answer, or its absence, means for the task.
//!
//! HTTP is spoken with hyper's own pooled client over a connector of ours. A ready-made client would be less code, but
//! whether an address is public must be asked of the one that is connected to, after the name was resolved and without
//! a second look-up, and that is the connector's place. It would also bring TLS to every other program of the workspace
//! that uses the same client crate.

mod settings;

mod handler;

mod json;
mod order;
mod target;

mod secrets;
mod sign;

mod client;

mod address;
mod connect;
mod resolve;

mod span;

mod error;
mod retry_after;
mod verdict;

pub use handler::Webhook;
pub use resolve::{Resolve, Resolved};
pub use settings::{Addresses, HELP, Settings};

#[cfg(test)]
mod tests;

/// TLS with a real server at the other end: who is trusted, and that nothing is sent to anybody else.
#[cfg(test)]
mod tls_tests;
