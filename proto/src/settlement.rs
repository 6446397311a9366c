//! What a worker may do with a delivery, and in which order it stores what came of it.
//!
//! These are rules 1 to 6, 9 and 14 of the design as values and functions: the worker, the tests and the model
//! (`tests/model`) call the very same code, so what the model explores is what runs. The alternative, decisions spread
//! over the worker's stations next to their I/O, cannot be explored at all.
//!
//! A delivery goes through three decisions:
//! 1. [`Delivered::look`]: what must be read before a handler may start;
//! 2. [`judge`]: start, or drop, or finish what a crashed worker left;
//! 3. [`plan`] and then [`Settlement`]: what is stored, step by step, with the acknowledgement last.

use crate::limits::DELIVERIES_SHARED_MAX;
use crate::v1::State;

/// Where a copy of a task stands in the task's own history. A copy that a worker publishes (a retry, a hand-back, a
/// redrive) is always later than the one it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// Counts redrives, from 1.
    pub run: u32,
    /// The attempt in the copy's header, from 1.
    pub attempt: u32,
    /// Counts hand-backs of that attempt, from 0.
    pub back: u32,
}

impl Generation {
    /// A task as it was submitted.
    pub const FIRST: Self = Self { run: 1, attempt: 1, back: 0 };

    /// The retry after `attempt` failed.
    #[must_use]
    pub fn retry_after(self, attempt: u32) -> Self {
        Self { attempt: attempt.saturating_add(1), back: 0, ..self }
    }

    /// The copy that is handed back while `attempt` was held; the attempt is not spent.
    #[must_use]
    pub fn handed_back(self, attempt: u32) -> Self {
        // A redelivery has raised the attempt beyond the header, so hand-backs count anew from there.
        let back = if attempt == self.attempt { self.back.saturating_add(1) } else { 1 };
        Self { attempt, back, ..self }
    }

    /// The first copy of the next run.
    #[must_use]
    pub fn redriven(self) -> Self {
        Self { run: self.run.saturating_add(1), attempt: 1, back: 0 }
    }

    /// `Nats-Msg-Id` of the copy: `<id>/<run>/<attempt>`, and `/back<n>` for a hand-back.
    #[must_use]
    pub fn message_id(self, id: &crate::id::TaskId) -> String {
        let Self { run, attempt, back } = self;
        if back == 0 { format!("{id}/{run}/{attempt}") } else { format!("{id}/{run}/{attempt}/back{back}") }
    }
}

/// How a copy came into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Published into it.
    Direct,
    /// Moved there from the delay stream (`Nats-Stream-Source`), which may happen twice after a crash of the server.
    Sourced,
}

/// What the broker handed over, less its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Delivered {
    /// The copy.
    pub generation: Generation,
    /// How often JetStream has delivered this copy, this time included; from 1.
    pub deliveries: u64,
    /// How the copy came into the queue.
    pub origin: Origin,
    /// Whether the sender asked for a look (`Wf-Check`).
    pub check: bool,
    /// Sequence of the record that the result must replace (`Wf-Result-Seq`); 0: none.
    pub result_sequence: u64,
}

/// What must be read before a handler may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Look {
    /// Nothing: the delivery is certainly new.
    No,
    /// The result, from the stream's leader.
    Result,
    /// The result, and whether a later copy of the task is already scheduled, due or queued.
    ResultAndCopies,
}

/// Whom a task shares its process with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Company {
    /// Other tasks in the other slots.
    Shared,
    /// Nobody: it was there when two processes died.
    Alone,
}

impl Delivered {
    /// The attempt that this delivery is: the header's, and one more for each earlier delivery that came to nothing.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        let lost = u32::try_from(self.deliveries.saturating_sub(1)).unwrap_or(u32::MAX);
        self.generation.attempt.saturating_add(lost)
    }

    /// Rule 5: look first, unless the delivery is certainly new.
    #[must_use]
    pub fn look(&self) -> Look {
        if self.deliveries > 1 {
            Look::ResultAndCopies
        } else if self.origin == Origin::Sourced || self.check || self.result_sequence > 0 {
            Look::Result
        } else {
            Look::No
        }
    }

    /// Rule 9: from its third delivery on a task runs alone.
    #[must_use]
    pub fn company(&self) -> Company {
        if self.deliveries > DELIVERIES_SHARED_MAX { Company::Alone } else { Company::Shared }
    }
}

/// The record on a task's result subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Recorded {
    /// The state it records; `Queued` is the mark of a redrive.
    pub state: State,
    /// The run it belongs to.
    pub run: u32,
}

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Seen {
    /// The record on the result's subject.
    pub result: Option<Recorded>,
    /// The latest copy of the task besides this delivery: scheduled, due or queued.
    pub latest_copy: Option<Generation>,
}

/// What to do with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Run the handler.
    Start,
    /// Acknowledge and no more: the task has ended, or a later copy carries it on.
    Drop,
    /// The result says failed: a worker died before the dead letter was surely stored. Store it, then acknowledge.
    FinishDeadLetter,
    /// Every attempt was used up, the last ones by workers that died: record that the task failed, without a handler.
    Exhaust,
}

/// Decides on a delivery after the look that [`Delivered::look`] asks for.
#[must_use]
pub fn judge(delivered: &Delivered, attempts_max: u32, seen: &Seen) -> Verdict {
    if let Some(result) = seen.result {
        if result.run > delivered.generation.run {
            return Verdict::Drop;
        }
        match result.state {
            State::Failed if result.run == delivered.generation.run => return Verdict::FinishDeadLetter,
            state if state.is_end() => return Verdict::Drop,
            _ => {}
        }
    }
    if seen.latest_copy.is_some_and(|copy| copy > delivered.generation) {
        return Verdict::Drop;
    }
    if delivered.attempt() > attempts_max.max(1) { Verdict::Exhaust } else { Verdict::Start }
}

/// Whether the worker surely still holds the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lease {
    /// It was renewed within its time.
    Held,
    /// It ran out at some moment since the delivery: another worker may have the task, or may have finished it.
    Lapsed,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// With an output.
    Completed,
    /// With an error that may go away.
    Retryable,
    /// With an error that will not.
    Permanent,
    /// Not at all: the worker drains, or has no slot, or cannot read this schema yet.
    HandedBack,
}

/// What is to be stored for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plan {
    /// The result `completed`.
    Complete,
    /// The result `failed`, then a dead letter.
    Fail,
    /// A schedule for the next attempt.
    Retry,
    /// The same task, due now, its attempt not spent.
    HandBack,
    /// Only the dead letter that belongs to a result already stored.
    FinishDeadLetter,
    /// Nothing, only the acknowledgement.
    Drop,
    /// Nothing at all, not even an acknowledgement: the delivery belongs to somebody else.
    Leave,
}

/// Decides what to store. Rule 6: an attempt whose lease lapsed may only record success.
#[must_use]
pub fn plan(attempt: u32, attempts_max: u32, lease: Lease, ended: Ended) -> Plan {
    match (ended, lease) {
        // Compare-and-set decides who was first; a late success is as good as any.
        (Ended::Completed, _) => Plan::Complete,
        (_, Lease::Lapsed) => Plan::Leave,
        (Ended::Permanent, Lease::Held) => Plan::Fail,
        (Ended::Retryable, Lease::Held) if attempt >= attempts_max.max(1) => Plan::Fail,
        (Ended::Retryable, Lease::Held) => Plan::Retry,
        (Ended::HandedBack, Lease::Held) => Plan::HandBack,
    }
}

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
    /// Store the schedule of the next attempt.
    StoreRetry,
    /// Publish the task as due now.
    StoreHandBack,
    /// Acknowledge the delivery: the last thing ever done with it.
    Acknowledge,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Stored, or was stored before under the same message id.
    Stored,
    /// 10071: somebody was first. Carries the record that is there now, read from the leader; `None`: it is gone.
    Lost(Option<Recorded>),
    /// 10164, 10158, a time-out, no answer: nobody knows. The step is tried again.
    Unclear,
}

/// A plan being carried out. Result first, dead letter second, acknowledgement last: a crash between two steps costs a
/// repeated, harmless write, never a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settlement {
    plan: Plan,
    run: u32,
    next: Option<Step>,
}

impl Settlement {
    /// Begins to carry out `plan` for a delivery.
    #[must_use]
    pub fn new(plan: Plan, delivered: &Delivered) -> Self {
        let next = match plan {
            Plan::Complete | Plan::Fail => Some(Step::StoreResult { expected: delivered.result_sequence }),
            Plan::Retry => Some(Step::StoreRetry),
            Plan::HandBack => Some(Step::StoreHandBack),
            Plan::FinishDeadLetter => Some(Step::StoreDeadLetter),
            Plan::Drop => Some(Step::Acknowledge),
            Plan::Leave => None,
        };
        Self { plan, run: delivered.generation.run, next }
    }

    /// The step to take now; `None`: all is done.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        self.next
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
            // Only a result is compared and set; for the other steps `Lost` cannot come, and is as good as stored.
            (_, Reply::Stored | Reply::Lost(_)) => Some(Step::Acknowledge),
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
}

#[cfg(test)]
#[path = "settlement_tests.rs"]
mod tests;
