//! A task, a queue and a scale number as callers see them; JSON as in `docs/protocol.md`, gRPC as in `dispatcher.proto`.

mod cancel;
mod convert;
mod cursor;
mod list;
mod queue;

pub(crate) use cancel::{CancelledManyView, CancelledView};
pub use cursor::{Cursor, CursorError, Position};
pub use list::TaskList;
pub use queue::{KindNames, QueueList, QueueView, ScaleView, WorkerView};

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use workfleet_link::time::rfc3339_ms;
use workfleet_proto::v1::State;

/// A point in time, milliseconds since the Unix epoch; RFC 3339 in UTC with milliseconds in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMs(pub i64);

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rfc3339_ms(self.0))
    }
}

impl Serialize for UnixMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnixMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Self(time.as_millisecond()))
    }
}

/// A task's state, as its word in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateWord(pub State);

impl Serialize for StateWord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

impl<'de> Deserialize<'de> for StateWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        State::from_word(&word).map(Self).ok_or_else(|| D::Error::custom(format!("{word:?} is no state")))
    }
}

/// A task. What does not apply is `null`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskView {
    /// The task's id.
    pub id: String,
    /// The queue it is in.
    pub queue: String,
    /// Where it is.
    pub state: StateWord,
    /// Attempts that have begun; 0 before the first.
    pub attempt: u32,
    /// How many there may be.
    pub attempts_max: u32,
    /// Its lane, where the task was given one.
    pub priority: Option<String>,
    /// When it was accepted.
    pub submitted_at: Option<UnixMs>,
    /// When it, or its next attempt, may start.
    pub not_before: Option<UnixMs>,
    /// When the last attempt began.
    pub started_at: Option<UnixMs>,
    /// When it ended.
    pub ended_at: Option<UnixMs>,
    /// After which nobody wants the output.
    pub deadline: Option<UnixMs>,
    /// What the running handler says.
    pub progress: Option<ProgressView>,
    /// The kind's output message as JSON, of a completed task.
    pub output: Option<Box<RawValue>>,
    /// Where the output is when it is too large to be shown here: the id of a blob.
    #[serde(default)]
    pub output_blob: Option<String>,
    /// Why there is none, or what the last attempt failed with.
    pub failure: Option<FailureView>,
    /// The trace of its submit.
    pub trace_id: Option<String>,
    /// The task that submitted it.
    pub parent_id: Option<String>,
    /// Tasks that it submitted.
    pub children: Vec<String>,
    /// The caller's own pairs.
    pub labels: BTreeMap<String, String>,
    /// Tasks with one ordering key share a bucket.
    pub ordering_key: Option<String>,
    /// The tenant that the caller named.
    pub tenant: Option<String>,

    /// The output as it was stored; not in JSON.
    #[serde(skip)]
    pub output_bytes: Option<Bytes>,
    /// Attempts that ended without a result, also of a completed task; in JSON they are the failure's.
    #[serde(skip)]
    pub attempts: Vec<AttemptView>,
    /// Where a watch can be taken up again; the `id` of a server-sent event.
    #[serde(skip)]
    pub cursor: Cursor,
}

impl TaskView {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.state.0.is_end()
    }
}

/// How far a handler has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressView {
    /// 0 to 100.
    pub percent: u32,
    /// In the handler's words.
    pub message: String,
}

/// Why there is no output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// The last ten attempts that ended without a result, oldest first.
    #[serde(default)]
    pub attempts: Vec<AttemptView>,
}

/// One attempt that ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Counted from 1 in each run.
    pub attempt: u32,
    /// When it began; absent where its worker was lost, for then nobody knows.
    pub started_at: Option<UnixMs>,
    /// When it ended.
    pub ended_at: Option<UnixMs>,
    /// The worker process that held it.
    pub worker: Option<String>,
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}
