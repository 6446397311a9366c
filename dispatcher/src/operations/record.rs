//! An operation as it is stored: JSON, so that the broker's own tools show it as it is.

use bytes::Bytes;
use serde::Serialize;
use workfleet_proto::id::QueueName;

use super::{FILTER_CHARS_MAX, OPERATION_IDS_MAX, Operation};
use crate::limits::REASON_CHARS_MAX;

/// What is stored of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Record {
    pub(super) at_ms: i64,
    pub(super) action: &'static str,
    pub(super) queue: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task_id: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) filter: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ids: Vec<String>,
    pub(super) count: u64,
    pub(super) who: String,
    pub(super) from: String,
    pub(super) reason: String,
    #[serde(skip)]
    pub(super) queue_name: QueueName,
}

impl Record {
    pub(super) fn new(operation: Operation, at_ms: i64) -> Self {
        Self {
            at_ms,
            action: operation.action.word(),
            queue: operation.queue.to_string(),
            task_id: operation.task.map(|task| task.to_string()),
            filter: clip(&operation.filter, FILTER_CHARS_MAX),
            ids: operation.ids.iter().take(OPERATION_IDS_MAX).map(ToString::to_string).collect(),
            count: operation.count,
            who: operation.caller.who,
            from: operation.caller.from,
            reason: clip(&operation.reason, REASON_CHARS_MAX),
            queue_name: operation.queue,
        }
    }

    /// Texts and numbers alone, so that this cannot fail.
    pub(super) fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).map(Bytes::from).unwrap_or_default()
    }
}

/// A text of a caller, with its control characters escaped, cut to `chars_max` characters.
pub(super) fn clip(text: &str, chars_max: usize) -> String {
    let escaped = text.chars().take(chars_max).flat_map(|char| {
        let plain = (!char.is_control()).then_some(char);
        plain.into_iter().chain(char.is_control().then(|| char.escape_default()).into_iter().flatten())
    });
    escaped.take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Caller, Operation};
    use super::{OPERATION_IDS_MAX, Record, clip};

    #[test]
    fn a_caller_cannot_begin_a_line_of_its_own_nor_fill_the_log() {
        assert_eq!(clip("two\nlines\u{1b}[31m", 100), "two\\nlines\\u{1b}[31m");
        assert_eq!(clip(&"\n".repeat(1_000), 10).len(), 10);
        assert_eq!(clip("Zoë", 3), "Zoë");
    }

    #[test]
    fn a_record_says_who_did_what_and_why() {
        let operation = Operation {
            action: Action::CancelMany,
            queue: "mail".parse().expect("a name"),
            task: None,
            filter: "label=tier:\ngold".to_owned(),
            ids: vec!["mail_01h455vb4pex5vsknk084sn02q".parse().expect("an id"); OPERATION_IDS_MAX + 1],
            count: 3,
            caller: Caller::new("ops\n", "10.0.0.7"),
            reason: "wrong\tbatch".to_owned(),
        };
        let json: serde_json::Value = serde_json::from_slice(&Record::new(operation, 5).bytes()).expect("JSON");
        let wanted = serde_json::json!({
            "at_ms": 5, "action": "cancel_many", "queue": "mail", "filter": "label=tier:\\ngold",
            "ids": vec!["mail_01h455vb4pex5vsknk084sn02q"; OPERATION_IDS_MAX], "count": 3,
            "who": "ops\\n", "from": "10.0.0.7", "reason": "wrong\\tbatch",
        });
        assert_eq!(json, wanted);
    }
}
