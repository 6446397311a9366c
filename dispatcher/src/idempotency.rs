//! One task for one key (rule 13).
//!
//! The key's record is written first, by compare-and-set, and holds the payload's hash; the task follows, by
//! compare-and-set on its own subject. Whoever finds the record tells the caller of the task, and publishes it again
//! if neither a copy nor a result exists: then the first submit died in between. Leaving it to the duplicate window of
//! the stream alone would forget keys after two minutes, and a broker's restart would forget those of finished tasks.
//!
//! A record can be gone while its task is still there: it is kept from the submit on, and a delay or a backlog may be
//! longer. So a key without a record is taken only after the task was looked for. Taking it first and correcting the
//! record afterwards would leave the wrong hash for ever where a crash comes in between.
//!
//! A redrive may have marked the task for another run, and its copy be purged since: then the task is stored as that run
//! (`marks.rs`), for workers would drop it as its first.
//!
//! And both can be gone while a parent's next attempt asks for its child once more. Where it knows that the child was
//! accepted, nothing is stored, whatever is found or not.

use bytes::Bytes;
use opentelemetry::Context;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use workfleet_link::pipeline::{Publish, PublishError, Stored};
use workfleet_link::read;
use workfleet_proto::names::Lane;
use workfleet_proto::v1::{KeyRecord, State};

use crate::admit::{Admitted, Earlier, Identity, Start, Turn};
use crate::ask;
use crate::dispatcher::Inner;
use crate::error::{ApiError, Code, unavailable};
use crate::kinds::Queue;
use crate::large::Held;
use crate::limits::BROKER_RETRY_AFTER_MS;
use crate::marks::{Abandoned, Mark, being_redriven};
use crate::publish::refused;
use crate::state::{self, Known};
use crate::stow::{Claim, NotStored};
use crate::transcode;
use crate::view::{TaskView, UnixMs};

/// For how long the streams remember message ids, as `streams/wanted.rs` sets it up.
const DUPLICATE_WINDOW_MS: u64 = 120_000;
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
        not_before_ms: admitted.envelope.not_before_ms,
        lane: admitted.lane.to_string(),
        deadline_ms: admitted.envelope.deadline_ms,
        payload_bytes_sha256: Bytes::copy_from_slice(&Sha256::digest(&admitted.envelope.payload)),
    };
    for _ in 0..TRIES_MAX {
        if let Some(first) = read_key(inner, queue, admitted).await? {
            // Equal bytes are the same, also under a contract that reads more out of them than the first submit's.
            let are_same_bytes = first.payload_bytes_sha256 == key.payload_bytes_sha256;
            if compares(admitted) && !are_same_bytes && first.payload_sha256 != key.payload_sha256 {
                return Err(conflict(admitted));
            }
            return match inner.find_stored(queue, &admitted.id).await? {
                Some(view) => Ok(Keyed::Repeat(Box::new(view), expires_at(queue, first.submitted_at_ms))),
                None if admitted.earlier == Earlier::Accepted => Err(gone(admitted)),
                // On the heap: every submit would carry the room for what is rare.
                None => Box::pin(take_over(inner, queue, admitted, context, &first)).await,
            };
        }
        let known = inner.known(queue, &admitted.id).await?;
        if let Some(known) = &known
            && compares(admitted)
            && let Some((payload, _held)) = Box::pin(payload_of(inner, queue, admitted, known)).await?
            && transcode::sha256(&payload, &queue.kind()?.schema.input) != Some(payload_sha256)
        {
            return Err(conflict(admitted));
        }
        // The key is not taken again: the result answers for it, and takes no second one beside it until it goes.
        if let Some(Known::Ended(result)) = known {
            let until = expires_at(queue, result.ended_at_ms);
            return Ok(Keyed::Repeat(Box::new(inner.view_of_result(queue, result).await), until));
        }
        let mark = match &known {
            Some(Known::Marked(mark)) => Some(abandoned(mark, admitted)?),
            _ => None,
        };
        if !matches!(known, Some(Known::Lives(_))) && admitted.earlier == Earlier::Accepted {
            return Err(gone(admitted));
        }
        let Some(sequence) = claim(inner, queue, admitted, &key).await? else { continue };
        let Some(Known::Lives(copy)) = known else {
            let published = Box::pin(publish(inner, queue, admitted, Claim::Ours, context, &key, mark.as_ref())).await;
            if published.as_ref().is_err_and(|error| is_refusal(error.code)) {
                forget(inner, queue, sequence).await;
            }
            return published;
        };
        let view = inner.find(queue, &admitted.id).await?;
        let view = view.unwrap_or_else(|| state::of_envelope(queue, &admitted.id, &copy.envelope, copy.lane));
        return Ok(Keyed::Repeat(Box::new(view), expires_at(queue, key.submitted_at_ms)));
    }
    Err(unavailable("the record of the idempotency key comes and goes".to_owned()))
}

/// Whether the task is certainly not stored. What could be unclear is not this.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::QueueFull | Code::BlobsFull | Code::PayloadTooLarge)
}

/// Frees a key that was taken for nothing, so that a corrected payload can have it. If that fails, it stays taken.
async fn forget(inner: &Inner, queue: &Queue, sequence: u64) {
    let stream = inner.broker.names.results_stream(&queue.name);
    if let Err(error) = ask::delete_message(&inner.broker, &stream, sequence).await {
        tracing::debug!(queue = %queue.name, %error, "the idempotency key of a refused submit stays taken");
    }
}

/// Whether a repeat must have the first one's payload. A child's name is the handler's word that it is the same task.
fn compares(admitted: &Admitted) -> bool {
    admitted.identity != Identity::Named
}

fn conflict(admitted: &Admitted) -> ApiError {
    let (what, field) = match admitted.identity {
        Identity::Ordinal => ("this child was submitted before as", "parent.ordinal"),
        Identity::Fresh | Identity::Keyed | Identity::Named => ("the idempotency key was used for", "Idempotency-Key"),
    };
    let detail = format!("{what} {} with another payload", admitted.id);
    ApiError::new(Code::Conflict, detail).field(field).task_id(&admitted.id)
}

/// The answer to a parent that knows of a child of which nothing is left.
fn gone(admitted: &Admitted) -> ApiError {
    state::unknown_task(&admitted.id).task_id(&admitted.id)
}

/// The payload that a task was submitted with, where something still shows it: a completed result does not.
async fn payload_of(
    inner: &Inner,
    queue: &Queue,
    admitted: &Admitted,
    known: &Known,
) -> Result<Option<(Bytes, Held)>, ApiError> {
    match known {
        Known::Lives(copy) => inner.payload_of(queue, &copy.envelope).await,
        Known::Ended(result) if result.state() == State::Failed => {
            let letter = inner.read_dead_letter(&admitted.id).await?;
            let Some(envelope) = letter.and_then(|letter| letter.envelope) else { return Ok(None) };
            inner.payload_of(queue, &envelope).await
        }
        Known::Ended(_) | Known::Marked(_) => Ok(None),
    }
}

/// Takes the key; gives the sequence of its record, or nothing where somebody else was quicker.
async fn claim(inner: &Inner, queue: &Queue, admitted: &Admitted, key: &KeyRecord) -> Result<Option<u64>, ApiError> {
    let names = &inner.broker.names;
    let mut message = Publish::new(names.key(&admitted.id), Bytes::from(key.encode_to_vec()));
    message.expected_sequence = Some(0);
    match inner.publisher.store(&names.results_stream(&queue.name), message).await {
        Ok(stored) => Ok(Some(stored.sequence)),
        Err(PublishError::Lost) => Ok(None),
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

/// Publishes what the first submit seems to have left undone. It may only be slow, or have other options; so the task
/// goes where that one puts it, and the second of the two loses there.
async fn take_over(
    inner: &Inner,
    queue: &Queue,
    admitted: &Admitted,
    context: &Context,
    first: &KeyRecord,
) -> Result<Keyed, ApiError> {
    let mut admitted = admitted.clone();
    if let Ok(lane) = first.lane.parse::<Lane>()
        && queue.lanes.contains(&lane)
    {
        admitted.lane = lane;
        admitted.start = first.not_before_ms.map_or(Start::Now, Start::At);
        admitted.envelope.not_before_ms = first.not_before_ms;
        // Its timer is there perhaps, and no second one for another time is stored beside it.
        admitted.envelope.deadline_ms = first.deadline_ms;
    }
    let mark = inner.mark(queue, &admitted.id).await?;
    let mark = mark.map(|mark| abandoned(&mark, &admitted)).transpose()?;
    match publish(inner, queue, &admitted, Claim::Earlier, context, first, mark.as_ref()).await? {
        Keyed::Stored(until) => {
            let view = inner.find(queue, &admitted.id).await?;
            Ok(view.map_or(Keyed::Stored(until), |view| Keyed::Repeat(Box::new(view), until)))
        }
        repeat @ Keyed::Repeat(..) => Ok(repeat),
    }
}

async fn publish(
    inner: &Inner,
    queue: &Queue,
    admitted: &Admitted,
    claim: Claim,
    context: &Context,
    key: &KeyRecord,
    mark: Option<&Abandoned>,
) -> Result<Keyed, ApiError> {
    let expires_at = expires_at(queue, key.submitted_at_ms);
    let stored = match mark {
        None => inner.stow(queue, admitted, claim, context).await,
        Some(mark) => Box::pin(go_on_with(inner, queue, admitted, context, mark)).await,
    };
    match stored {
        Ok(stored) if stored.duplicate => Box::pin(remembered(inner, queue, admitted, expires_at)).await,
        Ok(_) => Ok(Keyed::Stored(expires_at)),
        // Another submit of the same key was quicker; or what lies there is of an earlier run, and is dropped.
        Err(NotStored::Lost) => match inner.find(queue, &admitted.id).await? {
            Some(view) => Ok(Keyed::Repeat(Box::new(view), expires_at)),
            None => Err(moving(admitted)),
        },
        Err(error) => Err(error.error(admitted)),
    }
}

/// Stores the task as the run that its mark names.
async fn go_on_with(
    inner: &Inner,
    queue: &Queue,
    admitted: &Admitted,
    context: &Context,
    abandoned: &Abandoned,
) -> Result<Stored, NotStored> {
    let turn = Turn { run: abandoned.mark.run, result_sequence: abandoned.sequence };
    let admitted = Admitted { turn, ..admitted.clone() };
    let stored = inner.stow(queue, &admitted, Claim::Earlier, context).await?;
    // Whoever expires a run goes by the deadline in its mark; without one, by that of the copy.
    if !stored.duplicate
        && abandoned.mark.deadline_ms != admitted.envelope.deadline_ms
        && let Err(error) = inner.delete_mark(queue, abandoned).await
    {
        tracing::warn!(task = %admitted.id, %error, "the mark of an earlier redrive stays: a deadline is kept by workers alone");
    }
    Ok(stored)
}

/// The mark, where nobody but a submit goes on with it.
fn abandoned(mark: &Mark, admitted: &Admitted) -> Result<Abandoned, ApiError> {
    match mark {
        Mark::Abandoned(abandoned) => Ok(abandoned.as_ref().clone()),
        Mark::InUse => Err(being_redriven(&admitted.id)),
    }
}

fn moving(admitted: &Admitted) -> ApiError {
    let detail = "an earlier copy of the task is in the way, and goes; nothing was accepted".to_owned();
    unavailable(detail).retry_after_ms(BROKER_RETRY_AFTER_MS).task_id(&admitted.id)
}

/// The stream remembers the task's message id, and has stored nothing now. Mostly the task has moved on since; but a
/// purge takes messages and leaves their ids, and to say "stored" then would be to lose a task.
async fn remembered(inner: &Inner, queue: &Queue, admitted: &Admitted, expires_at: UnixMs) -> Result<Keyed, ApiError> {
    if let Some(view) = inner.find_stored(queue, &admitted.id).await? {
        return Ok(Keyed::Repeat(Box::new(view), expires_at));
    }
    let detail = "the task was removed a moment ago, and the broker remembers it for two minutes; nothing was accepted";
    Err(unavailable(detail.to_owned()).retry_after_ms(DUPLICATE_WINDOW_MS).task_id(&admitted.id))
}

fn expires_at(queue: &Queue, since_ms: i64) -> UnixMs {
    UnixMs(since_ms.saturating_add(queue.settings.retention_ms))
}
