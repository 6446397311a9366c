//! What is recorded of a task that was halted. Pure.

use workfleet_proto::id::TaskId;
use workfleet_proto::limits::ATTEMPTS_KEPT_MAX;
use workfleet_proto::settlement::Cause;
use workfleet_proto::v1::{self, Attempt, Failure, State};

use super::Halting;
use crate::kinds::Queue;
use crate::state::{Heard, Place, Waiting};

/// A task at its end.
pub(super) struct End<'a> {
    pub(super) halting: &'a Halting,
    pub(super) run: u32,
    pub(super) copy: &'a Waiting,
    /// The latest event.
    pub(super) heard: Option<&'a Heard>,
    pub(super) now_ms: i64,
}

impl End<'_> {
    /// The record.
    pub(super) fn record(&self, queue: &Queue, id: &TaskId) -> v1::Result {
        let envelope = &self.copy.envelope;
        let failure = self.failure();
        let last = self.last_attempt(queue.settings.lease_ms);
        let mut attempts = envelope.attempts.clone();
        if last.is_cut_off {
            attempts.push(Attempt {
                attempt: last.number,
                started_at_ms: last.started_at_ms.unwrap_or_default(),
                ended_at_ms: self.now_ms,
                worker: self.heard.map(|heard| heard.event.worker.clone()).unwrap_or_default(),
                code: failure.code.clone(),
                message: failure.message.clone(),
            });
        }
        v1::Result {
            id: id.to_string(),
            state: self.halting.cause.state().into(),
            // A mark may have been kept for less than its task waited.
            run: self.run.max(self.copy.generation.run),
            attempt: last.number,
            attempts_max: envelope.attempts_max,
            submitted_at_ms: envelope.submitted_at_ms,
            not_before_ms: envelope.not_before_ms,
            started_at_ms: last.started_at_ms,
            ended_at_ms: self.now_ms,
            deadline_ms: envelope.deadline_ms,
            failure: Some(failure),
            attempts: attempts.split_off(attempts.len().saturating_sub(ATTEMPTS_KEPT_MAX)),
            trace_id: envelope.trace_id.clone(),
            parent_id: envelope.parent_id.clone(),
            labels: envelope.labels.clone(),
            ordering_key: envelope.ordering_key.clone(),
            tenant: envelope.tenant.clone(),
            lane: self.copy.lane.map(|lane| lane.to_string()).unwrap_or_default(),
            children: self.children(),
            ..v1::Result::default()
        }
    }

    /// Whether a handler holds the task.
    pub(super) fn cuts_off(&self, queue: &Queue) -> bool {
        self.last_attempt(queue.settings.lease_ms).is_cut_off
    }

    fn failure(&self) -> Failure {
        match self.halting.cause {
            Cause::Cancelled if self.halting.reason.is_empty() => {
                Failure { code: "cancelled".to_owned(), message: "a caller cancelled it".to_owned() }
            }
            Cause::Cancelled => Failure { code: "cancelled".to_owned(), message: self.halting.reason.clone() },
            // Word for word what a worker records.
            Cause::Expired => {
                Failure { code: "expired".to_owned(), message: "its deadline passed before it ended".to_owned() }
            }
        }
    }

    /// What was said of the attempts that this copy stands for; not of earlier ones.
    fn heard_of_copy(&self) -> Option<&Heard> {
        let generation = self.copy.generation;
        let of_copy = |heard: &&Heard| heard.event.run == generation.run && heard.event.attempt >= generation.attempt;
        self.heard.filter(|_| self.copy.place == Place::Queue).filter(of_copy)
    }

    fn last_attempt(&self, lease_ms: i64) -> Last {
        let before = self.copy.envelope.attempts.last();
        let Some(heard) = self.heard_of_copy() else {
            return Last {
                number: self.copy.generation.attempt.saturating_sub(1),
                started_at_ms: before.map(|attempt| attempt.started_at_ms),
                is_cut_off: false,
            };
        };
        let is_held = heard.event.state() == State::Running && self.now_ms - heard.at_ms < lease_ms;
        Last {
            number: heard.event.attempt,
            started_at_ms: (heard.event.started_at_ms > 0).then_some(heard.event.started_at_ms),
            is_cut_off: is_held,
        }
    }

    fn children(&self) -> Vec<String> {
        let told = self.heard_of_copy().map(|heard| &heard.event.children).filter(|children| !children.is_empty());
        told.unwrap_or(&self.copy.envelope.children).clone()
    }
}

/// The last attempt that began.
struct Last {
    /// 0: none did.
    number: u32,
    started_at_ms: Option<i64>,
    /// A handler holds it, and is to stop.
    is_cut_off: bool,
}

#[cfg(test)]
mod tests {
    use super::{End, Halting};
    use crate::halt::Telling;
    use crate::kinds::Queue;
    use crate::state::{Heard, Place, Waiting};
    use workfleet_proto::id::TaskId;
    use workfleet_proto::settlement::{Cause, Generation};
    use workfleet_proto::v1::{self, Attempt, Envelope, Event, State};

    fn record(copy: &Waiting, heard: Option<&Heard>, reason: &str) -> v1::Result {
        let queue = Queue::without_kind("mail".parse().expect("a name"));
        let id: TaskId = "mail_01h455vb4pex5vsknk084sn02q".parse().expect("an id");
        let halting =
            Halting { cause: Cause::Cancelled, deadline_ms: None, reason: reason.to_owned(), telling: Telling::Asking };
        End { halting: &halting, run: 1, copy, heard, now_ms: 10_000 }.record(&queue, &id)
    }

    fn copy(place: Place, attempt: u32) -> Waiting {
        let attempts = (1..attempt).map(|attempt| Attempt { attempt, started_at_ms: 500, ..Attempt::default() });
        let envelope =
            Envelope { attempts: attempts.collect(), attempts_max: 5, submitted_at_ms: 100, ..Envelope::default() };
        let generation = Generation { attempt, ..Generation::FIRST };
        Waiting { place, lane: "m".parse().ok(), generation, due_ms: 0, envelope }
    }

    fn running(attempt: u32, at_ms: i64) -> Heard {
        let event = Event {
            state: State::Running.into(),
            run: 1,
            attempt,
            started_at_ms: 2_000,
            worker: "w".to_owned(),
            children: vec!["mail_child".to_owned()],
            ..Event::default()
        };
        Heard { event, at_ms }
    }

    #[test]
    fn a_task_that_waited_has_begun_no_attempt() {
        let record = record(&copy(Place::Queue, 1), None, "");
        assert_eq!((record.state(), record.attempt, record.started_at_ms), (State::Cancelled, 0, None));
        assert_eq!((record.ended_at_ms, record.attempts.len(), record.lane.as_str()), (10_000, 0, "m"));
        assert_eq!(record.failure.map(|failure| failure.code).as_deref(), Some("cancelled"));
    }

    #[test]
    fn a_retry_that_waited_keeps_what_was_tried_and_is_told_why() {
        let record = record(&copy(Place::Scheduled, 3), Some(&running(2, 9_999)), "wrong address");
        assert_eq!((record.attempt, record.started_at_ms, record.attempts.len()), (2, Some(500), 2));
        assert_eq!(record.failure.map(|failure| failure.message).as_deref(), Some("wrong address"));
    }

    #[test]
    fn an_attempt_that_runs_is_cut_off_and_one_whose_worker_is_silent_is_only_counted() {
        let cut_off = record(&copy(Place::Queue, 2), Some(&running(2, 9_000)), "");
        let last = cut_off.attempts.last().expect("the attempt");
        assert_eq!((last.attempt, last.worker.as_str(), last.code.as_str()), (2, "w", "cancelled"));
        assert_eq!((cut_off.attempts.len(), cut_off.children), (2, vec!["mail_child".to_owned()]));
        let silent = record(&copy(Place::Queue, 2), Some(&running(2, 1_000)), "");
        assert_eq!((silent.attempt, silent.attempts.len()), (2, 1));
    }
}
