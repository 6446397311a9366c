//! Carrying out a plan, step by step.

use super::{Delivered, Generation, Lease, Plan, Recorded};
use crate::v1::State;

/// One thing to do at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Compare-and-set the result; the last sequence on its subject must be `expected`.
    StoreResult {
        /// 0: there is no record yet.
        expected: u64,
    },
    /// Store the dead letter, made from the result that is recorded.
    StoreDeadLetter,
    /// Compare-and-set the schedule of the next attempt; the last sequence on the task's schedule subject must be
    /// `expected`. A schedule takes the place of the one that is there, and a retry must not do that to a later one.
    StoreRetry {
        /// 0: there is no schedule.
        expected: u64,
    },
    /// Publish the task as due now, which takes no condition; or, where it is handed back for a while, compare-and-set its
    /// schedule like a retry's.
    StoreHandBack {
        /// 0: there is no schedule.
        expected: u64,
    },
    /// Acknowledge the delivery: the last thing ever done with it.
    Acknowledge,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Stored, or was stored before under the same message id.
    Stored,
    /// 10071 on a result: somebody was first. Carries the record that is there now, read from the leader; `None`: it is
    /// gone.
    Lost(Option<Recorded>),
    /// 10071 on a schedule: the task has one. Carries the one that is there now, read from the leader; `None`: it has
    /// fired since.
    Taken(Option<Scheduled>),
    /// 10164, 10158, a time-out, no answer: nobody knows. The step is tried again.
    Unclear,
}

/// The schedule of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scheduled {
    /// The copy that it will make due.
    pub generation: Generation,
    /// Its sequence in DELAY.
    pub sequence: u64,
}

/// A plan being carried out. Result first, dead letter second, acknowledgement last: a crash between two steps costs a
/// repeated, harmless write, never a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settlement {
    plan: Plan,
    run: u32,
    /// The copy that is stored, if one is.
    copy: Generation,
    next: Option<Step>,
}

impl Settlement {
    /// Begins to carry out `plan` for a delivery.
    #[must_use]
    pub fn new(plan: Plan, delivered: &Delivered) -> Self {
        let next = match plan {
            Plan::Complete | Plan::Fail | Plan::Expire => {
                Some(Step::StoreResult { expected: delivered.result_sequence })
            }
            Plan::Retry => Some(Step::StoreRetry { expected: 0 }),
            Plan::HandBack => Some(Step::StoreHandBack { expected: 0 }),
            Plan::FinishDeadLetter => Some(Step::StoreDeadLetter),
            Plan::Drop => Some(Step::Acknowledge),
            Plan::Leave => None,
        };
        let copy = match plan {
            Plan::HandBack => delivered.generation.handed_back(delivered.attempt()),
            _ => delivered.generation.retry_after(delivered.attempt()),
        };
        Self { plan, run: delivered.generation.run, copy, next }
    }

    /// The step to take now; `None`: all is done, or is no longer ours to do.
    ///
    /// Asked anew before each step, also before one is tried again: a worker may be frozen between any two. Rule 6 holds in
    /// the middle of settling too, so what a lapsed lease leaves undone is left, unacknowledged, to the next delivery.
    #[must_use]
    pub fn step(&self, lease: Lease) -> Option<Step> {
        match (self.next?, lease) {
            (step, Lease::Held) => Some(step),
            (step @ Step::StoreResult { .. }, Lease::Lapsed) if self.plan == Plan::Complete => Some(step),
            // All that it confirms is stored, and the broker forgives an acknowledgement that comes late.
            (Step::Acknowledge, Lease::Lapsed) => Some(Step::Acknowledge),
            (_, Lease::Lapsed) => None,
        }
    }

    /// The same settlement after its current step was answered.
    #[must_use]
    pub fn after(self, reply: Reply) -> Self {
        let Some(step) = self.next else { return self };
        let next = match (step, reply) {
            (Step::Acknowledge, _) => None,
            (step, Reply::Unclear) => Some(step),
            (Step::StoreResult { .. }, Reply::Stored) if self.plan == Plan::Fail => Some(Step::StoreDeadLetter),
            (Step::StoreResult { .. }, Reply::Lost(winner)) => Some(self.after_loss(winner)),
            (Step::StoreRetry { .. } | Step::StoreHandBack { .. }, Reply::Taken(there)) => {
                Some(self.after_meeting(there))
            }
            // A loss belongs to a result; with another step it cannot come.
            (_, Reply::Stored | Reply::Lost(_) | Reply::Taken(_)) => Some(Step::Acknowledge),
        };
        Self { next, ..self }
    }

    fn after_loss(self, winner: Option<Recorded>) -> Step {
        match winner {
            // The winner may have died before its dead letter: whoever sees it completes it.
            Some(winner) if winner.state == State::Failed && winner.run == self.run => Step::StoreDeadLetter,
            Some(_) => Step::Acknowledge,
            // The record that was to be replaced is older than the retention, so there is none to lose to.
            None => Step::StoreResult { expected: 0 },
        }
    }

    fn after_meeting(self, there: Option<Scheduled>) -> Step {
        let again = |expected| match self.plan {
            Plan::HandBack => Step::StoreHandBack { expected },
            _ => Step::StoreRetry { expected },
        };
        match there {
            // What a stale attempt sent long ago: this copy carries the task further.
            Some(there) if there.generation < self.copy => again(there.sequence),
            // This very copy, whose answer was lost, or a later one: the task goes on without us.
            Some(_) => Step::Acknowledge,
            // Whether the one that fired was this very copy is known by its message id.
            None => again(0),
        }
    }
}
