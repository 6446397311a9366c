//! One task for one key (rule 13).
//!
//! The key's record is written first, by compare-and-set, and holds the payload's hash; the task follows, by
//! compare-and-set on its own subject. Whoever finds the record tells the caller of the task, and publishes it again
//! if neither a copy nor a result exists: then the first submit died in between. Leaving it to the duplicate window of
//! the stream alone would forget keys after two minutes, and a broker's restart would forget those of finished tasks.

use bytes::Bytes;
use opentelemetry::Context;
use prost::Message as _;
use workfleet_link::pipeline::{Publish, PublishError};
use workfleet_link::read;
use workfleet_proto::v1::KeyRecord;

use crate::admit::Admitted;
use crate::dispatcher::Inner;
use crate::error::{ApiError, Code, unavailable};
use crate::kinds::Queue;
use crate::publish::refused;
use crate::view::{TaskView, UnixMs};

/// How often a key is tried whose record comes and goes.
const TRIES_MAX: usize = 3;

/// What a keyed submit came to.
#[derive(Debug, Clone)]
pub(crate) enum Keyed {
    /// The task is stored now; the key is remembered until then.
    Stored(UnixMs),
    /// It had been stored before.
    Repeat(Box<TaskView>, UnixMs),
}

/// Stores the task of a key, or finds it.
///
/// # Errors
/// `409 conflict` when the key stands for another payload; otherwise as any publish.
pub(crate) async fn submit(
    inner: &Inner,
    queue: &Queue,
    admitted: &Admitted,
    payload_sha256: [u8; 32],
    context: &Context,
) -> Result<Keyed, ApiError> {
    let key = KeyRecord {
        payload_sha256: Bytes::copy_from_slice(&payload_sha256),
        submitted_at_ms: admitted.envelope.submitted_at_ms,
    };
    for _ in 0..TRIES_MAX {
        if claim(inner, queue, admitted, &key).await? {
            // A result outlives its key by as long as the task took, and its subject takes no second one until then.
            return match inner.read_result(queue, &admitted.id).await?.filter(|result| result.state().is_end()) {
                Some(result) => {
                    let view = inner.view_of_result(queue, result).await;
                    Ok(Keyed::Repeat(Box::new(view), expires_at(queue, &key)))
                }
                None => publish(inner, queue, admitted, context, &key).await,
            };
        }
        let Some(first) = read_key(inner, queue, admitted).await? else { continue };
        if first.payload_sha256 != key.payload_sha256 {
            let detail = format!("the idempotency key was used for {} with another payload", admitted.id);
            return Err(ApiError::new(Code::Conflict, detail).field("Idempotency-Key").task_id(&admitted.id));
        }
        if let Some(view) = inner.find(queue, &admitted.id).await? {
            return Ok(Keyed::Repeat(Box::new(view), expires_at(queue, &first)));
        }
        return publish(inner, queue, admitted, context, &first).await;
    }
    Err(unavailable("the record of the idempotency key comes and goes".to_owned()))
}

/// Whether the key was free and is ours now.
async fn claim(inner: &Inner, queue: &Queue, admitted: &Admitted, key: &KeyRecord) -> Result<bool, ApiError> {
    let names = &inner.broker.names;
    let mut message = Publish::new(names.key(&admitted.id), Bytes::from(key.encode_to_vec()));
    message.expected_sequence = Some(0);
    match inner.publisher.store(&names.results_stream(&queue.name), message).await {
        Ok(_) => Ok(true),
        Err(PublishError::Lost) => Ok(false),
        Err(error) => Err(refused(error, &admitted.id)),
    }
}

async fn read_key(inner: &Inner, queue: &Queue, admitted: &Admitted) -> Result<Option<KeyRecord>, ApiError> {
    let names = &inner.broker.names;
    let stream = names.results_stream(&queue.name);
    let Some(stored) = read::last_on_subject(&inner.broker, &stream, &names.key(&admitted.id)).await? else {
        return Ok(None);
    };
    KeyRecord::decode(stored.payload)
        .map(Some)
        .map_err(|error| ApiError::new(Code::Internal, format!("the record of the key cannot be read: {error}")))
}

async fn publish(
    inner: &Inner,
    queue: &Queue,
    admitted: &Admitted,
    context: &Context,
    key: &KeyRecord,
) -> Result<Keyed, ApiError> {
    let expires_at = expires_at(queue, key);
    match inner.publisher.task(admitted, context).await {
        Ok(_) => Ok(Keyed::Stored(expires_at)),
        // Another submit of the same key was quicker.
        Err(PublishError::Lost) => {
            let view = inner.find(queue, &admitted.id).await?;
            Ok(view.map_or(Keyed::Stored(expires_at), |view| Keyed::Repeat(Box::new(view), expires_at)))
        }
        Err(error) => Err(refused(error, &admitted.id)),
    }
}

fn expires_at(queue: &Queue, key: &KeyRecord) -> UnixMs {
    UnixMs(key.submitted_at_ms.saturating_add(queue.settings.retention_ms))
}
