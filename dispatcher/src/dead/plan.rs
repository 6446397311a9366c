//! What the next run of a task is to be: its letter, with what is to change.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use workfleet_link::blobs;
use workfleet_link::time::now_ms;
use workfleet_proto::blob::BlobId;
use workfleet_proto::names::Lane;
use workfleet_proto::settings;
use workfleet_proto::v1::{self, Envelope};

use super::letter::Letter;
use crate::admit::{self, Deadline, Given, Options, Payload};
use crate::blobs::unknown_blob;
use crate::dispatcher::Inner;
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::transcode;

/// What is to be different in the new run.
#[derive(Debug, Clone, Default)]
pub struct RedriveChanges {
    /// Another payload instead of the letter's.
    pub payload: Option<Payload>,
    /// A deadline for the new run; without it, the old one is kept if it has not passed.
    pub deadline: Option<Deadline>,
    /// How often the handler may be started in the new run.
    pub attempts_max: Option<u32>,
    /// The run that the letter has to be of. A caller who heard no answer and asks again says so, or may redrive what the new
    /// run has left behind meanwhile.
    pub run: Option<u32>,
    /// For people: in the operators' log; may be empty.
    pub reason: String,
}

/// The task of the next run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Without a trace, and without the payload where that is in no message.
    pub(super) envelope: Envelope,
    pub(super) lane: Lane,
    /// What the run is begun with, for its mark: the same redrive, repeated, has the same.
    pub(super) digest: [u8; 32],
    pub(super) payload: Source,
}

/// Where the payload is.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// In the envelope.
    Envelope,
    /// Here, too large to travel, and not stored yet.
    Large(Bytes),
    /// In the blob that the envelope names.
    Blob(Box<blobs::BlobInfo>),
}

impl Inner {
    /// What the next run is to be.
    ///
    /// # Errors
    /// When a change is wrong, or there is no payload any more.
    pub(super) async fn plan(
        &self,
        queue: &Queue,
        letter: &Letter,
        changes: &RedriveChanges,
    ) -> Result<Plan, ApiError> {
        let (mut envelope, digest, payload) = match &changes.payload {
            Some(payload) => edited(queue, letter, payload.clone())?,
            None => self.kept(queue, letter).await?,
        };
        let bytes = match &payload {
            Source::Envelope => envelope.payload.len(),
            Source::Large(bytes) => bytes.len(),
            Source::Blob(info) => usize::try_from(info.bytes).unwrap_or(usize::MAX),
        };
        let (now_ms, random) = (now_ms(), [0; 10]);
        let given = Given { queue: &queue.name, settings: &queue.settings, schema: &envelope.schema, now_ms, random };
        let deadline_ms = admit::in_force_again(changes.deadline, envelope.deadline_ms, bytes, &given)?;
        if changes.attempts_max.is_some() {
            let options = Options { attempts_max: changes.attempts_max, ..Options::default() };
            envelope.attempts_max = admit::attempts_max(&options, &queue.settings)?;
        }
        let envelope = Envelope {
            deadline_ms,
            not_before_ms: None,
            attempts: Vec::new(),
            // A redriven run has children of its own.
            children: Vec::new(),
            ..envelope
        };
        Ok(Plan { envelope, lane: lane(queue, letter), digest: with_options(digest, changes), payload })
    }

    /// The letter's own payload.
    async fn kept(&self, queue: &Queue, letter: &Letter) -> Result<(Envelope, [u8; 32], Source), ApiError> {
        let Some(envelope) = letter.whole() else {
            let detail = "the payload was too large to be kept with the dead letter: redrive it with another one";
            return Err(ApiError::new(Code::InvalidPayload, detail).field("payload").task_id(&letter.id));
        };
        let Some(claim) = &envelope.blob else {
            return Ok((envelope.clone(), Sha256::digest(&envelope.payload).into(), Source::Envelope));
        };
        let blob = BlobId::named(&queue.name, &claim.name)
            .map_err(|_| ApiError::new(Code::Internal, "the dead letter's claim check names no blob"))?;
        let info = blobs::info(&self.broker, &blob).await?;
        let info = info.ok_or_else(|| unknown_blob(&blob).task_id(&letter.id))?;
        Ok((envelope.clone(), info.sha256, Source::Blob(Box::new(info))))
    }
}

/// Another payload, checked against the kind as that of a submit is.
fn edited(queue: &Queue, letter: &Letter, payload: Payload) -> Result<(Envelope, [u8; 32], Source), ApiError> {
    let kind = queue.kind()?;
    let checked = transcode::check(payload, &kind.schema.input, queue.payload_bytes_max())?;
    let envelope = letter.envelope.clone().unwrap_or_else(|| made_of_result(queue, &letter.result));
    let envelope =
        Envelope { schema: kind.schema.hash.as_str().to_owned(), blob: None, payload: Bytes::new(), ..envelope };
    if checked.bytes.len() > workfleet_proto::limits::INLINE_BYTES_MAX {
        return Ok((envelope, checked.sha256, Source::Large(checked.bytes)));
    }
    Ok((Envelope { payload: checked.bytes, ..envelope }, checked.sha256, Source::Envelope))
}

/// What can be said of a task whose letter has nothing but the result.
fn made_of_result(queue: &Queue, result: &v1::Result) -> Envelope {
    Envelope {
        id: result.id.clone(),
        submitted_at_ms: result.submitted_at_ms,
        deadline_ms: result.deadline_ms,
        attempts_max: result.attempts_max,
        backoff: queue.settings.backoff,
        timeout_ms: queue.settings.timeout_ms,
        ordering_key: result.ordering_key.clone(),
        tenant: result.tenant.clone(),
        labels: result.labels.clone(),
        parent_id: result.parent_id.clone(),
        ..Envelope::default()
    }
}

/// The lane that the task had, if the queue still has it.
fn lane(queue: &Queue, letter: &Letter) -> Lane {
    let had = letter.result.lane.parse::<Lane>().ok().filter(|lane| queue.lanes.contains(lane));
    had.unwrap_or_else(|| settings::default_lane(&queue.settings))
}

/// Two redrives that ask for different deadlines or attempts are different redrives, as with different payloads.
fn with_options(payload: [u8; 32], changes: &RedriveChanges) -> [u8; 32] {
    if changes.deadline.is_none() && changes.attempts_max.is_none() {
        return payload;
    }
    let mut hash = Sha256::new();
    hash.update(payload);
    match changes.deadline {
        None => {}
        Some(Deadline::At(at)) => hash.update([&b"at"[..], &at.0.to_le_bytes()].concat()),
        Some(Deadline::In(time)) => hash.update([&b"in"[..], &time.as_millis().to_le_bytes()].concat()),
    }
    hash.update(changes.attempts_max.unwrap_or(0).to_le_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::{Deadline, RedriveChanges, with_options};
    use crate::view::UnixMs;
    use std::time::Duration;

    #[test]
    fn redrives_that_ask_for_different_things_are_told_apart_and_repeats_are_not() {
        let with = |deadline, attempts_max| {
            with_options([7; 32], &RedriveChanges { deadline, attempts_max, ..RedriveChanges::default() })
        };
        let soon = Some(Deadline::In(Duration::from_millis(5)));
        assert_eq!(with(None, None), [7; 32]);
        assert_eq!(with(soon, Some(3)), with(soon, Some(3)));
        let all = [with(None, None), with(soon, None), with(Some(Deadline::At(UnixMs(5))), None), with(None, Some(3))];
        let mut told_apart = all.to_vec();
        told_apart.sort_unstable();
        told_apart.dedup();
        assert_eq!(told_apart.len(), all.len());
    }
}
