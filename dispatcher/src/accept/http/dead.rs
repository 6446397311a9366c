//! Dead letters: list, read, redrive, drop; one or many.

use axum::Extension;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use workfleet_proto::id::TaskId;
use workfleet_proto::limits::PAYLOAD_BYTES_MAX;
use workfleet_proto::v1;

use super::body::Unread;
use super::cancel::reason;
use super::message;
use super::object::{self, Object};
use super::parts::{QueryPairs, QueuePath, accepted};
use super::tasks::note_task;
use super::{Edge, answer};
use crate::accept::grpc::dead as messages;
use crate::admit::{Options, Payload};
use crate::dead::{DeadFilter, DeadMany, DeadManyView, ListDead, RedriveChanges, unknown_letter};
use crate::error::{ApiError, Code};
use crate::operations::Caller;

/// What ends the path of a redrive.
const REDRIVE: &str = ":redrive";

/// `{queue}` and `{id}` of the path. The caller's permission is for the queue, so the id has to be of that one.
pub(super) struct LetterPath {
    id: TaskId,
    /// Whether `:redrive` stands behind the id: a path's segment cannot be split by the router.
    redrives: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for LetterPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let unknown =
            |error: String| ApiError::new(Code::UnknownDeadLetter, format!("the path names no dead letter: {error}"));
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((queue, text)) = path.map_err(|error| unknown(error.to_string()))?;
        let id = text.strip_suffix(REDRIVE).unwrap_or(&text);
        let redrives = id.len() < text.len();
        let id: TaskId = id.parse().map_err(|error: workfleet_proto::id::IdError| unknown(error.to_string()))?;
        if id.queue_str() == queue { Ok(Self { id, redrives }) } else { Err(unknown_letter(&id)) }
    }
}

/// `GET /v1/queues/{queue}/dead`
pub(super) async fn list(
    State(edge): State<Edge>,
    QueuePath(queue): QueuePath,
    query: QueryPairs,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let list = ListDead { queue, filter: DeadFilter::from_pairs(query.iter())? };
    let page = edge.dispatcher.dead_letters(&list).await?;
    Ok(answer::view::<_, v1::ListDeadReply>(StatusCode::OK, accepted(&headers), page))
}

/// `GET /v1/queues/{queue}/dead/{id}`
pub(super) async fn read(State(edge): State<Edge>, path: LetterPath, headers: HeaderMap) -> Result<Response, ApiError> {
    path.plain()?;
    note_task(path.id.as_str());
    let letter = edge.dispatcher.dead_letter(&path.id).await?;
    Ok(answer::view::<_, v1::DeadTask>(StatusCode::OK, accepted(&headers), letter))
}

/// `DELETE /v1/queues/{queue}/dead/{id}`
pub(super) async fn delete(
    State(edge): State<Edge>,
    path: LetterPath,
    query: QueryPairs,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    path.plain()?;
    note_task(path.id.as_str());
    edge.dispatcher.drop_dead(&path.id, reason(&query)?, caller).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/queues/{queue}/dead/{id}:redrive`: 202 with the task, 200 where an earlier redrive has ended it.
pub(super) async fn redrive(
    State(edge): State<Edge>,
    path: LetterPath,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    if !path.redrives {
        let detail = "a dead letter is redriven at /v1/queues/{queue}/dead/{id}:redrive";
        return Err(ApiError::new(Code::NotFound, detail));
    }
    note_task(path.id.as_str());
    let inner = edge.dispatcher.inner();
    let (changes, _held) = if body.is_empty() {
        (RedriveChanges::default(), inner.large.hold_nothing())
    } else {
        let bytes_max = inner.connected()?.kinds.queue(path.id.queue_str()).await?.payload_bytes_max();
        let (body, held) = body.payload(bytes_max, &inner.large).await?;
        (changes(&path.id, body)?, held)
    };
    let redriven = edge.dispatcher.redrive(&path.id, &changes, caller).await?;
    let status = if redriven.is_accepted { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut answer = answer::view::<_, v1::Task>(status, accepted(&headers), redriven.task);
    answer::add(&mut answer, "location", &format!("/v1/tasks/{}", path.id));
    Ok(answer)
}

/// `POST /v1/queues/{queue}/dead:redrive`
pub(super) async fn redrive_many(
    State(edge): State<Edge>,
    QueuePath(queue): QueuePath,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let many = many(&edge, queue, body).await?;
    Ok(came_of_many(&headers, edge.dispatcher.redrive_many(&many, caller).await?))
}

/// `POST /v1/queues/{queue}/dead:drop`
pub(super) async fn drop_many(
    State(edge): State<Edge>,
    QueuePath(queue): QueuePath,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let many = many(&edge, queue, body).await?;
    Ok(came_of_many(&headers, edge.dispatcher.drop_dead_many(&many, caller).await?))
}

/// 200 also where some could not be done: each says so for itself.
fn came_of_many(headers: &HeaderMap, view: DeadManyView) -> Response {
    answer::view::<_, v1::DeadManyReply>(StatusCode::OK, accepted(headers), view)
}

impl LetterPath {
    /// Where the path is that of the letter itself.
    fn plain(&self) -> Result<(), ApiError> {
        if self.redrives { Err(unknown_letter(&self.id)) } else { Ok(()) }
    }
}

/// The body of a redrive.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedriveBody<'a> {
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    deadline: Option<String>,
    #[serde(default)]
    attempts_max: Option<u32>,
    #[serde(default)]
    run: Option<u32>,
    #[serde(default)]
    reason: String,
}

/// As JSON, or as a `workfleet.v1.RedriveRequest`.
fn changes(id: &TaskId, body: Payload) -> Result<RedriveChanges, ApiError> {
    let text = match body {
        Payload::Json(text) => text,
        Payload::Protobuf(bytes) => {
            let request: v1::RedriveRequest = message::read("RedriveRequest", bytes)?;
            message::agrees("id", &request.id, id.as_str())?;
            return messages::changes(request);
        }
    };
    let body: RedriveBody<'_> = object::body(&text)?;
    let options = Options::from_pairs(body.deadline.iter().map(|deadline| ("deadline", deadline.as_str())))?;
    // A part of the text that is there already.
    let payload = body.payload.map(|payload| Payload::Json(text.slice_ref(payload.get().as_bytes())));
    let RedriveBody { attempts_max, run, reason, .. } = body;
    Ok(RedriveChanges { payload, deadline: options.deadline, attempts_max, run, reason })
}

/// The body of what is done to many.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManyBody {
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    filter: Option<Object<FilterBody>>,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct FilterBody {
    code: Option<String>,
    labels: std::collections::BTreeMap<String, String>,
    before: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// As JSON, or as a `workfleet.v1.RedriveManyRequest`, which a `DropDeadManyRequest` is too.
async fn many(edge: &Edge, queue: String, body: Unread) -> Result<DeadMany, ApiError> {
    let (body, _held) = body.payload(PAYLOAD_BYTES_MAX, &edge.dispatcher.inner().large).await?;
    match body {
        Payload::Json(text) => {
            let ManyBody { ids, filter, reason } = object::body(&text)?;
            let filter = filter.map(|Object(filter)| filter.read()).transpose()?;
            Ok(DeadMany { queue, letters: messages::letters(ids, filter)?, reason })
        }
        Payload::Protobuf(bytes) => {
            let request: v1::RedriveManyRequest = message::read("RedriveManyRequest", bytes)?;
            message::agrees("queue", &request.queue, &queue)?;
            let filter = request.filter.map(messages::filter).transpose()?;
            Ok(DeadMany { queue, letters: messages::letters(request.ids, filter)?, reason: request.reason })
        }
    }
}

impl FilterBody {
    fn read(self) -> Result<DeadFilter, ApiError> {
        let times = [("before", &self.before), ("after", &self.after)];
        let times = times.iter().filter_map(|(name, time)| Some((*name, time.as_deref()?)));
        let DeadFilter { before, after, .. } = DeadFilter::from_pairs(times)?;
        let Self { code, labels, limit, cursor, .. } = self;
        Ok(DeadFilter { code, labels, before, after, limit, cursor })
    }
}

#[cfg(test)]
mod tests {
    use super::{FilterBody, ManyBody, Object, changes, object};
    use crate::admit::{Deadline, Payload};
    use crate::dead::RedriveChanges;
    use crate::error::ApiError;
    use bytes::Bytes;
    use std::time::Duration;

    fn read(text: &'static str) -> Result<RedriveChanges, ApiError> {
        let id = "mail_01h455vb4pex5vsknk084sn02q".parse().expect("an id");
        changes(&id, Payload::Json(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn what_is_to_change_arrives() {
        let changes = read(r#"{"payload": {"to": "a"}, "deadline": "10m", "attempts_max": 2}"#).expect("fine");
        assert!(matches!(&changes.payload, Some(Payload::Json(text)) if text == r#"{"to": "a"}"#));
        assert_eq!(changes.deadline, Some(Deadline::In(Duration::from_secs(600))));
        assert_eq!(changes.attempts_max, Some(2));
        assert!(read("{}").expect("fine").payload.is_none());
        for (wrong, field) in [
            (r#"{"payloads": {}}"#, "body"),
            (r#"{"deadline": "soon"}"#, "deadline"),
            (r#"{"attempts_max": -1}"#, "body"),
            ("[]", "body"),
        ] {
            assert_eq!(read(wrong).expect_err(wrong).field.as_deref(), Some(field), "{wrong}");
        }
        assert_eq!(read("{").expect_err("no JSON").code.name(), "invalid_json");
    }

    #[test]
    fn a_filter_is_read_as_a_query_is() {
        let text = Bytes::from_static(br#"{"filter": {"code": "x", "after": "2026-11-23T14:00:00Z", "limit": 3}}"#);
        let body: ManyBody = object::body(&text).expect("fine");
        let filter = body.filter.map(|Object(filter)| filter.read()).expect("a filter").expect("fine");
        assert_eq!((filter.code.as_deref(), filter.limit), (Some("x"), Some(3)));
        let late = FilterBody { before: Some("tomorrow".to_owned()), ..FilterBody::default() };
        assert_eq!(late.read().expect_err("no time").field.as_deref(), Some("before"));
    }
}
