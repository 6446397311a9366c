use std::time::Duration;

use serde_json::json;
use workfleet_tests::{Fleet, Probe, eventually};

#[tokio::test]
async fn tasks_that_wait_run_or_are_scheduled_outlive_the_broker() {
    let mut fleet = Fleet::builder().probe(|queue| queue.backoff("4s", "4s").attempts_max(5)).slots(4).start().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(fleet.submit(&Probe::echo("retried").fails(1)).await);
    }
    for id in &ids {
        fleet.started(id).await;
    }
    ids.push(fleet.submit_with("?delay=3s", &Probe::echo("delayed")).await);
    // More than the slots hold: the last ones wait in the queue when the broker dies.
    for _ in 0..8 {
        ids.push(fleet.submit(&Probe::echo("long").sleeps_ms(1_200)).await);
    }
    fleet.nats.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    fleet.http.get("/livez").send().await.expect(200);
    fleet.nats.restart().await;
    for id in &ids {
        fleet.completed(id).await;
        assert_eq!(fleet.observer.stores_of(id).await, 1);
    }
}

#[tokio::test]
async fn while_the_broker_is_down_a_submit_is_refused_and_says_what_is_known() {
    let mut fleet = Fleet::start().await;
    fleet.nats.kill();
    let answer = fleet.http.post("/v1/queues/probe/tasks").json(&json!({"echo": "x"})).send().await;
    answer.expect_problem(503, "broker_unavailable");
    let readiness = async || (fleet.http.get("/readyz").send().await.status == 503).then_some(());
    eventually("the dispatcher is not ready", readiness).await;
    fleet.http.get("/livez").send().await.expect(200);
    fleet.nats.restart().await;
    let id = eventually("submits are taken again", async || {
        let answer = fleet.http.post("/v1/queues/probe/tasks").json(&json!({"echo": "x"})).send().await;
        (answer.status == 202).then(|| answer.json()["id"].as_str().map(str::to_owned)).flatten()
    })
    .await;
    fleet.completed(&id).await;
}

#[tokio::test]
async fn an_outage_longer_than_the_lease_costs_no_result() {
    let mut fleet = Fleet::builder().probe(|queue| queue.lease("1s")).workers("probe", 2).start().await;
    let mut ids = Vec::new();
    for sleep_ms in [500, 1_000, 2_000, 5_000] {
        ids.push(fleet.submit(&Probe::echo("through").sleeps_ms(sleep_ms)).await);
    }
    for id in &ids {
        fleet.started(id).await;
    }
    fleet.nats.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    fleet.nats.restart().await;
    for id in &ids {
        fleet.completed(id).await;
    }
    for worker in &mut fleet.workers {
        worker.drain().await;
    }
    for id in &ids {
        assert_eq!(fleet.observer.stores_of(id).await, 1, "{id}");
    }
}

#[tokio::test]
async fn whoever_waits_or_watches_sees_the_end_through_a_restart_of_the_broker() {
    let mut fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("patience").sleeps_ms(2_000)).await;
    fleet.started(&id).await;
    let events = fleet.events(&id, None).await;
    let body = Probe::echo("waits").sleeps_ms(2_000).json();
    let waiting = fleet.http.post("/v1/queues/probe/tasks").header("prefer", "wait=25").json(&body);
    let waiting = tokio::spawn(waiting.send());
    eventually("both run", async || (fleet.task(&id).await["state"] == "running").then_some(())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    fleet.nats.kill();
    fleet.nats.restart().await;
    let answer = waiting.await.expect("an answer").expect(200);
    assert_eq!(answer.json()["output"]["echo"], "waits");
    let events = events.rest().await;
    assert_eq!(events.last().map(|event| event.state().to_owned()).as_deref(), Some("completed"), "{events:#?}");
}

#[tokio::test]
async fn a_worker_that_drains_without_a_broker_leaves_in_bounded_time() {
    let mut fleet = Fleet::builder().variable("WORKFLEET_DRAIN_TIMEOUT", "1s").start().await;
    let id = fleet.submit(&Probe::echo("lost").sleeps_ms(20_000)).await;
    fleet.started(&id).await;
    fleet.nats.kill();
    let worker = fleet.workers[0].process();
    worker.terminate();
    worker.left().await;
    fleet.nats.restart().await;
    fleet.add_worker("probe").await;
    assert_eq!(fleet.in_state(&id, "running").await["state"], "running", "somebody has it again");
}

#[tokio::test]
async fn a_dispatcher_that_is_replaced_takes_nothing_along() {
    let mut fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("kept").sleeps_ms(1_000)).await;
    fleet.replace_dispatcher().await;
    assert_eq!(fleet.completed(&id).await["output"]["echo"], "kept");
}

#[tokio::test]
async fn a_dispatcher_that_is_told_to_stop_answers_what_it_was_asked() {
    let mut fleet = Fleet::start().await;
    let body = fleet.logged(&Probe::echo("last words").sleeps_ms(1_500));
    let request = fleet.http.post("/v1/queues/probe/tasks").header("prefer", "wait=20").json(&body);
    let waiting = tokio::spawn(request.send());
    eventually("the task runs", async || fleet.runs().pop()).await;
    fleet.dispatcher().terminate();
    let answer = waiting.await.expect("an answer");
    assert!([200, 202].contains(&answer.status), "{}", answer.text());
    let status = fleet.dispatcher().left().await;
    assert!(status.success(), "{status}");
}
