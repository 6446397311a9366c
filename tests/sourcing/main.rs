//! The way from the delay stream into the queue, while servers die and the queue is full: what is due arrives, and what
//! arrives twice does not run twice.
//!
//! Raw schedules on the streams that `provision` has made, counted at the queue by sequence: a copy that was stored twice
//! has two. The server may do that to what has left the queue already, up to what its consumer between the two streams
//! holds unacknowledged (`docs/decisions/0018`); so there is also a case with real tasks and workers, which look first. Others end
//! tasks that are due, which must harm none that wait beside them.
//! Redeliveries of one stored copy are another matter, and counted apart. The cases that have found most are part of `make
//! test`; `make sourcing` runs all, with more schedules and more blows. Each prints a line.

mod halted;
mod looked;
mod schedules;

use std::time::Duration;

use async_nats::jetstream;
use schedules::{Count, Watch};
use workfleet_tests::{Broker, Cluster, Fleet, FleetBuilder};

/// So few that what is due waits outside for seconds.
const TASKS_MAX: u32 = 400;
/// What the consumer between the streams holds unacknowledged: the server's own default.
const SOURCE_PENDING_MAX: usize = 1_000;
/// Between two blows: long enough for what is due to move again in between.
const PAUSE: Duration = Duration::from_secs(2);

fn is_full_form() -> bool {
    std::env::var("WORKFLEET_SOURCING").is_ok_and(|form| form == "full")
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
    let ids = schedules::publish(&jetstream, schedules()).await;
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

/// Or twice, but no more of them than each blow can have made the server forget. The first one falls before anything has left
/// the queue, where the server still sees what it has stored.
#[track_caller]
fn each_arrived(count: &Count) {
    assert_eq!((count.lost, count.left), (0, 0), "{count}");
    assert!(count.twice <= (blows() - 1) * SOURCE_PENDING_MAX, "{count}");
    assert!(count.full_ms > 0, "the queue was never full: {count}");
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

#[tokio::test]
#[ignore = "a case of `make sourcing`"]
async fn the_leader_of_the_consumer_between_them_is_killed() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, _: &jetstream::Context| {
        let leader = fleet.nats.consumer_leader_of("DELAY_probe", "SRC").await;
        kill_and_restart(fleet, leader).await;
    };
    let count = counted("the leader of SRC is killed", &mut fleet, strike).await;
    assert!(count.elections > 0, "{count}");
    each_arrived(&count);
}

#[tokio::test]
#[ignore = "a case of `make sourcing`"]
async fn the_meta_leader_is_killed() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, _: &jetstream::Context| {
        let leader = fleet.nats.meta_leader().await;
        kill_and_restart(fleet, leader).await;
    };
    each_arrived(&counted("the meta leader is killed", &mut fleet, strike).await);
}

#[tokio::test]
#[ignore = "a case of `make sourcing`"]
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
    each_arrived(&counted("one server is killed", &mut fleet, strike).await);
}

#[tokio::test]
#[ignore = "a case of `make sourcing`"]
async fn the_queue_is_provisioned_again() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, _: &jetstream::Context| provision(fleet).await;
    each_arrived(&counted("provision runs again", &mut fleet, strike).await);
}

/// Only `provision` makes it again.
#[tokio::test]
#[ignore = "a case of `make sourcing`"]
async fn the_consumer_between_them_is_deleted_and_provisioned_again() {
    let mut fleet = three().await;
    let strike = async |fleet: &mut Fleet<Cluster>, jetstream: &jetstream::Context| {
        let stream = jetstream.get_stream("DELAY_probe").await.expect("the stream");
        stream.delete_consumer("SRC").await.expect("the consumer goes");
        provision(fleet).await;
    };
    each_arrived(&counted("SRC is deleted and provisioned again", &mut fleet, strike).await);
}

#[tokio::test]
#[ignore = "a case of `make sourcing`"]
async fn the_consumer_between_them_is_reset() {
    let mut fleet = three().await;
    let strike = async |_: &mut Fleet<Cluster>, jetstream: &jetstream::Context| {
        let answer: serde_json::Value =
            jetstream.request("CONSUMER.RESET.DELAY_probe.SRC", &serde_json::json!({})).await.expect("an answer");
        assert!(answer["error"].is_null(), "{answer}");
    };
    each_arrived(&counted("SRC is reset", &mut fleet, strike).await);
}
