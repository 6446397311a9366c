//! Blobs: put, make up a name, read, delete. Bytes pass through.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use workfleet_proto::v1;

use super::Edge;
use super::answer;
use super::body::Unread;
use super::parts::{BlobPath, QueryPairs, accepted};
use crate::blobs::{BlobView, Put};
use crate::error::ApiError;

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");

/// `PUT /v1/blobs/{id}`: 201 once it is stored, 200 if it was there already.
pub(super) async fn put(
    State(edge): State<Edge>,
    path: Result<BlobPath, ApiError>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    // Not before the body is in hand, so that it is taken in where the path is wrong.
    let BlobPath(id) = path?;
    let length = body.length();
    let (status, view) = match edge.dispatcher.put_blob(&id, length, body.pieces()).await? {
        Put::New(view) => (StatusCode::CREATED, view),
        Put::Same(view) => (StatusCode::OK, view),
    };
    Ok(answer::view::<_, v1::BlobInfo>(status, accepted(&headers), view))
}

/// `POST /v1/blobs?queue={queue}`: the same under a name that is made up.
pub(super) async fn post(
    State(edge): State<Edge>,
    query: QueryPairs,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let id = edge.dispatcher.new_blob(queue(&query)?).await?;
    let length = body.length();
    let (Put::New(view) | Put::Same(view)) = edge.dispatcher.put_blob(&id, length, body.pieces()).await?;
    let mut answer = answer::view::<_, v1::BlobInfo>(StatusCode::CREATED, accepted(&headers), view);
    answer::add(&mut answer, "location", &format!("/v1/blobs/{id}"));
    Ok(answer)
}

/// `HEAD /v1/blobs/{id}`
pub(super) async fn head(State(edge): State<Edge>, BlobPath(id): BlobPath) -> Result<Response, ApiError> {
    Ok(described(&edge.dispatcher.blob(&id).await?, Body::empty(), BYTES))
}

/// `GET /v1/blobs/{id}`
pub(super) async fn get(State(edge): State<Edge>, BlobPath(id): BlobPath) -> Result<Response, ApiError> {
    let read = edge.dispatcher.get_blob(&id).await?;
    Ok(described(&read.info, Body::from_stream(read.pieces), BYTES))
}

/// `DELETE /v1/blobs/{id}`
pub(super) async fn delete(State(edge): State<Edge>, BlobPath(id): BlobPath) -> Result<Response, ApiError> {
    edge.dispatcher.delete_blob(&id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// An answer with a blob in it. A stranger may have uploaded it, so no browser is to guess what it is.
pub(super) fn described(info: &BlobView, body: Body, media: HeaderValue) -> Response {
    let mut answer = (StatusCode::OK, body).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(info.bytes));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    answer::add(&mut answer, "etag", &format!("\"{}\"", info.sha256));
    answer
}

fn queue(query: &QueryPairs) -> Result<&str, ApiError> {
    let mut queue = None;
    for (name, value) in query.iter() {
        if name != "queue" || queue.is_some() {
            let shown: String = name.chars().take(80).collect();
            let error = ApiError::invalid_option(&shown, "there is no such option, or it is given twice");
            return Err(error.known(vec!["queue".to_owned()]));
        }
        queue = Some(value);
    }
    queue.ok_or_else(|| ApiError::invalid_option("queue", "name the queue: /v1/blobs?queue=..."))
}
