//! A task to its stream; before that the timer of its deadline to the delay stream, and a large payload to the object store.
//!
//! The order is the promise: no claim check without its blob. So a crash in between leaves a blob that nobody names, and
//! the sweep finds it. Every way in which a task is published leads through here, and only where it is about to be: a
//! repeat of a keyed submit has stored nothing by then.

use bytes::Bytes;
use opentelemetry::Context;
use workfleet_link::blobs;
use workfleet_link::pipeline::{PublishError, Stored};
use workfleet_link::time::now_ms;
use workfleet_proto::blob::BlobId;
use workfleet_proto::limits::INLINE_BYTES_MAX;
use workfleet_proto::v1::{Blob, Envelope};

use crate::admit::Admitted;
use crate::ask;
use crate::dispatcher::Inner;
use crate::error::ApiError;
use crate::kinds::Queue;
use crate::large::Held;
use crate::publish::{NoTimer, refused};
use crate::state::Known;

/// Why a task is not stored.
#[derive(Debug, Clone)]
pub(crate) enum NotStored {
    /// The task of a keyed submit has a copy already.
    Lost,
    /// Its payload found no place; nothing was published.
    Payload(ApiError),
    /// Its timer is not stored, or nobody knows; the task was not published.
    Timer(ApiError),
    /// It was refused, or nobody knows.
    Task(PublishError),
}

/// Whose the key of the task is; of a task without one it does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// This submit took it.
    Ours,
    /// An earlier submit took it, and may be about to undo what it did.
    Earlier,
}

impl NotStored {
    /// What the caller is told.
    pub(crate) fn error(self, admitted: &Admitted) -> ApiError {
        match self {
            Self::Lost => refused(PublishError::Lost, &admitted.id),
            Self::Payload(error) | Self::Timer(error) => error,
            Self::Task(error) => refused(error, &admitted.id),
        }
    }

    /// Whether the task is certainly not stored.
    fn is_certain(&self) -> bool {
        match self {
            Self::Lost | Self::Payload(_) | Self::Timer(_) => true,
            Self::Task(error) => is_certain(error),
        }
    }
}

impl Inner {
    /// Stores a task that has no copy yet, its payload first where no message holds it.
    ///
    /// # Errors
    /// See [`NotStored`]. What was stored of the payload is deleted again where the task certainly is not.
    pub(crate) async fn stow(
        &self,
        queue: &Queue,
        admitted: &Admitted,
        claim: Claim,
        context: &Context,
    ) -> Result<Stored, NotStored> {
        if let Some(deadline_ms) = admitted.envelope.deadline_ms {
            // On the heap: every submit would carry the room for what few have.
            return Box::pin(self.stow_timed(queue, admitted, claim, deadline_ms, context)).await;
        }
        self.stow_untimed(queue, admitted, context).await
    }

    async fn stow_untimed(&self, queue: &Queue, admitted: &Admitted, context: &Context) -> Result<Stored, NotStored> {
        if admitted.envelope.payload.len() <= INLINE_BYTES_MAX {
            return self.publisher.task(admitted, context).await.map_err(not_stored);
        }
        // On the heap: every small submit would carry the room for this.
        Box::pin(self.stow_large(queue, admitted, context)).await
    }

    /// The timer first: a task that was accepted with a deadline has one, whoever dies in between. A timer without a task
    /// fires once and finds nothing.
    ///
    /// A full queue that is asked again and again is not to fill with timers of what it refused, so a refused submit takes
    /// its timer back, and only then its key. Whoever meets that key meanwhile stores a timer of its own over this one, and
    /// is not harmed by a deletion that names the first one's sequence.
    async fn stow_timed(
        &self,
        queue: &Queue,
        admitted: &Admitted,
        claim: Claim,
        deadline_ms: i64,
        context: &Context,
    ) -> Result<Stored, NotStored> {
        let ours = match (admitted.identity.is_kept(), claim) {
            (true, Claim::Ours) => self.publisher.shared_timer(&admitted.id, deadline_ms).await,
            (true, Claim::Earlier) => {
                self.publisher.timer(&admitted.id, deadline_ms).await.map(|_| None).map_err(NoTimer::from)
            }
            (false, _) => {
                let timer = self.publisher.timer(&admitted.id, deadline_ms).await;
                timer.map(|timer| Some(timer.sequence)).map_err(NoTimer::from)
            }
        };
        let ours = ours.map_err(|error| NotStored::Timer(error.error()))?;
        let stored = self.stow_untimed(queue, admitted, context).await;
        match (&stored, ours) {
            // Storing took longer than the task had, and a timer that finds no task is dropped: this one fires now.
            (Ok(_), _) if now_ms() >= deadline_ms => {
                if let Err(error) = self.publisher.timer(&admitted.id, deadline_ms).await {
                    tracing::debug!(task = %admitted.id, %error, "a deadline that passed meanwhile is left to the worker");
                }
            }
            (Err(error), Some(timer)) if error.is_certain() && !matches!(error, NotStored::Lost) => {
                let stream = self.broker.names.delay_stream(&queue.name);
                if let Err(error) = ask::delete_message(&self.broker, &stream, timer).await {
                    tracing::debug!(task = %admitted.id, %error, "the timer of a refused submit is left to fire");
                    if admitted.identity.is_kept() {
                        // The deletion may come yet, so the key stays: who takes it over brings a timer along.
                        return Err(NotStored::Timer(NoTimer::from(PublishError::Unanswered).error()));
                    }
                }
            }
            _ => {}
        }
        stored
    }

    async fn stow_large(&self, queue: &Queue, admitted: &Admitted, context: &Context) -> Result<Stored, NotStored> {
        let blob = BlobId::input(&admitted.id, rand::random());
        let payload = admitted.envelope.payload.clone();
        self.check_store_room(queue, blob.store(), payload.len() as u64).await.map_err(NotStored::Payload)?;
        let info = blobs::put_bytes(&self.broker, &blob, payload).await;
        let info = info.map_err(|error| NotStored::Payload(error.into()))?;
        let mut checked = admitted.clone();
        checked.envelope.payload = Bytes::new();
        checked.envelope.blob = Some(Blob::from(&info));
        let published = self.publisher.task(&checked, context).await;
        let nobodys = match &published {
            Ok(stored) => stored.duplicate && self.names_another(queue, admitted, &blob).await,
            Err(error) => is_certain(error),
        };
        if nobodys && let Err(error) = blobs::delete_exactly(&self.broker, &info).await {
            tracing::debug!(%blob, %error, "the payload of a refused submit is left to the sweep");
        }
        published.map_err(not_stored)
    }

    /// Whether the copy that is there has another blob. Where that is not clear, ours is left to the sweep.
    async fn names_another(&self, queue: &Queue, admitted: &Admitted, blob: &BlobId) -> bool {
        match self.known(queue, &admitted.id).await {
            Ok(Some(Known::Lives(copy))) => copy.envelope.blob.is_none_or(|theirs| theirs.name != blob.name()),
            _ => false,
        }
    }

    /// A task's payload, wherever it is, with its share of the memory; nothing where its blob is gone.
    ///
    /// # Errors
    /// When the store does not answer, or there is no room for it in memory.
    pub(crate) async fn payload_of(
        &self,
        queue: &Queue,
        envelope: &Envelope,
    ) -> Result<Option<(Bytes, Held)>, ApiError> {
        let Some(claim) = &envelope.blob else {
            return Ok(Some((envelope.payload.clone(), self.large.hold_nothing())));
        };
        let Ok(blob) = BlobId::named(&queue.name, &claim.name) else { return Ok(None) };
        let held = self.large.hold(usize::try_from(claim.bytes).unwrap_or(usize::MAX))?;
        match blobs::fetch(&self.broker, &blob, claim).await {
            Ok(payload) => Ok(Some((payload, held))),
            // Its task has ended a moment ago, or its store has aged it out.
            Err(blobs::BlobError::Gone { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn not_stored(error: PublishError) -> NotStored {
    match error {
        PublishError::Lost => NotStored::Lost,
        error => NotStored::Task(error),
    }
}

/// Whether the task is certainly not stored.
fn is_certain(error: &PublishError) -> bool {
    match error {
        PublishError::Lost
        | PublishError::Full
        | PublishError::NoStream { .. }
        | PublishError::TooLarge
        | PublishError::Refused { .. } => true,
        PublishError::InFlight | PublishError::Unanswered | PublishError::Closed => false,
    }
}
