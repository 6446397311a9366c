//! Queues and what is in them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Edge;
use super::answer;
use super::parts::QueuePath;
use crate::error::ApiError;

/// `GET /v1/queues`
pub(super) async fn list(State(edge): State<Edge>) -> Result<Response, ApiError> {
    Ok(answer::json(StatusCode::OK, &edge.dispatcher.queues().await?))
}

/// `GET /v1/queues/{queue}`
pub(super) async fn read(State(edge): State<Edge>, QueuePath(queue): QueuePath) -> Result<Response, ApiError> {
    Ok(answer::json(StatusCode::OK, &edge.dispatcher.queue(&queue).await?))
}

/// `GET /v1/scale/{queue}`
pub(super) async fn scale(State(edge): State<Edge>, QueuePath(queue): QueuePath) -> Result<Response, ApiError> {
    Ok(answer::json(StatusCode::OK, &edge.dispatcher.scale(&queue).await?))
}
