//! How a redrive is refused, with its letter still there.

use workfleet_proto::id::TaskId;

use crate::error::{ApiError, Code, unavailable};
use crate::kinds::Queue;
use crate::limits::{BROKER_RETRY_AFTER_MS, QUEUE_FULL_RETRY_AFTER_MS};

pub(super) fn unsettled(id: &TaskId) -> ApiError {
    let detail = "the redrive came to no end in time: the broker is slow, or an older copy of the task is still in the \
                  queue; the dead letter is still there, and redriving it again does no harm";
    unavailable(detail.to_owned()).retry_after_ms(BROKER_RETRY_AFTER_MS).task_id(id)
}

pub(super) fn failed_again(id: &TaskId) -> ApiError {
    let detail = format!("{id} was redriven before and has failed again; look at its new dead letter");
    ApiError::new(Code::Conflict, detail).task_id(id)
}

pub(super) fn other_run(id: &TaskId, asked: u32, run: u32) -> ApiError {
    let since = if run > asked { ": the task was redriven, and has failed again" } else { "" };
    let detail = format!(
        "the dead letter of {id} is of run {run}, and not of run {asked}{since}; look at the letter first (`workfleet dead get`)"
    );
    ApiError::new(Code::UnknownDeadLetter, detail).task_id(id)
}

pub(super) fn conflict(id: &TaskId) -> ApiError {
    let detail = format!(
        "{id} is being redriven with another payload, with other options, or once more; if that redrive broke off, repeat it as it was, \
         or cancel the task"
    );
    ApiError::new(Code::Conflict, detail).task_id(id)
}

pub(super) fn over(id: &TaskId) -> ApiError {
    let detail = format!(
        "a redrive of {id} was begun and broke off, and its deadline has passed since. The dead letter is still there: \
         submit its payload as a new task, and drop it"
    );
    ApiError::new(Code::Conflict, detail).task_id(id)
}

pub(in crate::dead) fn full(queue: &Queue, id: &TaskId) -> ApiError {
    let detail = format!("the queue {} is full; the dead letter is still there", queue.name);
    ApiError::new(Code::QueueFull, detail).retry_after_ms(QUEUE_FULL_RETRY_AFTER_MS).task_id(id)
}

/// The same refusal as that of a submit, for a letter that is still there.
pub(super) fn no_room(error: &ApiError) -> ApiError {
    let said = ApiError::new(error.code, format!("{}; the dead letter is still there", error.detail));
    match error.retry_after_ms {
        Some(retry_after_ms) => said.retry_after_ms(retry_after_ms),
        None => said,
    }
}
