//! Every attribute name of spans and metrics, in one place: the messaging conventions of OpenTelemetry (1.44) are still
//! in development and will change.

use std::collections::HashMap;

use opentelemetry::KeyValue;
use workfleet_proto::limits::LABELS_MAX;

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

/// Who asks: the name of a token, or the subject of a JWT; never the token.
pub const CLIENT: &str = "workfleet.client";

/// What `messaging.system` says.
pub const NATS: &str = "nats";

/// The caller's own pairs on a task's spans: `workfleet.task.label.<key>`. No more than a task may have, since an
/// envelope can be written by anybody.
pub fn labels(labels: &HashMap<String, String>) -> impl Iterator<Item = KeyValue> + '_ {
    let named = |(key, value): (&String, &String)| KeyValue::new(format!("workfleet.task.label.{key}"), value.clone());
    labels.iter().take(LABELS_MAX).map(named)
}

#[cfg(test)]
mod tests {
    use super::{LABELS_MAX, labels};
    use std::collections::HashMap;

    #[test]
    fn labels_are_attributes_under_a_name_of_their_own_and_never_too_many() {
        let one = HashMap::from([("order".to_owned(), "17".to_owned())]);
        let attributes: Vec<_> = labels(&one).collect();
        assert_eq!(
            (attributes[0].key.as_str(), attributes[0].value.as_str().as_ref()),
            ("workfleet.task.label.order", "17")
        );
        let many = (0..1_000).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(labels(&many).count(), LABELS_MAX);
    }
}
