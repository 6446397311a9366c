//! x
use std::time::Duration;
use crate::admit::Payload;
use crate::dispatcher::Output;

/// A direct question to the workers of a queue.
#[derive(Debug, Clone)]
pub struct Call {
    /// The queue's name, as the caller wrote it.
    pub queue: String,
    /// The kind's input message.
    pub payload: Payload,
    /// The longest time to wait for the answer; the default is 10 s, the most 60 s.
    pub timeout: Option<Duration>,
}

/// The answer to a call.
#[derive(Debug, Clone)]
pub struct Called {
    /// What the handler gave.
    pub output: Output,
    /// The worker process that answered.
    pub worker: String,
}
