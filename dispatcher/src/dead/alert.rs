//! Tells of dead letters by webhooks.

use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;

/// Works until `stop`.
pub(crate) async fn run(_dispatcher: Dispatcher, stop: CancellationToken) {
    stop.cancelled().await;
}
