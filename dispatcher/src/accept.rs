//! Bytes to submits and calls, and answers back: one place per protocol, and nothing else here knows HTTP, gRPC or
//! requests over NATS.

pub mod fleet;
pub mod grpc;
pub mod http;

mod certificate;
mod listener;
mod stream;

pub use certificate::Certificate;
pub use listener::{Listener, Protocol};
