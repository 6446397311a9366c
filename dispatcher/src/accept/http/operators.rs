//! The operators' log.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Edge;
use super::answer;
use super::parts::QueryPairs;
use crate::auth::{Action, Grant};
use crate::error::ApiError;
use crate::operations::ListOperations;

/// `GET /v1/operations`: those in queues that the caller may operate. To ask for another's is refused; to ask for all is
/// not, and shows none of it.
pub(super) async fn list(
    State(edge): State<Edge>,
    Extension(grant): Extension<Arc<Grant>>,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let list = ListOperations::from_pairs(query.iter())?;
    if let Some(queue) = &list.queue {
        grant.check(Action::Operate, queue)?;
    }
    let may_see = |queue: &str| grant.check(Action::Operate, queue).is_ok();
    Ok(answer::json(StatusCode::OK, &edge.dispatcher.operations(&list, may_see).await?))
}
