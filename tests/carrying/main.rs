//! The way from the delay stream into the queue, while servers and dispatchers die and the queue is full: what is due arrives,
//! and what arrives twice does not run twice.
//!
//! Raw schedules on the streams that `provision` has made, counted at the queue by sequence: a copy that was stored twice
//! has two. That may happen to what a dispatcher has carried and could not acknowledge; so there is also a case with real tasks
//! and workers, which look first. Others end tasks that are due, which must harm none that wait beside them.
//! Redeliveries of one stored copy are another matter, and counted apart. The cases that have found most are part of `make
//! test`; `make carrying` runs all, with more schedules and more blows. Each prints a line.

mod asked;
mod halted;
mod looked;
mod schedules;

use std::time::Duration;

use asked::{reset, step_down};
use async_nats::jetstream;
use schedules::{Count, Watch};
use workfleet_tests::{Broker, Cluster, Fleet, FleetBuilder, eventually_within};

/// So few that what is due waits outside for seconds.
const TASKS_MAX: u32 = 400;
/// What a dispatcher has taken and not acknowledged, with the request after that.
const UNDERWAY_MAX: usize = 2 * 64;
/// Servers elect within seconds, and machines are busy.
const ELECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// How often, in one blow, leaders are handed over, and a consumer is reset.
const ROUNDS: u32 = 8;
const RESETS: u32 = 24;
/// In how much time all are due, where they are to fill the queue, and where they are to flow through it.
const HERD_TIME: Duration = Duration::from_secs(3);
const FLOW_TIME: Duration = Duration::from_secs(40);
const STEP: Duration = Duration::from_millis(50);
/// Between two blows: long enough for what is due to move again in between.
const PAUSE: Duration = Duration::from_secs(2);

fn is_full_form() -> bool {
    std::env::var("WORKFLEET_CARRYING").is_ok_and(|form| form == "full")
}

fn schedules() -> usize {
    if is_full_form() { 6_000 } else { 2_000 }
}

fn blows() -> usize {
    if is_full_form() { 4 } else { 2 }
}

fn fleet() -> FleetBuilder {
    Fleet::builder().probe(|queue| queue.tasks_max(TASKS_MAX)).workers("probe", 0)
}

/// The first blow falls on a full queue that nobody empties, the others while it is emptied.
#[allow(clippy::print_stderr, reason = "the numbers are what the long form is run for")]
async fn counted<B: Broker>(
    name: &str,
    fleet: &mut Fleet<B>,
    mut strike: impl AsyncFnMut(&mut Fleet<B>, &jetstream::Context),
) -> Count {
    let jetstream = fleet.jetstream().await;
    let watch = Watch::start(&jetstream, TASKS_MAX.into()).await;
    let ids = schedules::publish(&jetstream, schedules(), HERD_TIME).await;
    watch.full().await;
    strike(fleet, &jetstream).await;
    let blows = async {
        for _ in 1..blows() {
            tokio::time::sleep(PAUSE).await;
            strike(fleet, &jetstream).await;
        }
    };
    let (seen, ()) = tokio::join!(schedules::pull(&jetstream, ids.len()), blows);
    let count = watch.count(&ids, seen).await;
    eprintln!("{name:44} {count}");
    count
}

/// The same where the queue has room: what is due flows through while the blows fall.
#[allow(clippy::print_stderr, reason = "the numbers are what the long form is run for")]
async fn flowing<B: Broker>(
    name: &str,
    fleet: &mut Fleet<B>,
    mut strike: impl AsyncFnMut(&mut Fleet<B>, &jetstream::Context),
) -> Count {
    let jetstream = fleet.jetstream().await;
    let watch = Watch::start(&jetstream, TASKS_MAX.into()).await;
    let ids = schedules::publish(&jetstream, schedules(), FLOW_TIME).await;
    let blows = async {
        for _ in 0..blows() {
            strike(fleet, &jetstream).await;
        }
    };
    let (seen, ()) = tokio::join!(schedules::pull(&jetstream, ids.len()), blows);
    let count = watch.count(&ids, seen).await;
    eprintln!("{name:44} {count}");
    count
}

/// Once, in front of a queue that was full.
#[track_caller]
fn each_arrived(count: &Count) {
    each_arrived_or_twice(count, 0);
    assert!(count.full_ms > 0, "the queue was never full: {count}");
}

/// The only server has forgotten, when it starts again, the message ids of what has left the queue by then: what was under way at
/// a blow may be stored twice.
#[track_caller]
fn each_arrived_or_twice(count: &Count, twice_max: usize) {
    assert_eq!((count.lost, count.left), (0, 0), "{count}");
    assert!(count.twice <= twice_max, "{count}");
}

async fn three() -> Fleet<Cluster> {
    three_of(fleet()).await
}

async fn three_of(fleet: FleetBuilder) -> Fleet<Cluster> {
    fleet.start_on(Cluster::builder()).await
}

async fn kill_leader_of(fleet: &mut Fleet<Cluster>, stream: &str) {
    let leader = fleet.nats.leader_of(stream).await;
    kill_and_restart(fleet, leader).await;
}

async fn kill_and_restart(fleet: &mut Fleet<Cluster>, server: usize) {
    fleet.nats.kill(server);
    tokio::time::sleep(PAUSE).await;
    fleet.nats.restart(server).await;
}

async fn provision<B: Broker>(fleet: &Fleet<B>) {
    let file = fleet.folder().join("queues.toml").display().to_string();
    let output = fleet.command(&["provision", "--queues", &file]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_leader_of_what_is_due_is_killed() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, _: &jetstream::Context| kill_leader_of(fleet, "DELAY_probe").await;
    let count = counted("the leader of DELAY is killed", &mut fleet, strike).await;
    assert!(count.elections > 0, "{count}");
    each_arrived(&count);
}

#[tokio::test]
async fn the_leader_of_the_queue_is_killed() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, _: &jetstream::Context| kill_leader_of(fleet, "TASKS_probe").await;
    let count = counted("the leader of TASKS is killed", &mut fleet, strike).await;
    assert!(count.elections > 0, "{count}");
    each_arrived(&count);
}

/// A server that was frozen goes on with what it held: with the server's own way between two streams, tasks were lost like this.
#[tokio::test]
async fn the_leader_of_the_queue_is_frozen() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, _: &jetstream::Context| {
        let leader = fleet.nats.leader_of("TASKS_probe").await;
        fleet.nats.freeze(leader);
        let others = async || fleet.nats.leader_now("TASKS_probe").await.filter(|next| *next != leader);
        eventually_within(ELECTION_TIME_MAX, "another server leads", others).await;
        tokio::time::sleep(PAUSE).await;
        fleet.nats.thaw(leader);
        fleet.nats.healthy().await;
    };
    let count = counted("the leader of TASKS is frozen", &mut fleet, strike).await;
    assert!(count.elections > 0, "{count}");
    each_arrived(&count);
}

#[tokio::test]
#[ignore = "a case of `make carrying`"]
async fn the_leader_of_the_consumer_between_them_is_killed() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, _: &jetstream::Context| {
        let leader = fleet.nats.consumer_leader_of("DELAY_probe", "DUE").await;
        kill_and_restart(fleet, leader).await;
    };
    let count = counted("the leader of DUE is killed", &mut fleet, strike).await;
    assert!(count.elections > 0, "{count}");
    each_arrived(&count);
}

/// Nobody dies: the queue's stream and the consumer between the streams change their leaders again and again, one right after
/// the other.
#[tokio::test]
#[ignore = "a case of `make carrying`"]
async fn leaders_are_handed_over() {
    let mut fleet = three().await;
    let strike = async |_: &mut Fleet<Cluster>, jetstream: &jetstream::Context| {
        for round in 0..ROUNDS {
            step_down(jetstream, "STREAM.LEADER.STEPDOWN.TASKS_probe").await;
            tokio::time::sleep(STEP * (round % 8)).await;
            step_down(jetstream, "CONSUMER.LEADER.STEPDOWN.DELAY_probe.DUE").await;
            tokio::time::sleep(STEP * 8).await;
        }
    };
    let count = counted("leaders are handed over", &mut fleet, strike).await;
    assert!(count.elections > 0, "{count}");
    each_arrived(&count);
}

#[tokio::test]
#[ignore = "a case of `make carrying`"]
async fn the_meta_leader_is_killed() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, _: &jetstream::Context| {
        let leader = fleet.nats.meta_leader().await;
        kill_and_restart(fleet, leader).await;
    };
    each_arrived(&counted("the meta leader is killed", &mut fleet, strike).await);
}

#[tokio::test]
#[ignore = "a case of `make carrying`"]
async fn all_servers_are_restarted_one_after_the_other() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, _: &jetstream::Context| fleet.nats.rolling_restart().await;
    let count = counted("a rolling restart", &mut fleet, strike).await;
    assert!(count.elections > 0, "{count}");
    each_arrived(&count);
}

#[tokio::test]
async fn the_only_server_is_killed() {
    let mut fleet = fleet().start().await;
    let strike = async |fleet: &mut Fleet, _: &jetstream::Context| {
        let pid = fleet.nats.process().pid();
        fleet.nats.kill();
        fleet.nats.restart().await;
        assert_ne!(fleet.nats.process().pid(), pid, "it was killed");
    };
    each_arrived_or_twice(&counted("one server is killed", &mut fleet, strike).await, blows() * UNDERWAY_MAX);
}

#[tokio::test]
async fn the_dispatcher_is_killed() {
    let mut fleet = fleet().start().await;
    let strike = async |fleet: &mut Fleet, _: &jetstream::Context| {
        let pid = fleet.dispatcher().pid();
        fleet.replace_dispatcher().await;
        assert_ne!(fleet.dispatcher().pid(), pid, "it was killed");
    };
    each_arrived(&counted("the dispatcher is killed", &mut fleet, strike).await);
}

#[tokio::test]
#[ignore = "a case of `make carrying`"]
async fn the_queue_is_provisioned_again() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, _: &jetstream::Context| provision(fleet).await;
    each_arrived(&counted("provision runs again", &mut fleet, strike).await);
}

/// Only `provision` makes it again.
#[tokio::test]
#[ignore = "a case of `make carrying`"]
async fn the_consumer_between_them_is_deleted_and_provisioned_again() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, jetstream: &jetstream::Context| {
        let stream = jetstream.get_stream("DELAY_probe").await.expect("the stream");
        stream.delete_consumer("DUE").await.expect("the consumer goes");
        provision(fleet).await;
    };
    each_arrived(&counted("DUE is deleted and provisioned again", &mut fleet, strike).await);
}

/// The server's own way between two streams lost hundreds of them like this, in most runs.
#[tokio::test]
#[ignore = "a case of `make carrying`"]
async fn the_consumer_between_them_is_reset_while_tasks_flow() {
    let mut fleet = Fleet::builder().workers("probe", 0).start_on(Cluster::builder()).await;
    let strike = async |_: &mut Fleet<Cluster>, jetstream: &jetstream::Context| {
        for round in 0..RESETS {
            reset(jetstream).await;
            tokio::time::sleep(STEP * (4 + round % 8)).await;
        }
    };
    each_arrived_or_twice(&flowing("DUE is reset while tasks flow", &mut fleet, strike).await, 0);
}

#[tokio::test]
#[ignore = "a case of `make carrying`"]
async fn the_consumer_between_them_is_reset() {
    let mut fleet = three().await;
    let strike = async |_: &mut Fleet<Cluster>, jetstream: &jetstream::Context| reset(jetstream).await;
    each_arrived(&counted("DUE is reset", &mut fleet, strike).await);
}
