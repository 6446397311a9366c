//! What is told of dead letters: inputs of the kind `webhook`. The same letter is always told of in the same words, since a
//! repeat is recognised by them.

use serde_json::json;
use workfleet_proto::id::QueueName;
use workfleet_proto::v1::DeadAlert;

use crate::dead::letter::Letter;
use crate::view::UnixMs;

/// The type of the event for one letter.
const ONE: &str = "workfleet.dead_letter";
/// The type of the event for those that the limit left out.
const MORE: &str = "workfleet.dead_letters";

/// One letter.
pub(super) fn letter(queue: &QueueName, alert: &DeadAlert, letter: &Letter) -> String {
    let failure = letter.result.failure.clone().unwrap_or_default();
    let labels: std::collections::BTreeMap<_, _> = letter.result.labels.iter().collect();
    let data = json!({
        "queue": queue.as_str(),
        "task_id": letter.id.as_str(),
        "run": letter.run(),
        "attempt": letter.result.attempt,
        "code": failure.code,
        "message": failure.message,
        "reason": letter.reason,
        "dead_at": UnixMs(letter.dead_at_ms).to_string(),
        "trace_id": letter.result.trace_id,
        "labels": labels,
    });
    json!({ "url": alert.url, "type": ONE, "data": data }).to_string()
}

/// How many more there were in a minute.
pub(super) fn more(queue: &QueueName, alert: &DeadAlert, from_ms: i64, count: u64) -> String {
    let data = json!({ "queue": queue.as_str(), "count": count, "from": UnixMs(from_ms).to_string() });
    json!({ "url": alert.url, "type": MORE, "data": data }).to_string()
}
