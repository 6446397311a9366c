//! Bytes to submits and calls, and answers back: one folder per protocol, and nothing else here knows HTTP or gRPC.

pub mod grpc;
pub mod http;
