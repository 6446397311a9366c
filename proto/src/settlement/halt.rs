//! How a task is ended from outside its worker: by a cancel, or by a deadline that passed. Rules 11 and 12.
//!
//! The end is stored first, by compare-and-set like every other. What comes after it only saves work: a copy that is not
//! purged, and a worker that does not hear, meet the record. So whoever dies in between has lost nothing, and the same halt
//! can be begun again. The order of the purges is the one in which copies travel.
//!
//! The alternative, to purge first and to record when nothing is left, would lose a task whose canceller dies in between.

use super::Recorded;
use crate::v1::State;

/// Why a task is halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A caller asked for it.
    Cancelled,
    /// Its deadline passed.
    Expired,
}

impl Cause {
    /// The state that is recorded.
    #[must_use]
    pub fn state(self) -> State {
        match self {
            Self::Cancelled => State::Cancelled,
            Self::Expired => State::Expired,
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HaltStep {
    /// Read the record, from the leader. Answered by [`HaltReply::Record`].
    ReadRecord,
    /// Look for the task where it can be: scheduled, due, queued, and then in its record, three times in this order, for a copy
    /// may move against it. Answered by [`HaltReply::Task`].
    ///
    /// For [`Cause::Expired`] a run whose deadline is another one, or none, counts as [`Existence::Absent`]. From the second
    /// run on that is the deadline of the mark that was read, and only a copy of that run counts: another may be a leftover.
    FindTask {
        /// The run that is to end.
        run: u32,
    },
    /// Compare-and-set the end.
    StoreEnd {
        /// The sequence that must be the last on the record's subject; 0: there is none.
        expected: u64,
        /// The run that ends.
        run: u32,
    },
    /// Purge the schedule of its deadline, unless it is what fired.
    PurgeDeadline,
    /// Purge its schedule. What is due of it already stays, and meets the record once it is in the queue: the server takes
    /// whatever is taken away there for the acknowledgement of all that is due before it, which may be stored nowhere else yet
    /// (`docs/decisions/0018-what-servers-do-to-copies.md`).
    PurgeScheduled,
    /// Take out what waits of it, or runs: by sequence, since a purge makes the server forget what the same worker holds beside it
    /// (`docs/decisions/0018-what-servers-do-to-copies.md`).
    PurgeQueued,
    /// Delete its dead letter if that is of an earlier run than this: the redrive that would have done it is overtaken.
    DeleteLetter {
        /// The run that was halted.
        run: u32,
    },
    /// Tell the queue's workers.
    TellWorkers,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HaltReply {
    /// The record and its sequence.
    Record(Option<(Recorded, u64)>),
    /// Where the task is.
    Task(Existence),
    /// Done.
    Done,
    /// 10071: the record is another one by now.
    Lost,
    /// 10164, 10158, a time-out: nobody knows.
    Unclear,
}

/// Whether there is something to halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Existence {
    /// A copy is there.
    Present,
    /// A redrive has marked the run, and has not published it yet, or never will.
    Marked,
    /// There is a record by now, so it has ended since, or was even redriven.
    Ended,
    /// Nobody knows it.
    Absent,
}

/// How a halt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Halted {
    /// The task has this end now, or had it before.
    Halted,
    /// It had another end.
    Ended(State),
    /// Its run is only marked, and no deadline ends that: it has not begun, and its end would take the dead letter along, which
    /// a redrive that was refused, or broke off, has promised to leave. It is to be looked at again. No cancel comes to this.
    Marked,
    /// There is no such task.
    Unknown,
}

/// A halt being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Halt {
    cause: Cause,
    /// Sequence of the record that the end must replace.
    expected: u64,
    run: u32,
    next: Result<HaltStep, Halted>,
}

impl Halt {
    /// Begins to halt a task.
    #[must_use]
    pub fn new(cause: Cause) -> Self {
        Self { cause, expected: 0, run: 1, next: Ok(HaltStep::ReadRecord) }
    }

    /// Why.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// The step to take now.
    ///
    /// # Errors
    /// None: how it ended, once there is nothing left to do.
    pub fn step(&self) -> Result<HaltStep, Halted> {
        self.next
    }

    /// The same halt after its current step was answered.
    #[must_use]
    pub fn after(self, reply: HaltReply) -> Self {
        let Ok(step) = self.next else { return self };
        match (step, reply) {
            (HaltStep::ReadRecord, HaltReply::Record(record)) => self.after_reading(record),
            (HaltStep::FindTask { .. }, HaltReply::Task(Existence::Marked)) if self.cause == Cause::Expired => {
                Self { next: Err(Halted::Marked), ..self }
            }
            (HaltStep::FindTask { .. }, HaltReply::Task(Existence::Present | Existence::Marked)) => {
                self.going_on(HaltStep::StoreEnd { expected: self.expected, run: self.run })
            }
            (HaltStep::FindTask { .. }, HaltReply::Task(Existence::Absent)) => {
                Self { next: Err(Halted::Unknown), ..self }
            }
            (HaltStep::FindTask { .. }, HaltReply::Task(Existence::Ended)) => self.going_on(HaltStep::ReadRecord),
            // After a loss, and when nobody knows, the record says how far the task is, and whether its deadline holds still.
            (HaltStep::StoreEnd { .. }, HaltReply::Lost | HaltReply::Unclear) => self.going_on(HaltStep::ReadRecord),
            (step, HaltReply::Done) => Self { next: self.following(step).ok_or(Halted::Halted), ..self },
            // Not answered, or not with what was asked for: once more.
            (_, HaltReply::Unclear | HaltReply::Lost | HaltReply::Record(_) | HaltReply::Task(_)) => self,
        }
    }

    fn after_reading(self, record: Option<(Recorded, u64)>) -> Self {
        match record {
            Some((record, _)) if record.state == self.cause.state() => {
                Self { run: record.run, ..self }.going_on(HaltStep::PurgeDeadline)
            }
            Some((record, _)) if record.state.is_end() => Self { next: Err(Halted::Ended(record.state)), ..self },
            Some((mark, sequence)) => Self { expected: sequence, run: mark.run, ..self }.finding(),
            None => Self { expected: 0, run: 1, ..self }.finding(),
        }
    }

    fn following(&self, step: HaltStep) -> Option<HaltStep> {
        match step {
            HaltStep::ReadRecord | HaltStep::FindTask { .. } => Some(step),
            HaltStep::StoreEnd { .. } => Some(HaltStep::PurgeDeadline),
            HaltStep::PurgeDeadline => Some(HaltStep::PurgeScheduled),
            HaltStep::PurgeScheduled => Some(HaltStep::PurgeQueued),
            HaltStep::PurgeQueued if self.run > 1 => Some(HaltStep::DeleteLetter { run: self.run }),
            HaltStep::PurgeQueued | HaltStep::DeleteLetter { .. } => Some(HaltStep::TellWorkers),
            HaltStep::TellWorkers => None,
        }
    }

    fn finding(self) -> Self {
        self.going_on(HaltStep::FindTask { run: self.run })
    }

    fn going_on(self, step: HaltStep) -> Self {
        Self { next: Ok(step), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Existence, Halt, HaltReply, HaltStep, Halted};
    use crate::settlement::Recorded;
    use crate::v1::State;

    fn walk(cause: Cause, replies: &[HaltReply]) -> (Vec<HaltStep>, Option<Halted>) {
        let (mut halt, mut steps) = (Halt::new(cause), Vec::new());
        for reply in replies {
            let Ok(step) = halt.step() else { break };
            steps.push(step);
            halt = halt.after(*reply);
        }
        (steps, halt.step().err())
    }

    #[test]
    fn the_end_is_stored_before_anything_is_purged() {
        let replies = [
            HaltReply::Record(None),
            HaltReply::Task(Existence::Present),
            HaltReply::Done,
            HaltReply::Done,
            HaltReply::Done,
            HaltReply::Done,
            HaltReply::Done,
        ];
        let (steps, halted) = walk(Cause::Cancelled, &replies);
        assert_eq!(
            steps,
            [
                HaltStep::ReadRecord,
                HaltStep::FindTask { run: 1 },
                HaltStep::StoreEnd { expected: 0, run: 1 },
                HaltStep::PurgeDeadline,
                HaltStep::PurgeScheduled,
                HaltStep::PurgeQueued,
                HaltStep::TellWorkers,
            ]
        );
        assert_eq!(halted, Some(Halted::Halted));
    }

    #[test]
    fn a_repeated_cancel_purges_again_and_another_end_stays() {
        let ended = |state| HaltReply::Record(Some((Recorded { state, run: 1 }, 5)));
        let (steps, halted) = walk(Cause::Cancelled, &[ended(State::Cancelled), HaltReply::Unclear]);
        assert_eq!((steps, halted), (vec![HaltStep::ReadRecord, HaltStep::PurgeDeadline], None));
        let (_, halted) = walk(Cause::Cancelled, &[ended(State::Completed)]);
        assert_eq!(halted, Some(Halted::Ended(State::Completed)));
        let (_, halted) = walk(Cause::Expired, &[ended(State::Cancelled)]);
        assert_eq!(halted, Some(Halted::Ended(State::Cancelled)));
    }

    #[test]
    fn a_redriven_task_is_halted_at_its_mark_and_its_old_letter_goes() {
        let mark = HaltReply::Record(Some((Recorded { state: State::Queued, run: 2 }, 9)));
        let done = HaltReply::Done;
        let replies = [mark, HaltReply::Task(Existence::Present), done, done, done, done, done];
        let (steps, _) = walk(Cause::Expired, &replies);
        assert_eq!(steps[1..3], [HaltStep::FindTask { run: 2 }, HaltStep::StoreEnd { expected: 9, run: 2 }]);
        assert_eq!(steps[6], HaltStep::DeleteLetter { run: 2 });
    }

    #[test]
    fn a_run_that_is_only_marked_is_ended_by_a_cancel_and_by_no_deadline() {
        let mark = HaltReply::Record(Some((Recorded { state: State::Queued, run: 2 }, 9)));
        let (_, halted) = walk(Cause::Expired, &[mark, HaltReply::Task(Existence::Marked)]);
        assert_eq!(halted, Some(Halted::Marked));
        let (steps, _) = walk(Cause::Cancelled, &[mark, HaltReply::Task(Existence::Marked), HaltReply::Done]);
        assert_eq!(steps[2], HaltStep::StoreEnd { expected: 9, run: 2 });
    }

    #[test]
    fn a_lost_comparison_begins_anew() {
        let replies =
            [HaltReply::Record(None), HaltReply::Task(Existence::Present), HaltReply::Lost, HaltReply::Record(None)];
        let (steps, _) = walk(Cause::Expired, &replies);
        assert_eq!(steps[3], HaltStep::ReadRecord);
        let (_, halted) = walk(Cause::Expired, &[HaltReply::Record(None), HaltReply::Task(Existence::Absent)]);
        assert_eq!(halted, Some(Halted::Unknown));
    }
}
