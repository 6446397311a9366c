//! What the process is told by variables.

use std::net::SocketAddr;
use std::path::PathBuf;

use workfleet_link::broker::BrokerConfig;
use workfleet_link::config::{ConfigError, Vars};
use workfleet_link::telemetry::TelemetryConfig;
use workfleet_link::tls::PairFiles;

use crate::auth::AuthConfig;

/// Everything that [`serve`](crate::serve()) needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the broker is.
    pub broker: BrokerConfig,
    /// Where REST is served.
    pub http_addr: SocketAddr,
    /// Where gRPC is served.
    pub grpc_addr: SocketAddr,
    /// The certificate of both; none: they are served in clear.
    pub tls: Option<PairFiles>,
    /// Where health and metrics are served, for probes and scrapers; none: they are at the REST address alone.
    pub admin_addr: Option<SocketAddr>,
    /// Provision from this file at start.
    pub queues_file: Option<PathBuf>,
    /// How callers are known, and what they may do.
    pub auth: AuthConfig,
    /// Whether callers' trace contexts are believed.
    pub callers: Callers,
    /// Traces, metrics, logs.
    pub telemetry: TelemetryConfig,
}

/// How far the callers' `traceparent` is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Anybody: a trace of our own begins, with a link to theirs. A stranger can neither force nor hide a trace.
    Strangers,
    /// Our own services behind this port: their trace goes on.
    Trusted,
}

impl Config {
    /// Reads every variable.
    ///
    /// # Errors
    /// Every mistake in them, together.
    pub fn read(mut vars: Vars) -> Result<Self, ConfigError> {
        let trusted = vars.switch("WORKFLEET_TRUST_TRACEPARENT", false);
        let config = Self {
            broker: BrokerConfig::read(&mut vars, "workfleet-dispatcher"),
            http_addr: vars.parsed("WORKFLEET_HTTP_ADDR", SocketAddr::from(([127, 0, 0, 1], 8080))),
            grpc_addr: vars.parsed("WORKFLEET_GRPC_ADDR", SocketAddr::from(([127, 0, 0, 1], 8081))),
            tls: vars.pair("WORKFLEET_TLS_CERT_FILE", "WORKFLEET_TLS_KEY_FILE"),
            admin_addr: vars.optional_parsed("WORKFLEET_ADMIN_ADDR"),
            queues_file: vars.optional_text("WORKFLEET_QUEUES_FILE").map(PathBuf::from),
            auth: AuthConfig::read(&mut vars),
            callers: if trusted { Callers::Trusted } else { Callers::Strangers },
            telemetry: TelemetryConfig::read(&mut vars),
        };
        let addresses = [("WORKFLEET_HTTP_ADDR", config.http_addr), ("WORKFLEET_GRPC_ADDR", config.grpc_addr)];
        AuthConfig::must_cover(&mut vars, &addresses);
        vars.finish(config)
    }
}
