//! A submit to an envelope, or a refusal.
//!
//! Pure: time and random numbers are arguments, so every refusal can be tested with plain values, and HTTP, gRPC and
//! in-process callers meet one and the same admission.

mod deadline;
pub(crate) mod labels;
mod options;
mod parent;

pub use deadline::Deadline;
pub(crate) use deadline::in_force_again;
pub use options::Options;
pub(crate) use options::{duration, time};
pub(crate) use parent::{Earlier, Parent};

use std::time::Duration;

use bytes::Bytes;
use workfleet_proto::id::{ChildKey, QueueName, TaskId};
use workfleet_proto::limits::{
    DEAD_MS_MAX, IDEMPOTENCY_KEY_BYTES_MAX, INLINE_BYTES_MAX, LARGE_WAIT_MS_MAX, ORDERING_KEY_BYTES_MAX,
    TRACE_DELAY_MS_MAX,
};
use workfleet_proto::names::Lane;
use workfleet_proto::settings;
use workfleet_proto::v1::{Envelope, QueueSettings};
use workfleet_proto::wire::TraceMode;

use crate::error::ApiError;
use crate::limits::DELAY_MAX;

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

impl Payload {
    /// Its size as it came.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(bytes) | Self::Protobuf(bytes) => bytes.len(),
        }
    }
}

/// What admission goes by beside the submit itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) queue: &'a QueueName,
    pub(crate) settings: &'a QueueSettings,
    /// Hash of the schema that the payload is written with.
    pub(crate) schema: &'a str,
    pub(crate) now_ms: i64,
    pub(crate) random: [u8; 10],
}

/// A task that may be stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Admitted {
    pub(crate) id: TaskId,
    pub(crate) lane: Lane,
    pub(crate) start: Start,
    pub(crate) identity: Identity,
    pub(crate) earlier: Earlier,
    pub(crate) turn: Turn,
    pub(crate) trace: TraceMode,
    pub(crate) envelope: Envelope,
}

/// Which run of its task a submit begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) run: u32,
    /// Sequence of the mark that its result must replace; 0: none.
    pub(crate) result_sequence: u64,
}

impl Turn {
    /// That of a task that nobody knows yet.
    pub(crate) const FIRST: Self = Self { run: 1, result_sequence: 0 };
}

/// When a task may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// As soon as a slot is free.
    Now,
    /// At this time, milliseconds since the Unix epoch.
    At(i64),
}

/// Whether a repeat of the submit would be the same task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Every submit is a task of its own.
    Fresh,
    /// The idempotency key says so.
    Keyed,
    /// It is the how-manieth child of its parent. A handler whose children are counted must repeat them as they were.
    Ordinal,
    /// It is the child of this name. What the first one was submitted with stands.
    Named,
}

impl Identity {
    /// Whether the task's id says which task it is, so that a record of it is kept.
    pub(crate) fn is_kept(self) -> bool {
        self != Self::Fresh
    }
}

/// Makes the envelope.
///
/// # Errors
/// When an option is out of its bounds.
pub(crate) fn admit(
    key: Option<&str>,
    parent: Option<&Parent>,
    options: &Options,
    payload: Bytes,
    given: &Given<'_>,
) -> Result<Admitted, ApiError> {
    let ordering_key = bounded_text("ordering_key", options.ordering_key.as_deref(), ORDERING_KEY_BYTES_MAX)?;
    let key = bounded_text("Idempotency-Key", key, IDEMPOTENCY_KEY_BYTES_MAX)?;
    labels::check_all(&options.labels)?;
    let start = start(options, given.now_ms)?;
    check_age(options, start, payload.len(), given)?;
    let deadline_ms = deadline::in_force(options, parent, start, payload.len(), given)?;
    let (id, identity) = identity(key, parent, ordering_key, given)?;
    let not_before_ms = match start {
        Start::Now => None,
        Start::At(at_ms) => Some(at_ms),
    };
    let far = not_before_ms.is_some_and(|at_ms| at_ms - given.now_ms > TRACE_DELAY_MS_MAX);
    Ok(Admitted {
        lane: lane(options, given.settings)?,
        start,
        identity,
        earlier: parent.map_or(Earlier::Unknown, |parent| parent.earlier),
        turn: Turn::FIRST,
        trace: if far { TraceMode::Linked } else { TraceMode::Child },
        envelope: Envelope {
            id: id.to_string(),
            payload,
            schema: given.schema.to_owned(),
            submitted_at_ms: given.now_ms,
            not_before_ms,
            deadline_ms,
            attempts_max: attempts_max(options, given.settings)?,
            backoff: given.settings.backoff,
            timeout_ms: deadline::timeout_ms(options, given)?,
            ordering_key: ordering_key.map(ToOwned::to_owned),
            labels: options.labels.clone().into_iter().collect(),
            parent_id: parent.map(|parent| parent.id.to_string()),
            ..Envelope::default()
        },
        id,
    })
}

fn identity(
    key: Option<&str>,
    parent: Option<&Parent>,
    ordering_key: Option<&str>,
    given: &Given<'_>,
) -> Result<(TaskId, Identity), ApiError> {
    let now_ms = u64::try_from(given.now_ms).unwrap_or(0);
    Ok(match (key, parent) {
        (None, None) => (TaskId::new(given.queue, now_ms, given.random, ordering_key), Identity::Fresh),
        (Some(key), None) => (TaskId::keyed(given.queue, key, ordering_key), Identity::Keyed),
        (None, Some(parent)) => {
            let identity = match parent.key {
                ChildKey::Ordinal(_) => Identity::Ordinal,
                ChildKey::Name(_) => Identity::Named,
            };
            (TaskId::child(given.queue, &parent.id, parent.run, &parent.key, ordering_key), identity)
        }
        (Some(_), Some(_)) => {
            let detail = "a child has no idempotency key: its parent and its name say which task it is";
            return Err(ApiError::invalid_option("Idempotency-Key", detail));
        }
    })
}

fn bounded_text<'a>(name: &str, text: Option<&'a str>, bytes_max: usize) -> Result<Option<&'a str>, ApiError> {
    match text {
        Some("") => Err(ApiError::invalid_option(name, format!("{name} is empty"))),
        Some(text) if text.len() > bytes_max => {
            let detail = format!("{name} has {} bytes; the limit is {bytes_max} bytes", text.len());
            Err(ApiError::invalid_option(name, detail))
        }
        text => Ok(text),
    }
}

fn start(options: &Options, now_ms: i64) -> Result<Start, ApiError> {
    let delay_max_ms = i64::try_from(DELAY_MAX.as_millis()).unwrap_or(i64::MAX);
    let (name, at_ms) = match (options.delay, options.at) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid_option("at", "delay and at exclude each other: name one of them"));
        }
        (Some(delay), None) => ("delay", now_ms.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))),
        (None, Some(at)) => ("at", at.0),
        (None, None) => return Ok(Start::Now),
    };
    if at_ms.saturating_sub(now_ms) > delay_max_ms {
        let days = DELAY_MAX.as_secs() / 86_400;
        return Err(ApiError::invalid_option(name, format!("a task can start {days} days from now at the latest")));
    }
    Ok(if at_ms <= now_ms { Start::Now } else { Start::At(at_ms) })
}

/// A large payload is in a store that drops what is old, and the task's dead letter must still have it. Nobody knows how
/// long the task will wait for a slot and for retries; a bound on that would have to end tasks, so there is a margin.
fn check_age(options: &Options, start: Start, bytes: usize, given: &Given<'_>) -> Result<(), ApiError> {
    // A record of a queue that was made with less says so until it is provisioned again.
    let delay_ms_max = (given.settings.blobs_age_ms - DEAD_MS_MAX - LARGE_WAIT_MS_MAX).max(0);
    match start {
        Start::At(at_ms) if bytes > INLINE_BYTES_MAX && at_ms.saturating_sub(given.now_ms) > delay_ms_max => {
            let name = if options.delay.is_some() { "delay" } else { "at" };
            let days = delay_ms_max / (24 * 3_600_000);
            let detail = format!("a task with a payload of {bytes} bytes can start {days} days from now at the latest");
            Err(ApiError::invalid_option(name, detail))
        }
        _ => Ok(()),
    }
}

fn lane(options: &Options, settings: &QueueSettings) -> Result<Lane, ApiError> {
    let Some(priority) = options.priority.as_deref() else { return Ok(settings::default_lane(settings)) };
    let lanes = settings::lanes(settings);
    let asked = priority.parse::<Lane>().ok().filter(|lane| lanes.contains(lane));
    asked
        .ok_or_else(|| ApiError::invalid_option("priority", "the queue has no such lane").known(settings.lanes.clone()))
}

pub(crate) fn attempts_max(options: &Options, settings: &QueueSettings) -> Result<u32, ApiError> {
    const ATTEMPTS_MAX: u32 = 1_000;
    match options.attempts_max {
        None => Ok(settings.attempts_max),
        Some(number) if (1..=ATTEMPTS_MAX).contains(&number) => Ok(number),
        Some(number) => {
            let detail = format!("attempts_max is {number}, but must be from 1 to {ATTEMPTS_MAX}");
            Err(ApiError::invalid_option("attempts_max", detail))
        }
    }
}

#[cfg(test)]
#[path = "admit_tests.rs"]
mod tests;
