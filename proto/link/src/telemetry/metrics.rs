//! Metrics: pulled as Prometheus text by default, pushed over OTLP as well where an endpoint is set.

use std::path::Path;

use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::Registry;

use super::{TelemetryError, client_tls};

pub(super) fn provider(
    resource: Resource,
    push_to: Option<&str>,
    ca_file: Option<&Path>,
) -> Result<(SdkMeterProvider, Registry), TelemetryError> {
    let registry = Registry::new();
    let pull = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
    let mut builder = SdkMeterProvider::builder().with_resource(resource).with_reader(pull);
    if let Some(endpoint) = push_to {
        let mut exporter = MetricExporter::builder().with_tonic().with_endpoint(endpoint);
        if let Some(tls) = client_tls(endpoint, ca_file)? {
            exporter = exporter.with_tls_config(tls);
        }
        let exporter = exporter.build().map_err(|error| TelemetryError::endpoint(endpoint, &error))?;
        builder = builder.with_reader(PeriodicReader::builder(exporter).build());
    }
    Ok((builder.build(), registry))
}
