//! Mistakes of who cancels, expires and redrives.

use workfleet_proto::settlement::{
    self, Cause, Delivered, Edit, Ended, Existence, Generation, Halt, HaltReply, HaltStep, Look, Origin, Plan,
    Recorded, Redrive, RedriveReply, RedriveStep,
};
use workfleet_proto::v1::State;

use super::{CALM, LAPSE, Mutant, look_but_for, mutant, rules};
use crate::broker::{Mark, Order};
use crate::finds::Place;
use crate::properties::{
    ENDS_WELL, FOUND, GRANTED, HALT_HOLDS, LEFT_BEHIND, LETTER_KEPT, ONE_END, OWN_DEADLINE, PAYLOAD, START_AFTER_END,
    TIMED, TOLD, WAY_TO_END,
};
use crate::redrives::Wish;
use crate::rules::Rules;
use crate::world::{Fleet, Mishaps};

const CANCEL: Mishaps = Mishaps { cancels: 1, ..CALM };
pub(super) const REDRIVE: Mishaps = Mishaps { redrives: 1, ..CALM };
const EDITED: &[Wish] = &[Wish { payload: None, deadline: None }, Wish { payload: Some(1), deadline: None }];
const EDITED_TWICE: &[Wish] = &[Wish { payload: Some(1), deadline: None }, Wish { payload: Some(2), deadline: None }];
pub(super) const LATER: &[Wish] = &[Wish { payload: None, deadline: None }, Wish { payload: None, deadline: Some(2) }];

const MARK: RedriveStep = RedriveStep::StoreMark { expected: 1, run: 2 };
const PUBLISH: RedriveStep = RedriveStep::Publish { run: 2, result_sequence: 2 };
const DELETE: RedriveStep = RedriveStep::DeleteLetter { sequence: 1 };
const RECORD: HaltStep = HaltStep::StoreEnd { expected: 0, run: 1 };

/// Every mistake.
pub(super) fn all() -> Vec<Mutant> {
    [wrong_halts(), wrong_purges(), wrong_deadlines(), wrong_redrives(), wrong_letters(), wrong_joins()]
        .into_iter()
        .flatten()
        .collect()
}

impl Mutant {
    pub(super) fn among(self, wishes: &'static [Wish]) -> Self {
        Self { fleet: Fleet { wishes, ..self.fleet }, ..self }
    }

    pub(super) fn due(self, deadline: u8, deadlines: u8) -> Self {
        Self { fleet: Fleet { deadline, deadlines, ..self.fleet }, ..self }
    }
}

/// Rule 11.
fn wrong_halts() -> Vec<Mutant> {
    vec![
        mutant("a cancel purges before it records", WAY_TO_END, CANCEL)
            .with(Rules { halt_order: &[HaltStep::PurgeScheduled, HaltStep::PurgeQueued, RECORD], ..rules() }),
        mutant("a cancel whose answer is unclear goes on to purge", WAY_TO_END, Mishaps { unanswered: 1, ..CANCEL })
            .with(Rules {
                halt_after: |halt, reply| {
                    let stores = matches!(halt.step(), Ok(HaltStep::StoreEnd { .. }));
                    halt.after(if stores && reply == HaltReply::Unclear { HaltReply::Done } else { reply })
                },
                ..rules()
            }),
        mutant("a cancel that came second says that it holds", HALT_HOLDS, CANCEL).with(Rules {
            halt_after: |halt, reply| {
                let stores = matches!(halt.step(), Ok(HaltStep::StoreEnd { .. }));
                halt.after(if stores && reply == HaltReply::Lost { HaltReply::Done } else { reply })
            },
            ..rules()
        }),
        mutant("a task is looked for once", FOUND, Mishaps { cancels: 1, ..CALM })
            .with(Rules { places: &[Place::Scheduled, Place::Due, Place::Queued, Place::Ended], ..rules() }),
        mutant("a halted attempt still records a failure", TOLD, CANCEL).with(Rules {
            plan: |attempt, attempts_max, lease, ended| match ended {
                Ended::Halted => Plan::Fail,
                ended => settlement::plan(attempt, attempts_max, lease, ended),
            },
            ..rules()
        }),
        mutant("a worker that was told starts all the same", TOLD, Mishaps { crashes: 1, ..CANCEL })
            .with(Rules { goes_on: |_| true, ..rules() }),
    ]
}

/// Rule 11.
fn wrong_purges() -> Vec<Mutant> {
    vec![
        mutant("a cancel does not purge what is scheduled", LEFT_BEHIND, CANCEL)
            .with(Rules { halt_after: |halt, reply| skipping(halt, reply, HaltStep::PurgeScheduled), ..rules() }),
        mutant("a cancel does not purge the queue", START_AFTER_END, CANCEL)
            .with(Rules { halt_after: |halt, reply| skipping(halt, reply, HaltStep::PurgeQueued), ..rules() }),
        mutant("a repeated cancel does not purge again", START_AFTER_END, Mishaps { cancels: 2, aborts: 1, ..CALM })
            .with(Rules {
                halt_after: |halt, reply| {
                    let read = halt.step() == Ok(HaltStep::ReadRecord);
                    let next = halt.after(reply);
                    if read && next.step() == Ok(HaltStep::PurgeDeadline) { done(next) } else { next }
                },
                ..rules()
            }),
        mutant("what was due when it was cancelled starts without a look", START_AFTER_END, CANCEL)
            .with(Rules { look: |delivered| look_but_for(delivered, Origin::Carried), ..rules() }),
        mutant(
            "a cancel leaves the letter of the redrive that it overtakes",
            HALT_HOLDS,
            Mishaps { redrives: 1, aborts: 1, ..CANCEL },
        )
        .with(Rules { halt_after: |halt, reply| skipping(halt, reply, HaltStep::DeleteLetter { run: 2 }), ..rules() })
        .in_attempts(1),
    ]
}

fn skipping(halt: Halt, reply: HaltReply, step: HaltStep) -> Halt {
    let next = halt.after(reply);
    if next.step() == Ok(step) { next.after(HaltReply::Done) } else { next }
}

fn done(halt: Halt) -> Halt {
    if halt.step().is_ok() { done(halt.after(HaltReply::Done)) } else { halt }
}

/// Rule 12.
fn wrong_deadlines() -> Vec<Mutant> {
    vec![
        mutant("an expiry does not compare the deadline", OWN_DEADLINE, REDRIVE)
            .with(Rules { is_its_timer: |_, _| true, ..rules() })
            .in_attempts(1)
            .among(LATER)
            .due(1, 2),
        mutant("a redrive stores its timer without comparing", TIMED, Mishaps { redrives: 3, ..CALM })
            .with(Rules { timer_condition: |_| None, ..rules() })
            .in_attempts(1)
            .among(LATER)
            .due(1, 0),
        mutant("a redrive stores no timer", TIMED, REDRIVE)
            .with(Rules {
                redrive_after: |redrive, reply| {
                    let next = redrive.after(reply);
                    let timer = matches!(next.step(), Ok(RedriveStep::StoreTimer { .. }));
                    if timer { next.after(RedriveReply::Done) } else { next }
                },
                ..rules()
            })
            .in_attempts(1)
            .among(LATER)
            .due(1, 1),
        mutant("a redrive joins a mark with a deadline of its own", TIMED, Mishaps { redrives: 2, ..CALM })
            .with(Rules { joins: |_, own, mark| (own.payload == mark.order.payload).then_some(own), ..rules() })
            .in_attempts(1)
            .among(LATER)
            .due(1, 0),
        mutant("a deadline ends a run that is only marked", LETTER_KEPT, REDRIVE)
            .with(Rules { halt_after: |halt, reply| taking_a_mark_for(halt, reply, Existence::Present), ..rules() })
            .in_attempts(1)
            .among(LATER)
            .due(1, 2),
        mutant("the timer of a run that is only marked is dropped", TIMED, REDRIVE)
            .with(Rules { halt_after: |halt, reply| taking_a_mark_for(halt, reply, Existence::Absent), ..rules() })
            .in_attempts(1)
            .among(LATER)
            .due(1, 2),
    ]
}

fn taking_a_mark_for(halt: Halt, reply: HaltReply, existence: Existence) -> Halt {
    let is_it = halt.cause() == Cause::Expired && reply == HaltReply::Task(Existence::Marked);
    halt.after(if is_it { HaltReply::Task(existence) } else { reply })
}

/// Rule 14.
fn wrong_redrives() -> Vec<Mutant> {
    vec![
        mutant("a redrive deletes the letter before it publishes", WAY_TO_END, REDRIVE)
            .with(Rules { redrive_order: &[MARK, DELETE, PUBLISH], ..rules() }),
        mutant("a redrive publishes before it marks", WAY_TO_END, REDRIVE)
            .with(Rules { redrive_order: &[PUBLISH, MARK, DELETE], ..rules() })
            .in_attempts(1),
        mutant("a redrive purges the failure", ONE_END, Mishaps { redrives: 1, ..LAPSE }).with(Rules {
            mark: |broker, _, mark| {
                broker.record = None;
                broker.orders.push(mark.order);
                RedriveReply::Marked(0)
            },
            ..rules()
        }),
        mutant("message ids of retries have no run", WAY_TO_END, REDRIVE)
            .with(Rules { copy_id: |copy| Generation { run: 1, ..copy }, ..rules() }),
        mutant("a redrive takes any copy in its way for its own", WAY_TO_END, REDRIVE)
            .with(Rules {
                redrive_after: |redrive, reply| {
                    let publishes = matches!(redrive.step(), Ok(RedriveStep::Publish { .. }));
                    let lost = publishes && reply == RedriveReply::Lost;
                    redrive.after(if lost { RedriveReply::Done } else { reply })
                },
                ..rules()
            })
            .in_attempts(1),
        mutant("a redriven copy starts without a look", START_AFTER_END, Mishaps { cancels: 1, redrives: 1, ..CALM })
            .with(Rules { look: look_if_not_redriven, ..rules() })
            .in_attempts(1),
    ]
}

fn look_if_not_redriven(delivered: &Delivered) -> Look {
    Delivered { check: false, result_sequence: 0, ..*delivered }.look()
}

/// Rule 14.
fn wrong_letters() -> Vec<Mutant> {
    vec![
        mutant("a letter is not deleted by its sequence", LETTER_KEPT, REDRIVE)
            .with(Rules { deletes: |_, _| true, ..rules() })
            .in_attempts(1),
        mutant("a redrive keeps its letter", ENDS_WELL, REDRIVE)
            .with(Rules { deletes: |_, _| false, ..rules() })
            .in_attempts(1),
    ]
}

/// Rule 14.
fn wrong_joins() -> Vec<Mutant> {
    vec![
        mutant("a redrive joins a mark with a payload of its own", PAYLOAD, Mishaps { redrives: 2, ..CALM })
            .with(Rules { joins: |_, own, _| Some(own), ..rules() })
            .in_attempts(1)
            .among(EDITED),
        mutant("a redrive begins a further run beside another's mark", WAY_TO_END, Mishaps { redrives: 2, ..CALM })
            .with(Rules { redrive_after: overtaking, ..rules() })
            .in_attempts(1)
            .among(EDITED),
        mutant("an edited redrive takes the mark of another for its own", GRANTED, Mishaps { redrives: 2, ..CALM })
            .with(Rules { joins: |_, _, mark| Some(mark.order), ..rules() })
            .in_attempts(1)
            .among(EDITED_TWICE),
        mutant("a mark does not say which deadline was asked for", GRANTED, Mishaps { redrives: 2, ..CALM })
            .with(Rules { joins: joins_by_payload, ..rules() })
            .in_attempts(1)
            .among(LATER)
            .due(1, 0),
    ]
}

fn joins_by_payload(_: Wish, own: Order, mark: Mark) -> Option<Order> {
    (own.payload == mark.order.payload).then_some(mark.order)
}

/// Takes a mark that is another's for a failure: the run after it begins. The only letter has the sequence 1.
fn overtaking(redrive: Redrive, reply: RedriveReply) -> Redrive {
    let RedriveReply::Record(Some((Recorded { state: State::Queued, run }, sequence, Edit::Other))) = reply else {
        return redrive.after(reply);
    };
    let failed = RedriveReply::Record(Some((Recorded { state: State::Failed, run }, sequence, Edit::Same)));
    let replies = [RedriveReply::Letter(Some((run, 1))), RedriveReply::Timer(0), failed];
    replies.into_iter().fold(Redrive::new(), Redrive::after)
}
