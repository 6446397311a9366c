//! Queues and what is in them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Edge;
use super::answer;
use super::parts::QueuePath;
use crate::auth::Grant;
use crate::error::ApiError;

/// `GET /v1/queues`: those that the caller may know of.
pub(super) async fn list(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
) -> Result<Response, ApiError> {
    let mut list = edge.dispatcher.queues().await?;
    list.queues.retain(|queue| grant.sees(&queue.name));
    list.unreadable.retain(|queue| grant.sees(queue));
    Ok(answer::json(StatusCode::OK, &list))
}

/// `GET /v1/queues/{queue}`
pub(super) async fn read(State(edge): State<Edge>, QueuePath(queue): QueuePath) -> Result<Response, ApiError> {
    Ok(answer::json(StatusCode::OK, &edge.dispatcher.queue(&queue).await?))
}

/// `GET /v1/scale/{queue}`
pub(super) async fn scale(State(edge): State<Edge>, QueuePath(queue): QueuePath) -> Result<Response, ApiError> {
    Ok(answer::json(StatusCode::OK, &edge.dispatcher.scale(&queue).await?))
}
