//! Explores every order in which settling can happen, and go wrong, up to a number of mishaps.
//!
//! **What is explored.** One task with two or three attempts; the work queue with its leases, deliveries and
//! acknowledgements; DELAY with its one schedule for each task, what is due, the move into the work queue, and message ids; the
//! result with its sequence; the dead letter; two worker processes with one slot each; an operator who redrives once. Handlers
//! end as they like. Any process may stop for any time between any two steps. On top of that, as often as a setting says:
//! - a worker dies (its next self starts at once);
//! - a lease runs out while its worker lives, which learns of it by its own clock before its next step, but not before what
//!   it has sent arrives;
//! - an answer or an acknowledgement is lost, or a publish is given up that arrives at any later time, or never;
//! - the server moves a due copy into the queue twice;
//! - a worker drains.
//!
//! Every decision is a call of `workfleet_proto::settlement` ([`rules`]); only the world around it is modelled, with the
//! server's habits as they were seen in nats-server 2.15.1 ([`broker`]). Everything that could repeat is counted, so every path
//! ends, and [`properties`] of states say all: there is no fairness to assume.
//!
//! **What is not.** More than one task, and so slots, isolation, order and priorities. A duplicate window that closes while a
//! publish is on its way, a result that outlives its retention, a stream that is full. Cancelling and deadlines, which end a
//! task from outside with the same compare-and-set. Hand-backs for a while, which are scheduled like retries. NAKs, which are
//! lapses that come at once. A worker's clock that runs slower than the broker's.
//!
//! **Why to believe it.** [`mutants`] have one mistake each, and the model finds every one.
//!
//! `cargo test -p workfleet-tests --test model` prints the states and the length of the shortest counterexamples; `MODEL_TRACE=1` prints the
//! counterexamples, step by step. Ignored tests explore more, in minutes.

mod acts;
mod broker;
mod mutants;
mod properties;
mod rules;
mod worker;
mod world;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use properties::{BOTH_RUN, COMPLETES, EXHAUSTS, FAILS, REDRIVEN, RETURNS};
use rules::Rules;
use world::{Action, Fleet, Mishaps};

#[test]
fn two_crashes_and_a_frozen_worker() {
    let mishaps = Mishaps { crashes: 2, lapses: 1, unanswered: 1, ..Mishaps::default() };
    holds("two attempts", 2, mishaps, &[COMPLETES, FAILS, BOTH_RUN, RETURNS, EXHAUSTS]);
}

#[test]
fn a_hand_back_in_the_middle_of_it() {
    let mishaps = Mishaps { crashes: 1, lapses: 1, unanswered: 1, hand_backs: 1, ..Mishaps::default() };
    holds("a hand-back", 2, mishaps, &[COMPLETES, FAILS, BOTH_RUN, RETURNS, EXHAUSTS]);
}

#[test]
fn copies_that_the_server_doubles() {
    let mishaps = Mishaps { crashes: 1, lapses: 1, twins: 1, ..Mishaps::default() };
    holds("a doubled copy", 2, mishaps, &[COMPLETES, FAILS, BOTH_RUN, RETURNS, EXHAUSTS]);
}

#[test]
fn three_attempts_and_late_publishes() {
    let mishaps = Mishaps { crashes: 1, lapses: 1, unanswered: 1, ..Mishaps::default() };
    holds("three attempts", 3, mishaps, &[COMPLETES, FAILS, BOTH_RUN, RETURNS]);
}

#[test]
fn redrives_with_a_frozen_worker_of_the_old_run() {
    let mishaps = Mishaps { lapses: 1, unanswered: 1, redrives: 1, ..Mishaps::default() };
    holds("a redrive", 2, mishaps, &[COMPLETES, FAILS, RETURNS, REDRIVEN]);
}

#[test]
#[ignore = "takes minutes; for whoever changes the rules"]
fn more_of_everything() {
    let one_each = Mishaps { crashes: 1, lapses: 1, unanswered: 1, ..Mishaps::default() };
    holds("two crashes and a hand-back", 2, Mishaps { crashes: 2, hand_backs: 1, ..one_each }, &[EXHAUSTS]);
    holds(
        "a doubled copy and a hand-back",
        2,
        Mishaps { unanswered: 0, twins: 1, hand_backs: 1, ..one_each },
        &[EXHAUSTS],
    );
    holds("two of each", 2, Mishaps { crashes: 2, lapses: 2, unanswered: 2, ..one_each }, &[EXHAUSTS]);
    holds("a redrive and a crash", 2, Mishaps { redrives: 1, ..one_each }, &[REDRIVEN, EXHAUSTS]);
    holds("a redrive and a hand-back", 2, Mishaps { crashes: 0, hand_backs: 1, redrives: 1, ..one_each }, &[REDRIVEN]);
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

/// Explores the real rules to the last state. Everything that must hold holds, and everything in `possible` happens.
fn holds(setting: &str, attempts_max: u32, mishaps: Mishaps, possible: &[&'static str]) {
    let start = Instant::now();
    let checker = Fleet { rules: Rules::default(), attempts_max, mishaps }.checker().spawn_bfs().join();
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
