//! Whether a blob is somebody's.

use prost::Message as _;
use workfleet_link::blobs::BlobInfo;
use workfleet_link::read::{self, ReadError, StoredMessage};
use workfleet_link::time::now_ms;
use workfleet_proto::blob::{BlobId, Owner};
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{Blob, DeadLetter, Envelope};

use crate::dispatcher::Inner;
use crate::error::ApiError;
use crate::kinds::Queue;
use crate::state::Known;

impl Inner {
    /// Whether anything still names the blob, or may come to name it.
    pub(super) async fn is_owned(&self, queue: &Queue, info: &BlobInfo) -> Result<bool, ApiError> {
        match info.blob.owner() {
            Owner::Caller => Ok(now_ms().saturating_sub(info.stored_at_ms) < queue.settings.uploads_age_ms),
            Owner::Input(task) => self.is_owned_input(queue, &task, &info.blob).await,
            Owner::Output(task) => self.is_owned_output(queue, &task, &info.blob).await,
        }
    }

    /// A copy of the task names it, or its dead letter, or that cannot be read: what a newer dispatcher wrote may name
    /// anything. Twice, since a task that is redriven moves from there to here
    /// between the two reads.
    async fn is_owned_input(&self, queue: &Queue, task: &TaskId, blob: &BlobId) -> Result<bool, ApiError> {
        let theirs = |envelope: &Envelope| names(envelope.blob.as_ref(), blob);
        for _ in 0..2 {
            match self.known(queue, task).await? {
                Some(Known::Lives(copy)) if theirs(&copy.envelope) => return Ok(true),
                // A redrive that is slow may publish a copy that names it. The mark goes with its age, if nothing else ends it.
                Some(Known::Marked(_)) => return Ok(true),
                Some(Known::Lives(_) | Known::Ended(_)) | None => {}
            }
            let names = &self.broker.names;
            // A letter moves from the one to the other, in this order.
            let shared = self.letter_of(&names.dead_stream_shared(), task).await?;
            let own = self.letter_of(&names.dead_stream(&queue.name), task).await?;
            for letter in shared.into_iter().chain(own) {
                if DeadLetter::decode(letter.payload)
                    .map_or(true, |letter| letter.envelope.as_ref().is_some_and(theirs))
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The dead letter that a stream has of the task. Where there is no such stream, there is no letter in it.
    async fn letter_of(&self, stream: &str, task: &TaskId) -> Result<Option<StoredMessage>, ApiError> {
        match read::last_on_subject(&self.broker, stream, &self.broker.names.dead(task)).await {
            Err(ReadError::NoStream { .. }) => Ok(None),
            letter => Ok(letter?),
        }
    }

    /// The task lives and may come to name it, or its result does. What a handler stored itself is named by what we
    /// cannot read, and lives as long as any result of the task.
    async fn is_owned_output(&self, queue: &Queue, task: &TaskId, blob: &BlobId) -> Result<bool, ApiError> {
        Ok(match self.known(queue, task).await? {
            Some(Known::Lives(_) | Known::Marked(_)) => true,
            Some(Known::Ended(result)) => blob.is_kept() || names(result.blob.as_ref(), blob),
            None => false,
        })
    }
}

fn names(claim: Option<&Blob>, blob: &BlobId) -> bool {
    claim.is_some_and(|claim| claim.name == blob.name())
}
