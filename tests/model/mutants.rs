//! Rules with one mistake each. The model must find every one of them.
//!
//! Each comes with the smallest setting that shows it, and with the property that it breaks.

mod dispatching;
mod full;

use workfleet_proto::settlement::{
    self, Deadline, Delivered, Ended, Generation, Lease, Look, Origin, Plan, Read, Recorded, Reply, Seen, Settlement,
    Step, Verdict,
};
use workfleet_proto::v1::State;

use crate::properties::{
    DEAD_LETTER, ENDS_WELL, ONE_END, STALE_START, STALE_WRITE, START_AFTER_END, START_BESIDE_RETRY, START_TOO_OFTEN,
    WAY_TO_END,
};
use crate::rules::{Course, Rules};
use crate::world::{Fleet, Mishaps};

/// A mistake.
pub(crate) struct Mutant {
    /// What is wrong.
    pub(crate) mistake: &'static str,
    /// Where.
    pub(crate) fleet: Fleet,
    /// What it breaks.
    pub(crate) breaks: &'static str,
}

/// Every mistake.
pub(crate) fn all() -> Vec<Mutant> {
    let workers = [wrong_order(), wrong_looks(), wrong_leases(), wrong_answers(), wrong_copies()];
    workers.into_iter().flatten().chain(dispatching::all()).chain(full::all()).collect()
}

fn mutant(mistake: &'static str, breaks: &'static str, mishaps: Mishaps) -> Mutant {
    Mutant { mistake, fleet: crate::fleet(2, mishaps), breaks }
}

impl Mutant {
    fn with(self, rules: Rules) -> Self {
        Self { fleet: Fleet { rules, ..self.fleet }, ..self }
    }

    fn alone(self) -> Self {
        Self { fleet: Fleet { workers: 1, ..self.fleet }, ..self }
    }

    fn in_attempts(self, attempts_max: u32) -> Self {
        Self { fleet: Fleet { attempts_max, ..self.fleet }, ..self }
    }
}

fn rules() -> Rules {
    Rules::default()
}

pub(crate) const CALM: Mishaps = Mishaps {
    crashes: 0,
    lapses: 0,
    unanswered: 0,
    twins: 0,
    hand_backs: 0,
    redrives: 0,
    cancels: 0,
    aborts: 0,
    forgets: 0,
    refusals: 0,
};
const CRASH: Mishaps = Mishaps { crashes: 1, ..CALM };
const TWO_CRASHES: Mishaps = Mishaps { crashes: 2, ..CALM };
const LAPSE: Mishaps = Mishaps { lapses: 1, ..CALM };
const UNANSWERED: Mishaps = Mishaps { unanswered: 1, ..CALM };
const LATE: Mishaps = Mishaps { lapses: 1, unanswered: 1, ..CALM };

const RESULT: Step = Step::StoreResult { expected: 0 };
const DEAD: Step = Step::StoreDeadLetter;
const ACK: Step = Step::Acknowledge;

fn begin_blindly(plan: Plan, delivered: &Delivered, of: Plan, steps: &'static [Step]) -> Course {
    if plan == of { Course::Blind(steps) } else { Course::True(Settlement::new(plan, delivered)) }
}

/// Rule 2.
fn wrong_order() -> Vec<Mutant> {
    vec![
        mutant("a success is acknowledged before it is stored", WAY_TO_END, CALM).with(Rules {
            begin: |plan, delivered| begin_blindly(plan, delivered, Plan::Complete, &[ACK, RESULT]),
            ..rules()
        }),
        mutant("a failure is acknowledged before it is stored", WAY_TO_END, CALM).with(Rules {
            begin: |plan, delivered| begin_blindly(plan, delivered, Plan::Fail, &[ACK, RESULT, DEAD]),
            ..rules()
        }),
        mutant("the dead letter comes before the compare-and-set", DEAD_LETTER, CALM).with(Rules {
            begin: |plan, delivered| begin_blindly(plan, delivered, Plan::Fail, &[DEAD, RESULT, ACK]),
            ..rules()
        }),
        mutant("the acknowledgement comes before the dead letter", ENDS_WELL, CRASH).with(Rules {
            begin: |plan, delivered| begin_blindly(plan, delivered, Plan::Fail, &[RESULT, ACK, DEAD]),
            ..rules()
        }),
    ]
}

/// Rules 3 and 5.
fn wrong_looks() -> Vec<Mutant> {
    vec![
        mutant("nobody looks first", START_AFTER_END, CRASH).with(Rules { look: |_| Look::No, ..rules() }),
        mutant("a redelivery does not look for its own retry", START_BESIDE_RETRY, CRASH).with(Rules {
            look: |delivered| if delivered.deliveries > 1 { Look::Result } else { delivered.look() },
            ..rules()
        }),
        mutant("a copy from the delay stream starts without a look", START_AFTER_END, Mishaps { twins: 1, ..CALM })
            .with(Rules { look: |delivered| look_but_for(delivered, Origin::Carried), ..rules() }),
        mutant("the result is read before the copies", START_AFTER_END, CRASH)
            .with(Rules { reads: result_first, ..rules() }),
        mutant("a redelivery takes a failure for finished", ENDS_WELL, CRASH).with(Rules {
            judge: |delivered, attempts_max, deadline, seen| match settlement::judge(
                delivered,
                attempts_max,
                deadline,
                seen,
            ) {
                Verdict::FinishDeadLetter => Verdict::Drop,
                verdict => verdict,
            },
            ..rules()
        }),
        mutant("a crash costs no attempt", START_TOO_OFTEN, TWO_CRASHES).with(Rules { judge: judge_header, ..rules() }),
    ]
}

fn look_but_for(delivered: &Delivered, origin: Origin) -> Look {
    if delivered.deliveries == 1 && delivered.origin == origin { Look::No } else { delivered.look() }
}

fn result_first(look: Look) -> &'static [Read] {
    match look {
        Look::ResultAndCopies => &[Read::Result, Read::Scheduled, Read::Due, Read::Queued],
        look => look.reads(),
    }
}

fn judge_header(delivered: &Delivered, attempts_max: u32, deadline: Deadline, seen: &Seen) -> Verdict {
    settlement::judge(&Delivered { deliveries: 1, ..*delivered }, attempts_max, deadline, seen)
}

/// Rule 6.
fn wrong_leases() -> Vec<Mutant> {
    vec![
        mutant("a stale attempt may retry", STALE_WRITE, LAPSE).with(Rules {
            plan: |attempt, attempts_max, lease, ended| {
                let lease = if ended == Ended::Retryable { Lease::Held } else { lease };
                settlement::plan(attempt, attempts_max, lease, ended)
            },
            step: |settlement, lease| match settlement.step(Lease::Held) {
                Some(Step::StoreRetry { expected }) => Some(Step::StoreRetry { expected }),
                _ => settlement.step(lease),
            },
            ..rules()
        }),
        mutant("a lease that lapses in the middle of settling goes unnoticed", STALE_WRITE, LAPSE)
            .with(Rules { step: |settlement, _| settlement.step(Lease::Held), ..rules() }),
        mutant("a handler starts on a lapsed lease", STALE_START, LAPSE)
            .with(Rules { plan_verdict: |verdict, _| verdict.plan(Lease::Held), ..rules() }),
    ]
}

/// Rule 1.
fn wrong_answers() -> Vec<Mutant> {
    vec![
        mutant("a result is stored without comparing", ONE_END, LAPSE)
            .with(Rules { result_condition: |_| None, ..rules() }),
        mutant("an unclear answer is taken for a loss", WAY_TO_END, UNANSWERED).with(Rules {
            after: |settlement, reply| match reply {
                Reply::Unclear => settlement.after(LOST_TO_A_SUCCESS),
                reply => settlement.after(reply),
            },
            ..rules()
        }),
        mutant("a loser leaves the dead letter to the winner", ENDS_WELL, Mishaps { crashes: 1, ..LAPSE }).with(
            Rules {
                after: |settlement, reply| match reply {
                    Reply::Lost(_) => settlement.after(LOST_TO_A_SUCCESS),
                    reply => settlement.after(reply),
                },
                ..rules()
            },
        ),
    ]
}

const LOST_TO_A_SUCCESS: Reply = Reply::Lost(Some(Recorded { state: State::Completed, run: 1 }));

/// Rules 3, 4, 10 and 14.
fn wrong_copies() -> Vec<Mutant> {
    let redriven = Mishaps { redrives: 1, ..LATE };
    let replacing = Rules { retry_condition: |_| None, ..rules() };
    vec![
        mutant("a hand-back has its copy's message id", WAY_TO_END, Mishaps { hand_backs: 1, ..CALM })
            .with(Rules { copy_id: |copy| Generation { back: 0, ..copy }, ..rules() }),
        mutant("a retry replaces a later one", WAY_TO_END, LAPSE).with(replacing).in_attempts(3),
        mutant("a retry replaces that of a later run", WAY_TO_END, redriven).with(replacing),
        mutant("a retry gives way to that of an earlier run", WAY_TO_END, redriven).with(Rules {
            after: |settlement, reply| match reply {
                Reply::Taken(Some(_)) => settlement.after(Reply::Stored),
                reply => settlement.after(reply),
            },
            ..rules()
        }),
        mutant("a dead letter has no message id", DEAD_LETTER, redriven)
            .with(Rules { dead_letter_id: |_| None, ..rules() }),
    ]
}
