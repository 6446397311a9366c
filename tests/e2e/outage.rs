//! Long forms of trouble with the broker: it stalls, it dies again and again under load, its queue is full.

use std::time::{Duration, Instant};

use workfleet_tests::{Fleet, Probe, eventually_within};

#[tokio::test]
async fn a_broker_that_stalls_longer_than_the_lease_costs_no_result() {
    let mut fleet = Fleet::builder().probe(|queue| queue.lease("1s")).workers("probe", 2).start().await;
    let mut ids = Vec::new();
    for sleep_ms in [500, 1_500, 4_000] {
        ids.push(fleet.submit(&Probe::echo("patient").sleeps_ms(sleep_ms)).await);
    }
    for id in &ids {
        fleet.started(id).await;
    }
    fleet.nats.process().freeze();
    tokio::time::sleep(Duration::from_secs(3)).await;
    fleet.nats.process().thaw();
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

/// A client that repeats a submit with its key until it is taken needs to know no more than that.
#[tokio::test]
async fn a_broker_that_dies_again_and_again_loses_nothing_that_was_accepted() {
    const TASKS: usize = 150;
    let builder = Fleet::builder().probe(|queue| queue.attempts_max(50)).slots(8);
    let mut fleet = builder.workers("probe", 2).start().await;
    let http = fleet.http.clone();
    let bodies: Vec<_> = (0..TASKS)
        .map(|number| fleet.logged(&Probe::echo("kept").sleeps_ms(200).fails(u32::from(number % 5 == 0))))
        .collect();
    let submitting = tokio::spawn(async move {
        let mut ids = Vec::new();
        for (number, body) in bodies.iter().enumerate() {
            let pause = tokio::time::sleep(Duration::from_millis(50));
            ids.push(submit_until_taken(&http, &format!("key-{number}"), body).await);
            pause.await;
        }
        ids
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        fleet.nats.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        fleet.nats.restart().await;
    }
    let ids = submitting.await.expect("all are taken in the end");
    let all = async || (fleet.observer.stores().await.len() >= TASKS).then_some(());
    eventually_within(Duration::from_secs(60), "every task has a result", all).await;
    for id in &ids {
        fleet.completed(id).await;
    }
    let stores = fleet.observer.stores().await;
    assert_eq!(stores.len(), TASKS);
    assert!(stores.values().all(|count| *count == 1), "{stores:?}");
}

async fn submit_until_taken(http: &workfleet_tests::Http, key: &str, body: &serde_json::Value) -> String {
    let begun = Instant::now();
    loop {
        let request = http.post("/v1/queues/probe/tasks").header("idempotency-key", key).json(body);
        let answer = request.send().await;
        if [200, 202].contains(&answer.status) {
            return answer.json()["id"].as_str().expect("an id").to_owned();
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What is due waits outside a full queue, and comes in as it empties.
#[tokio::test]
async fn more_is_due_at_once_than_the_queue_holds() {
    const TASKS: usize = 60;
    let fleet = Fleet::builder().probe(|queue| queue.tasks_max(10)).slots(4).start().await;
    let mut ids = Vec::new();
    for _ in 0..TASKS {
        ids.push(fleet.submit_with("?delay=2s", &Probe::echo("due").sleeps_ms(50)).await);
    }
    let all = async || (fleet.observer.stores().await.len() == TASKS).then_some(());
    eventually_within(Duration::from_secs(60), "every task has a result", all).await;
    for id in &ids {
        assert_eq!(fleet.completed(id).await["attempt"], 1);
    }
    assert_eq!(fleet.runs().len(), TASKS);
}
