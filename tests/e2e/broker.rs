use std::time::{Duration, Instant};

use serde_json::json;
use workfleet_tests::{Fleet, Probe, eventually};

#[tokio::test]
async fn a_delayed_task_waits_its_time() {
    let fleet = Fleet::start().await;
    let begun = Instant::now();
    let id = fleet.submit_with("?delay=2s", &Probe::echo("later")).await;
    let task = fleet.task(&id).await;
    assert_eq!(task["state"], "scheduled", "{task:#}");
    assert!(task["not_before"].is_string(), "{task:#}");
    let task = fleet.completed(&id).await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(task["attempt"], 1);
    assert!(task["started_at"].as_str() >= task["not_before"].as_str(), "{task:#}");
}

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
async fn a_dispatcher_that_is_replaced_takes_nothing_along() {
    let mut fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("kept").sleeps_ms(1_000)).await;
    fleet.replace_dispatcher().await;
    assert_eq!(fleet.completed(&id).await["output"]["echo"], "kept");
}
