//! Subjects of all queues at once, for what serves them all: who may publish to them, and subscribe.

use super::Names;

impl Names {
    /// Every task of every queue: `wf.task.>`.
    #[must_use]
    pub fn task_everywhere(&self) -> String {
        format!("{}.task.>", self.root())
    }

    /// Every schedule of a task: `wf.delay.at.>`.
    #[must_use]
    pub fn delay_at_everywhere(&self) -> String {
        format!("{}.delay.at.>", self.root())
    }

    /// Every idempotency key: `wf.key.>`.
    #[must_use]
    pub fn key_everywhere(&self) -> String {
        format!("{}.key.>", self.root())
    }

    /// Every result that is republished: `wf.done.>`.
    #[must_use]
    pub fn done_everywhere(&self) -> String {
        format!("{}.done.>", self.root())
    }

    /// Every event: `wf.event.>`.
    #[must_use]
    pub fn event_everywhere(&self) -> String {
        format!("{}.event.>", self.root())
    }

    /// Direct calls of every queue: `wf.call.*`.
    #[must_use]
    pub fn call_everywhere(&self) -> String {
        format!("{}.call.*", self.root())
    }

    /// Every deadline: `wf.delay.deadline.>`.
    #[must_use]
    pub fn delay_deadline_everywhere(&self) -> String {
        format!("{}.delay.deadline.>", self.root())
    }

    /// Every result, and every mark of a redrive: `wf.result.>`.
    #[must_use]
    pub fn result_everywhere(&self) -> String {
        format!("{}.result.>", self.root())
    }

    /// What workers of every queue are told to halt: `wf.cancel.*`.
    #[must_use]
    pub fn cancel_everywhere(&self) -> String {
        format!("{}.cancel.*", self.root())
    }

    /// What operators did, in every queue: `wf.operation.*`.
    #[must_use]
    pub fn operation_everywhere(&self) -> String {
        format!("{}.operation.*", self.root())
    }

    /// Every ledger: `wf.accepted.>`.
    #[must_use]
    pub fn accepted_everywhere(&self) -> String {
        format!("{}.accepted.>", self.root())
    }
}
