//! Names of message headers. NATS compares them letter by letter, so they are written here only.

/// Counts redrives, from 1.
pub const RUN: &str = "Wf-Run";
/// Counts the attempts of a run, from 1; the delivered count less one is added to it.
pub const ATTEMPT: &str = "Wf-Attempt";
/// Counts hand-backs of one attempt, from 0.
pub const BACK: &str = "Wf-Back";
/// Counts those hand-backs of one attempt whose reason was a schema that the worker did not know, from 0.
pub const SCHEMA_BACK: &str = "Wf-Schema-Back";
/// Sequence of the record that the result must replace; absent: there is none yet.
pub const RESULT_SEQ: &str = "Wf-Result-Seq";
/// Present: read the result before starting, whatever the delivery looks like. `1` on keyed and redriven tasks, [`CARRIED`]
/// on what a dispatcher has carried out of the delay stream.
pub const CHECK: &str = "Wf-Check";
/// A value of [`CHECK`].
pub const CARRIED: &str = "carried";
/// Hash of the schema that the payload was written with.
pub const SCHEMA: &str = "Wf-Schema";
/// When this copy could first be taken, milliseconds since the Unix epoch.
pub const DUE_MS: &str = "Wf-Due-Ms";
/// `link`: the attempt starts a trace of its own, linked to `traceparent`.
pub const TRACE: &str = "Wf-Trace";
/// Deadline of a direct call, or of the task that a timer is for: milliseconds since the Unix epoch.
pub const DEADLINE_MS: &str = "Wf-Deadline-Ms";
/// When a timer was set, milliseconds since the Unix epoch: the task is stored right after it.
pub const SET_MS: &str = "Wf-Set-Ms";
/// Present: this timer has fired before, and nobody knew the task.
pub const LOOKED: &str = "Wf-Looked";
/// The id by which JetStream recognises a repeated publish.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// Compare-and-set: the last sequence on the subject.
pub const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
/// When a message is to be published to [`SCHEDULE_TARGET`]: `@at <RFC 3339>`.
pub const SCHEDULE: &str = "Nats-Schedule";
/// Subject that a schedule publishes to.
pub const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
/// Begins what belongs to the server.
pub const NATS_PREFIX: &str = "Nats-";
/// Set by the server on messages that a stream took from another, as queues did with what was due before dispatchers carried
/// it.
pub const STREAM_SOURCE: &str = "Nats-Stream-Source";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context, vendors' part.
pub const TRACESTATE: &str = "tracestate";
