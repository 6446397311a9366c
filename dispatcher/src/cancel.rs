//! A caller ends tasks that have not ended (rule 11).
//!
//! Each cancel runs on although its caller may leave: between the record and the purges a task would be left that is
//! cancelled, and handed to a worker all the same, which drops it.

mod many;

use std::sync::Arc;

use workfleet_proto::id::TaskId;
use workfleet_proto::settlement::{Cause, Halted};
use workfleet_proto::v1::{self, State};

pub use many::{CancelMany, CancelledMany};

use crate::dispatcher::{Dispatcher, Inner};
use crate::error::{ApiError, Code};
use crate::going_on::going_on;
use crate::halt::{Halting, Telling};
use crate::kinds::Queue;
use crate::limits::CANCEL_REASON_CHARS_MAX;
use crate::operations::{Action, Caller, Operation};
use crate::state;
use crate::view::TaskView;

/// When a caller that met too many cancels should come again.
const RETRY_AFTER_MS: u64 = 1_000;

/// A task that was cancelled.
#[derive(Debug, Clone)]
pub struct Cancelled {
    /// As it is recorded.
    pub task: TaskView,
    /// How many of the queue's workers have not confirmed within a second. What they do of it is not recorded.
    pub workers_unanswered: u32,
}

impl Dispatcher {
    /// Ends a task that has not ended. A repeat does the same again, for what an earlier cancel has left.
    ///
    /// # Errors
    /// When nobody knows it, or it has ended in another way.
    pub async fn cancel(&self, id: &TaskId, reason: &str, caller: &Caller) -> Result<Cancelled, ApiError> {
        let halting = halting(reason, Telling::Asking)?;
        let inner = self.inner();
        let permit = Arc::clone(&inner.cancels).try_acquire_owned();
        let permit = permit.map_err(|_| too_many("too many cancels at once"))?;
        let queue = inner.queue_of(id).await?;
        let (inner, id, caller) = (Arc::clone(inner), id.clone(), caller.clone());
        let cancel = async move {
            let _permit = permit;
            cancel(&inner, &queue, &id, halting, caller).await
        };
        going_on(cancel).await
    }

    /// Ends many tasks of a queue.
    ///
    /// # Errors
    /// When there is no such queue, or the question cannot be understood. What becomes of each task is no error.
    pub async fn cancel_many(&self, many: CancelMany, caller: &Caller) -> Result<CancelledMany, ApiError> {
        let inner = self.inner();
        let permit = Arc::clone(&inner.bulk_cancels).try_acquire_owned();
        let permit = permit.map_err(|_| too_many("too many cancels of many tasks at once"))?;
        let (inner, caller) = (Arc::clone(inner), caller.clone());
        let cancel = async move {
            let _permit = permit;
            many::cancel(&inner, many, caller).await
        };
        going_on(cancel).await
    }
}

async fn cancel(
    inner: &Inner,
    queue: &Queue,
    id: &TaskId,
    halting: Halting,
    caller: Caller,
) -> Result<Cancelled, ApiError> {
    let outcome = inner.halt(queue, id, &halting).await;
    let is_done = match &outcome {
        Ok(outcome) => outcome.halted == Halted::Halted,
        // It may be recorded, and then it holds, whatever broke off behind it.
        Err(_) => inner.read_result(queue, id).await.is_ok_and(|record| is_cancelled(record.as_ref())),
    };
    if is_done {
        let (queue, task, reason) = (queue.name.clone(), Some(id.clone()), halting.reason);
        inner.operations.note(Operation { action: Action::Cancel, queue, task, count: 1, caller, reason });
    }
    let outcome = outcome?;
    match outcome.halted {
        Halted::Halted => {}
        Halted::Ended(state) => return Err(ended(id, state)),
        Halted::Unknown | Halted::Marked => return Err(state::unknown_task(id)),
    }
    Ok(Cancelled { task: inner.found(queue, id).await?, workers_unanswered: outcome.workers_unanswered })
}

/// What is asked for, with the reason as it may stand in a record.
fn halting(reason: &str, telling: Telling) -> Result<Halting, ApiError> {
    let chars = reason.chars().count();
    if chars > CANCEL_REASON_CHARS_MAX {
        let detail = format!("the reason has {chars} characters; it may have {CANCEL_REASON_CHARS_MAX}");
        return Err(ApiError::invalid_option("reason", detail));
    }
    let reason = reason.replace(char::is_control, " ").trim().to_owned();
    Ok(Halting { cause: Cause::Cancelled, deadline_ms: None, reason, telling })
}

fn is_cancelled(record: Option<&v1::Result>) -> bool {
    record.is_some_and(|record| record.state() == State::Cancelled)
}

fn ended(id: &TaskId, state: State) -> ApiError {
    let detail = format!("the task has ended already: it is {}, and that stays", state.word());
    ApiError::new(Code::Conflict, detail).task_id(id)
}

fn too_many(detail: &str) -> ApiError {
    ApiError::new(Code::RateLimited, detail).retry_after_ms(RETRY_AFTER_MS)
}
