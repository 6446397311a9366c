//! Traces, metrics and logs: set up once per process, in one place, since OpenTelemetry for Rust still changes its API
//! with each minor version.
//!
//! The spans that make up a task's trace are made with the OpenTelemetry API directly (see [`trace`]): a `RUST_LOG` that
//! hides a `tracing` span would cut the trace at that place, and it costs less than half. `tracing` is for what happens
//! inside a handler, and for logs; its spans land in the same trace through the layer set up here.
//!
//! Telemetry that fails never fails or slows a task: exporting happens on a thread of its own, from a bounded queue.

pub mod attribute;
mod logs;
mod metrics;
mod sampler;
pub mod trace;

use std::path::{Path, PathBuf};
use std::time::Duration;

use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use prometheus::{Registry, TextEncoder};

use crate::config::Vars;
use crate::tls;
use sampler::LinkAware;

/// How long the last spans and metrics may take on the way out: the longest time of [`Telemetry::stop`].
pub const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// Spans that wait to be exported; more are dropped and counted by the SDK.
const SPANS_WAITING_MAX: usize = 8_192;
/// Spans in one export.
const SPANS_EXPORT_MAX: usize = 1_024;
/// How long a span waits for others to travel with.
const EXPORT_DELAY: Duration = Duration::from_secs(1);

/// What the standard variables ask for.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    traces_endpoint: Option<String>,
    metrics_endpoint: Option<String>,
    ca_file: Option<PathBuf>,
    sampler: LinkAware,
    log: logs::LogConfig,
}

impl TelemetryConfig {
    /// Reads `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`,
    /// `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`, `OTEL_EXPORTER_OTLP_CERTIFICATE`, `OTEL_TRACES_EXPORTER`, `OTEL_SDK_DISABLED`, `OTEL_TRACES_SAMPLER` with its
    /// `_ARG`, `RUST_LOG` and `WORKFLEET_LOG`. The SDK itself reads `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME` and
    /// `OTEL_BSP_*`.
    pub fn read(vars: &mut Vars) -> Self {
        let off = vars.switch("OTEL_SDK_DISABLED", false) || vars.text("OTEL_TRACES_EXPORTER", "otlp") == "none";
        let endpoint = vars.optional_text("OTEL_EXPORTER_OTLP_ENDPOINT");
        let traces_endpoint = vars.optional_text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or(endpoint);
        Self {
            traces_endpoint: traces_endpoint.filter(|_| !off),
            metrics_endpoint: vars.optional_text("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT").filter(|_| !off),
            ca_file: vars.file("OTEL_EXPORTER_OTLP_CERTIFICATE", |path| {
                tls::authorities(path).map(|_| path.to_owned()).map_err(|error| error.reason)
            }),
            sampler: LinkAware::read(vars),
            log: logs::LogConfig::read(vars),
        }
    }
}

/// The telemetry of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Telemetry {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    registry: Registry,
}

/// Sets up traces, metrics and logs for this process. To be called once, inside a tokio runtime that lives as long as
/// the process: the exporter's connection belongs to it.
///
/// # Errors
/// When an endpoint is no address.
pub fn start(config: &TelemetryConfig, service: &str) -> Result<Telemetry, TelemetryError> {
    let resource = resource(service);
    let mut builder = SdkTracerProvider::builder().with_sampler(config.sampler.clone()).with_resource(resource.clone());
    if let Some(endpoint) = &config.traces_endpoint {
        let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        if let Some(tls) = client_tls(endpoint, config.ca_file.as_deref())? {
            exporter = exporter.with_tls_config(tls);
        }
        let exporter = exporter.build().map_err(|error| TelemetryError::endpoint(endpoint, &error))?;
        builder = builder
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batch_config()).build());
    }
    let traces = builder.build();
    let (metrics, registry) =
        metrics::provider(resource, config.metrics_endpoint.as_deref(), config.ca_file.as_deref())?;
    global::set_tracer_provider(traces.clone());
    global::set_meter_provider(metrics.clone());
    global::set_text_map_propagator(TraceContextPropagator::new());
    logs::start(&config.log, &traces);
    Ok(Telemetry { traces, metrics, registry })
}

impl Telemetry {
    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "the metrics cannot be written");
        }
        text
    }

    /// Sends what is not sent, within 5 s.
    pub async fn stop(self) {
        // The SDK blocks its caller, so it gets a thread where that does no harm.
        let stop = tokio::task::spawn_blocking(move || {
            let traces = self.traces.shutdown_with_timeout(STOP_TIME_MAX);
            let metrics = self.metrics.shutdown();
            (traces, metrics)
        });
        match tokio::time::timeout(STOP_TIME_MAX, stop).await {
            Ok(Ok((Ok(()), _))) => {}
            Ok(Ok((Err(error), _))) => tracing::warn!(%error, "the last spans may be lost"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the last spans may be lost: no time"),
        }
    }
}

/// How whoever collects at an `https://` endpoint is told from somebody else; `None` where it is spoken to in clear.
/// The file is read once: a new authority counts from the next start on.
fn client_tls(endpoint: &str, ca_file: Option<&Path>) -> Result<Option<ClientTlsConfig>, TelemetryError> {
    if !endpoint.starts_with("https://") {
        return Ok(None);
    }
    let tls = ClientTlsConfig::new();
    Ok(Some(match ca_file {
        Some(path) => {
            let pem =
                std::fs::read(path).map_err(|error| TelemetryError::endpoint(&path.display().to_string(), &error))?;
            tls.ca_certificate(Certificate::from_pem(pem))
        }
        None => tls.with_native_roots(),
    }))
}

fn resource(service: &str) -> Resource {
    let instance = format!("{}-{}", host(), std::process::id());
    let version = KeyValue::new("service.version", version());
    let builder = Resource::builder().with_attributes([KeyValue::new("service.instance.id", instance), version]);
    // The standard variable stands above our own name for the process.
    if std::env::var_os("OTEL_SERVICE_NAME").is_some() {
        return builder.build();
    }
    builder.with_service_name(service.to_owned()).build()
}

/// The version of this build, and behind a `+` the revision that it was made from, which the build of images gives.
#[must_use]
pub fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("WORKFLEET_REVISION").filter(|revision| !revision.is_empty()) {
        Some(revision) => format!("{version}+{revision}"),
        None => version.to_owned(),
    }
}

/// The name of this machine, or pod.
#[must_use]
pub fn host() -> String {
    std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

fn batch_config() -> opentelemetry_sdk::trace::BatchConfig {
    let unset = |name: &str| std::env::var_os(name).is_none();
    let mut builder = BatchConfigBuilder::default();
    if unset("OTEL_BSP_MAX_QUEUE_SIZE") {
        builder = builder.with_max_queue_size(SPANS_WAITING_MAX);
    }
    if unset("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") {
        builder = builder.with_max_export_batch_size(SPANS_EXPORT_MAX);
    }
    if unset("OTEL_BSP_SCHEDULE_DELAY") {
        builder = builder.with_scheduled_delay(EXPORT_DELAY);
    }
    builder.build()
}

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// An endpoint is no address.
    #[error("the OTLP endpoint {endpoint:?} cannot be used: {reason}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The metrics cannot be collected.
    #[error("the metrics cannot be collected: {0}")]
    Metrics(String),
}

impl TelemetryError {
    fn endpoint(endpoint: &str, error: &impl std::fmt::Display) -> Self {
        Self::Endpoint { endpoint: endpoint.to_owned(), reason: error.to_string() }
    }
}
