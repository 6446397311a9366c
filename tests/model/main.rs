//! Explores every order in which a task can be settled, halted and redriven, and all of it go wrong, up to a number of mishaps.
//!
//! **What is explored.** One task with one to three attempts; the work queue with its leases, deliveries and
//! acknowledgements; DELAY with its one schedule and its one timer for each task, what is due, the move into the work queue,
//! and message ids; the result with its sequence; the dead letter; two worker processes with one slot each; two dispatchers
//! that cancel it or take its fired timers; two operators who redrive it, with the same or another payload or deadline.
//! Handlers end as they like. Any process may stop for any time between any two steps, and deadlines pass at any moment. On
//! top of that, as often as a setting says:
//! - a worker dies (its next self starts at once), or a dispatcher in the middle of a redrive, a cancel or an expiry;
//! - a lease runs out while its worker lives, which learns of it by its own clock before its next step, but not before what
//!   it has sent arrives;
//! - an answer or an acknowledgement is lost, a publish is given up that arrives at any later time, or never, or the workers
//!   do not hear of a cancel;
//! - a due copy is carried into the queue twice;
//! - a stream is full, and refuses what a worker, a redrive, a cancel or an expiry stores; then there is room again;
//! - a worker drains;
//! - the windows of message ids close.
//!
//! Every decision is a call of `workfleet_proto::settlement` ([`rules`]); only the world around it is modelled, with the
//! server's habits as they were seen in nats-server 2.15.1 ([`broker`]). Everything that could repeat is counted, so nearly every
//! path ends, and [`properties`] of states say all: there is no fairness to assume. The two circles are a redrive that
//! waits until an old copy is out of its way, which a worker breaks, and a timer that comes again over a run that is only marked,
//! which a redrive or a cancel breaks.
//!
//! **What is not.** More than one task, and so slots, isolation, order and priorities. A duplicate window that closes while a
//! publish is on its way or between a retry and its carrying, a record or a letter that outlives its retention. A full queue that due copies wait for: they may move
//! late as it is. Letters that are dropped. Hand-backs for a while, which are scheduled like retries. A worker's clock that runs
//! slower than the broker's, or deadlines that pass earlier for one than for another.
//!
//! **Why to believe it.** [`mutants`] have one mistake each, and the model finds every one.
//!
//! `cargo test --workspace --test model` prints the states and the length of the shortest counterexamples; `MODEL_TRACE=1` prints
//! the counterexamples, step by step. Ignored tests explore more, in minutes.

mod acts;
mod broker;
mod finds;
mod halts;
mod messages;
mod mishaps;
mod mutants;
mod properties;
mod redrives;
mod rules;
mod worker;
mod world;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use properties::{
    BOTH_RUN, CANCELLED, COMPLETES, EXHAUSTS, EXPIRED, EXPIRES_ALONE, FAILS, MARK_OUTLIVES, REDRIVEN, REDRIVEN_TWICE,
    RETURNS, STALE_TIMER, TAKEN_UP,
};
use redrives::Wish;
use rules::Rules;
use world::{Action, Fleet, Mishaps};

/// A redrive without changes, and one with another payload.
const WISHES: &[Wish] = &[Wish { payload: None, deadline: None }, Wish { payload: Some(1), deadline: None }];
/// Redrives with two other payloads.
const EDITS: &[Wish] = &[Wish { payload: Some(1), deadline: None }, Wish { payload: Some(2), deadline: None }];
/// A redrive with a deadline.
const DUE: &[Wish] = &[Wish { payload: None, deadline: Some(1) }];
/// A redrive that keeps the deadline, unless it has passed, and one with another.
const TIMED: &[Wish] = &[Wish { payload: None, deadline: None }, Wish { payload: None, deadline: Some(2) }];

#[test]
fn two_crashes_and_a_frozen_worker() {
    let mishaps = Mishaps { crashes: 2, lapses: 1, unanswered: 1, ..Mishaps::default() };
    holds("two attempts", fleet(2, mishaps), &[COMPLETES, FAILS, BOTH_RUN, RETURNS, EXHAUSTS]);
}

#[test]
fn a_hand_back_in_the_middle_of_it() {
    let mishaps = Mishaps { crashes: 1, lapses: 1, unanswered: 1, hand_backs: 1, ..Mishaps::default() };
    holds("a hand-back", fleet(2, mishaps), &[COMPLETES, FAILS, BOTH_RUN, RETURNS, EXHAUSTS]);
}

#[test]
fn copies_that_the_server_doubles() {
    let mishaps = Mishaps { crashes: 1, lapses: 1, twins: 1, ..Mishaps::default() };
    holds("a doubled copy", fleet(2, mishaps), &[COMPLETES, FAILS, BOTH_RUN, RETURNS, EXHAUSTS]);
}

#[test]
fn three_attempts_and_late_publishes() {
    let mishaps = Mishaps { crashes: 1, lapses: 1, unanswered: 1, ..Mishaps::default() };
    holds("three attempts", fleet(3, mishaps), &[COMPLETES, FAILS, BOTH_RUN, RETURNS]);
}

#[test]
fn redrives_with_a_frozen_worker_of_the_old_run() {
    let mishaps = Mishaps { lapses: 1, unanswered: 1, redrives: 1, ..Mishaps::default() };
    holds("a redrive", fleet(2, mishaps), &[COMPLETES, FAILS, RETURNS, REDRIVEN]);
}

#[test]
fn two_redrives_edited_and_not_by_operators_that_die() {
    let mishaps = Mishaps { redrives: 2, aborts: 1, unanswered: 1, ..Mishaps::default() };
    let fleet = Fleet { wishes: WISHES, ..fleet(1, mishaps) };
    holds("two redrives", fleet, &[COMPLETES, FAILS, REDRIVEN, REDRIVEN_TWICE]);
}

#[test]
fn redrives_after_the_ids_are_forgotten() {
    let mishaps = Mishaps { redrives: 2, aborts: 1, forgets: 1, ..Mishaps::default() };
    let fleet = Fleet { wishes: WISHES, ..fleet(1, mishaps) };
    holds("forgotten ids", fleet, &[COMPLETES, FAILS, REDRIVEN, REDRIVEN_TWICE]);
}

#[test]
fn a_cancel_at_any_moment() {
    let mishaps = Mishaps { cancels: 1, lapses: 1, unanswered: 1, ..Mishaps::default() };
    holds("a cancel", fleet(2, mishaps), &[COMPLETES, FAILS, CANCELLED, BOTH_RUN, RETURNS]);
}

#[test]
fn a_cancel_that_dies_and_is_repeated() {
    let mishaps = Mishaps { cancels: 2, aborts: 1, twins: 1, ..Mishaps::default() };
    holds("two cancels", fleet(2, mishaps), &[COMPLETES, FAILS, CANCELLED, BOTH_RUN]);
}

#[test]
fn a_cancel_against_a_redrive() {
    let mishaps = Mishaps { cancels: 1, redrives: 1, aborts: 1, unanswered: 1, ..Mishaps::default() };
    holds("a cancel and a redrive", fleet(1, mishaps), &[COMPLETES, FAILS, CANCELLED, REDRIVEN]);
}

#[test]
fn a_deadline_that_passes_at_any_moment() {
    let mishaps = Mishaps { lapses: 1, aborts: 1, ..Mishaps::default() };
    let fleet = Fleet { deadline: 1, deadlines: 1, ..fleet(2, mishaps) };
    holds("a deadline", fleet, &[COMPLETES, FAILS, EXPIRED, EXPIRES_ALONE]);
}

#[test]
fn a_deadline_and_a_cancel_at_once() {
    let mishaps = Mishaps { unanswered: 1, aborts: 1, cancels: 1, ..Mishaps::default() };
    let fleet = Fleet { deadline: 1, deadlines: 1, ..fleet(1, mishaps) };
    holds("a deadline and a cancel", fleet, &[COMPLETES, FAILS, EXPIRED, EXPIRES_ALONE, CANCELLED]);
}

#[test]
fn deadlines_of_two_runs() {
    let mishaps = Mishaps { redrives: 1, ..Mishaps::default() };
    let fleet = Fleet { deadline: 1, deadlines: 2, workers: 1, wishes: TIMED, ..fleet(1, mishaps) };
    holds("deadlines of two runs", fleet, &[COMPLETES, FAILS, EXPIRED, EXPIRES_ALONE, REDRIVEN, STALE_TIMER]);
}

#[test]
fn timers_of_three_runs_while_time_stands_still() {
    let mishaps = Mishaps { redrives: 3, ..Mishaps::default() };
    let fleet = Fleet { deadline: 1, workers: 1, wishes: TIMED, ..fleet(1, mishaps) };
    holds("timers of three runs", fleet, &[COMPLETES, FAILS, REDRIVEN, REDRIVEN_TWICE]);
}

#[test]
fn workers_that_meet_full_streams() {
    let mishaps = Mishaps { refusals: 2, lapses: 1, hand_backs: 1, ..Mishaps::default() };
    holds("full streams", fleet(2, mishaps), &[COMPLETES, FAILS, EXHAUSTS]);
}

#[test]
fn redrives_edited_in_two_ways_that_meet_a_full_queue() {
    let mishaps = Mishaps { redrives: 2, refusals: 1, unanswered: 1, ..Mishaps::default() };
    let fleet = Fleet { wishes: EDITS, workers: 1, ..fleet(1, mishaps) };
    holds("two edits and a full queue", fleet, &[COMPLETES, FAILS, REDRIVEN, TAKEN_UP]);
}

#[test]
fn three_redrives_of_which_a_full_queue_refuses_one() {
    let mishaps = Mishaps { redrives: 3, refusals: 1, ..Mishaps::default() };
    holds("three redrives", Fleet { workers: 1, ..fleet(1, mishaps) }, &[COMPLETES, REDRIVEN_TWICE, TAKEN_UP]);
}

#[test]
fn a_cancel_and_a_redrive_that_meet_full_streams() {
    let mishaps = Mishaps { cancels: 2, redrives: 1, refusals: 2, ..Mishaps::default() };
    holds("a cancel and a full queue", fleet(1, mishaps), &[COMPLETES, FAILS, CANCELLED, REDRIVEN]);
}

#[test]
fn a_deadline_of_a_run_that_a_full_queue_keeps_out() {
    let mishaps = Mishaps { redrives: 2, refusals: 1, ..Mishaps::default() };
    let fleet = Fleet { deadlines: 1, workers: 1, halts: 1, wishes: DUE, ..fleet(1, mishaps) };
    holds("a deadline and a full queue", fleet, &[EXPIRED, REDRIVEN, TAKEN_UP, MARK_OUTLIVES]);
}

#[test]
#[ignore = "takes minutes; for whoever changes the rules"]
fn more_of_everything() {
    let one_each = Mishaps { crashes: 1, lapses: 1, unanswered: 1, ..Mishaps::default() };
    let twins = Mishaps { unanswered: 0, twins: 1, hand_backs: 1, ..one_each };
    holds("two crashes and a hand-back", fleet(2, Mishaps { crashes: 2, hand_backs: 1, ..one_each }), &[EXHAUSTS]);
    holds("a doubled copy and a hand-back", fleet(2, twins), &[EXHAUSTS]);
    holds("two of each", fleet(2, Mishaps { crashes: 2, lapses: 2, unanswered: 2, ..one_each }), &[EXHAUSTS]);
    holds("a redrive and a crash", fleet(2, Mishaps { redrives: 1, ..one_each }), &[REDRIVEN, EXHAUSTS]);
    let redriven = Mishaps { crashes: 0, hand_backs: 1, redrives: 1, ..one_each };
    holds("a redrive and a hand-back", fleet(2, redriven), &[REDRIVEN]);
    let cancelled = Mishaps { cancels: 2, aborts: 1, hand_backs: 1, crashes: 1, ..Mishaps::default() };
    holds("two cancels and a hand-back", fleet(2, cancelled), &[CANCELLED]);
    let contested = Mishaps { cancels: 1, redrives: 2, aborts: 1, unanswered: 1, ..Mishaps::default() };
    holds("a cancel and two redrives", Fleet { wishes: WISHES, ..fleet(1, contested) }, &[CANCELLED, REDRIVEN_TWICE]);
    let refused = Mishaps { redrives: 3, refusals: 1, unanswered: 1, ..Mishaps::default() };
    holds("three edits and a full queue", Fleet { wishes: EDITS, workers: 1, ..fleet(1, refused) }, &[REDRIVEN_TWICE]);
    let marked = Mishaps { redrives: 2, refusals: 1, aborts: 1, ..Mishaps::default() };
    let marked = Fleet { deadlines: 1, workers: 1, wishes: DUE, ..fleet(1, marked) };
    holds("a deadline, a full queue and a death", marked, &[EXPIRED, TAKEN_UP, MARK_OUTLIVES]);
    let late = Fleet { deadline: 1, deadlines: 1, ..fleet(2, Mishaps { crashes: 1, aborts: 1, ..one_each }) };
    holds("a deadline and one of each", late, &[EXPIRED, EXPIRES_ALONE]);
}

#[test]
fn every_mutant_is_found() {
    for mutants::Mutant { mistake, fleet, breaks } in mutants::all() {
        let found = counterexample(fleet, breaks, usize::MAX);
        let mut shortest = found.unwrap_or_else(|| panic!("\"{mistake}\" does not break \"{breaks}\""));
        while let Some(shorter) = counterexample(fleet, breaks, shortest.len()) {
            shortest = shorter;
        }
        say(&format!("mutant \"{mistake}\": {} steps break \"{breaks}\"", shortest.len()));
        trace(&shortest);
    }
}

/// A way of fewer than `steps_max` steps into a state that breaks a property. Not always the shortest: the checker looks at
/// many states before it says what it found.
fn counterexample(fleet: Fleet, breaks: &'static str, steps_max: usize) -> Option<Vec<Action>> {
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([breaks]));
    // The checker counts states along the way, and leaves out those at the depth that it is given.
    let checker = fleet.checker().finish_when(wanted).target_max_depth(steps_max.saturating_add(1)).spawn_bfs().join();
    checker.discovery(breaks).map(Path::into_actions)
}

/// The real rules, for a task without a deadline, and redrives without changes.
pub(crate) fn fleet(attempts_max: u32, mishaps: Mishaps) -> Fleet {
    let wishes = &[Wish { payload: None, deadline: None }];
    Fleet { rules: Rules::default(), attempts_max, mishaps, deadline: 0, deadlines: 0, workers: 2, halts: 2, wishes }
}

/// Explores the real rules to the last state. Everything that must hold holds, and everything in `possible` happens.
fn holds(setting: &str, fleet: Fleet, possible: &[&'static str]) {
    let start = Instant::now();
    let mishaps = fleet.mishaps;
    let checker = fleet.checker().spawn_bfs().join();
    let (states, depth, seconds) = (checker.unique_state_count(), checker.max_depth(), start.elapsed().as_secs_f32());
    say(&format!("rules, {setting}: {states} unique states, depth {depth}, {seconds:.1} s ({mishaps:?})"));
    assert!(checker.is_done(), "explored completely");
    let mut discoveries = checker.discoveries();
    for property in checker.model().properties() {
        match (property.expectation, discoveries.remove(property.name)) {
            (Expectation::Always, Some(path)) => {
                let actions = path.into_actions();
                trace(&actions);
                panic!("\"{}\" does not hold after {} steps", property.name, actions.len());
            }
            (Expectation::Sometimes, None) => {
                assert!(!possible.contains(&property.name), "\"{}\" never happens", property.name);
            }
            _ => {}
        }
    }
}

/// Not `println`, which a passing test keeps to itself: the numbers are what this test is read for.
fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").expect("standard output takes a line");
}

fn trace(actions: &[Action]) {
    if std::env::var_os("MODEL_TRACE").is_some() {
        actions.iter().for_each(|action| say(&format!("    {action:?}")));
    }
}
