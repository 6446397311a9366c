//! Cancels: of one task, and of many.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use workfleet_proto::v1;

use super::Edge;
use super::answer;
use super::body::Unread;
use super::message;
use super::object::{self, Object};
use super::parts::{IdPath, QueryPairs, QueuePath, accepted};
use super::tasks::note_task;
use crate::accept::grpc::request;
use crate::admit::Payload;
use crate::cancel::CancelMany;
use crate::error::ApiError;
use crate::limits::CANCEL_MANY_BYTES_MAX;
use crate::operations::Caller;
use crate::view::{CancelledManyView, CancelledView, StateWord};

/// `DELETE /v1/tasks/{id}`: 200 once every worker of the queue has confirmed, 202 where some have not.
pub(super) async fn cancel(
    State(edge): State<Edge>,
    IdPath(id): IdPath,
    query: QueryPairs,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    note_task(id.as_str());
    let reason = reason(&query)?;
    let cancelled = edge.dispatcher.cancel(&id, reason, &caller).await?;
    let status = status(cancelled.workers_unanswered);
    Ok(answer::view::<CancelledView, v1::CancelReply>(status, accepted(&headers), cancelled.into()))
}

/// `POST /v1/queues/{queue}/tasks:cancel`: the same of many, one page of them.
pub(super) async fn cancel_many(
    State(edge): State<Edge>,
    QueuePath(queue): QueuePath,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let (body, _held) = body.payload(CANCEL_MANY_BYTES_MAX, &edge.dispatcher.inner().large).await?;
    let many = match body {
        Payload::Json(text) => Asked::read(&text)?.many(queue)?,
        Payload::Protobuf(bytes) => of_message(queue, bytes)?,
    };
    let done = edge.dispatcher.cancel_many(many, &caller).await?;
    let status = status(done.workers_unanswered);
    Ok(answer::view::<CancelledManyView, v1::CancelManyReply>(status, accepted(&headers), done.into()))
}

/// 200 once all workers have confirmed, 202 where so many have not.
fn status(workers_unanswered: u32) -> StatusCode {
    if workers_unanswered == 0 { StatusCode::OK } else { StatusCode::ACCEPTED }
}

/// The one option of what is ended: why.
pub(super) fn reason(query: &QueryPairs) -> Result<&str, ApiError> {
    let mut reason = None;
    for (name, value) in query.iter() {
        if name != "reason" {
            let shown: String = name.chars().take(80).collect();
            let error = ApiError::invalid_option(&shown, "there is no such option");
            return Err(error.known(vec!["reason".to_owned()]));
        }
        if reason.replace(value).is_some() {
            return Err(ApiError::invalid_option("reason", "the option is given twice"));
        }
    }
    Ok(reason.unwrap_or_default())
}

/// The body as JSON. A name that is not known is a mistake: a filter that is misspelt would cancel too much.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    ids: Vec<String>,
    filter: Option<Object<Filter>>,
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Filter {
    labels: std::collections::BTreeMap<String, String>,
    state: Option<StateWord>,
    limit: Option<u32>,
    cursor: Option<String>,
}

impl Asked {
    fn read(text: &Bytes) -> Result<Self, ApiError> {
        object::body(text)
    }

    fn many(self, queue: String) -> Result<CancelMany, ApiError> {
        let Object(Filter { labels, state, limit, cursor }) = self.filter.unwrap_or_default();
        let state = state.map(|StateWord(state)| state);
        Ok(CancelMany { queue, ids: self.ids, labels, state, limit, cursor, reason: self.reason })
    }
}

/// The path names the queue: that is what the caller's permissions are about.
fn of_message(queue: String, bytes: Bytes) -> Result<CancelMany, ApiError> {
    let asked: v1::CancelManyRequest = message::read("CancelManyRequest", bytes)?;
    message::agrees("queue", &asked.queue, &queue)?;
    Ok(CancelMany { queue, ..request::cancel_many(asked)? })
}

#[cfg(test)]
mod tests {
    use super::Asked;
    use crate::error::Code;
    use bytes::Bytes;
    use workfleet_proto::v1::State;

    #[test]
    fn a_filter_that_is_misspelt_is_refused_and_never_widened() {
        let read = |text: &'static str| Asked::read(&Bytes::from_static(text.as_bytes()));
        let asked = read(r#"{"filter":{"labels":{"tier":"gold"},"state":"queued","limit":5},"reason":"no"}"#);
        let many = asked.expect("fine").many("mail".to_owned()).expect("fine");
        assert_eq!((many.state, many.limit, many.reason.as_str()), (Some(State::Queued), Some(5), "no"));
        for wrong in [r#"{"filter":{"label":{"tier":"gold"}}}"#, r#"{"id":["a"]}"#, r#"{"filter":{"state":"x"}}"#] {
            assert_eq!(read(wrong).expect_err(wrong).code, Code::InvalidOption);
        }
        assert_eq!(read("{").expect_err("no JSON").code, Code::InvalidJson);
    }
}
