//! What a worker may do with a delivery, and in which order it stores what came of it.
//!
//! These are rules 1 to 6, 9, 11, 12 and 14 of the design as values and functions: the worker, the tests and the model
//! (`tests/model`) call the very same code, so what the model explores is what runs. The alternative, decisions spread
//! over the worker's stations next to their I/O, cannot be explored at all.
//!
//! A delivery goes through three decisions:
//! 1. [`Delivered::look`]: what must be read before a handler may start, and in which order;
//! 2. [`judge`]: start, or drop, or finish what a crashed worker left;
//! 3. [`plan`] (or [`Verdict::plan`], where no handler runs) and then [`Settlement`]: what is stored, step by step, with the
//!    acknowledgement last.
//!
//! What ends a task from outside ([`Halt`]) and what begins it again ([`Redrive`]) are walked through in the same way, by the
//! dispatcher.

mod generation;
mod halt;
mod redrive;
mod steps;

pub use generation::{Generation, dead_letter_id};
pub use halt::{Cause, Existence, Halt, HaltReply, HaltStep, Halted};
pub use redrive::{Copies, Edit, Redrive, RedriveReply, RedriveStep, Redriven};
pub use steps::{Reply, Scheduled, Settlement, Step};

use crate::limits::DELIVERIES_SHARED_MAX;
use crate::v1::State;

/// How a copy came into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Published into it.
    Direct,
    /// Carried there out of the delay stream, which may happen twice when a dispatcher dies.
    Carried,
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

impl Look {
    /// What is to be read, one after the other.
    ///
    /// The copies in the direction in which they travel, so that one that moves on meanwhile is met at its next station; the
    /// result last, so that a copy that is not met any more has left its end there. In any other order a retry can run and end
    /// between two reads, and nothing of it is seen.
    #[must_use]
    pub fn reads(self) -> &'static [Read] {
        match self {
            Self::No => &[],
            Self::Result => &[Read::Result],
            Self::ResultAndCopies => &[Read::Scheduled, Read::Due, Read::Queued, Read::Result],
        }
    }
}

/// One thing to read: the last message on a subject, from the stream's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Read {
    /// The task's schedule in DELAY.
    Scheduled,
    /// Its copy that is due in DELAY.
    Due,
    /// Its copy in TASKS, this delivery's own left out.
    Queued,
    /// Its record in RESULTS.
    Result,
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
        } else if self.origin == Origin::Carried || self.check || self.result_sequence > 0 {
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
    /// The deadline has passed: record that, without a handler.
    Expire,
}

/// Whether anybody still wants the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// There is no deadline, or it lies ahead.
    Open,
    /// It has passed, by the worker's clock.
    Passed,
}

/// Decides on a delivery after the look that [`Delivered::look`] asks for.
#[must_use]
pub fn judge(delivered: &Delivered, attempts_max: u32, deadline: Deadline, seen: &Seen) -> Verdict {
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
    match deadline {
        Deadline::Passed => Verdict::Expire,
        Deadline::Open if delivered.attempt() > attempts_max.max(1) => Verdict::Exhaust,
        Deadline::Open => Verdict::Start,
    }
}

/// Whether the worker surely still holds the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lease {
    /// It was renewed within its time.
    Held,
    /// It ran out at some moment since the delivery: another worker may have the task, or may have finished it.
    Lapsed,
}

impl Verdict {
    /// What to store without a handler; `None`: start it.
    ///
    /// Rule 6: a delivery whose lease ran out before its handler started is left to whoever has it now. The acknowledgement
    /// of one that is dropped does no harm, for it stays dropped.
    #[must_use]
    pub fn plan(self, lease: Lease) -> Option<Plan> {
        match (self, lease) {
            (Self::Drop, _) => Some(Plan::Drop),
            (_, Lease::Lapsed) => Some(Plan::Leave),
            (Self::Start, Lease::Held) => None,
            (Self::FinishDeadLetter, Lease::Held) => Some(Plan::FinishDeadLetter),
            (Self::Exhaust, Lease::Held) => Some(Plan::Fail),
            (Self::Expire, Lease::Held) => Some(Plan::Expire),
        }
    }
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
    /// Its task was cancelled, or expired elsewhere: that is recorded already.
    Halted,
    /// Its task's deadline passed while it ran.
    Expired,
}

/// What is to be stored for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plan {
    /// The result `completed`.
    Complete,
    /// The result `failed`, then a dead letter.
    Fail,
    /// The result `expired`.
    Expire,
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
        // The end is stored, so nothing is lost with the message, whoever has it now.
        (Ended::Halted, _) => Plan::Drop,
        (_, Lease::Lapsed) => Plan::Leave,
        (Ended::Permanent, Lease::Held) => Plan::Fail,
        (Ended::Retryable, Lease::Held) if attempt >= attempts_max.max(1) => Plan::Fail,
        (Ended::Retryable, Lease::Held) => Plan::Retry,
        (Ended::HandedBack, Lease::Held) => Plan::HandBack,
        (Ended::Expired, Lease::Held) => Plan::Expire,
    }
}

#[cfg(test)]
#[path = "settlement_tests.rs"]
mod tests;
