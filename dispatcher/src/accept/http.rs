//! REST: JSON and protobuf bodies, problems as RFC 9457, events as server-sent events.

mod answer;
mod blobs;
mod body;
mod calls;
mod cancel;
mod connections;
mod dead;
mod events;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod guard;
mod message;
mod object;
mod observe;
mod operations;
mod operators;
mod parts;
mod problem;
mod queues;
mod rules;
mod tasks;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use workfleet_link::telemetry::Telemetry;

use super::Listener;
use crate::auth::Auth;
use crate::config::Callers;
use crate::dispatcher::Dispatcher;

/// What every handler has.
#[derive(Clone)]
pub(crate) struct Edge {
    dispatcher: Dispatcher,
    callers: Callers,
    /// How URLs of this port begin.
    scheme: &'static str,
    telemetry: Arc<Telemetry>,
    auth: Auth,
    /// Streams of events end with it, since no answer would ever be finished otherwise.
    shutdown: CancellationToken,
}

/// Serves until `shutdown`, then finishes what is in flight within
/// [`SHUTDOWN_GRACE`](crate::limits::SHUTDOWN_GRACE).
pub fn serve(
    listener: Listener,
    dispatcher: Dispatcher,
    callers: Callers,
    telemetry: Telemetry,
    auth: Auth,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let scheme = listener.scheme();
    let telemetry = Arc::new(telemetry);
    let edge = Edge { dispatcher, callers, scheme, telemetry, auth, shutdown: shutdown.clone() };
    connections::serve(listener, router(edge), shutdown)
}

fn router(edge: Edge) -> Router {
    Router::new()
        .route("/v1/queues", get(queues::list))
        .route("/v1/queues/{queue}", get(queues::read))
        .route("/v1/queues/{queue}/tasks", get(tasks::list).post(tasks::submit))
        .route("/v1/queues/{queue}/tasks:cancel", post(cancel::cancel_many))
        .route("/v1/queues/{queue}/calls", post(calls::call))
        .route("/v1/tasks/{id}", get(tasks::read).delete(cancel::cancel))
        .route("/v1/queues/{queue}/dead", get(dead::list))
        .route("/v1/queues/{queue}/dead/{id}", get(dead::read).delete(dead::delete).post(dead::redrive))
        .route("/v1/queues/{queue}/dead:redrive", post(dead::redrive_many))
        .route("/v1/queues/{queue}/dead:drop", post(dead::drop_many))
        .route("/v1/tasks/{id}/result", get(tasks::result))
        .route("/v1/tasks/{id}/events", get(events::follow))
        .route("/v1/blobs", post(blobs::post))
        .route("/v1/blobs/{id}", get(blobs::get).head(blobs::head).put(blobs::put).delete(blobs::delete))
        .route("/v1/operations", get(operators::list))
        .route("/v1/scale/{queue}", get(queues::scale))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(axum::middleware::from_fn_with_state(edge.clone(), observe::observe))
        // Probes and scrapers are neither traced nor measured.
        .route("/livez", get(operations::live))
        .route("/readyz", get(operations::ready))
        .route("/metrics", get(operations::metrics))
        .route("/openapi.json", get(operations::openapi))
        // Around everything, so that no route is past it.
        .layer(axum::middleware::from_fn_with_state(edge.clone(), guard::guard))
        .with_state(edge)
}
