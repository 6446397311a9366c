//! The span of a request, and how it goes along with it.
//!
//! Made with OpenTelemetry's API, as the SDK makes its own: a `tracing` span could be filtered away, and the receiver's
//! part of the trace with it.

use std::str::FromStr as _;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use opentelemetry::propagation::Injector;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use workfleet_sdk::Context as Attempt;

use crate::client::Answer;
use crate::error::DeliveryError;
use crate::target::Target;

/// A request's span. It ends with what came of the request, or when it is dropped.
pub(crate) struct Span(Context);

impl Span {
    /// Below the attempt's.
    pub(crate) fn begin(target: &Target, attempt: &Attempt) -> Self {
        let mut attributes = vec![
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("url.full", target.shown.clone()),
            KeyValue::new("server.address", target.host.clone()),
            KeyValue::new("server.port", i64::from(target.port)),
            KeyValue::new("workfleet.task.id", attempt.task_id().to_string()),
        ];
        if attempt.attempt() > 1 {
            attributes.push(KeyValue::new("http.request.resend_count", i64::from(attempt.attempt() - 1)));
        }
        let tracer = global::tracer("workfleet-webhook");
        let builder = tracer.span_builder("POST").with_kind(SpanKind::Client).with_attributes(attributes);
        let parent = Context::current();
        let span = tracer.build_with_context(builder, &parent);
        Self(parent.with_span(span))
    }

    /// Writes `traceparent`, and `tracestate` where there is any.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        global::get_text_map_propagator(|propagator| propagator.inject_context(&self.0, &mut InHeaders(headers)));
    }

    /// Tells of an answer, whatever it means.
    pub(crate) fn answered(&self, answer: &Answer) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(answer.status.as_u16())));
        if let Some(peer) = answer.peer {
            span.set_attribute(KeyValue::new("network.peer.address", peer.0.ip().to_string()));
            span.set_attribute(KeyValue::new("network.peer.port", i64::from(peer.0.port())));
        }
        if answer.status.is_client_error() || answer.status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status_word(answer.status)));
            span.set_status(Status::error(""));
        }
    }

    /// Tells why there is none.
    pub(crate) fn failed(&self, error: &DeliveryError) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("error.type", error.code()));
        span.set_status(Status::error(error.to_string()));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.0.span().end();
    }
}

/// The conventions want the status as text.
fn status_word(status: StatusCode) -> String {
    status.as_u16().to_string()
}

struct InHeaders<'a>(&'a mut HeaderMap);

impl Injector for InHeaders<'_> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator writes an empty tracestate.
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(key), HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}
