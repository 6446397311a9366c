//! Queues as callers see them.

use serde::{Deserialize, Serialize};

use super::UnixMs;

/// All queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueList {
    /// By name.
    pub queues: Vec<QueueView>,
    /// Names of those that cannot be looked at now: the broker does not answer for their streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

/// A queue and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueView {
    /// Its name, which is its kind's.
    pub name: String,
    /// Whether workers are held back.
    pub paused: bool,
    /// Tasks that wait for a free slot.
    pub waiting: u64,
    /// Tasks that a worker holds.
    pub running: u64,
    /// Tasks, and attempts, whose time has come, and that are not in the queue yet. For the metrics; callers ask for
    /// [`ScaleView`].
    #[serde(skip)]
    pub due: u64,
    /// Tasks, and attempts, whose time has not come.
    pub scheduled: u64,
    /// Dead letters.
    pub dead: u64,
    /// Age of the task that has waited longest.
    pub oldest_waiting_ms: Option<i64>,
    /// Live worker processes.
    pub workers: Vec<WorkerView>,
    /// Its contract.
    pub kind: Option<KindNames>,
}

/// A live worker process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its own id.
    pub id: String,
    /// The machine it runs on.
    pub host: String,
    /// Version of its program.
    pub version: String,
    /// Tasks that it can run at once.
    pub slots: u32,
    /// Tasks that it runs now.
    pub busy: u32,
    /// When it started.
    pub started_at: UnixMs,
}

/// Full names of a kind's messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindNames {
    /// What goes in.
    pub input: String,
    /// What comes out.
    pub output: String,
}

/// What an autoscaler needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleView {
    /// The sum of the others; divided by a worker's slots it is the number of workers.
    pub value: u64,
    /// Tasks that wait for a free slot.
    pub waiting: u64,
    /// Tasks that a worker holds.
    pub running: u64,
    /// Tasks whose time has come and that are on their way into the queue.
    pub due: u64,
}
