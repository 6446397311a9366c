//! How a dead letter becomes a task again. Rule 14.
//!
//! The failed result is replaced by a mark, `queued, run n+1`; then the task is published; then the letter is deleted, by the
//! sequence at which it was read. A crash in between leaves the letter, and redriving it again goes on from where the mark
//! and the copies say that it stands. Nothing is purged, so no end is ever taken back without a mark in its place.
//!
//! A redrive may edit the task, so two redrives of one letter may mean different ones. The mark says what it stands for, and
//! who wants something else gives way, even where nothing of its run is found: whoever stored the mark may only be slow. To
//! begin a further run there loses tasks. The slow one publishes its own after that, and deletes the letter for it, while the
//! further run is not published yet; and then the other dies. A mark that was left for good is taken up by the same redrive
//! again, or ended by a cancel.
//!
//! A task has one timer, so that of the new run's deadline takes the place of another. It is compared and set at the sequence
//! that was read before the record: then it can only replace one that is older than the mark. Stored blindly, the timer of a
//! redrive that was frozen and overtaken would replace that of the run that lives, which then expires only where a worker
//! meets it.

use super::Recorded;
use crate::v1::State;

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedriveStep {
    /// Read the dead letter, from the leader. Answered by [`RedriveReply::Letter`].
    ReadLetter,
    /// Read the sequence of the task's timer, from the leader. Answered by [`RedriveReply::Timer`]; by its 0 at once where
    /// the new run has no deadline.
    ReadTimer,
    /// Read the record, from the leader. Answered by [`RedriveReply::Record`].
    ReadRecord,
    /// Compare-and-set the mark. Answered by [`RedriveReply::Marked`].
    StoreMark {
        /// The sequence that must be the last on the record's subject; 0: there is none.
        expected: u64,
        /// The run that begins.
        run: u32,
    },
    /// Look for a copy of this run, or of a later one: scheduled, due, queued. Answered by [`RedriveReply::Copy`].
    FindCopy {
        /// The run.
        run: u32,
    },
    /// Compare-and-set the timer of the run's deadline, also where it is the same as before, for it may have fired. Nothing
    /// to do where the run has none: [`RedriveReply::Done`] at once.
    StoreTimer {
        /// The sequence that must be the last on the timer's subject; 0: there is none.
        expected: u64,
    },
    /// Publish the task into the queue, under its message id and under the condition that none lies there.
    Publish {
        /// The run.
        run: u32,
        /// The mark's sequence, which the result must replace.
        result_sequence: u64,
    },
    /// Delete the dead letter, by its sequence: the new run may have failed meanwhile.
    DeleteLetter {
        /// The letter's sequence.
        sequence: u64,
    },
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedriveReply {
    /// The run that the letter speaks of, and its sequence.
    Letter(Option<(u32, u64)>),
    /// The sequence of the timer; 0: there is none.
    Timer(u64),
    /// The record, its sequence, and what a mark says of the payload.
    Record(Option<(Recorded, u64, Edit)>),
    /// The mark is stored, with this sequence.
    Marked(u64),
    /// Whether there is a copy.
    Copy(Copies),
    /// Stored, deleted, or there before.
    Done,
    /// 10071: somebody was first.
    Lost,
    /// 10077: the stream is full.
    Full,
    /// 10164, 10158, a time-out: nobody knows.
    Unclear,
}

/// Whether a mark stands for the payload that is to be redriven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edit {
    /// It does; also where the record is no mark.
    Same,
    /// It stands for another.
    Other,
}

/// Whether a copy of the run is anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Copies {
    /// There is one.
    Some,
    /// There is none.
    None,
}

/// How a redrive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Redriven {
    /// The task is in the queue again, as this run.
    Redriven {
        /// The run.
        run: u32,
    },
    /// There is no dead letter.
    NoLetter,
    /// The task was redriven before and is in this state; its letter was a leftover and is gone.
    Before(State),
    /// It is being redriven with another payload, or from another letter than the one that was read.
    Conflict,
    /// The queue is full. The letter is still there.
    Full,
}

/// A redrive being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Redrive {
    /// Run and sequence of the letter.
    letter: (u32, u64),
    /// Sequence of the timer.
    timer: u64,
    /// Run and sequence of the mark; run 0: there is none.
    mark: (u32, u64),
    /// Sequence of the mark whose timer it stored.
    timed: u64,
    /// What it comes to once the letter is deleted.
    then: Redriven,
    next: Result<RedriveStep, Redriven>,
}

impl Default for Redrive {
    fn default() -> Self {
        Self::new()
    }
}

impl Redrive {
    /// Begins to redrive a dead letter.
    #[must_use]
    pub fn new() -> Self {
        let next = Ok(RedriveStep::ReadLetter);
        let (letter, mark, then) = ((0, 0), (0, 0), Redriven::NoLetter);
        Self { letter, timer: 0, mark, timed: 0, then, next }
    }

    /// The step to take now.
    ///
    /// # Errors
    /// None: how it ended, once there is nothing left to do.
    pub fn step(&self) -> Result<RedriveStep, Redriven> {
        self.next
    }

    /// The same redrive after its current step was answered.
    #[must_use]
    pub fn after(self, reply: RedriveReply) -> Self {
        let Ok(step) = self.next else { return self };
        match (step, reply) {
            (RedriveStep::ReadLetter, RedriveReply::Letter(None)) => self.ended(Redriven::NoLetter),
            (RedriveStep::ReadLetter, RedriveReply::Letter(Some(letter))) => {
                Self { letter, ..self }.going_on(RedriveStep::ReadTimer)
            }
            (RedriveStep::ReadTimer, RedriveReply::Timer(timer)) => {
                Self { timer, ..self }.going_on(RedriveStep::ReadRecord)
            }
            (RedriveStep::ReadRecord, RedriveReply::Record(record)) => self.after_reading(record),
            (RedriveStep::StoreMark { run, .. }, RedriveReply::Marked(sequence)) => {
                Self { mark: (run, sequence), ..self }.timing()
            }
            // The letter may be another one by now.
            (RedriveStep::StoreMark { .. }, RedriveReply::Lost | RedriveReply::Unclear) => {
                self.going_on(RedriveStep::ReadLetter)
            }
            (RedriveStep::FindCopy { run }, RedriveReply::Copy(found)) => self.after_search(run, found),
            (RedriveStep::StoreTimer { .. }, RedriveReply::Done) => Self { timed: self.mark.1, ..self }.publishing(),
            // Somebody has another mark by now, or had one before: the record says which.
            (RedriveStep::StoreTimer { .. }, RedriveReply::Lost | RedriveReply::Unclear) => {
                self.going_on(RedriveStep::ReadTimer)
            }
            (RedriveStep::Publish { run, .. }, RedriveReply::Done) => self.deleting(Redriven::Redriven { run }),
            // What lies there may be of an earlier run, not acknowledged yet: only a copy of this run frees the letter.
            (RedriveStep::Publish { .. }, RedriveReply::Lost | RedriveReply::Unclear) => {
                self.going_on(RedriveStep::ReadTimer)
            }
            (RedriveStep::DeleteLetter { .. }, RedriveReply::Done) => self.ended(self.then),
            // Whatever was stored before stays, and the same redrive goes on from there once there is room.
            (
                RedriveStep::StoreMark { .. } | RedriveStep::StoreTimer { .. } | RedriveStep::Publish { .. },
                RedriveReply::Full,
            ) => self.ended(Redriven::Full),
            // Not answered, or not with what was asked for: once more.
            _ => self,
        }
    }

    fn after_reading(self, record: Option<(Recorded, u64, Edit)>) -> Self {
        let (letter_run, _) = self.letter;
        match record {
            // The failure is older than the retention, or a mark is, whose run still waits.
            None => {
                let run = letter_run.saturating_add(1);
                Self { mark: (0, 0), ..self }.going_on(RedriveStep::FindCopy { run })
            }
            Some((Recorded { state: State::Failed, run }, sequence, _)) if run == letter_run => {
                self.going_on(RedriveStep::StoreMark { expected: sequence, run: run.saturating_add(1) })
            }
            // Only a run that was begun from this very letter: it is the letter that goes when the run is published. That of a
            // mark further on was read too long ago, and another has its place.
            Some((Recorded { state, run }, sequence, Edit::Same))
                if !state.is_end() && run == letter_run.saturating_add(1) =>
            {
                Self { mark: (run, sequence), ..self }.going_on(RedriveStep::FindCopy { run })
            }
            Some((Recorded { state, run }, _, _)) if state.is_end() && run >= letter_run => {
                self.deleting(Redriven::Before(state))
            }
            // Another's mark, or another letter's; or a record of an earlier run than its letter, which nobody writes.
            Some(_) => self.ended(Redriven::Conflict),
        }
    }

    fn after_search(self, run: u32, found: Copies) -> Self {
        match (found, self.mark.0) {
            (Copies::Some, 0) => self.ended(Redriven::Conflict),
            (Copies::None, 0) => self.going_on(RedriveStep::StoreMark { expected: 0, run }),
            (Copies::Some, _) => self.deleting(Redriven::Redriven { run }),
            (Copies::None, _) => self.timing(),
        }
    }

    fn timing(self) -> Self {
        if self.timed == self.mark.1 {
            return self.publishing();
        }
        self.going_on(RedriveStep::StoreTimer { expected: self.timer })
    }

    fn publishing(self) -> Self {
        let (run, result_sequence) = self.mark;
        self.going_on(RedriveStep::Publish { run, result_sequence })
    }

    fn deleting(self, then: Redriven) -> Self {
        Self { then, ..self }.going_on(RedriveStep::DeleteLetter { sequence: self.letter.1 })
    }

    fn going_on(self, step: RedriveStep) -> Self {
        Self { next: Ok(step), ..self }
    }

    fn ended(self, how: Redriven) -> Self {
        Self { next: Err(how), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::{Copies, Edit, Redrive, RedriveReply, RedriveStep, Redriven};
    use crate::settlement::Recorded;
    use crate::v1::State;

    const LETTER: RedriveReply = RedriveReply::Letter(Some((1, 7)));
    const TIMER: RedriveReply = RedriveReply::Timer(3);
    const DONE: RedriveReply = RedriveReply::Done;

    fn record(state: State, run: u32, edit: Edit) -> RedriveReply {
        RedriveReply::Record(Some((Recorded { state, run }, 20, edit)))
    }

    /// After this letter, and the timer 3.
    fn found(record: RedriveReply) -> Redrive {
        walk(&[LETTER, TIMER, record])
    }

    fn walk(replies: &[RedriveReply]) -> Redrive {
        replies.iter().fold(Redrive::new(), |redrive, reply| redrive.after(*reply))
    }

    #[test]
    fn mark_then_timer_then_task_then_letter() {
        let failed = found(record(State::Failed, 1, Edit::Same));
        assert_eq!(failed.step(), Ok(RedriveStep::StoreMark { expected: 20, run: 2 }));
        let marked = failed.after(RedriveReply::Marked(21));
        assert_eq!(marked.step(), Ok(RedriveStep::StoreTimer { expected: 3 }));
        assert_eq!(marked.after(DONE).step(), Ok(RedriveStep::Publish { run: 2, result_sequence: 21 }));
        let published = marked.after(DONE).after(DONE);
        assert_eq!(published.step(), Ok(RedriveStep::DeleteLetter { sequence: 7 }));
        assert_eq!(published.after(DONE).step(), Err(Redriven::Redriven { run: 2 }));
    }

    #[test]
    fn a_second_redrive_goes_on_where_the_first_one_died() {
        let marked = found(record(State::Queued, 2, Edit::Same));
        assert_eq!(marked.step(), Ok(RedriveStep::FindCopy { run: 2 }));
        let lost = marked.after(RedriveReply::Copy(Copies::None)).after(DONE);
        assert_eq!(lost.step(), Ok(RedriveStep::Publish { run: 2, result_sequence: 20 }));
        let there = marked.after(RedriveReply::Copy(Copies::Some));
        assert_eq!(there.step(), Ok(RedriveStep::DeleteLetter { sequence: 7 }));
    }

    #[test]
    fn another_payload_gives_way_to_a_run_that_was_begun_without_it() {
        assert_eq!(found(record(State::Queued, 2, Edit::Other)).step(), Err(Redriven::Conflict));
    }

    #[test]
    fn a_run_that_was_begun_from_a_later_letter_is_not_gone_on_with() {
        assert_eq!(found(record(State::Queued, 3, Edit::Same)).step(), Err(Redriven::Conflict));
    }

    #[test]
    fn a_run_that_outlived_its_mark_is_not_begun_again() {
        let aged = found(RedriveReply::Record(None));
        assert_eq!(aged.step(), Ok(RedriveStep::FindCopy { run: 2 }));
        assert_eq!(aged.after(RedriveReply::Copy(Copies::Some)).step(), Err(Redriven::Conflict));
        let gone = aged.after(RedriveReply::Copy(Copies::None));
        assert_eq!(gone.step(), Ok(RedriveStep::StoreMark { expected: 0, run: 2 }));
    }

    #[test]
    fn a_timer_that_somebody_else_stored_is_replaced_only_by_the_run_that_lives() {
        let marked = found(record(State::Failed, 1, Edit::Same)).after(RedriveReply::Marked(21));
        let met = marked.after(RedriveReply::Lost);
        assert_eq!(met.step(), Ok(RedriveStep::ReadTimer));
        let read = met.after(RedriveReply::Timer(4));
        let ours = read.after(record(State::Queued, 2, Edit::Same)).after(RedriveReply::Copy(Copies::None));
        assert_eq!(ours.step(), Ok(RedriveStep::StoreTimer { expected: 4 }));
        let theirs = read.after(record(State::Queued, 3, Edit::Other));
        assert_eq!(theirs.step(), Err(Redriven::Conflict));
    }

    #[test]
    fn a_letter_beside_the_end_of_a_later_run_is_a_leftover() {
        let stale = found(record(State::Completed, 2, Edit::Same));
        assert_eq!(stale.step(), Ok(RedriveStep::DeleteLetter { sequence: 7 }));
        assert_eq!(stale.after(DONE).step(), Err(Redriven::Before(State::Completed)));
    }

    #[test]
    fn an_old_copy_in_the_way_never_costs_the_letter() {
        let marked = found(record(State::Failed, 1, Edit::Same)).after(RedriveReply::Marked(20)).after(DONE);
        let met = marked.after(RedriveReply::Lost);
        assert_eq!(met.step(), Ok(RedriveStep::ReadTimer));
        let read = met.after(TIMER).after(record(State::Queued, 2, Edit::Same));
        let again = read.after(RedriveReply::Copy(Copies::None));
        assert_eq!(again.step(), Ok(RedriveStep::Publish { run: 2, result_sequence: 20 }), "its timer is stored");
    }

    #[test]
    fn a_full_queue_leaves_the_letter_whatever_it_refuses() {
        let anew = found(RedriveReply::Record(None)).after(RedriveReply::Copy(Copies::None));
        let marked = anew.after(RedriveReply::Marked(1));
        for refused in [anew, marked, marked.after(DONE)] {
            assert_eq!(refused.after(RedriveReply::Full).step(), Err(Redriven::Full));
        }
    }
}
