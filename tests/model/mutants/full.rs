//! Mistakes of who is refused because a stream is full.

use workfleet_proto::settlement::{
    Edit, HaltReply, Lease, Recorded, Redrive, RedriveReply, RedriveStep, Reply, Settlement, Step,
};
use workfleet_proto::v1::State;

use super::dispatching::{LATER, REDRIVE};
use super::{CALM, Mutant, mutant, rules};
use crate::properties::{ENDS_WELL, HALT_HOLDS, LETTER_KEPT, TIMED, WAY_TO_END};
use crate::rules::Rules;
use crate::world::Mishaps;

const REFUSED: Mishaps = Mishaps { refusals: 1, ..CALM };
const REFUSED_REDRIVE: Mishaps = Mishaps { refusals: 1, ..REDRIVE };

/// Every mistake.
pub(super) fn all() -> Vec<Mutant> {
    [refused_workers(), refused_dispatchers()].into_iter().flatten().collect()
}

fn refused_workers() -> Vec<Mutant> {
    vec![
        mutant("a result that is refused is taken for stored", WAY_TO_END, REFUSED).with(Rules {
            refused: |settlement| taken_for_stored(settlement, |step| matches!(step, Step::StoreResult { .. })),
            ..rules()
        }),
        mutant("a retry that is refused is taken for stored", WAY_TO_END, REFUSED).with(Rules {
            refused: |settlement| taken_for_stored(settlement, |step| matches!(step, Step::StoreRetry { .. })),
            ..rules()
        }),
        mutant("a hand-back that is refused is taken for stored", WAY_TO_END, Mishaps { hand_backs: 1, ..REFUSED })
            .with(Rules {
                refused: |settlement| taken_for_stored(settlement, |step| matches!(step, Step::StoreHandBack { .. })),
                ..rules()
            }),
        mutant("a dead letter that is refused is taken for stored", ENDS_WELL, REFUSED).with(Rules {
            refused: |settlement| taken_for_stored(settlement, |step| step == Step::StoreDeadLetter),
            ..rules()
        }),
        mutant("a delivery whose outcome is refused is acknowledged", WAY_TO_END, REFUSED)
            .with(Rules { release: |broker, name| broker.tasks.retain(|queued| queued.name != name), ..rules() }),
    ]
}

fn taken_for_stored(settlement: Settlement, of: fn(Step) -> bool) -> Settlement {
    let is_it = settlement.step(Lease::Held).is_some_and(of);
    settlement.after(if is_it { Reply::Stored } else { Reply::Unclear })
}

fn refused_dispatchers() -> Vec<Mutant> {
    vec![
        mutant("a cancel whose end is refused says that it holds", HALT_HOLDS, Mishaps { cancels: 1, ..REFUSED })
            .with(Rules { refused_halt: Some(HaltReply::Done), ..rules() }),
        mutant("a redrive whose mark is refused publishes all the same", ENDS_WELL, REFUSED_REDRIVE)
            .with(Rules {
                redrive_after: |redrive, reply| match redrive.step() {
                    Ok(RedriveStep::StoreMark { expected, .. }) if reply == RedriveReply::Full => {
                        redrive.after(RedriveReply::Marked(expected + 1))
                    }
                    _ => redrive.after(reply),
                },
                ..rules()
            })
            .in_attempts(1),
        mutant("a redrive whose timer is refused publishes all the same", TIMED, REFUSED_REDRIVE)
            .with(Rules {
                redrive_after: |redrive, reply| {
                    let timer = matches!(redrive.step(), Ok(RedriveStep::StoreTimer { .. }));
                    done_if_full(redrive, reply, timer)
                },
                ..rules()
            })
            .in_attempts(1)
            .among(LATER)
            .due(1, 1),
        mutant("a redrive whose task is refused deletes its letter", LETTER_KEPT, REFUSED_REDRIVE)
            .with(Rules {
                redrive_after: |redrive, reply| {
                    let publishes = matches!(redrive.step(), Ok(RedriveStep::Publish { .. }));
                    done_if_full(redrive, reply, publishes)
                },
                ..rules()
            })
            .in_attempts(1),
        mutant("a redrive goes on with a run of a later letter", ENDS_WELL, Mishaps { redrives: 3, ..REFUSED_REDRIVE })
            .with(Rules { redrive_after: with_the_first_letter, ..rules() })
            .in_attempts(1)
            .alone(),
    ]
}

/// Takes the first letter, of sequence 1, for the one that a third run was begun from.
fn with_the_first_letter(redrive: Redrive, reply: RedriveReply) -> Redrive {
    let RedriveReply::Record(Some((Recorded { state: State::Queued, run: 3 }, _, Edit::Same))) = reply else {
        return redrive.after(reply);
    };
    let replies = [RedriveReply::Letter(Some((2, 1))), RedriveReply::Timer(0), reply];
    replies.into_iter().fold(Redrive::new(), Redrive::after)
}

fn done_if_full(redrive: Redrive, reply: RedriveReply, is_it: bool) -> Redrive {
    redrive.after(if is_it && reply == RedriveReply::Full { RedriveReply::Done } else { reply })
}
