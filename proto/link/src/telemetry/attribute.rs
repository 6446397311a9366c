//! Every attribute name of spans and metrics, in one place: the messaging conventions of OpenTelemetry (1.44) are still
//! in development and will change.

/// `nats`.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// `publish`, `process`, `dead_letter`, ...
pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
/// `send`, `process`, `settle`.
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
/// The queue.
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
/// The durable consumer, or the queue group of a call.
pub const MESSAGING_CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";
/// The message id, see `Generation::message_id`.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// Bytes of the payload.
pub const MESSAGING_MESSAGE_BODY_SIZE: &str = "messaging.message.body.size";
/// The code of a failure.
pub const ERROR_TYPE: &str = "error.type";

/// The task's id, on every span and log line.
pub const TASK_ID: &str = "workfleet.task.id";
/// From 1.
pub const TASK_ATTEMPT: &str = "workfleet.task.attempt";
/// From 1.
pub const TASK_RUN: &str = "workfleet.task.run";
/// `completed`, `retry`, `failed`, `handed_back`, `left`, ...
pub const TASK_OUTCOME: &str = "workfleet.task.outcome";
/// Whether the task ended with this attempt.
pub const TASK_FINAL: &str = "workfleet.task.final";
/// How long the copy lay in the queue, in milliseconds.
pub const TASK_QUEUE_WAIT_MS: &str = "workfleet.task.queue_wait_ms";
/// When the next attempt may start, RFC 3339.
pub const TASK_NEXT_ATTEMPT_AT: &str = "workfleet.task.next_attempt_at";
/// The worker process.
pub const WORKER_ID: &str = "workfleet.worker.id";

/// What `messaging.system` says.
pub const NATS: &str = "nats";
