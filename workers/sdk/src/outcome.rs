//! What middleware sees: a [`Delivery`] going in, an [`Outcome`] coming out.
//!
//! The error type of the service is `Infallible`: whatever goes wrong in a handler is an outcome, so that no layer can
//! drop a failure by mistake. [`KindWorker::layer`](crate::KindWorker::layer) has an example.

use bytes::Bytes;

use crate::context::Context;
use crate::error::TaskError;

/// A task on its way to the handler.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// What the handler will see as its context.
    pub context: Context,
    /// The kind's input message, encoded.
    pub payload: Bytes,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The kind's output message, encoded.
    Completed(Bytes),
    /// The handler failed.
    Failed(TaskError),
    /// The payload is not the kind's input message, for this reason; the handler was not started.
    Undecodable(String),
}
