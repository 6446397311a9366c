//! What must hold in every state, and what must be possible in some.

use std::cmp::Ordering;

use stateright::{Model, Property};
use workfleet_proto::settlement::{Plan, Recorded};
use workfleet_proto::v1::State;

use crate::halts::Halter;
use crate::redrives::Operator;
use crate::worker::Worker;
use crate::world::{Fleet, World};

/// Every property. What is named `sometimes` need not be possible in every setting; the tests say where it must.
pub(crate) fn all() -> Vec<Property<Fleet>> {
    let mut properties = stored();
    properties.extend(halted());
    properties.extend(redriven());
    properties.extend(done_by_workers());
    properties.extend(possible());
    properties
}

fn stored() -> Vec<Property<Fleet>> {
    vec![
        Property::always(ONE_END, |_, world: &World| {
            world.broker.ends.windows(2).all(|pair| pair[0].run < pair[1].run)
        }),
        Property::always(DEAD_LETTER, dead_letter_is_right),
        Property::always(WAY_TO_END, |_, world| has_a_way_to_end(world)),
        Property::always(ENDS_WELL, |fleet, world| !is_quiet(world) || ended_well(fleet, world)),
        Property::always(NOT_STUCK, |fleet, world| is_quiet(world) || can_go_on(fleet, world)),
    ]
}

fn halted() -> Vec<Property<Fleet>> {
    vec![
        Property::always(HALT_HOLDS, |_, world| halt_holds(world)),
        Property::always(LEFT_BEHIND, |_, world: &World| !world.broken.left_behind),
        Property::always(FOUND, |_, world: &World| !world.broken.unfound),
        Property::always(TOLD, |_, world: &World| !world.broken.told_on),
        Property::always(OWN_DEADLINE, |_, world| expired_at_its_own_deadline(world)),
        Property::always(TIMED, |_, world| is_timed(world)),
    ]
}

fn redriven() -> Vec<Property<Fleet>> {
    vec![
        Property::always(RUNS_GROW, |_, world: &World| !world.broker.run_repeated),
        Property::always(PAYLOAD, |_, world: &World| !world.broken.foreign_payload),
        Property::always(GRANTED, |_, world: &World| !world.broken.ungranted),
        Property::always(LETTER_KEPT, |_, world| letter_is_kept(world)),
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
        Property::sometimes(REDRIVEN_TWICE, |_, world: &World| {
            is_quiet(world) && world.broker.end() == Some(Recorded { state: State::Completed, run: 3 })
        }),
        Property::sometimes(CANCELLED, |_, world: &World| is_quiet(world) && ends_as(world, State::Cancelled)),
        Property::sometimes(EXPIRED, |_, world: &World| is_quiet(world) && ends_as(world, State::Expired)),
        Property::sometimes(EXPIRES_ALONE, |_, world: &World| world.starts == 0 && ends_as(world, State::Expired)),
        Property::sometimes(STALE_TIMER, |_, world: &World| {
            world.broker.run() > 1 && world.broker.expired.contains(&1)
        }),
        Property::sometimes(TAKEN_UP, |fleet: &Fleet, world: &World| {
            let completes = Recorded { state: State::Completed, run: 2 };
            is_quiet(world) && world.broker.end() == Some(completes) && has_been_refused(fleet, world)
        }),
        Property::sometimes(MARK_OUTLIVES, |_, world: &World| {
            let deadline = world.broker.marked.map_or(0, |mark| mark.order.deadline);
            is_quiet(world) && is_redrivable(world) && world.has_passed(deadline)
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
/// Rule 11: "a cancel that was acknowledged holds".
pub(crate) const HALT_HOLDS: &str =
    "nothing is recorded after an acknowledged cancel or expiry, and no letter lies there";
/// Rule 11.
pub(crate) const LEFT_BEHIND: &str = "an acknowledged cancel leaves no copy that was there before it, but what was due";
/// Rule 11.
pub(crate) const FOUND: &str = "a cancel finds a task that is there";
/// Rule 11.
pub(crate) const TOLD: &str = "a worker that was told of a halt starts nothing, and sends nothing but a success";
/// Rule 12.
pub(crate) const OWN_DEADLINE: &str = "a run expires at its own deadline and at no other";
/// Rule 12: it expires in time though every worker is down.
pub(crate) const TIMED: &str = "a task that waits and has a deadline has a timer, or one that fired";
/// Rule 14.
pub(crate) const RUNS_GROW: &str = "each mark begins the run after the last";
/// Rule 14.
pub(crate) const PAYLOAD: &str = "no run starts with the payload of another redrive";
/// Rule 14: also of two redrives with different changes, whatever became of the first.
pub(crate) const GRANTED: &str = "a redrive that says it is done has its own payload and deadline";
/// Rule 14: also where it is refused, and where its deadline passes before it has begun.
pub(crate) const LETTER_KEPT: &str = "a letter stays until its next run waits in the queue, or its task is cancelled";
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
/// Rule 14: a redrive that died, and another with its own payload, or a second letter.
pub(crate) const REDRIVEN_TWICE: &str = "a third run completes";
/// An end.
pub(crate) const CANCELLED: &str = "is cancelled";
/// An end.
pub(crate) const EXPIRED: &str = "expires";
/// Rule 12.
pub(crate) const EXPIRES_ALONE: &str = "expires without a worker";
/// Rule 12.
pub(crate) const STALE_TIMER: &str = "the timer of an earlier run fires";
/// Rule 14.
pub(crate) const TAKEN_UP: &str = "a redrive that was refused is taken up, and completes";
/// Rule 12.
pub(crate) const MARK_OUTLIVES: &str = "a run that is only marked outlives its deadline, and its letter is there";

fn dead_letter_is_right(fleet: &Fleet, world: &World) -> bool {
    let Some(letter) = world.broker.dead else { return true };
    let Some((record, _)) = world.broker.record else { return false };
    match record.run.cmp(&letter.run) {
        Ordering::Less => false,
        Ordering::Equal => record.state == State::Failed,
        // A leftover: somebody is about to delete it, or has died before.
        Ordering::Greater => !record.state.is_end() || is_dispatching(world) || has_broken_off(fleet, world),
    }
}

fn has_a_way_to_end(world: &World) -> bool {
    let run = world.broker.run();
    let waits = world.broker.copies().any(|parcel| parcel.generation.run >= run);
    world.broker.end().is_some() || waits || is_redrivable(world)
}

/// A mark, and the letter that it was made for: whoever redrives again goes on from there.
fn is_redrivable(world: &World) -> bool {
    let marked = world.broker.record.is_some_and(|(record, _)| record.state == State::Queued);
    marked && world.broker.dead.is_some_and(|letter| letter.run < world.broker.run())
}

/// Nobody holds anything, and nothing is left to be delivered. A publish in flight does not count: it may be lost. Nor does
/// a timer.
fn is_quiet(world: &World) -> bool {
    world.workers == [Worker::Idle; 2] && !world.broker.has_copies() && !is_dispatching(world)
}

fn is_dispatching(world: &World) -> bool {
    world.halters != [Halter::Idle; 2] || world.operators != [Operator::Idle; 2]
}

fn has_aborted(fleet: &Fleet, world: &World) -> bool {
    world.left.aborts < fleet.mishaps.aborts
}

fn has_been_refused(fleet: &Fleet, world: &World) -> bool {
    world.left.refusals < fleet.mishaps.refusals
}

/// Somebody has left a letter behind on purpose: who died, or was refused after a publish that arrived all the same.
fn has_broken_off(fleet: &Fleet, world: &World) -> bool {
    let has_given_up = world.left.unanswered < fleet.mishaps.unanswered;
    has_aborted(fleet, world) || (has_given_up && has_been_refused(fleet, world))
}

fn ended_well(fleet: &Fleet, world: &World) -> bool {
    let lettered = world.broker.dead.map(|letter| letter.run);
    match world.broker.end() {
        Some(end) if end.state == State::Failed => lettered == Some(end.run),
        Some(_) => lettered.is_none() || has_broken_off(fleet, world),
        None => is_redrivable(world) && (has_aborted(fleet, world) || has_been_refused(fleet, world)),
    }
}

fn halt_holds(world: &World) -> bool {
    let Some(state) = world.acknowledged else { return true };
    ends_as(world, state) && world.broker.dead.is_none()
}

fn expired_at_its_own_deadline(world: &World) -> bool {
    let expired = world.broker.ends.iter().filter(|end| end.state == State::Expired);
    let deadline = |end: &Recorded| world.broker.orders.get(end.run as usize - 1).map_or(0, |order| order.deadline);
    expired.map(deadline).all(|deadline| world.has_passed(deadline))
}

fn is_timed(world: &World) -> bool {
    let (broker, run) = (&world.broker, world.broker.run());
    let deadline = broker.orders.get(run as usize - 1).map_or(0, |order| order.deadline);
    let waits = broker.copies().any(|parcel| parcel.generation.run == run);
    if deadline == 0 || broker.end().is_some() || !waits {
        return true;
    }
    broker.expired.contains(&deadline) || broker.timer.is_some_and(|(timer, _)| timer == deadline)
}

/// The last one that was stored is there, unless its task goes on, or was cancelled.
fn letter_is_kept(world: &World) -> bool {
    let broker = &world.broker;
    let is_there = broker.dead.is_some_and(|letter| letter.run == broker.lettered);
    let goes_on = broker.published.iter().any(|run| *run > broker.lettered);
    broker.lettered == 0 || is_there || goes_on || ends_as(world, State::Cancelled)
}

fn can_go_on(fleet: &Fleet, world: &World) -> bool {
    let mut actions = Vec::new();
    fleet.actions(world, &mut actions);
    !actions.is_empty()
}

/// Every run and every copy that the server doubles has all attempts; a hand-back starts one again. A redelivery whose
/// other copy is carried on meanwhile may miss it and begin a line of attempts of its own, from the second on. Where ids are
/// forgotten, a redrive that is repeated may begin one, too.
fn starts_max(fleet: &Fleet, world: &World) -> u32 {
    let (had, left) = (fleet.mishaps, world.left);
    let redelivered = (had.crashes - left.crashes)
        + (had.lapses - left.lapses)
        + (had.unanswered - left.unanswered)
        + (had.refusals - left.refusals);
    let runs = 1 + (had.redrives - left.redrives) + (had.forgets - left.forgets);
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
