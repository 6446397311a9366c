//! Bytes to submits and calls, and answers back: one folder or file per protocol.
//!
//! `grpc` has one function for [`serve`](crate::serve()):
//! `pub async fn serve(listener: TcpListener, dispatcher: Dispatcher, callers: Callers, shutdown: CancellationToken) -> Result<(), tonic::transport::Error>`.

pub mod grpc;
pub mod http;
