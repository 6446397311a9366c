//! Cancels: of one task, and of many.

use workfleet_proto::v1;

use super::gate::Door;
use super::request;
use super::service::queue_of;
use super::trace::note_task;
use crate::auth::Action;
use crate::error::ApiError;
use crate::view::{CancelledManyView, CancelledView};

/// Ends a task.
pub(super) async fn cancel(door: &Door, message: v1::CancelRequest) -> Result<v1::CancelReply, ApiError> {
    let dispatcher = door.open(Action::Submit, queue_of(&message.id))?;
    let id = request::task_id(&message.id)?;
    note_task(id.as_str());
    let cancelled = dispatcher.cancel(&id, &message.reason, &door.caller()).await?;
    Ok(CancelledView::from(cancelled).into())
}

/// Ends many tasks of a queue.
pub(super) async fn cancel_many(door: &Door, message: v1::CancelManyRequest) -> Result<v1::CancelManyReply, ApiError> {
    let dispatcher = door.open(Action::Operate, &message.queue)?;
    let done = dispatcher.cancel_many(request::cancel_many(message)?, &door.caller()).await?;
    Ok(CancelledManyView::from(done).into())
}
