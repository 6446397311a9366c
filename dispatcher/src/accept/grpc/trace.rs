//! The span and the measure of a request, as the REST edge makes them.

use std::time::Instant;

use futures::stream::{self, BoxStream, StreamExt as _};
use opentelemetry::metrics::Histogram;
use opentelemetry::propagation::Extractor;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue, global};
use tonic::metadata::{KeyRef, MetadataMap};
use tonic::{Code, Status};
use workfleet_link::telemetry::attribute;

use super::SERVICE_NAME;
use crate::config::Callers;
use crate::error::ApiError;
use crate::spans::{self, Span};

const RPC_SYSTEM: &str = "rpc.system.name";
const RPC_METHOD: &str = "rpc.method";
const RPC_STATUS: &str = "rpc.response.status_code";
/// The conventions' buckets, and beyond 10 s those of a request that waits for its task.
const DURATION_BUCKETS_S: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0];

/// Sees every request: makes its span and measures it.
#[derive(Debug, Clone)]
pub(super) struct Rpcs {
    callers: Callers,
    duration: Histogram<f64>,
}

impl Rpcs {
    /// On the process's meter provider, which must be set up by then.
    pub(super) fn new(callers: Callers) -> Self {
        let meter = global::meter("workfleet");
        let duration = meter
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_boundaries(DURATION_BUCKETS_S.to_vec())
            .build();
        Self { callers, duration }
    }

    /// A request begins.
    pub(super) fn start(&self, method: &str, metadata: &MetadataMap, client: String) -> Rpc {
        let caller = global::get_text_map_propagator(|propagator| {
            propagator.extract_with_context(&Context::new(), &OfMetadata(metadata))
        });
        let name = format!("{SERVICE_NAME}/{method}");
        let attributes = vec![KeyValue::new(RPC_SYSTEM, "grpc"), KeyValue::new(RPC_METHOD, name.clone())];
        let span = spans::server(name, self.callers, &caller, attributes.clone());
        // Not among the attributes, which become those of a metric.
        span.set(attribute::CLIENT, client);
        Rpc { span, attributes, duration: self.duration.clone(), began: Instant::now() }
    }
}

/// A request under way. If it is dropped, the caller has gone: its span ends, and it is not measured.
pub(super) struct Rpc {
    span: Span,
    attributes: Vec<KeyValue>,
    duration: Histogram<f64>,
    began: Instant,
}

impl Rpc {
    /// The context in which the request's span is the current one.
    pub(super) fn context(&self) -> Context {
        self.span.context().clone()
    }

    /// The answer is there.
    pub(super) fn end(mut self, outcome: Result<(), &ApiError>) {
        let code = outcome.err().map_or(Code::Ok, |error| error.code.grpc());
        let code = i64::from(code as i32).to_string();
        self.span.set(RPC_STATUS, code.clone());
        self.span.end(outcome);
        self.attributes.push(KeyValue::new(RPC_STATUS, code));
        self.duration.record(self.began.elapsed().as_secs_f64(), &self.attributes);
    }

    /// Ends with a stream of answers.
    pub(super) fn over<T: Send + 'static>(
        self,
        answers: BoxStream<'static, Result<T, Status>>,
    ) -> BoxStream<'static, Result<T, Status>> {
        let last = async move {
            self.end(Ok(()));
            None
        };
        answers.chain(stream::once(last).filter_map(std::future::ready)).boxed()
    }
}

/// Every span of a task carries its id.
pub(super) fn note_task(id: &str) {
    Context::current().span().set_attribute(KeyValue::new(attribute::TASK_ID, id.to_owned()));
}

struct OfMetadata<'a>(&'a MetadataMap);

impl Extractor for OfMetadata<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0
            .keys()
            .filter_map(|key| match key {
                KeyRef::Ascii(key) => Some(key.as_str()),
                KeyRef::Binary(_) => None,
            })
            .collect()
    }
}
