//! What tests/fuzz asks of this crate: stations that are private, each behind one plain function.
//!
//! It is there with the feature `fuzz` alone. To make the stations public instead would promise them to everybody who
//! uses the dispatcher as a library.

use std::path::Path;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use prost::Message as _;
use prost_reflect::MessageDescriptor;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::{self, Envelope, QueueSettings};

use crate::accept::http;
use crate::admit::{self, Given};
use crate::error::ApiError;
use crate::kinds::Queue;
use crate::list::ListTasks;
use crate::queues_file::{QueuesFile, QueuesFileError};
use crate::state::{self, Heard, Place, Waiting};
use crate::transcode;
use crate::view::TaskView;
use crate::{Options, Payload};

/// A payload that fits its kind: its bytes, and the SHA-256 of what it says.
pub type Checked = (Bytes, [u8; 32]);

/// Checks a payload as a submit does.
///
/// # Errors
/// What a caller would be told.
pub fn check(payload: Payload, input: &MessageDescriptor, bytes_max: usize) -> Result<Checked, ApiError> {
    transcode::check(payload, input, bytes_max).map(|checked| (checked.bytes, checked.sha256))
}

/// Writes an output as an answer does.
///
/// # Errors
/// When the bytes do not fit.
pub fn to_json(bytes: &Bytes, message: &MessageDescriptor) -> Result<String, String> {
    transcode::to_json(bytes, message).map(|json| json.get().to_owned()).map_err(|error| error.to_string())
}

/// SHA-256 of what encoded bytes say.
#[must_use]
pub fn sha256(bytes: &Bytes, message: &MessageDescriptor) -> Option<[u8; 32]> {
    transcode::sha256(bytes, message)
}

/// Reads the text of a queues file whose paths start in `folder`.
///
/// # Errors
/// Every mistake in it.
pub fn queues(text: &str, folder: &Path) -> Result<QueuesFile, QueuesFileError> {
    QueuesFile::parse(text, &folder.join("queues.toml"))
}

/// The time to wait, whether protobuf is wanted, and the idempotency key, as a request's headers have them.
#[must_use]
pub fn headers(headers: &HeaderMap) -> (Option<Duration>, bool, Result<Option<String>, ApiError>) {
    http::fuzz::headers(headers)
}

/// Admits a submit at `now_ms`.
///
/// # Errors
/// What a caller would be told.
pub fn admit(
    queue: &QueueName,
    settings: &QueueSettings,
    key: Option<&str>,
    options: &Options,
    now_ms: i64,
) -> Result<Envelope, ApiError> {
    let given = Given { queue, settings, schema: "0123456789abcdef", now_ms, random: [7; 10] };
    admit::admit(key, None, options, Bytes::new(), &given).map(|admitted| admitted.envelope)
}

/// Checks what a list is asked for.
///
/// # Errors
/// What a caller would be told.
pub fn list(list: &ListTasks) -> Result<(), ApiError> {
    list.check()
}

/// Every way in which a task is shown: of its result, if these bytes are one, and of its envelope and its event.
#[must_use]
pub fn views(id: &TaskId, now_ms: i64, bytes: &Bytes) -> Vec<TaskView> {
    let queue = Queue::without_kind(id.queue());
    let mut views = Vec::new();
    let result = v1::Result::decode(bytes.clone()).ok();
    if let Some(result) = result.filter(|result| result.state().is_end()) {
        views.push(state::of_result_alone(&queue, result.clone()));
        views.push(state::of_result(&queue, result, None));
    }
    let event = state::told(bytes.clone());
    views.extend(event.iter().map(|event| state::of_event(&queue, id, event)));
    let heard = event.map(|event| Heard { event, at_ms: now_ms });
    if let Ok(envelope) = Envelope::decode(bytes.clone()) {
        for (place, attempt) in
            [(Place::Scheduled, 1), (Place::Scheduled, 3), (Place::Queue, 1), (Place::Queue, u32::MAX)]
        {
            let generation = Generation { attempt, ..Generation::FIRST };
            let copy = Waiting { place, lane: None, generation, due_ms: now_ms, envelope: envelope.clone() };
            views.push(state::combine(&queue, id, &copy, heard.as_ref(), now_ms));
        }
    }
    views
}
