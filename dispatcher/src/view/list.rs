//! A page of tasks as callers see it.

use serde::{Deserialize, Serialize};
use workfleet_proto::v1;

use super::TaskView;

/// A page of tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskList {
    /// Without their outputs.
    pub tasks: Vec<TaskView>,
    /// Where the next page begins; `None`: there is none. A page may be short, or empty, and have a next one.
    pub next: Option<String>,
}

impl From<TaskList> for v1::ListTasksReply {
    fn from(list: TaskList) -> Self {
        Self { tasks: list.tasks.into_iter().map(Into::into).collect(), next: list.next }
    }
}
