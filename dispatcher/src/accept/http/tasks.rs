//! Tasks: submit, read, output.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use workfleet_link::telemetry::attribute;
use workfleet_proto::v1;

use super::Edge;
use super::answer;
use super::blobs;
use super::body::Unread;
use super::parts::{Form, IdPath, QueryPairs, QueuePath, accepted, single, wait};
use crate::admit::{Options, Submit};
use crate::error::ApiError;
use crate::large::Held;
use crate::list::ListTasks;
use crate::output::text;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// `POST /v1/queues/{queue}/tasks`: 202 once the task is stored, 200 if it was waited for and has ended.
pub(super) async fn submit(
    State(edge): State<Edge>,
    QueuePath(queue): QueuePath,
    query: QueryPairs,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let wait = wait(&headers);
    let idempotency_key = single(&headers, &IDEMPOTENCY_KEY, "Idempotency-Key")?;
    let options = Options::from_pairs(query.iter())?;
    let bytes_max = edge.dispatcher.inner().connected()?.kinds.queue(&queue).await?.payload_bytes_max();
    let (payload, held) = body.payload(bytes_max, &edge.dispatcher.inner().large).await?;
    let submit = Submit { queue, payload, idempotency_key, wait, options };
    let submitted = edge.dispatcher.submit_held(submit, held).await?;
    note_task(&submitted.task.id);
    let status = if submitted.task.is_end() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = format!("/v1/tasks/{}", submitted.task.id);
    let mut answer = answer::view::<_, v1::Task>(status, accepted(&headers), submitted.task);
    answer::add(&mut answer, "location", &location);
    if let Some(time) = wait {
        answer::add(&mut answer, "preference-applied", &format!("wait={}", time.as_secs()));
    }
    if let Some(until) = submitted.key_expires_at {
        answer::add(&mut answer, "idempotency-key-expires", &until.to_string());
    }
    if submitted.is_repeat {
        answer::add(&mut answer, "idempotency-key-repeated", "true");
    }
    Ok(answer)
}

/// `GET /v1/queues/{queue}/tasks`: a page of the queue's tasks.
pub(super) async fn list(
    State(edge): State<Edge>,
    QueuePath(queue): QueuePath,
    query: QueryPairs,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let list = ListTasks::from_pairs(queue, query.iter())?;
    let page = edge.dispatcher.tasks(&list).await?;
    Ok(answer::view::<_, v1::ListTasksReply>(StatusCode::OK, accepted(&headers), page))
}

/// `GET /v1/tasks/{id}`
pub(super) async fn read(
    State(edge): State<Edge>,
    IdPath(id): IdPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    note_task(id.as_str());
    // `Prefer: wait` works here too: for whoever got a 202 and comes back.
    let task = match wait(&headers) {
        Some(time) => edge.dispatcher.wait(&id, time).await?,
        None => edge.dispatcher.get(&id).await?,
    };
    let mut answer = answer::view::<_, v1::Task>(StatusCode::OK, accepted(&headers), task);
    if let Some(time) = wait(&headers) {
        answer::add(&mut answer, "preference-applied", &format!("wait={}", time.as_secs()));
    }
    Ok(answer)
}

/// `GET /v1/tasks/{id}/result`: the output alone, in the form that `Accept` asks for.
pub(super) async fn result(
    State(edge): State<Edge>,
    IdPath(id): IdPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    note_task(id.as_str());
    let form = accepted(&headers);
    if form == Form::Protobuf
        && let Some(read) = edge.dispatcher.large_output(&id).await?
    {
        return Ok(blobs::described(&read.info, Body::from_stream(read.pieces), answer::PROTOBUF));
    }
    let (output, held) = edge.dispatcher.result_held(&id).await?;
    let bytes = match form {
        // Its share of the memory is held until the last byte is sent.
        Form::Json => Bytes::from_owner(Sent { text: text(output.json), _held: held }),
        Form::Protobuf => output.protobuf,
    };
    Ok(answer::bytes(StatusCode::OK, form, bytes))
}

struct Sent {
    text: String,
    _held: Held,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// Every span of a task carries its id.
pub(super) fn note_task(id: &str) {
    Context::current().span().set_attribute(KeyValue::new(attribute::TASK_ID, id.to_owned()));
}
