//! What the runtime gives a context, and reads back from it.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::Progress;

use crate::reach::Reach;
use crate::slots::Slot;

/// What fixes an attempt.
pub(crate) struct Given {
    pub(crate) task_id: TaskId,
    pub(crate) attempt: u32,
    pub(crate) attempts_max: u32,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: CancellationToken,
    pub(crate) slot: Weak<Slot>,
    pub(crate) origin: Origin,
    pub(crate) reach: Reach,
}

/// Where an attempt comes from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A direct call, which has no task.
    Call,
    /// A task.
    Task(Facts),
}

/// What a task's messages tell of it.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) run: u32,
    pub(crate) submitted_at_ms: i64,
    pub(crate) deadline_ms: Option<i64>,
    pub(crate) labels: HashMap<String, String>,
    /// Children of earlier attempts of this run.
    pub(crate) children: Vec<TaskId>,
}

/// What a handler has said so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) progress: Option<Progress>,
    /// Every child of this run, those of earlier attempts first.
    pub(crate) children: Vec<TaskId>,
}
