//! Tasks that are ended while they are due and wait in front of a full queue: their neighbours there arrive all the same.

use std::time::Duration;

use futures::TryStreamExt as _;
use workfleet_tests::{Broker, Cluster, Fleet, FleetBuilder, Probe, eventually_within};

use crate::{kill_leader_of, three_of};

/// So few that most of what is due waits outside.
const TASKS_MAX: u32 = 5;
const TASKS: usize = 20;
/// Behind those that are in the queue, and behind others that wait outside.
const ENDED: [usize; 3] = [10, 12, 15];
const PATIENCE: Duration = Duration::from_secs(150);

fn fleet() -> FleetBuilder {
    Fleet::builder().probe(|queue| queue.tasks_max(TASKS_MAX)).workers("probe", 0)
}

/// Submits them one after the other, and waits until all are due. `deadline` is for those that are to end.
async fn all_due<B: Broker>(fleet: &Fleet<B>, deadline: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..TASKS {
        let deadline = if ENDED.contains(&number) { deadline } else { "" };
        ids.push(fleet.submit_with(&format!("?delay=1s{deadline}"), &Probe::echo("due")).await);
    }
    let jetstream = fleet.jetstream().await;
    let due = async || {
        let delayed = jetstream.get_stream("DELAY_probe").await.ok()?;
        let mut scheduled = delayed.info_with_subjects("wf.delay.at.>").await.ok()?;
        let is_due = scheduled.try_next().await.ok()?.is_none();
        let queued = jetstream.get_stream("TASKS_probe").await.ok()?.cached_info().state.messages;
        (is_due && queued == u64::from(TASKS_MAX)).then_some(())
    };
    eventually_within(PATIENCE, "all are due, and the queue is full", due).await;
    ids
}

async fn cancel<B: Broker>(fleet: &Fleet<B>, ids: &[String]) {
    for number in ENDED {
        fleet.http.delete(&format!("/v1/tasks/{}", ids[number])).send().await.expect(200);
    }
}

/// With workers there now.
async fn the_others_complete<B: Broker>(fleet: &mut Fleet<B>, ids: &[String], end: &str) {
    let ready = async || (fleet.http.get("/readyz").send().await.status == 200).then_some(());
    eventually_within(PATIENCE, "the dispatcher is ready again", ready).await;
    fleet.add_worker("probe").await;
    let stores = async || (fleet.observer.stores().await.len() == TASKS).then_some(());
    eventually_within(PATIENCE, "all have ended", stores).await;
    for (number, id) in ids.iter().enumerate() {
        let is_ended = ENDED.contains(&number);
        let state = fleet.task(id).await["state"].clone();
        assert_eq!(state, if is_ended { end } else { "completed" }, "task {number}, {id}");
        assert_eq!(fleet.runs_of(id).len(), usize::from(!is_ended), "task {number}, {id}");
    }
    let jetstream = fleet.jetstream().await;
    let empty = async || {
        let streams = ["DELAY_probe", "TASKS_probe"].map(|name| jetstream.get_stream(name));
        let left = futures::future::try_join_all(streams).await.ok()?;
        left.iter().all(|stream| stream.cached_info().state.messages == 0).then_some(())
    };
    eventually_within(PATIENCE, "what was ended has gone too", empty).await;
}

#[tokio::test]
async fn neighbours_of_a_cancelled_due_task_outlive_a_restart() {
    let mut fleet = fleet().start().await;
    let ids = all_due(&fleet, "").await;
    cancel(&fleet, &ids).await;
    // It writes down what its consumers have passed over.
    fleet.nats.process().terminate();
    fleet.nats.process().left().await;
    fleet.nats.restart().await;
    the_others_complete(&mut fleet, &ids, "cancelled").await;
}

#[tokio::test]
async fn neighbours_of_a_due_task_that_expires_outlive_the_server() {
    let mut fleet = fleet().start().await;
    let ids = all_due(&fleet, "&deadline=4s").await;
    for number in ENDED {
        fleet.in_state(&ids[number], "expired").await;
    }
    fleet.nats.kill();
    fleet.nats.restart().await;
    the_others_complete(&mut fleet, &ids, "expired").await;
}

#[tokio::test]
#[ignore = "a case of `make carrying`"]
async fn neighbours_of_a_cancelled_due_task_outlive_the_leader() {
    let mut fleet: Fleet<Cluster> = three_of(fleet()).await;
    let ids = all_due(&fleet, "").await;
    cancel(&fleet, &ids).await;
    kill_leader_of(&mut fleet, "DELAY_probe").await;
    the_others_complete(&mut fleet, &ids, "cancelled").await;
}
