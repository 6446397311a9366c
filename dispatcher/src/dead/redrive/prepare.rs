//! What has to be there before the task of a redrive is published: its trace, its payload, its timer.

use opentelemetry::Context;
use prost::Message as _;
use workfleet_link::blobs::{self, BlobInfo};
use workfleet_link::pipeline::PublishError;
use workfleet_link::read;
use workfleet_link::telemetry::trace;
use workfleet_link::time::now_ms;
use workfleet_proto::blob::BlobId;
use workfleet_proto::limits::{DEAD_MS_MAX, LARGE_WAIT_MS_MAX};
use workfleet_proto::settlement::RedriveReply;
use workfleet_proto::v1::Blob;

use super::super::plan::Source;
use super::{Driving, refuse};
use crate::error::ApiError;
use crate::limits::{DEADLINE_LATE_MAX, TASK_HEADERS_BYTES};
use crate::spans::{self, Span};

/// What has to be there before the task is published.
pub(super) struct Prepared {
    /// Of the letter that was read.
    pub(super) sequence: u64,
    /// Until its end.
    pub(super) span: Option<Span>,
    /// A payload that was stored for the new run.
    pub(super) blob: Option<BlobInfo>,
    /// Whether a message may name that payload.
    pub(super) is_named: bool,
}

impl Driving<'_> {
    /// Begins the new trace, and stores a payload that is in no message, or that would not be kept for long enough.
    pub(super) async fn prepare(&mut self) -> Result<(), ApiError> {
        let (letter, plan) = self.letter()?;
        if self.prepared.as_ref().is_some_and(|prepared| prepared.sequence == letter.sequence) {
            return Ok(());
        }
        let before = trace::extract(&letter.headers);
        let span = spans::redrive(&self.queue.name, self.id, &before, &plan.envelope.labels);
        let sequence = letter.sequence;
        let blob = match &plan.payload {
            Source::Envelope => None,
            Source::Large(payload) => {
                let blob = BlobId::input(self.id, rand::random());
                self.inner.check_store_room(self.queue, blob.store(), payload.len() as u64).await?;
                Some(blobs::put_bytes(&self.inner.broker, &blob, payload.clone()).await?)
            }
            Source::Blob(info) => self.renewed(info).await?,
        };
        self.discard().await;
        self.prepared = Some(Prepared { sequence, span: Some(span), blob, is_named: false });
        Ok(())
    }

    /// A copy of a payload that its store would drop before the new run has surely ended, and has been a dead letter for
    /// as long as one is kept.
    async fn renewed(&self, info: &BlobInfo) -> Result<Option<BlobInfo>, ApiError> {
        let left_ms = info.stored_at_ms.saturating_add(self.queue.settings.blobs_age_ms) - now_ms();
        if left_ms >= DEAD_MS_MAX + LARGE_WAIT_MS_MAX {
            return Ok(None);
        }
        let blob = BlobId::input(self.id, rand::random());
        self.inner.check_store_room(self.queue, blob.store(), info.bytes).await?;
        let pieces = blobs::stream(&self.inner.broker, info.clone());
        Ok(Some(blobs::put(&self.inner.broker, &blob, pieces, info.bytes).await?))
    }

    /// The sequence of the task's timer, where the new run has one.
    pub(super) async fn read_timer(&mut self) -> Result<RedriveReply, ApiError> {
        let (_, plan) = self.letter()?;
        if plan.envelope.deadline_ms.is_none() {
            return Ok(RedriveReply::Timer(0));
        }
        let names = &self.inner.broker.names;
        let (stream, subject) = (names.delay_stream(&self.queue.name), names.delay_deadline(self.id));
        let there = read::last_on_subject(&self.inner.broker, &stream, &subject).await?;
        self.has_timer = there.is_some();
        Ok(RedriveReply::Timer(there.map_or(0, |there| there.sequence)))
    }

    /// Refuses what the queue has no room for: the task, or a deadline. One that takes another's place needs none.
    pub(super) async fn check_room(&self) -> Result<(), ApiError> {
        let (_, plan) = self.letter()?;
        let bytes = plan.envelope.encoded_len().saturating_add(TASK_HEADERS_BYTES);
        let room = &self.inner.room;
        room.check_task(self.queue, bytes as u64).await.map_err(|error| refuse::no_room(&error))?;
        if plan.envelope.deadline_ms.is_none() || self.has_timer {
            return Ok(());
        }
        room.check_deadline(self.queue).await.map_err(|error| refuse::no_room(&error))
    }

    /// The timer before the task, as with a submit.
    pub(super) async fn store_timer(&self, expected: u64) -> Result<RedriveReply, ApiError> {
        let (_, plan) = self.letter()?;
        let Some(deadline_ms) = plan.envelope.deadline_ms else { return Ok(RedriveReply::Done) };
        if is_over(deadline_ms) {
            return Err(refuse::over(self.id));
        }
        match self.inner.publisher.timer_at(self.id, deadline_ms, expected).await {
            Ok(_) => Ok(RedriveReply::Done),
            Err(PublishError::Lost) => Ok(RedriveReply::Lost),
            Err(PublishError::Full) => Ok(RedriveReply::Full),
            Err(PublishError::InFlight | PublishError::Unanswered) => Ok(RedriveReply::Unclear),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn claim(&self) -> Option<Blob> {
        self.prepared.as_ref().and_then(|prepared| prepared.blob.as_ref()).map(Blob::from)
    }

    pub(super) fn context(&self) -> Context {
        let span = self.prepared.as_ref().and_then(|prepared| prepared.span.as_ref());
        span.map_or_else(Context::current, |span| span.context().clone())
    }

    /// Deletes a payload that was stored for nothing.
    pub(super) async fn discard(&mut self) {
        let Some(Prepared { blob: Some(info), is_named: false, .. }) = self.prepared.take() else { return };
        if let Err(error) = blobs::delete_exactly(&self.inner.broker, &info).await {
            tracing::debug!(blob = %info.blob, %error, "the payload of a redrive is left to the sweep");
        }
    }
}

/// A redrive that is gone on with goes by the deadline that it was begun with. Once that has passed, the task could only
/// expire, and take the letter along.
fn is_over(deadline_ms: i64) -> bool {
    let late_ms = i64::try_from(DEADLINE_LATE_MAX.as_millis()).unwrap_or(i64::MAX);
    now_ms().saturating_sub(deadline_ms) > late_ms
}
