//! Drops a dead letter.
//!
//! Where a redrive of it died half way, its task is marked for a run that nobody will publish any more once the letter is
//! gone; so that run is ended first, as cancelled. To leave the mark would leave a task that is neither here nor ended.
//!
//! Letter and record are in two streams, so a redrive may store its mark between the look at the record and the letter's
//! deletion, and then find the queue full. So the record is looked at again once the letter is gone; and a redrive that comes
//! to nothing looks whether its letter is there, after its mark. Whichever of the two is later sees what the other did.

use prost::Message as _;
use workfleet_link::pipeline::{Publish, PublishError};
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{self, Failure, State};

use super::letter::{Letter, Record};
use crate::ask;
use crate::dispatcher::Inner;
use crate::error::{ApiError, unavailable};
use crate::kinds::Queue;
use crate::limits::{BROKER_RETRY_AFTER_MS, REDRIVE_PAUSE};
use crate::marks::Mark;

/// How often a letter is tried whose task is redriven at the same moment.
const TRIES_MAX: usize = 5;
/// Why a run that was marked and never published has ended.
const DROPPED: &str = "dropped";

impl Inner {
    /// Deletes the task's letter; `false`: there is none.
    pub(super) async fn drop_letter(&self, queue: &Queue, id: &TaskId) -> Result<bool, ApiError> {
        for _ in 0..TRIES_MAX {
            let Some(stored) = self.stored_letter(id).await? else { return Ok(false) };
            // One that cannot be read can be dropped all the same.
            if let Some(letter) = Letter::read(&stored)
                && !self.ends_mark(queue, &letter).await?
            {
                tokio::time::sleep(REDRIVE_PAUSE).await;
                continue;
            }
            let stream = self.broker.names.dead_stream(&queue.name);
            ask::delete_message(&self.broker, &stream, stored.sequence).await?;
            self.end_abandoned(queue, id).await?;
            return Ok(true);
        }
        Err(unsettled(id))
    }

    /// Ends a run that was marked and that nobody will publish, since its letter has gone; says whether the letter is there.
    ///
    /// # Errors
    /// When the broker does not answer, or the record changes again and again.
    pub(super) async fn end_abandoned(&self, queue: &Queue, id: &TaskId) -> Result<bool, ApiError> {
        for _ in 0..TRIES_MAX {
            let mark = match self.mark(queue, id).await? {
                Some(Mark::Abandoned(mark)) => mark,
                Some(Mark::InUse) | None => return Ok(self.stored_letter(id).await?.is_some()),
            };
            if self.store_dropped(queue, id, mark.mark, mark.sequence).await? {
                return Ok(false);
            }
            tokio::time::sleep(REDRIVE_PAUSE).await;
        }
        Err(unsettled(id))
    }

    /// Ends the run that a redrive has marked and not published. `false`: somebody was first; look again.
    async fn ends_mark(&self, queue: &Queue, letter: &Letter) -> Result<bool, ApiError> {
        let Some(Record { sequence, result }) = self.record(queue, &letter.id).await? else { return Ok(true) };
        if result.state().is_end() || result.run <= letter.run() {
            return Ok(true);
        }
        if self.has_copy(queue, &letter.id, result.run).await? {
            return Ok(true);
        }
        self.store_dropped(queue, &letter.id, result, sequence).await
    }

    /// Compares and sets the end of a marked run. `false`: somebody was first, or nobody knows.
    async fn store_dropped(
        &self,
        queue: &Queue,
        id: &TaskId,
        mark: v1::Result,
        sequence: u64,
    ) -> Result<bool, ApiError> {
        let message = "its dead letter was dropped while it was being redriven".to_owned();
        let end = v1::Result {
            state: State::Cancelled.into(),
            ended_at_ms: now_ms(),
            failure: Some(Failure { code: DROPPED.to_owned(), message }),
            ..mark
        };
        let stream = self.broker.names.results_stream(&queue.name);
        let subject = self.broker.names.result(id);
        let message = Publish::new(subject, end.encode_to_vec().into());
        match self.publisher.store(&stream, Publish { expected_sequence: Some(sequence), ..message }).await {
            Ok(_) => Ok(true),
            Err(PublishError::Lost | PublishError::InFlight | PublishError::Unanswered) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn unsettled(id: &TaskId) -> ApiError {
    let detail = "the task is being redriven and dropped at one moment, and came to no rest; look at it, and ask again";
    unavailable(detail.to_owned()).retry_after_ms(BROKER_RETRY_AFTER_MS).task_id(id)
}
