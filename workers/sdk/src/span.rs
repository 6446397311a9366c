//! The spans that make up a task's trace on this side: one `process` per attempt, `dead_letter` below it, `call` for a
//! direct call.
//!
//! They are made with the OpenTelemetry API directly, so that no `RUST_LOG` can cut the trace. The context of the
//! attempt is active around the handler, and what the handler opens with `tracing` lands below it.

use opentelemetry::trace::{Link, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context as TraceContext, KeyValue};
use workfleet_link::telemetry::{attribute, trace};
use workfleet_link::time::rfc3339_ms;
use workfleet_proto::id::QueueName;
use workfleet_proto::v1::Failure;
use workfleet_proto::wire::TraceMode;

use crate::station::Station;
use crate::task::Held;

/// The span of an attempt. The first is a child of the submit's span, with a link to it too; what was delayed for long
/// starts a trace of its own, linked.
pub(crate) fn process(station: &Station, held: &Held, queue_wait_ms: i64) -> TraceContext {
    let sender = trace::extract(&held.headers);
    let consumer = station.broker.names.work_consumer(held.lane);
    let mut attributes = vec![
        KeyValue::new(attribute::MESSAGING_SYSTEM, attribute::NATS),
        KeyValue::new(attribute::MESSAGING_OPERATION_NAME, "process"),
        KeyValue::new(attribute::MESSAGING_OPERATION_TYPE, "process"),
        KeyValue::new(attribute::MESSAGING_DESTINATION_NAME, station.queue.to_string()),
        KeyValue::new(attribute::MESSAGING_CONSUMER_GROUP_NAME, consumer),
        KeyValue::new(attribute::MESSAGING_MESSAGE_ID, held.copy.generation.message_id(&held.id)),
        KeyValue::new(attribute::TASK_ID, held.id.to_string()),
        KeyValue::new(attribute::TASK_RUN, i64::from(held.copy.generation.run)),
        KeyValue::new(attribute::TASK_ATTEMPT, i64::from(held.attempt())),
        KeyValue::new(attribute::TASK_QUEUE_WAIT_MS, queue_wait_ms),
        KeyValue::new(attribute::WORKER_ID, station.worker.clone()),
    ];
    attributes.extend(attribute::labels(&held.envelope.labels));
    let linked = sender.span().span_context().clone();
    let tracer = trace::tracer();
    let mut builder = tracer
        .span_builder(format!("process {}", station.queue))
        .with_kind(SpanKind::Consumer)
        .with_attributes(attributes);
    if linked.is_valid() {
        builder = builder.with_links(vec![Link::with_context(linked)]);
    }
    let parent = match held.copy.trace {
        TraceMode::Child => sender,
        TraceMode::Linked => TraceContext::new(),
    };
    let span = tracer.build_with_context(builder, &parent);
    parent.with_span(span)
}

/// The span of a direct call.
pub(crate) fn call(station: &Station, caller: &TraceContext, id: &str) -> TraceContext {
    let attributes = vec![
        KeyValue::new(attribute::MESSAGING_SYSTEM, attribute::NATS),
        KeyValue::new(attribute::MESSAGING_DESTINATION_NAME, station.queue.to_string()),
        KeyValue::new(attribute::TASK_ID, id.to_owned()),
        KeyValue::new(attribute::WORKER_ID, station.worker.clone()),
    ];
    let tracer = trace::tracer();
    let builder =
        tracer.span_builder(format!("call {}", station.queue)).with_kind(SpanKind::Server).with_attributes(attributes);
    let span = tracer.build_with_context(builder, caller);
    caller.with_span(span)
}

/// The span of a dead letter, below the attempt's.
pub(crate) fn dead_letter(held: &Held, attempt: &TraceContext) -> TraceContext {
    let queue: QueueName = held.id.queue();
    let attributes = vec![
        KeyValue::new(attribute::MESSAGING_SYSTEM, attribute::NATS),
        KeyValue::new(attribute::MESSAGING_OPERATION_NAME, "dead_letter"),
        KeyValue::new(attribute::MESSAGING_OPERATION_TYPE, "send"),
        KeyValue::new(attribute::MESSAGING_DESTINATION_NAME, queue.to_string()),
        KeyValue::new(attribute::TASK_ID, held.id.to_string()),
    ];
    let tracer = trace::tracer();
    let builder =
        tracer.span_builder(format!("dead_letter {queue}")).with_kind(SpanKind::Producer).with_attributes(attributes);
    let span = tracer.build_with_context(builder, attempt);
    attempt.with_span(span)
}

/// What an attempt's span says at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conclusion<'a> {
    /// `completed`, `retry`, `failed`, ...
    pub(crate) outcome: &'static str,
    /// Whether the task ended with it.
    pub(crate) last: bool,
    pub(crate) failure: Option<&'a Failure>,
    pub(crate) next_attempt_at_ms: Option<i64>,
}

/// Ends an attempt's span.
pub(crate) fn conclude(context: &TraceContext, conclusion: Conclusion<'_>) {
    let span = context.span();
    span.set_attribute(KeyValue::new(attribute::TASK_OUTCOME, conclusion.outcome));
    span.set_attribute(KeyValue::new(attribute::TASK_FINAL, conclusion.last));
    if let Some(at_ms) = conclusion.next_attempt_at_ms {
        span.set_attribute(KeyValue::new(attribute::TASK_NEXT_ATTEMPT_AT, rfc3339_ms(at_ms)));
    }
    if let Some(failure) = conclusion.failure {
        fail(context, failure);
    }
    span.end();
}

/// Marks a span as failed.
pub(crate) fn fail(context: &TraceContext, failure: &Failure) {
    let span = context.span();
    span.set_attribute(KeyValue::new(attribute::ERROR_TYPE, failure.code.clone()));
    span.set_status(Status::error(failure.message.clone()));
}

/// Ends a span that has nothing more to say.
pub(crate) fn end(context: &TraceContext) {
    context.span().end();
}
