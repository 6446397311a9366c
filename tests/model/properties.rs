//! What must hold in every state, and what must be possible in some.

use stateright::{Model, Property};
use workfleet_proto::settlement::{Plan, Recorded};
use workfleet_proto::v1::State;

use crate::broker::Broker;
use crate::worker::Worker;
use crate::world::{Fleet, Redrive, World};

/// Every property. What is named `sometimes` need not be possible in every setting; the tests say where it must.
pub(crate) fn all() -> Vec<Property<Fleet>> {
    let mut properties = stored();
    properties.extend(done_by_workers());
    properties.extend(possible());
    properties
}

fn stored() -> Vec<Property<Fleet>> {
    vec![
        Property::always(ONE_END, |_, world: &World| {
            world.broker.ends.windows(2).all(|pair| pair[0].run < pair[1].run)
        }),
        Property::always(DEAD_LETTER, |_, world| dead_letter_is_right(world)),
        Property::always(WAY_TO_END, |_, world| has_a_way_to_end(world)),
        Property::always(ENDS_WELL, |_, world: &World| !is_quiet(world) || ended_well(&world.broker)),
        Property::always(NOT_STUCK, |fleet, world| is_quiet(world) || can_go_on(fleet, world)),
    ]
}

fn done_by_workers() -> Vec<Property<Fleet>> {
    vec![
        Property::always(STALE_WRITE, |_, world: &World| !world.broken.stale_write),
        Property::always(STALE_START, |_, world: &World| !world.broken.stale_start),
        Property::always(START_AFTER_END, |_, world: &World| !world.broken.start_after_the_end),
        Property::always(START_BESIDE_RETRY, |_, world: &World| !world.broken.start_beside_its_retry),
        Property::always(START_TOO_OFTEN, |_, world: &World| !world.broken.start_too_often),
        Property::always(STARTS, |fleet: &Fleet, world: &World| u32::from(world.starts) <= starts_max(fleet, world)),
    ]
}

fn possible() -> Vec<Property<Fleet>> {
    vec![
        Property::sometimes(COMPLETES, |_, world: &World| is_quiet(world) && ends_as(world, State::Completed)),
        Property::sometimes(FAILS, |_, world: &World| is_quiet(world) && ends_as(world, State::Failed)),
        Property::sometimes(BOTH_RUN, |_, world: &World| {
            world.workers.iter().all(|worker| matches!(worker, Worker::Running(_)))
        }),
        Property::sometimes(RETURNS, |_, world: &World| (0..2).any(|index| sends_late(world, index))),
        Property::sometimes(EXHAUSTS, |fleet: &Fleet, world: &World| {
            world.workers.iter().any(|worker| exhausts(fleet, worker))
        }),
        Property::sometimes(REDRIVEN, |_, world: &World| {
            is_quiet(world) && world.broker.end() == Some(Recorded { state: State::Completed, run: 2 })
        }),
    ]
}

/// Rule 1.
pub(crate) const ONE_END: &str = "a run has at most one terminal result";
/// Rule 2. While a redrive is under way its old dead letter still lies there.
pub(crate) const DEAD_LETTER: &str = "a dead letter stands beside no other end than its own failure";
/// "A task that was accepted is never lost", at every moment.
pub(crate) const WAY_TO_END: &str = "an accepted task has a way to end";
/// The same, at the end of every path.
pub(crate) const ENDS_WELL: &str = "when all is quiet, the task has ended, with a dead letter exactly if it failed";
/// No path ends before all is quiet.
pub(crate) const NOT_STUCK: &str = "as long as something is to be done, something can be done";
/// Rule 6.
pub(crate) const STALE_WRITE: &str = "a stale attempt sends nothing but a success";
/// Rule 6.
pub(crate) const STALE_START: &str = "no handler starts on a lapsed lease";
/// Rule 5.
pub(crate) const START_AFTER_END: &str = "no handler starts on a task that is known to have ended";
/// Rule 5.
pub(crate) const START_BESIDE_RETRY: &str = "no redelivery starts beside its own retry";
/// Rule 3.
pub(crate) const START_TOO_OFTEN: &str = "no attempt comes after the last";
/// Rule 3, over all copies: see [`starts_max`].
pub(crate) const STARTS: &str = "handlers start no more often than attempts and mishaps explain";
/// An end.
pub(crate) const COMPLETES: &str = "completes";
/// An end.
pub(crate) const FAILS: &str = "fails, with its dead letter";
/// Executions are at least once.
pub(crate) const BOTH_RUN: &str = "two handlers run at once";
/// The frozen worker.
pub(crate) const RETURNS: &str = "a worker awaits an answer on a lapsed lease";
/// Rule 3.
pub(crate) const EXHAUSTS: &str = "crashes use the attempts up";
/// Rule 14.
pub(crate) const REDRIVEN: &str = "a redriven task completes";

fn dead_letter_is_right(world: &World) -> bool {
    let Some(run) = world.broker.dead else { return true };
    let failed = Some(Recorded { state: State::Failed, run });
    world.broker.end() == failed || world.redrive != Redrive::None
}

fn has_a_way_to_end(world: &World) -> bool {
    world.broker.end().is_some() || world.broker.has_copies() || matches!(world.redrive, Redrive::Marked(_))
}

/// Nobody holds anything, and nothing is left to be delivered. A publish in flight does not count: it may be lost.
fn is_quiet(world: &World) -> bool {
    world.workers == [Worker::Idle; 2] && !world.broker.has_copies() && world.redrive == Redrive::None
}

fn ended_well(broker: &Broker) -> bool {
    broker.end().is_some_and(|end| (end.state == State::Failed) == (broker.dead == Some(end.run)))
}

fn can_go_on(fleet: &Fleet, world: &World) -> bool {
    let mut actions = Vec::new();
    fleet.actions(world, &mut actions);
    !actions.is_empty()
}

/// Every run and every copy that the server doubles has all attempts; a hand-back starts one again. A redelivery whose
/// other copy is carried on meanwhile may miss it and begin a line of attempts of its own, from the second on.
fn starts_max(fleet: &Fleet, world: &World) -> u32 {
    let (had, left) = (fleet.mishaps, world.left);
    let redelivered = (had.crashes - left.crashes) + (had.lapses - left.lapses) + (had.unanswered - left.unanswered);
    let runs = 1 + had.redrives - left.redrives;
    let whole = u32::from(runs + had.twins - left.twins) * fleet.attempts_max;
    let begun = u32::from(redelivered) * (fleet.attempts_max - 1);
    whole + begun + u32::from(had.hand_backs - left.hand_backs)
}

fn ends_as(world: &World, state: State) -> bool {
    world.broker.end().is_some_and(|end| end.state == state)
}

fn sends_late(world: &World, index: usize) -> bool {
    world.workers[index].sent().is_some() && world.is_stale(index)
}

fn exhausts(fleet: &Fleet, worker: &Worker) -> bool {
    matches!(worker, Worker::Settling { delivery, plan: Plan::Fail, .. }
        if delivery.delivered.attempt() > fleet.attempts_max)
}
