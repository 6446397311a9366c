//! What is begun for a caller goes on although the caller leaves.
//!
//! Between two steps of a cancel, a redrive or a drop something is half done. That is no loss, for each can be repeated;
//! but a connection that breaks is no reason to leave it so. To run each in its caller's own future would do that: it ends
//! wherever it stands.

use opentelemetry::Context;
use opentelemetry::trace::FutureExt as _;

use crate::error::{ApiError, Code};

/// On a task of its own, whoever waits for it.
pub(crate) async fn going_on<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(work.with_context(Context::current())).await.unwrap_or_else(|error| {
        tracing::error!(%error, "what was begun for a caller broke off");
        Err(ApiError::new(Code::Internal, "a mistake of the dispatcher's; its log has more"))
    })
}
