//! Marks of redrives that nobody goes on with.
//!
//! A redrive replaces the failed result by a mark, publishes the task, and deletes the letter last. So where a mark stands and
//! neither a letter nor a copy is left, somebody has taken them away: a purge, or a drop that the redrive raced. Workers drop
//! what is older than a mark, so a task that is stored beside it as its first run is lost.
//!
//! Such a mark is gone on with and not overtaken (`docs/decisions/0016`): the task is stored as the very run that the mark
//! names. Whoever stored the mark may be slow and not dead, and publishes that run too, under the same message id; so one of
//! the two is stored. To wait until the mark is old, and to begin a run of one's own then, was the alternative: it decides by
//! clocks whether a frozen process is dead.

use workfleet_proto::id::TaskId;
use workfleet_proto::v1;

use crate::ask;
use crate::dispatcher::Inner;
use crate::error::{ApiError, unavailable};
use crate::kinds::Queue;
use crate::limits::BROKER_RETRY_AFTER_MS;

/// A task that a redrive has marked for another run.
#[derive(Debug, Clone)]
pub(crate) enum Mark {
    /// Nothing but the mark is left.
    Abandoned(Box<Abandoned>),
    /// Its letter or a copy is there, or was a moment ago.
    InUse,
}

/// A mark that nobody goes on with, but perhaps a redrive that is slow.
#[derive(Debug, Clone)]
pub(crate) struct Abandoned {
    /// Its sequence, which the result of the run must replace.
    pub(crate) sequence: u64,
    /// What it says of the run.
    pub(crate) mark: v1::Result,
}

impl Inner {
    /// The mark of a task that has none of the rest; nothing where there is no record.
    ///
    /// The letter is read first, since a redrive deletes it last: where it is gone, the copy has been stored before. The record
    /// comes before the copies, so that a run that ends between the two has another record by then.
    ///
    /// # Errors
    /// When the broker does not answer, or the record cannot be read.
    pub(crate) async fn mark(&self, queue: &Queue, id: &TaskId) -> Result<Option<Mark>, ApiError> {
        let has_letter = self.stored_letter(id).await?.is_some();
        let Some(record) = self.record(queue, id).await? else { return Ok(None) };
        let (sequence, mark) = (record.sequence, record.result);
        if has_letter || mark.state().is_end() || self.has_copy(queue, id, mark.run).await? {
            return Ok(Some(Mark::InUse));
        }
        Ok(Some(Mark::Abandoned(Box::new(Abandoned { sequence, mark }))))
    }

    /// Deletes a mark; one that is not there any more is no error. Its run is no worse for it: a result that finds nothing to
    /// replace is stored as the first.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn delete_mark(&self, queue: &Queue, abandoned: &Abandoned) -> Result<(), ApiError> {
        let stream = self.broker.names.results_stream(&queue.name);
        Ok(ask::delete_message(&self.broker, &stream, abandoned.sequence).await?)
    }
}

/// The refusal of what may not be stored beside a redrive.
pub(crate) fn being_redriven(id: &TaskId) -> ApiError {
    let detail = format!("{id} is being redriven at this moment; ask again");
    unavailable(detail).retry_after_ms(BROKER_RETRY_AFTER_MS).task_id(id)
}
