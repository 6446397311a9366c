//! Health and metrics over HTTP, for processes that have no other HTTP: `/livez`, `/readyz`, `/metrics`.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::telemetry::Telemetry;

/// What a process says about itself. An error is the reason, for people.
pub trait HealthCheck: Send + Sync + 'static {
    /// Whether a restart would not help: the loop lives and consumes when it can.
    ///
    /// # Errors
    /// Why it should be restarted.
    fn live(&self) -> Result<(), String>;
    /// Whether it takes work now.
    ///
    /// # Errors
    /// Why it does not.
    fn ready(&self) -> Result<(), String>;
}

/// Serves until `shutdown` is done.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    health: Arc<dyn HealthCheck>,
    telemetry: Telemetry,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/livez", get(|State(state): State<Admin>| async move { answer(state.health.live()) }))
        .route("/readyz", get(|State(state): State<Admin>| async move { answer(state.health.ready()) }))
        .route("/metrics", get(|State(state): State<Admin>| async move { metrics(&state.telemetry) }))
        .with_state(Admin { health, telemetry });
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

#[derive(Clone)]
struct Admin {
    health: Arc<dyn HealthCheck>,
    telemetry: Telemetry,
}

/// A check as an answer: 200 `ok`, or 503 with the reason.
#[must_use]
pub fn answer(check: Result<(), String>) -> Response {
    match check {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// The metrics as an answer.
#[must_use]
pub fn metrics(telemetry: &Telemetry) -> Response {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], telemetry.metrics_text()).into_response()
}
