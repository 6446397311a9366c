//! x
use std::time::Duration;
use bytes::Bytes;
use crate::view::UnixMs;

/// A task as a caller asks for it.
#[derive(Debug, Clone)]
pub struct Submit {
    /// The queue's name, as the caller wrote it.
    pub queue: String,
    /// The kind's input message.
    pub payload: Payload,
    /// The same key gives the same task.
    pub idempotency_key: Option<String>,
    /// Wait for the end for so long; absent: do not wait.
    pub wait: Option<Duration>,
    /// What else is asked for.
    pub options: Options,
}

/// A message of the kind in one of its two forms.
#[derive(Debug, Clone)]
pub enum Payload {
    /// As JSON text.
    Json(Bytes),
    /// Encoded.
    Protobuf(Bytes),
}

/// What can be asked for beside the payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Start no sooner than in this time.
    pub delay: Option<Duration>,
    /// Start no sooner than at this time. Not with `delay`.
    pub at: Option<UnixMs>,
    /// A lane of the queue.
    pub priority: Option<String>,
    /// Tasks with one ordering key share a bucket.
    pub ordering_key: Option<String>,
    /// How often the handler may be started; the default is the queue's.
    pub attempts_max: Option<u32>,
}
