//! Where the demo's spans arrive: an OTLP endpoint of its own, so that a trace can be shown with or without Jaeger.
//! Where Jaeger is, everything is passed on to it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use super::trace::{Span, spans};
use crate::error::LocalError;

/// Spans that are kept; the oldest go first.
const SPANS_MAX: usize = 20_000;
/// Longest wait for a trace to be whole. Spans travel in batches, so they come a little later than the result.
const TRACE_MAX: Duration = Duration::from_secs(15);
/// Longest time to pass spans on.
const FORWARD_MAX: Duration = Duration::from_secs(2);
/// How often the programs send their spans; their default is slower, and somebody waits here.
const SEND_EVERY_MS: &str = "200";

/// The receiver. It serves as long as the process lives.
pub(super) struct Receiver {
    address: SocketAddr,
    inbox: Inbox,
}

#[derive(Clone, Default)]
struct Inbox {
    spans: Arc<Mutex<VecDeque<Span>>>,
    arrived: Arc<Notify>,
    jaeger: Arc<OnceLock<TraceServiceClient<Channel>>>,
}

impl Receiver {
    pub(super) async fn start() -> Result<Self, LocalError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(LocalError::Runtime)?;
        let address = listener.local_addr().map_err(LocalError::Runtime)?;
        let inbox = Inbox::default();
        let service = TraceServiceServer::new(inbox.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Self { address, inbox })
    }

    /// What tells a program to send its spans here, all of them.
    pub(super) fn variables(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.address).into()),
            ("OTEL_BSP_SCHEDULE_DELAY", SEND_EVERY_MS.into()),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on".into()),
        ]
    }

    /// From now on everything goes there, too.
    pub(super) fn forward_to(&self, jaeger: SocketAddr) {
        if let Ok(endpoint) = Endpoint::from_shared(format!("http://{jaeger}")) {
            let channel = endpoint.timeout(FORWARD_MAX).connect_lazy();
            let _ = self.inbox.jaeger.set(TraceServiceClient::new(channel));
        }
    }

    /// The spans of a trace, once nothing is `missing` from them; or what has come by then, if that takes too long.
    pub(super) async fn trace(&self, id: &str, missing: impl Fn(&[Span]) -> Vec<String>) -> Vec<Span> {
        let deadline = Instant::now() + TRACE_MAX;
        loop {
            let arrived = self.inbox.arrived.notified();
            let spans = self.inbox.of_trace(id);
            if missing(&spans).is_empty() || timeout_at(deadline, arrived).await.is_err() {
                return spans;
            }
        }
    }
}

impl Inbox {
    fn of_trace(&self, id: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.trace_id == id).cloned().collect()
    }
}

#[tonic::async_trait]
impl TraceService for Inbox {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        {
            let mut kept = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(spans(&request));
            let too_many = kept.len().saturating_sub(SPANS_MAX);
            kept.drain(..too_many);
        }
        // One permit is kept for a reader who is just looking.
        self.arrived.notify_one();
        if let Some(jaeger) = self.jaeger.get() {
            // A Jaeger that does not answer costs its copy, and nothing else.
            let _ = jaeger.clone().export(request).await;
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
