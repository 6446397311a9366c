//! Drops a dead letter.
//!
//! Where a redrive of it died half way, its task is marked for a run that nobody will publish any more once the letter is
//! gone; so that run is ended first, as cancelled. To leave the mark would leave a task that is neither here nor ended.

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
            return Ok(true);
        }
        let detail = "the task is being redriven at this moment; its dead letter was not dropped";
        Err(unavailable(detail.to_owned()).retry_after_ms(BROKER_RETRY_AFTER_MS).task_id(id))
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
        let message = "its dead letter was dropped while it was being redriven".to_owned();
        let end = v1::Result {
            state: State::Cancelled.into(),
            ended_at_ms: now_ms(),
            failure: Some(Failure { code: DROPPED.to_owned(), message }),
            ..result
        };
        let stream = self.broker.names.results_stream(&queue.name);
        let subject = self.broker.names.result(&letter.id);
        let message = Publish::new(subject, end.encode_to_vec().into());
        match self.publisher.store(&stream, Publish { expected_sequence: Some(sequence), ..message }).await {
            Ok(_) => Ok(true),
            Err(PublishError::Lost | PublishError::InFlight | PublishError::Unanswered) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
