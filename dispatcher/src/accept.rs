//! Bytes to submits and calls, and answers back: one place per protocol, and nothing else here knows HTTP, gRPC or
//! requests over NATS.

pub mod fleet;
pub mod grpc;
pub mod http;
