//! Every subject, stream, consumer, bucket and header name in the system.
//!
//! One place, because these names are the protocol: who greps for a subject or a header finds it here and nowhere else.
//! `docs/protocol.md` says what travels on each.

mod everywhere;
pub mod header;
mod part;
mod stored;
mod token;

use crate::id::{QueueName, TaskId};

pub use part::DelayPart;
pub use token::{Lane, LaneError, Prefix, PrefixError};

/// Builds every name of one fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    prefix: Prefix,
}

impl Names {
    fn root(&self) -> &str {
        &self.prefix.0
    }
}

/// Subjects.
impl Names {
    /// The names behind `prefix`.
    #[must_use]
    pub fn new(prefix: Prefix) -> Self {
        Self { prefix }
    }

    /// Where a task waits: `wf.task.<q>.<b>.<lane>.<id>`.
    #[must_use]
    pub fn task(&self, id: &TaskId, lane: Lane) -> String {
        format!("{}.task.{}.{}.{lane}.{id}", self.root(), id.queue_str(), id.bucket())
    }

    /// Every task of a queue: `wf.task.<q>.>`.
    #[must_use]
    pub fn task_all(&self, queue: &QueueName) -> String {
        format!("{}.task.{queue}.>", self.root())
    }

    /// Every task of one lane: `wf.task.<q>.*.<lane>.*`.
    #[must_use]
    pub fn task_lane(&self, queue: &QueueName, lane: Lane) -> String {
        format!("{}.task.{queue}.*.{lane}.*", self.root())
    }

    /// The one schedule that a task can have: `wf.delay.at.<q>.<id>`.
    #[must_use]
    pub fn delay_at(&self, id: &TaskId) -> String {
        format!("{}.delay.at.{}.{id}", self.root(), id.queue_str())
    }

    /// What is due and on its way into the queue: `wf.delay.due.<q>.<b>.<lane>.<id>`.
    #[must_use]
    pub fn delay_due(&self, id: &TaskId, lane: Lane) -> String {
        format!("{}.delay.due.{}.{}.{lane}.{id}", self.root(), id.queue_str(), id.bucket())
    }

    /// One of a queue's delay subjects as a whole: `wf.delay.<part>.<q>.>`.
    #[must_use]
    pub fn delay_all(&self, part: DelayPart, queue: &QueueName) -> String {
        format!("{}.delay.{}.{queue}.>", self.root(), part.token())
    }

    /// The schedule of a task's deadline: `wf.delay.deadline.<q>.<id>`.
    #[must_use]
    pub fn delay_deadline(&self, id: &TaskId) -> String {
        format!("{}.delay.deadline.{}.{id}", self.root(), id.queue_str())
    }

    /// Where a deadline fires: `wf.delay.expired.<q>.<id>`.
    #[must_use]
    pub fn delay_expired(&self, id: &TaskId) -> String {
        format!("{}.delay.expired.{}.{id}", self.root(), id.queue_str())
    }

    /// The one record of how a task ended: `wf.result.<q>.<b>.<id>`.
    #[must_use]
    pub fn result(&self, id: &TaskId) -> String {
        format!("{}.result.{}.{}.{id}", self.root(), id.queue_str(), id.bucket())
    }

    /// Every result of a queue, one token for each wildcard: `wf.result.<q>.*.*`.
    #[must_use]
    pub fn result_all(&self, queue: &QueueName) -> String {
        format!("{}.result.{queue}.*.*", self.root())
    }

    /// What an idempotency key was used for: `wf.key.<q>.<id>`.
    #[must_use]
    pub fn key(&self, id: &TaskId) -> String {
        format!("{}.key.{}.{id}", self.root(), id.queue_str())
    }

    /// Every key of a queue: `wf.key.<q>.*`.
    #[must_use]
    pub fn key_all(&self, queue: &QueueName) -> String {
        format!("{}.key.{queue}.*", self.root())
    }

    /// Where a stored result is republished: `wf.done.<q>.<id>`.
    #[must_use]
    pub fn done(&self, id: &TaskId) -> String {
        format!("{}.done.{}.{id}", self.root(), id.queue_str())
    }

    /// The republish rule of a queue's results: the second wildcard of [`result_all`](Self::result_all) is the id.
    #[must_use]
    pub fn done_transform(&self, queue: &QueueName) -> String {
        format!("{}.done.{queue}.{{{{wildcard(2)}}}}", self.root())
    }

    /// What is said about a running task: `wf.event.<q>.<id>`.
    #[must_use]
    pub fn event(&self, id: &TaskId) -> String {
        format!("{}.event.{}.{id}", self.root(), id.queue_str())
    }

    /// Every event of a queue: `wf.event.<q>.*`.
    #[must_use]
    pub fn event_all(&self, queue: &QueueName) -> String {
        format!("{}.event.{queue}.*", self.root())
    }

    /// A task that was given up: `wf.dead.<q>.<id>`.
    #[must_use]
    pub fn dead(&self, id: &TaskId) -> String {
        format!("{}.dead.{}.{id}", self.root(), id.queue_str())
    }

    /// Every dead letter of a queue: `wf.dead.<q>.*`.
    #[must_use]
    pub fn dead_all(&self, queue: &QueueName) -> String {
        format!("{}.dead.{queue}.*", self.root())
    }

    /// Every dead letter: `wf.dead.>`.
    #[must_use]
    pub fn dead_everywhere(&self) -> String {
        format!("{}.dead.>", self.root())
    }

    /// Submits from within the fleet: `wf.submit.<q>`, a core NATS queue group of dispatchers.
    #[must_use]
    pub fn submit(&self, queue: &QueueName) -> String {
        format!("{}.submit.{queue}", self.root())
    }

    /// All of them: `wf.submit.*`.
    #[must_use]
    pub fn submit_everywhere(&self) -> String {
        format!("{}.submit.*", self.root())
    }

    /// The queue group that answers them.
    #[must_use]
    pub fn submit_group(&self) -> &'static str {
        "dispatcher"
    }

    /// Direct calls: `wf.call.<q>`, a core NATS queue group named like the queue.
    #[must_use]
    pub fn call(&self, queue: &QueueName) -> String {
        format!("{}.call.{queue}", self.root())
    }

    /// Tells every worker of a queue which tasks have been halted: `wf.cancel.<q>`. Each answers.
    #[must_use]
    pub fn cancel(&self, queue: &QueueName) -> String {
        format!("{}.cancel.{queue}", self.root())
    }

    /// What an operator did to a queue: `wf.operation.<q>`.
    #[must_use]
    pub fn operation(&self, queue: &QueueName) -> String {
        format!("{}.operation.{queue}", self.root())
    }

    /// That a task was accepted, in queues with a ledger: `wf.accepted.<q>.<id>`.
    #[must_use]
    pub fn accepted(&self, id: &TaskId) -> String {
        format!("{}.accepted.{}.{id}", self.root(), id.queue_str())
    }

    /// Every entry of a queue's ledger: `wf.accepted.<q>.*`.
    #[must_use]
    pub fn accepted_all(&self, queue: &QueueName) -> String {
        format!("{}.accepted.{queue}.*", self.root())
    }
}

#[cfg(test)]
mod tests {
    use super::{DelayPart, Lane, Names};
    use crate::id::{QueueName, TaskId};

    #[test]
    fn subjects_are_built_from_the_id_alone() {
        let names = Names::default();
        let id: TaskId = "mail_01h455vb4pex5vsknk084sn02q".parse().expect("an id");
        let queue: QueueName = "mail".parse().expect("a name");
        assert_eq!(names.task(&id, Lane::DEFAULT), "wf.task.mail.q.m.mail_01h455vb4pex5vsknk084sn02q");
        assert_eq!(names.result(&id), "wf.result.mail.q.mail_01h455vb4pex5vsknk084sn02q");
        assert_eq!(names.delay_all(DelayPart::Due, &queue), "wf.delay.due.mail.>");
        assert_eq!(names.done_transform(&queue), "wf.done.mail.{{wildcard(2)}}");
        assert_eq!(names.tasks_stream(&queue), "TASKS_mail");
    }

    #[test]
    fn two_fleets_share_no_name() {
        let blue = Names::new("blue".parse().expect("a prefix"));
        let queue: QueueName = "mail".parse().expect("a name");
        assert_eq!(blue.tasks_stream(&queue), "BLUE_TASKS_mail");
        assert_eq!(blue.task_all(&queue), "blue.task.mail.>");
        for bad in ["", "A", "a.b", "a*", "1a", "a-b"] {
            assert!(bad.parse::<super::Prefix>().is_err(), "{bad}");
        }
    }
}
