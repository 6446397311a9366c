//! Health and metrics over HTTP at an address of their own: `/livez`, `/readyz`, `/metrics`.
//!
//! It has no TLS and asks nobody who they are, since probes and scrapers of a cluster can do little of either; keep it
//! inside. What it says is no secret of anybody's, but is not for strangers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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

/// How long the last answers may take: the longest time of [`Admin::stop`].
pub const STOP_TIME_MAX: Duration = Duration::from_secs(1);

/// The running server.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
}

impl Admin {
    /// Listens. To be called before the broker is looked for, so that whoever watches the process hears what it waits
    /// for, and does not end it for its silence.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(
        address: SocketAddr,
        health: Arc<dyn HealthCheck>,
        telemetry: Telemetry,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .route("/livez", get(|State(state): State<Edge>| async move { answer(state.health.live()) }))
            .route("/readyz", get(|State(state): State<Edge>| async move { answer(state.health.ready()) }))
            .route("/metrics", get(|State(state): State<Edge>| async move { metrics(&state.telemetry) }))
            .with_state(Edge { health, telemetry });
        let shutdown = CancellationToken::new();
        let stopped = shutdown.clone().cancelled_owned();
        let running = tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(stopped).into_future());
        tracing::info!(%address, "health and metrics");
        Ok(Self { address, shutdown, running })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Finishes what is being answered.
    pub async fn stop(self) {
        self.shutdown.cancel();
        if tokio::time::timeout(STOP_TIME_MAX, self.running).await.is_err() {
            tracing::debug!("a reader of health or metrics does not hang up");
        }
    }
}

#[derive(Clone)]
struct Edge {
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
