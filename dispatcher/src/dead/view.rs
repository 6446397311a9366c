//! Dead letters as callers see them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use workfleet_proto::v1;

use super::letter::Letter;
use crate::error::Problem;
use crate::kinds::Queue;
use crate::state;
use crate::view::{TaskView, UnixMs};

/// A dead letter: the task as it failed, and what it was given.
#[derive(Debug, Clone, Serialize)]
pub struct DeadView {
    /// The task as it failed.
    #[serde(flatten)]
    pub task: TaskView,
    /// The kind's input message as JSON; not in lists, and not where it is a blob or does not fit its kind.
    pub payload: Option<Box<RawValue>>,
    /// Where the payload is when it is too large to be shown here: the id of a blob.
    pub payload_blob: Option<String>,
    /// When the task was given up.
    pub dead_at: UnixMs,
    /// In one line: why no further attempt was made.
    pub reason: String,
    /// Which run failed: 1, and one more for each redrive.
    pub run: u32,

    /// The payload as it was stored; not in JSON.
    #[serde(skip)]
    pub payload_bytes: Option<Bytes>,
}

/// A page of dead letters.
#[derive(Debug, Clone, Serialize)]
pub struct DeadList {
    /// The latest first, without their payloads.
    pub dead: Vec<DeadView>,
    /// Where the next page begins; `None`: there is none. A page may be short, or empty, and have a next one.
    pub next: Option<String>,
}

/// What became of many letters.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DeadManyView {
    /// Letters that were redriven, or dropped.
    pub done: u32,
    /// Letters that were gone, or whose tasks had been redriven before.
    pub gone: u32,
    /// Letters that are still there, and why; the first 100.
    pub problems: Vec<Problem>,
    /// Where to go on; `None`: all have been seen.
    pub next: Option<String>,
}

impl DeadView {
    /// The letter without its payload.
    pub(super) fn of(queue: &Queue, letter: Letter) -> Self {
        let run = letter.run();
        let blob = letter.envelope.as_ref().and_then(|envelope| envelope.blob.as_ref());
        Self {
            payload: None,
            payload_blob: blob.map(|blob| format!("{}_{}", queue.name, blob.name)),
            dead_at: UnixMs(letter.dead_at_ms),
            reason: letter.reason,
            run,
            payload_bytes: None,
            task: state::of_result_alone(queue, v1::Result { id: letter.id.to_string(), ..letter.result }),
        }
    }
}

impl From<DeadView> for v1::DeadTask {
    fn from(view: DeadView) -> Self {
        Self {
            task: Some(view.task.into()),
            dead_at: Some(view.dead_at.into()),
            reason: view.reason,
            run: view.run,
            payload: view.payload_bytes,
            payload_json: view.payload.map(|payload| payload.get().to_owned()),
            payload_blob: view.payload_blob,
        }
    }
}

impl From<DeadList> for v1::ListDeadReply {
    fn from(list: DeadList) -> Self {
        Self { dead: list.dead.into_iter().map(Into::into).collect(), next: list.next }
    }
}

impl From<DeadManyView> for v1::DeadManyReply {
    fn from(view: DeadManyView) -> Self {
        let problems = view.problems.into_iter().map(|problem| v1::Problem {
            code: problem.code,
            detail: problem.detail,
            retry_after_ms: problem.retry_after_ms.and_then(|ms| i64::try_from(ms).ok()),
            field: problem.field,
            task_id: problem.task_id,
        });
        Self { done: view.done, gone: view.gone, problems: problems.collect(), next: view.next }
    }
}
