//! A dead letter as it is stored, and the record beside it. Both from their leaders, since redrives decide by them.

use async_nats::HeaderMap;
use prost::Message as _;
use workfleet_link::read::{self, StoredMessage};
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{self, Envelope};

use crate::dispatcher::Inner;
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::state;

/// A dead letter.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) id: TaskId,
    pub(super) sequence: u64,
    pub(super) stored_at_ms: i64,
    pub(super) headers: HeaderMap,
    pub(super) result: v1::Result,
    /// The task; nothing of it is left where it was too large.
    pub(super) envelope: Option<Envelope>,
    pub(super) dead_at_ms: i64,
    pub(super) reason: String,
    has_payload: bool,
}

/// What is recorded of a task.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) sequence: u64,
    pub(crate) result: v1::Result,
}

impl Letter {
    /// Reads what is stored; nothing where nobody of ours wrote it.
    pub(super) fn read(stored: &StoredMessage) -> Option<Self> {
        let id = stored.subject.rsplit('.').next()?.parse().ok()?;
        let letter = v1::DeadLetter::decode(stored.payload.clone()).ok()?;
        let has_payload = !letter.payload_missing && letter.envelope.is_some();
        Some(Self {
            id,
            sequence: stored.sequence,
            stored_at_ms: stored.time_ms,
            headers: stored.headers.clone(),
            result: letter.result?,
            envelope: letter.envelope,
            dead_at_ms: letter.dead_at_ms,
            reason: letter.reason,
            has_payload,
        })
    }

    /// The run that failed.
    pub(super) fn run(&self) -> u32 {
        self.result.run.max(1)
    }

    /// The same without what a list does not show: it is part of what the broker sent, all of which would be kept for it.
    pub(super) fn without_payload(mut self) -> Self {
        if let Some(envelope) = &mut self.envelope {
            envelope.payload.clear();
        }
        self.result.output.clear();
        Self { has_payload: false, ..self }
    }

    /// About how many bytes it has.
    pub(super) fn bytes(&self) -> usize {
        self.result.encoded_len() + self.envelope.as_ref().map_or(0, prost::Message::encoded_len)
    }

    /// The task with its payload, or the claim check of it; nothing where the payload was too large to be kept.
    pub(super) fn whole(&self) -> Option<&Envelope> {
        self.envelope.as_ref().filter(|_| self.has_payload)
    }
}

impl Inner {
    /// The queue that a letter's id names. Where there is no queue there is no letter.
    pub(super) async fn queue_of_letter(&self, id: &TaskId) -> Result<std::sync::Arc<Queue>, ApiError> {
        self.connected()?.kinds.queue(id.queue_str()).await.map_err(|error| match error.code {
            Code::UnknownQueue => super::unknown_letter(id),
            _ => error,
        })
    }

    /// What is stored as the task's dead letter.
    pub(crate) async fn stored_letter(&self, id: &TaskId) -> Result<Option<StoredMessage>, ApiError> {
        let names = &self.broker.names;
        Ok(read::last_on_subject(&self.broker, &names.dead_stream(&id.queue()), &names.dead(id)).await?)
    }

    /// The task's dead letter.
    ///
    /// # Errors
    /// Also when it cannot be read.
    pub(super) async fn letter(&self, id: &TaskId) -> Result<Option<Letter>, ApiError> {
        let Some(stored) = self.stored_letter(id).await? else { return Ok(None) };
        let letter = Letter::read(&stored).ok_or_else(|| {
            let detail = format!("the dead letter of {id} cannot be read: another version wrote it; it can be dropped");
            ApiError::new(Code::Internal, detail)
        })?;
        Ok(Some(letter))
    }

    /// What is recorded of the task.
    pub(crate) async fn record(&self, queue: &Queue, id: &TaskId) -> Result<Option<Record>, ApiError> {
        let names = &self.broker.names;
        let stream = names.results_stream(&queue.name);
        let Some(stored) = read::last_on_subject(&self.broker, &stream, &names.result(id)).await? else {
            return Ok(None);
        };
        let sequence = stored.sequence;
        Ok(Some(Record { sequence, result: state::read_record(stored, id)? }))
    }
}
