//! The service itself: unpack, ask the dispatcher, pack.

use futures::stream::{BoxStream, StreamExt as _};
use opentelemetry::trace::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};
use workfleet_proto::v1;
use workfleet_proto::v1::dispatcher_server::Dispatcher as Rpc;

use super::gate::{Door, Doors, Gate};
use super::trace::{Rpcs, note_task};
use super::{blobs, bulk, cancel, dead, request, status};
use crate::auth::Action;
use crate::config::Callers;
use crate::dispatcher::Submitted;
use crate::error::ApiError;

const KEY_EXPIRES_AT: &str = "workfleet-key-expires-at";
const KEY_REPEATED: &str = "workfleet-key-repeated";

/// A dispatcher behind gRPC.
pub(super) struct Service {
    doors: Doors,
    rpcs: Rpcs,
    shutdown: CancellationToken,
}

impl Service {
    pub(super) fn new(gate: Gate, callers: Callers, shutdown: CancellationToken) -> Self {
        Self { doors: Doors::new(gate), rpcs: Rpcs::new(callers), shutdown }
    }

    /// One request with one answer, inside its span.
    async fn unary<A>(
        &self,
        method: &'static str,
        metadata: &tonic::metadata::MetadataMap,
        door: &Door,
        answer: impl Future<Output = Result<A, ApiError>>,
    ) -> Result<A, Status> {
        let rpc = self.rpcs.start(method, metadata, door.client());
        let answer = answer.with_context(rpc.context()).await.map_err(|error| door.censored(error));
        rpc.end(answer.as_ref().map(|_| ()));
        answer.map_err(|error| status::status(&error))
    }
}

#[tonic::async_trait]
impl Rpc for Service {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::Task>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        let answer = async {
            let dispatcher = door.open(Action::Submit, &message.queue)?;
            let submitted = dispatcher.submit(request::submit(message)?).await?;
            note_task(&submitted.task.id);
            Ok(submitted)
        };
        self.unary("Submit", &metadata, &door, answer).await.map(stored)
    }

    type SubmitStreamStream = BoxStream<'static, Result<v1::SubmitReply, Status>>;

    async fn submit_stream(
        &self,
        request: Request<Streaming<v1::SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        let (metadata, extensions, requests) = request.into_parts();
        let door = self.doors.of(&extensions);
        let rpc = self.rpcs.start("SubmitStream", &metadata, door.client());
        // Whether it may is seen for each message; who may submit nowhere need not begin.
        if let Err(error) = door.open_some(Action::Submit) {
            rpc.end(Err(&error));
            return Err(status::status(&error));
        }
        let replies = bulk::submit_all(door, requests, rpc.context(), self.shutdown.clone());
        Ok(Response::new(rpc.over(replies)))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Task>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        let answer = async {
            let dispatcher = door.open(Action::Read, queue_of(&message.id))?;
            let id = request::task_id(&message.id)?;
            note_task(id.as_str());
            dispatcher.get(&id).await
        };
        self.unary("Get", &metadata, &door, answer).await.map(|task| Response::new(task.into()))
    }

    type WatchStream = BoxStream<'static, Result<v1::Task, Status>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        let answer = async {
            let dispatcher = door.open(Action::Read, queue_of(&message.id))?;
            let id = request::task_id(&message.id)?;
            note_task(id.as_str());
            dispatcher.watch(&id, request::cursor(message.cursor.as_deref())?).await
        };
        let tasks = self.unary("Watch", &metadata, &door, answer).await?;
        let tasks = tasks.map(|task| task.map(Into::into).map_err(|error| status::status(&error)));
        Ok(Response::new(until_stopping(tasks.boxed(), self.shutdown.clone())))
    }

    async fn call(&self, request: Request<v1::CallRequest>) -> Result<Response<v1::CallResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        let answer = async { door.open(Action::Submit, &message.queue)?.call(request::call(message)?).await };
        let called = self.unary("Call", &metadata, &door, answer).await?;
        Ok(Response::new(v1::CallResponse {
            output: called.output.protobuf,
            output_json: called.output.json.get().to_owned(),
            worker: called.worker,
        }))
    }

    async fn list_queues(
        &self,
        request: Request<v1::ListQueuesRequest>,
    ) -> Result<Response<v1::ListQueuesReply>, Status> {
        let door = self.doors.of(request.extensions());
        let answer = async { door.open_some(Action::Read)?.queues().await };
        let list = self.unary("ListQueues", request.metadata(), &door, answer).await?;
        let seen = list.queues.into_iter().filter(|queue| door.sees(&queue.name));
        let unreadable = list.unreadable.into_iter().filter(|queue| door.sees(queue)).collect();
        Ok(Response::new(v1::ListQueuesReply { queues: seen.map(Into::into).collect(), unreadable }))
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Result<Response<v1::ListTasksReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        let answer = async { door.open(Action::Read, &message.queue)?.tasks(&request::list(message)?).await };
        let page = self.unary("ListTasks", &metadata, &door, answer).await?;
        Ok(Response::new(page.into()))
    }

    async fn put_blob(
        &self,
        request: Request<Streaming<v1::PutBlobRequest>>,
    ) -> Result<Response<v1::BlobInfo>, Status> {
        let (metadata, extensions, requests) = request.into_parts();
        let door = self.doors.of(&extensions);
        let info = self.unary("PutBlob", &metadata, &door, blobs::put(&door, requests)).await?;
        Ok(Response::new(info))
    }

    type GetBlobStream = BoxStream<'static, Result<v1::BlobPart, Status>>;

    async fn get_blob(&self, request: Request<v1::GetBlobRequest>) -> Result<Response<Self::GetBlobStream>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        let answer = async {
            let dispatcher = door.open(Action::Read, queue_of(&message.id))?;
            dispatcher.get_blob(&blobs::blob_id(&message.id)?).await
        };
        let read = self.unary("GetBlob", &metadata, &door, answer).await?;
        Ok(Response::new(blobs::parts(read)))
    }

    async fn delete_blob(
        &self,
        request: Request<v1::DeleteBlobRequest>,
    ) -> Result<Response<v1::DeleteBlobReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        let answer = async {
            let dispatcher = door.open(Action::Submit, queue_of(&message.id))?;
            dispatcher.delete_blob(&blobs::blob_id(&message.id)?).await
        };
        self.unary("DeleteBlob", &metadata, &door, answer).await?;
        Ok(Response::new(v1::DeleteBlobReply {}))
    }

    async fn scale(&self, request: Request<v1::ScaleRequest>) -> Result<Response<v1::ScaleReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        let answer = async { door.open(Action::Scale, &message.queue)?.scale(&message.queue).await };
        let scale = self.unary("Scale", &metadata, &door, answer).await?;
        Ok(Response::new(scale.into()))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::CancelReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        self.unary("Cancel", &metadata, &door, Box::pin(cancel::cancel(&door, message))).await.map(Response::new)
    }

    async fn cancel_many(
        &self,
        request: Request<v1::CancelManyRequest>,
    ) -> Result<Response<v1::CancelManyReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        self.unary("CancelMany", &metadata, &door, Box::pin(cancel::cancel_many(&door, message)))
            .await
            .map(Response::new)
    }

    async fn list_dead(&self, request: Request<v1::ListDeadRequest>) -> Result<Response<v1::ListDeadReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        self.unary("ListDead", &metadata, &door, dead::list(&door, message)).await.map(Response::new)
    }

    async fn get_dead(&self, request: Request<v1::GetDeadRequest>) -> Result<Response<v1::DeadTask>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        self.unary("GetDead", &metadata, &door, dead::get(&door, message)).await.map(Response::new)
    }

    async fn redrive(&self, request: Request<v1::RedriveRequest>) -> Result<Response<v1::Task>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        self.unary("Redrive", &metadata, &door, Box::pin(dead::redrive(&door, message))).await.map(Response::new)
    }

    async fn redrive_many(
        &self,
        request: Request<v1::RedriveManyRequest>,
    ) -> Result<Response<v1::DeadManyReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        self.unary("RedriveMany", &metadata, &door, Box::pin(dead::redrive_many(&door, message)))
            .await
            .map(Response::new)
    }

    async fn drop_dead(&self, request: Request<v1::DropDeadRequest>) -> Result<Response<v1::DropDeadReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        self.unary("DropDead", &metadata, &door, dead::drop_one(&door, message)).await.map(Response::new)
    }

    async fn drop_dead_many(
        &self,
        request: Request<v1::DropDeadManyRequest>,
    ) -> Result<Response<v1::DeadManyReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        self.unary("DropDeadMany", &metadata, &door, dead::drop_many(&door, message)).await.map(Response::new)
    }

    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsReply>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let door = self.doors.of(&extensions);
        let answer = async {
            let dispatcher = match &message.queue {
                Some(queue) => door.open(Action::Operate, queue)?,
                None => door.open_some(Action::Operate)?,
            };
            dispatcher.operations(&message.into(), |queue| door.may(Action::Operate, queue)).await
        };
        let page = self.unary("ListOperations", &metadata, &door, answer).await?;
        Ok(Response::new(page.into()))
    }
}

/// The queue of a task's id, or a blob's: no queue's name has an underscore. What is no id names no good queue either.
pub(super) fn queue_of(id: &str) -> &str {
    id.split('_').next().unwrap_or_default()
}

fn stored(submitted: Submitted) -> Response<v1::Task> {
    let (expires_at, is_repeat) = (submitted.key_expires_at, submitted.is_repeat);
    let mut response = Response::new(submitted.task.into());
    if is_repeat {
        response.metadata_mut().insert(KEY_REPEATED, MetadataValue::from_static("true"));
    }
    if let Some(value) = expires_at.and_then(|time| MetadataValue::try_from(time.to_string()).ok()) {
        response.metadata_mut().insert(KEY_EXPIRES_AT, value);
    }
    response
}

/// A watcher is told that we stop, and comes back, to another of us, with its cursor.
fn until_stopping(
    tasks: BoxStream<'static, Result<v1::Task, Status>>,
    shutdown: CancellationToken,
) -> BoxStream<'static, Result<v1::Task, Status>> {
    let stopped = shutdown.clone();
    let last = async move { stopped.is_cancelled().then(|| Err(status::stopping())) };
    tasks
        .take_until(shutdown.cancelled_owned())
        .chain(futures::stream::once(last).filter_map(std::future::ready))
        .boxed()
}
