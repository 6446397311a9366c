//! The dispatcher's own spans, with the OpenTelemetry API directly: a log filter must not cut a task's trace.

use std::collections::HashMap;

use opentelemetry::trace::{Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use workfleet_link::telemetry::{attribute, trace};
use workfleet_proto::id::{QueueName, TaskId};

use crate::config::Callers;
use crate::error::ApiError;

/// A span under way. It ends when it is dropped, without a status.
#[derive(Debug)]
pub(crate) struct Span {
    context: Context,
}

impl Span {
    /// The context in which the span is the current one.
    #[must_use]
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Adds an attribute.
    pub(crate) fn set(&self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        self.context.span().set_attribute(KeyValue::new(key, value.into()));
    }

    /// Points to the trace that this is about; to none where there is none.
    pub(crate) fn link(&self, other: &Context) {
        let theirs = other.span().span_context().clone();
        if theirs.is_valid() {
            self.context.span().add_link(theirs, Vec::new());
        }
    }

    /// Ends the span with what came of it.
    pub(crate) fn end(self, outcome: Result<(), &ApiError>) {
        let span = self.context.span();
        if let Err(error) = outcome {
            span.set_attribute(KeyValue::new(attribute::ERROR_TYPE, error.code.name()));
            // A caller's mistake is no error of ours.
            if error.code.status() >= 500 {
                span.set_status(Status::error(error.detail.clone()));
            }
        }
        span.end();
    }
}

/// The span of a request that came in: a part of the caller's trace if callers are trusted, else the root of a new one
/// with a link to it.
#[must_use]
pub(crate) fn server(name: String, callers: Callers, caller: &Context, attributes: Vec<KeyValue>) -> Span {
    let tracer = trace::tracer();
    let builder = tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
    let theirs: SpanContext = caller.span().span_context().clone();
    let span = match callers {
        Callers::Trusted => tracer.build_with_context(builder, caller),
        Callers::Strangers => {
            let mut span = tracer.build_with_context(builder, &Context::new());
            if theirs.is_valid() {
                // Added after the start, so that a stranger's sampled flag has no say in ours.
                span.add_link(theirs, Vec::new());
            }
            span
        }
    };
    Span { context: Context::new().with_span(span) }
}

/// The span of a task's way into its stream.
pub(crate) fn publish(queue: &QueueName, id: &TaskId, body_bytes: usize, labels: &HashMap<String, String>) -> Span {
    let span = producer("publish", "send", SpanKind::Producer, queue);
    span.set(attribute::TASK_ID, id.to_string());
    span.set(attribute::MESSAGING_MESSAGE_ID, id.to_string());
    span.set(attribute::MESSAGING_MESSAGE_BODY_SIZE, i64::try_from(body_bytes).unwrap_or(i64::MAX));
    span.context.span().set_attributes(attribute::labels(labels));
    span
}

/// The span of a task's way into its stream once more: the root of a new trace, linked to the one in which it failed, and
/// to that of whoever asks.
pub(crate) fn redrive(queue: &QueueName, id: &TaskId, before: &Context, labels: &HashMap<String, String>) -> Span {
    let asked = Context::current();
    let linked = [before, &asked].map(|context| context.span().span_context().clone());
    let links: Vec<Link> = linked.into_iter().filter(SpanContext::is_valid).map(Link::with_context).collect();
    let tracer = trace::tracer();
    let builder = tracer
        .span_builder(format!("publish {queue}"))
        .with_kind(SpanKind::Producer)
        .with_links(links)
        .with_attributes(messaging("publish", "send", queue));
    let root = Context::new();
    let span = Span { context: root.with_span(tracer.build_with_context(builder, &root)) };
    span.set(attribute::TASK_ID, id.to_string());
    span.set(attribute::MESSAGING_MESSAGE_ID, id.to_string());
    span.context.span().set_attributes(attribute::labels(labels));
    span
}

/// The span of a direct call, from question to answer.
pub(crate) fn call(queue: &QueueName) -> Span {
    producer("call", "send", SpanKind::Client, queue)
}

/// The span of a task's end from outside: `cancel`, or `expire`.
pub(crate) fn halt(operation: &'static str, queue: &QueueName, id: &TaskId) -> Span {
    let span = producer(operation, "settle", SpanKind::Client, queue);
    span.set(attribute::TASK_ID, id.to_string());
    span
}

fn producer(operation: &'static str, operation_type: &'static str, kind: SpanKind, queue: &QueueName) -> Span {
    let tracer = trace::tracer();
    let parent = Context::current();
    let attributes = messaging(operation, operation_type, queue);
    let builder = tracer.span_builder(format!("{operation} {queue}")).with_kind(kind).with_attributes(attributes);
    let span = tracer.build_with_context(builder, &parent);
    Span { context: parent.with_span(span) }
}

fn messaging(operation: &'static str, operation_type: &'static str, queue: &QueueName) -> [KeyValue; 4] {
    [
        KeyValue::new(attribute::MESSAGING_SYSTEM, attribute::NATS),
        KeyValue::new(attribute::MESSAGING_OPERATION_NAME, operation),
        KeyValue::new(attribute::MESSAGING_OPERATION_TYPE, operation_type),
        KeyValue::new(attribute::MESSAGING_DESTINATION_NAME, queue.to_string()),
    ]
}
