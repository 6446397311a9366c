//! How a dead letter becomes a task again. Rule 14.
//!
//! The failed result is replaced by a mark, `queued, run n+1`; then the task is published; then the letter is deleted, by the
//! sequence at which it was read. A crash in between leaves the letter, and redriving it again goes on from where the mark
//! and the copies say that it stands. Nothing is purged, so no end is ever taken back without a mark in its place.
//!
//! A redrive may edit the payload, so two redrives of one letter may mean different tasks. The mark says which payload it
//! stands for. Where a redrive died after the mark and nothing of its run is left, one with another payload begins a run of
//! its own: whatever comes of the old one late is of an earlier run, and is dropped.

use super::Recorded;
use crate::v1::State;

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedriveStep {
    /// Read the dead letter, from the leader. Answered by [`RedriveReply::Letter`].
    ReadLetter,
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
    /// 10077: the queue is full.
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
    /// It is being redriven with another payload.
    Conflict,
    /// The queue is full. The letter is still there.
    Full,
}

/// A redrive being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Redrive {
    /// Run and sequence of the letter.
    letter: (u32, u64),
    /// Run and sequence of the mark.
    mark: (u32, u64),
    edit: Edit,
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
        Self { letter: (0, 0), mark: (0, 0), edit: Edit::Same, then: Redriven::NoLetter, next }
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
                Self { letter, ..self }.going_on(RedriveStep::ReadRecord)
            }
            (RedriveStep::ReadRecord, RedriveReply::Record(record)) => self.after_reading(record),
            (RedriveStep::StoreMark { run, .. }, RedriveReply::Marked(sequence)) => {
                Self { mark: (run, sequence), ..self }.publishing()
            }
            // The letter may be another one by now.
            (RedriveStep::StoreMark { .. }, RedriveReply::Lost | RedriveReply::Unclear) => {
                self.going_on(RedriveStep::ReadLetter)
            }
            (RedriveStep::FindCopy { run }, RedriveReply::Copy(found)) => self.after_search(run, found),
            (RedriveStep::Publish { run, .. }, RedriveReply::Done) => self.deleting(Redriven::Redriven { run }),
            (RedriveStep::Publish { .. }, RedriveReply::Full) => self.ended(Redriven::Full),
            // What lies there may be of an earlier run, not acknowledged yet: only a copy of this run frees the letter.
            (RedriveStep::Publish { .. }, RedriveReply::Lost | RedriveReply::Unclear) => {
                self.going_on(RedriveStep::ReadRecord)
            }
            (RedriveStep::DeleteLetter { .. }, RedriveReply::Done) => self.ended(self.then),
            // Not answered, or not with what was asked for: once more.
            _ => self,
        }
    }

    fn after_reading(self, record: Option<(Recorded, u64, Edit)>) -> Self {
        let (letter_run, _) = self.letter;
        match record {
            None => self.going_on(RedriveStep::StoreMark { expected: 0, run: letter_run.saturating_add(1) }),
            Some((Recorded { state: State::Failed, run }, sequence, _)) if run == letter_run => {
                self.going_on(RedriveStep::StoreMark { expected: sequence, run: run.saturating_add(1) })
            }
            Some((Recorded { state, run }, sequence, edit)) if !state.is_end() && run > letter_run => {
                Self { mark: (run, sequence), edit, ..self }.going_on(RedriveStep::FindCopy { run })
            }
            Some((Recorded { state, run }, _, _)) if state.is_end() && run >= letter_run => {
                self.deleting(Redriven::Before(state))
            }
            // A record of an earlier run than its letter: nobody writes that.
            Some(_) => self.ended(Redriven::Conflict),
        }
    }

    fn after_search(self, run: u32, found: Copies) -> Self {
        match (found, self.edit) {
            (Copies::Some, Edit::Same) => self.deleting(Redriven::Redriven { run }),
            (Copies::Some, Edit::Other) => self.ended(Redriven::Conflict),
            (Copies::None, Edit::Same) => self.publishing(),
            (Copies::None, Edit::Other) => {
                self.going_on(RedriveStep::StoreMark { expected: self.mark.1, run: run.saturating_add(1) })
            }
        }
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

    fn record(state: State, run: u32, edit: Edit) -> RedriveReply {
        RedriveReply::Record(Some((Recorded { state, run }, 20, edit)))
    }

    fn walk(replies: &[RedriveReply]) -> Redrive {
        replies.iter().fold(Redrive::new(), |redrive, reply| redrive.after(*reply))
    }

    #[test]
    fn mark_then_task_then_letter() {
        let replies = [LETTER, record(State::Failed, 1, Edit::Same), RedriveReply::Marked(21), RedriveReply::Done];
        assert_eq!(walk(&replies[..2]).step(), Ok(RedriveStep::StoreMark { expected: 20, run: 2 }));
        assert_eq!(walk(&replies[..3]).step(), Ok(RedriveStep::Publish { run: 2, result_sequence: 21 }));
        assert_eq!(walk(&replies).step(), Ok(RedriveStep::DeleteLetter { sequence: 7 }));
        assert_eq!(walk(&replies).after(RedriveReply::Done).step(), Err(Redriven::Redriven { run: 2 }));
    }

    #[test]
    fn a_second_redrive_goes_on_where_the_first_one_died() {
        let marked = [LETTER, record(State::Queued, 2, Edit::Same)];
        assert_eq!(walk(&marked).step(), Ok(RedriveStep::FindCopy { run: 2 }));
        let lost = walk(&marked).after(RedriveReply::Copy(Copies::None));
        assert_eq!(lost.step(), Ok(RedriveStep::Publish { run: 2, result_sequence: 20 }));
        let there = walk(&marked).after(RedriveReply::Copy(Copies::Some));
        assert_eq!(there.step(), Ok(RedriveStep::DeleteLetter { sequence: 7 }));
    }

    #[test]
    fn another_payload_never_joins_a_run_that_was_begun_without_it() {
        let marked = [LETTER, record(State::Queued, 2, Edit::Other)];
        assert_eq!(walk(&marked).after(RedriveReply::Copy(Copies::Some)).step(), Err(Redriven::Conflict));
        let anew = walk(&marked).after(RedriveReply::Copy(Copies::None));
        assert_eq!(anew.step(), Ok(RedriveStep::StoreMark { expected: 20, run: 3 }));
    }

    #[test]
    fn a_letter_beside_the_end_of_a_later_run_is_a_leftover() {
        let stale = walk(&[LETTER, record(State::Completed, 2, Edit::Same)]);
        assert_eq!(stale.step(), Ok(RedriveStep::DeleteLetter { sequence: 7 }));
        assert_eq!(stale.after(RedriveReply::Done).step(), Err(Redriven::Before(State::Completed)));
    }

    #[test]
    fn an_old_copy_in_the_way_never_costs_the_letter() {
        let marked = [LETTER, record(State::Failed, 1, Edit::Same), RedriveReply::Marked(20)];
        let met = walk(&marked).after(RedriveReply::Lost);
        assert_eq!(met.step(), Ok(RedriveStep::ReadRecord));
        let searched = met.after(record(State::Queued, 2, Edit::Same)).after(RedriveReply::Copy(Copies::None));
        assert_eq!(searched.step(), Ok(RedriveStep::Publish { run: 2, result_sequence: 20 }));
    }

    #[test]
    fn a_full_queue_leaves_the_letter() {
        let full = [LETTER, RedriveReply::Record(None), RedriveReply::Marked(1), RedriveReply::Full];
        assert_eq!(walk(&full).step(), Err(Redriven::Full));
    }
}
