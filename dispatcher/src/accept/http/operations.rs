//! For probes, scrapers and tools.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use workfleet_link::admin;

use super::Edge;
use super::answer;
use crate::auth::Grant;
use crate::error::ApiError;
use crate::openapi;

/// `GET /livez`: a restart would not bring a lost broker back, so this says only that the process answers.
pub(super) async fn live() -> Response {
    admin::answer(Ok(()))
}

/// `GET /readyz`
pub(super) async fn ready(State(edge): State<Edge>) -> Response {
    admin::answer(if edge.shutdown.is_cancelled() {
        Err("stopping".to_owned())
    } else if edge.dispatcher.broker().is_connected() {
        Ok(())
    } else {
        Err("the broker cannot be reached".to_owned())
    })
}

/// `GET /metrics`
pub(super) async fn metrics(State(edge): State<Edge>) -> Response {
    admin::metrics(&edge.telemetry)
}

/// `GET /openapi.json`: made from the kinds that there are at this moment, and that the caller may know of.
pub(super) async fn openapi(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
) -> Result<Response, ApiError> {
    let mut kinds = edge.dispatcher.kinds().await?;
    kinds.retain(|(queue, _)| grant.sees(queue.as_str()));
    Ok(answer::json(StatusCode::OK, &openapi::document(&kinds)))
}
