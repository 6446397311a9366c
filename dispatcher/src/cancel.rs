//! A caller ends tasks that have not ended (rule 11).
//!
//! Each cancel runs on although its caller may leave: between the record and the purges a task would be left that is
//! cancelled, and handed to a worker all the same, which drops it.

mod many;

use std::sync::Arc;

use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::settlement::{Cause, Halted};
use workfleet_proto::v1::{self, State};

pub use many::{CancelMany, CancelledMany};

use crate::dispatcher::{Dispatcher, Inner};
use crate::error::{ApiError, Code, unavailable};
use crate::going_on::going_on;
use crate::halt::{Halting, Telling};
use crate::kinds::Queue;
use crate::operations::{self, Action, Caller, Operation};
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
        let queue = inner.queue_of(id).await.map_err(|error| if_unavailable(error, NOT_BEGUN, id))?;
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
    let began_ms = now_ms();
    let outcome = inner.halt(queue, id, &halting).await;
    let recorded_ms = match &outcome {
        Ok(_) => None,
        Err(_) => recorded_ms(inner, queue, id).await,
    };
    let is_new = match &outcome {
        Ok(outcome) => outcome.halted == Halted::Halted && outcome.is_new,
        Err(_) => recorded_ms.is_some_and(|at_ms| at_ms >= began_ms),
    };
    // A repeat that finds the task cancelled does nothing that is worth a line.
    if is_new {
        let (queue, task, reason) = (queue.name.clone(), Some(id.clone()), halting.reason);
        let (filter, ids) = (String::new(), Vec::new());
        inner.operations.note(Operation { action: Action::Cancel, queue, task, filter, ids, count: 1, caller, reason });
    }
    let known = if recorded_ms.is_some() { RECORDED } else { UNKNOWN };
    let outcome = outcome.map_err(|error| if_unavailable(error, known, id))?;
    match outcome.halted {
        Halted::Halted => {}
        Halted::Ended(state) => return Err(ended(id, state)),
        Halted::Unknown | Halted::Marked => return Err(state::unknown_task(id)),
    }
    Ok(Cancelled { task: inner.found(queue, id).await?, workers_unanswered: outcome.workers_unanswered })
}

/// What is asked for, with the reason as it may stand in a record.
fn halting(reason: &str, telling: Telling) -> Result<Halting, ApiError> {
    Ok(Halting { cause: Cause::Cancelled, deadline_ms: None, reason: operations::reason(reason)?, telling })
}

/// When it was recorded as cancelled, if that can be seen after a step that nobody has answered. Then it holds, whatever broke
/// off behind it.
async fn recorded_ms(inner: &Inner, queue: &Queue, id: &TaskId) -> Option<i64> {
    inner.read_result(queue, id).await.ok().flatten().as_ref().and_then(cancelled_at_ms)
}

fn cancelled_at_ms(record: &v1::Result) -> Option<i64> {
    (record.state() == State::Cancelled).then_some(record.ended_at_ms)
}

/// What is known of a task where the broker fell silent.
const NOT_BEGUN: &str = "nothing was cancelled; cancel it again";
const UNKNOWN: &str = "it is not known whether the task is cancelled: it may be, or may be in a moment; cancel it again, which \
                       is safe";
const RECORDED: &str = "the task is recorded as cancelled, and that holds, but what waits of it may not be removed yet; cancel \
                        it again, which is safe";

/// The same error, where the broker did not answer, with what that means for the task.
fn if_unavailable(error: ApiError, known: &str, id: &TaskId) -> ApiError {
    match error.code {
        Code::BrokerUnavailable => unavailable(format!("{known}. The broker: {}", error.detail)).task_id(id),
        _ => error,
    }
}

fn ended(id: &TaskId, state: State) -> ApiError {
    let detail = format!("the task has ended already: it is {}, and that stays", state.word());
    ApiError::new(Code::Conflict, detail).task_id(id)
}

fn too_many(detail: &str) -> ApiError {
    ApiError::new(Code::RateLimited, detail).retry_after_ms(RETRY_AFTER_MS)
}
