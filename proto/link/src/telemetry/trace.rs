//! The trace context on its way through message headers.
//!
//! The context is always taken from OpenTelemetry's own current context, never from the current `tracing` span, which is
//! silently empty where a filter removed it.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt as _;
use std::str::FromStr as _;

/// The tracer of everything that Workfleet itself records.
#[must_use]
pub fn tracer() -> BoxedTracer {
    global::tracer("workfleet")
}

/// Writes `traceparent`, and `tracestate` where there is any, into headers.
pub fn inject(context: &Context, headers: &mut HeaderMap) {
    global::get_text_map_propagator(|propagator| propagator.inject_context(context, &mut InHeaders(headers)));
}

/// Reads the sender's context. Headers that are no trace context give an empty one.
#[must_use]
pub fn extract(headers: &HeaderMap) -> Context {
    global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &OfHeaders(headers)))
}

/// The trace id of a context, 32 hexadecimal digits; empty where there is none.
#[must_use]
pub fn trace_id(context: &Context) -> String {
    let span = context.span();
    let span = span.span_context();
    if span.is_valid() { span.trace_id().to_string() } else { String::new() }
}

struct InHeaders<'a>(&'a mut HeaderMap);

impl Injector for InHeaders<'_> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator writes an empty tracestate, and `insert` would panic on what is no header.
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(key), HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}

struct OfHeaders<'a>(&'a HeaderMap);

impl Extractor for OfHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(HeaderValue::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_ref()).collect()
    }
}
