//! Ledgers: what was accepted, so that somebody can look later whether any of it was lost.
//!
//! A ledger is NDJSON that whoever submits keeps (`workfleet submit --log FILE`), or the stream `ACCEPTED_<queue>` that
//! dispatchers write where the queue says `ledger = true`. Both have the same lines, so that one reader reads both.
//!
//! An entry is stored after its task and before the answer. So every id in the stream was stored, and every submit that
//! was answered stands in the stream: where the entry cannot be written, the submit fails as one whose outcome nobody
//! knows. See docs/decisions/0015-a-submit-waits-for-its-ledger.md.

mod file;
mod stream;

pub use file::{LedgerFile, Read};
pub use stream::{of_queue, queues};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use workfleet_link::pipeline::{Publish, PublishError};
use workfleet_link::read::ReadError;
use workfleet_proto::id::TaskId;

use crate::dispatcher::Inner;
use crate::error::{ApiError, unavailable};
use crate::kinds::Queue;
use crate::view::{TaskView, UnixMs};

/// One task that was accepted, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The task.
    pub id: String,
    /// Its queue.
    #[serde(default)]
    pub queue: String,
    /// When it was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<UnixMs>,
    /// Before when it does not start, where it was submitted for later: its result is kept from then on at the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<UnixMs>,
    /// The idempotency key that it was submitted with. The stream has none: a key is a caller's, and may say more than
    /// everybody who reads a ledger should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The same, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The task.
    pub id: TaskId,
    /// When it was submitted, if the line says so.
    pub submitted_at: Option<UnixMs>,
    /// Before when it does not start, if the line says so.
    pub not_before: Option<UnixMs>,
}

impl Line {
    /// The line of a task.
    #[must_use]
    pub fn of(task: &TaskView) -> Self {
        Self {
            id: task.id.clone(),
            queue: task.queue.clone(),
            submitted_at: task.submitted_at,
            not_before: task.not_before,
            key: None,
        }
    }

    /// Reads a line: a document, or an id alone.
    fn entry(text: &[u8]) -> Option<Entry> {
        let text = std::str::from_utf8(text).ok()?.trim();
        if let Ok(id) = text.parse() {
            return Some(Entry { id, submitted_at: None, not_before: None });
        }
        let line: Self = serde_json::from_str(text).ok()?;
        Some(Entry { id: line.id.parse().ok()?, submitted_at: line.submitted_at, not_before: line.not_before })
    }
}

/// Why a ledger cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file.
    #[error("cannot read {file}: {error}")]
    File {
        /// Its name.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// The queue writes none.
    #[error("the queue {queue} has no ledger: set `ledger = true` in the queues file and provision it, or name a file")]
    NoLedger {
        /// The queue.
        queue: String,
    },
    /// No queue writes one.
    #[error("no queue has a ledger: set `ledger = true` for one in the queues file and provision it, or name a file")]
    NoLedgers,
    /// The broker.
    #[error(transparent)]
    Stream(#[from] ReadError),
}

impl Inner {
    /// Writes down that a task was accepted, where its queue keeps a ledger. A task that stands in it already is not
    /// written again: the first entry has the right time.
    ///
    /// # Errors
    /// When it may not stand there. The task is stored all the same.
    pub(crate) async fn note_accepted(&self, queue: &Queue, task: &TaskView) -> Result<(), ApiError> {
        if !queue.settings.ledger {
            return Ok(());
        }
        let Ok(id) = task.id.parse::<TaskId>() else { return Ok(()) };
        let names = &self.broker.names;
        let line = serde_json::to_vec(&Line::of(task)).map(Bytes::from).unwrap_or_default();
        let mut message = Publish::new(names.accepted(&id), line);
        message.expected_sequence = Some(0);
        match self.publisher.store(&names.accepted_stream(&queue.name), message).await {
            Ok(_) | Err(PublishError::Lost) => Ok(()),
            Err(error) => {
                tracing::warn!(task = %id, %error, "an accepted task does not stand in its ledger");
                let detail = "the task is stored, but its queue's ledger was not written; look for the task by its id, or \
                              repeat the submit with the same idempotency key";
                Err(unavailable(detail.to_owned()).task_id(&id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Line;
    use crate::view::UnixMs;

    const ID: &str = "mail_01h455vb4pex5vsknk084sn02q";

    #[test]
    fn a_line_is_a_document_or_an_id_alone() {
        let full = format!(r#"{{"id":"{ID}","queue":"mail","submitted_at":"2026-11-23T14:00:00.123Z","later":1}}"#);
        let entry = Line::entry(full.as_bytes()).expect("an entry");
        assert_eq!((entry.id.as_str(), entry.submitted_at), (ID, Some(UnixMs(1_795_442_400_123))));
        assert_eq!(Line::entry(format!(" {ID}\r").as_bytes()).expect("an entry").submitted_at, None);
        for wrong in ["", "mail", "{}", "{\"id\":\"mail\"}", "[1]", &full[..20]] {
            assert_eq!(Line::entry(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
