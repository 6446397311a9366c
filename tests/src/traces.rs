//! An OTLP receiver in the test's own process: what Jaeger would be sent, without a Jaeger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::authority::Authority;
use crate::wait::eventually;

/// A span as it was exported.
#[derive(Debug, Clone)]
pub struct Span {
    /// `service.name` of the process.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `server`, `producer`, `consumer`, `client` or `internal`.
    pub kind: &'static str,
    /// 32 hexadecimal digits.
    pub trace: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// The parent's id; empty for a root.
    pub parent: String,
    /// Trace and span of each link.
    pub links: Vec<(String, String)>,
    /// Attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// Whether the status is Error.
    pub error: bool,
}

impl Span {
    /// An attribute, or nothing.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// Collects spans for as long as it lives.
#[derive(Debug, Clone)]
pub struct Traces {
    endpoint: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Traces {
    /// Begins to receive, on the test's runtime.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        Self::start_with("http", Server::builder()).await
    }

    /// The same over TLS.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_over_tls(authority: &Authority) -> Self {
        let (certificate, key) = authority.pair();
        let read = |path| std::fs::read(path).expect("its file");
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(read(certificate), read(key)));
        Self::start_with("https", Server::builder().tls_config(tls).expect("its settings fit together")).await
    }

    async fn start_with(scheme: &str, mut server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback interface has a free port");
        let endpoint = format!("{scheme}://{}", listener.local_addr().expect("a bound socket has an address"));
        let traces = Self { endpoint, spans: Arc::default() };
        let service = TraceServiceServer::new(traces.clone());
        tokio::spawn(server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        traces
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` must be.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Every span of a trace that has come so far.
    #[must_use]
    pub fn of(&self, trace: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }

    /// Every span that has come so far.
    #[must_use]
    pub fn all(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a trace has `count` spans of this name, and gives them, oldest first.
    pub async fn named(&self, trace: &str, name: &str, count: usize) -> Vec<Span> {
        let what = format!("{count} spans named {name:?} in trace {trace}");
        eventually(&what, async || {
            let spans: Vec<Span> = self.of(trace).into_iter().filter(|span| span.name == name).collect();
            (spans.len() >= count).then_some(spans)
        })
        .await
    }

    /// The same for a name that the trace has once.
    pub async fn one(&self, trace: &str, name: &str) -> Span {
        let mut spans = self.named(trace, name, 1).await;
        assert_eq!(spans.len(), 1, "{name} in trace {trace}: {spans:#?}");
        spans.remove(0)
    }
}

#[tonic::async_trait]
impl TraceService for Traces {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
            let service = attributes.get("service.name").cloned().unwrap_or_default();
            let scopes = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(scopes.map(|span| read(&service, span)));
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(service: &str, span: otlp::Span) -> Span {
    let links = span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect();
    Span {
        service: service.to_owned(),
        kind: kind(span.kind()),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links,
        error: span.status.as_ref().is_some_and(|status| status.code() == otlp::status::StatusCode::Error),
        name: span.name,
        attributes: texts(span.attributes),
    }
}

fn kind(kind: otlp::span::SpanKind) -> &'static str {
    use otlp::span::SpanKind;
    match kind {
        SpanKind::Unspecified => "",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(truth)) => truth.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        // Lists and maps are not used by the fleet; their debug form is enough to see one in a failure.
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|pair| (pair.key, text(pair.value.and_then(|any| any.value)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
