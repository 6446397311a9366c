//! A real Jaeger, where `make jaeger` has built one.

mod shipped;

use std::path::Path;

use serde_json::Value;

use crate::place::{free_port, tool, workspace};
use crate::process::{Process, Spec};
use crate::wait::eventually;

pub use shipped::{Role, Shipped};

/// A Jaeger that keeps traces in memory.
#[derive(Debug)]
pub struct Jaeger {
    _process: Process,
    otlp_port: u16,
    query_port: u16,
}

impl Jaeger {
    /// Starts one with its log in `folder`; `None` where it was not built.
    pub async fn start(folder: &Path) -> Option<Self> {
        let program = tool("jaeger")?;
        let (otlp_port, query_port) = (free_port(), free_port());
        let config = workspace().join("deploy/local/jaeger/jaeger.yaml");
        let spec = Spec::new("jaeger", program)
            .argument("--config")
            .argument(config.display().to_string())
            .variable("JAEGER_OTLP_GRPC_PORT", otlp_port.to_string())
            .variable("JAEGER_QUERY_HTTP_PORT", query_port.to_string());
        let jaeger = Self { _process: Process::start(&spec, folder), otlp_port, query_port };
        // The OTLP port opens last.
        let address = format!("127.0.0.1:{otlp_port}");
        eventually("Jaeger accepts spans", async || tokio::net::TcpStream::connect(&address).await.ok()).await;
        Some(jaeger)
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` must be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.otlp_port)
    }

    /// The spans of a trace as its query API tells them (OTLP as JSON), one value per span with its service's name
    /// under `service`; empty as long as it knows none.
    pub async fn spans(&self, trace: &str) -> Vec<Value> {
        spans(&format!("http://127.0.0.1:{}", self.query_port), trace).await
    }
}

/// The same of any Jaeger whose query API is at `url`.
pub async fn spans(url: &str, trace: &str) -> Vec<Value> {
    let Ok(response) = crate::http::get(format!("{url}/api/v3/traces/{trace}")).await else { return Vec::new() };
    let Ok(answer) = response.json::<Value>().await else { return Vec::new() };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut spans = Vec::new();
    for resource in list(&answer["result"]["resourceSpans"]) {
        let service = attribute(&resource["resource"], "service.name");
        for mut span in list(&resource["scopeSpans"]).iter().flat_map(|scope| list(&scope["spans"])) {
            span["service"] = service.clone().into();
            spans.push(span);
        }
    }
    spans
}

/// A string attribute of a span or a resource, whatever its type was; empty if it is not there.
#[must_use]
pub fn attribute(holder: &Value, name: &str) -> String {
    let attributes = holder["attributes"].as_array();
    let found = attributes.and_then(|pairs| pairs.iter().find(|pair| pair["key"] == name));
    let value = found.and_then(|pair| pair["value"].as_object()?.values().next().cloned());
    match value {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
