//! Dead letters: messages to questions, and back.

use workfleet_proto::v1;
use workfleet_proto::v1::redrive_request::Payload as RedrivePayload;

use super::gate::Door;
use super::request::{task_id, time};
use super::service::queue_of;
use super::trace::note_task;
use crate::admit::{Deadline, Payload};
use crate::auth::Action;
use crate::dead::{DeadFilter, DeadMany, Letters, ListDead, RedriveChanges};
use crate::error::ApiError;

pub(super) async fn list(door: &Door, request: v1::ListDeadRequest) -> Result<v1::ListDeadReply, ApiError> {
    let dispatcher = door.open(Action::Read, &request.queue)?;
    let filter = filter(request.filter.unwrap_or_default())?;
    Ok(dispatcher.dead_letters(&ListDead { queue: request.queue, filter }).await?.into())
}

pub(super) async fn get(door: &Door, request: v1::GetDeadRequest) -> Result<v1::DeadTask, ApiError> {
    let dispatcher = door.open(Action::Read, queue_of(&request.id))?;
    let id = task_id(&request.id)?;
    note_task(id.as_str());
    Ok(dispatcher.dead_letter(&id).await?.into())
}

pub(super) async fn redrive(door: &Door, request: v1::RedriveRequest) -> Result<v1::Task, ApiError> {
    let dispatcher = door.open(Action::Operate, queue_of(&request.id))?;
    let id = task_id(&request.id)?;
    note_task(id.as_str());
    Ok(dispatcher.redrive(&id, &changes(request)?, door.caller()).await?.task.into())
}

pub(super) async fn redrive_many(door: &Door, request: v1::RedriveManyRequest) -> Result<v1::DeadManyReply, ApiError> {
    let dispatcher = door.open(Action::Operate, &request.queue)?;
    let letters = letters(request.ids, request.filter.map(filter).transpose()?)?;
    let many = DeadMany { queue: request.queue, letters, reason: request.reason };
    Ok(dispatcher.redrive_many(&many, door.caller()).await?.into())
}

pub(super) async fn drop_one(door: &Door, request: v1::DropDeadRequest) -> Result<v1::DropDeadReply, ApiError> {
    let dispatcher = door.open(Action::Operate, queue_of(&request.id))?;
    let id = task_id(&request.id)?;
    note_task(id.as_str());
    dispatcher.drop_dead(&id, &request.reason, door.caller()).await?;
    Ok(v1::DropDeadReply {})
}

pub(super) async fn drop_many(door: &Door, request: v1::DropDeadManyRequest) -> Result<v1::DeadManyReply, ApiError> {
    let dispatcher = door.open(Action::Operate, &request.queue)?;
    let letters = letters(request.ids, request.filter.map(filter).transpose()?)?;
    let many = DeadMany { queue: request.queue, letters, reason: request.reason };
    Ok(dispatcher.drop_dead_many(&many, door.caller()).await?.into())
}

/// What is to be different in the new run.
pub(in crate::accept) fn changes(request: v1::RedriveRequest) -> Result<RedriveChanges, ApiError> {
    let payload = request.payload.map(|payload| match payload {
        RedrivePayload::Protobuf(bytes) => Payload::Protobuf(bytes),
        RedrivePayload::Json(text) => Payload::Json(text.into()),
    });
    let deadline = request.deadline.map(|at| time("deadline", at).map(Deadline::At)).transpose()?;
    let v1::RedriveRequest { attempts_max, run, reason, .. } = request;
    Ok(RedriveChanges { payload, deadline, attempts_max, run, reason })
}

/// These, or those that the filter finds. One of the two has to be said: nothing at all is a mistake too easily made, and
/// would mean every letter there is.
pub(in crate::accept) fn letters(ids: Vec<String>, filter: Option<DeadFilter>) -> Result<Letters, ApiError> {
    match filter {
        None if ids.is_empty() => {
            let detail = "say which letters: `ids`, or a `filter`; one without any condition, {}, is all of them";
            Err(ApiError::invalid_option("filter", detail))
        }
        Some(_) if !ids.is_empty() => Err(ApiError::invalid_option("filter", "`ids` and `filter` exclude each other")),
        Some(filter) => Ok(Letters::Found(filter)),
        None => Ok(Letters::Of(ids)),
    }
}

/// Which letters.
pub(in crate::accept) fn filter(filter: v1::DeadFilter) -> Result<DeadFilter, ApiError> {
    Ok(DeadFilter {
        code: filter.code,
        labels: filter.labels.into_iter().collect(),
        before: filter.before.map(|at| time("before", at)).transpose()?,
        after: filter.after.map(|at| time("after", at)).transpose()?,
        limit: filter.limit,
        cursor: filter.cursor,
    })
}
