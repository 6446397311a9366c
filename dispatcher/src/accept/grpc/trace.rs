//! The span of a request, as the REST edge makes it.

use futures::stream::{self, BoxStream, StreamExt as _};
use opentelemetry::propagation::Extractor;
use opentelemetry::{Context, KeyValue, global};
use tonic::metadata::{KeyRef, MetadataMap};
use tonic::{Code, Status};

use super::SERVICE_NAME;
use crate::config::Callers;
use crate::error::ApiError;
use crate::spans::{self, Span};

const RPC_SYSTEM: &str = "rpc.system.name";
const RPC_METHOD: &str = "rpc.method";
const RPC_STATUS: &str = "rpc.response.status_code";

/// Begins the span of a request. It ends with [`end`], or when it is dropped: the caller has gone.
pub(super) fn start(method: &str, callers: Callers, metadata: &MetadataMap) -> Span {
    let caller = global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &OfMetadata(metadata))
    });
    let name = format!("{SERVICE_NAME}/{method}");
    let attributes = vec![KeyValue::new(RPC_SYSTEM, "grpc"), KeyValue::new(RPC_METHOD, name.clone())];
    spans::server(name, callers, &caller, attributes)
}

/// Ends the span of a request.
pub(super) fn end(span: Span, outcome: Result<(), &ApiError>) {
    let code = outcome.err().map_or(Code::Ok, |error| error.code.grpc());
    span.set(RPC_STATUS, i64::from(code as i32).to_string());
    span.end(outcome);
}

/// Ends the span with a stream.
pub(super) fn over<T: Send + 'static>(
    span: Span,
    answers: BoxStream<'static, Result<T, Status>>,
) -> BoxStream<'static, Result<T, Status>> {
    let last = async move {
        end(span, Ok(()));
        None
    };
    answers.chain(stream::once(last).filter_map(std::future::ready)).boxed()
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
