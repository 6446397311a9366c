use std::time::{Duration, Instant};

use workfleet_tests::{Fleet, Probe};

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
async fn a_time_that_has_passed_is_no_delay() {
    let fleet = Fleet::start().await;
    let id = fleet.submit_with("?at=2020-01-01T00:00:00Z", &Probe::echo("late")).await;
    fleet.completed(&id).await;
}

#[tokio::test]
async fn more_schedules_than_the_queue_allows_are_refused() {
    let builder = Fleet::builder().workers("probe", 0).probe(|queue| queue.scheduled_max(2));
    let fleet = builder.start().await;
    for _ in 0..2 {
        fleet.submit_with("?delay=1h", &Probe::echo("fits")).await;
    }
    let body = Probe::echo("too many").json();
    let answer = fleet.http.post("/v1/queues/probe/tasks?delay=1h").json(&body).send().await;
    answer.expect_problem(429, "queue_full");
    fleet.submit(&Probe::echo("undelayed tasks have their own limit")).await;
}

#[tokio::test]
async fn an_urgent_lane_goes_first_and_starves_nobody() {
    let builder = Fleet::builder().probe(|queue| queue.lanes(&["h", "m", "l"])).slots(1);
    let mut fleet = builder.workers("probe", 0).start().await;
    let (mut urgent, mut patient) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        patient.push(fleet.submit_with("?priority=l", &Probe::echo("l")).await);
        urgent.push(fleet.submit_with("?priority=h", &Probe::echo("h")).await);
    }
    assert_eq!(fleet.task(&urgent[0]).await["priority"], "h");
    fleet.add_worker("probe").await;
    for id in urgent.iter().chain(&patient) {
        fleet.completed(id).await;
    }
    let runs = fleet.runs();
    let place = |id: &String| runs.iter().position(|run| run.task == *id).expect("it ran");
    let sum = |ids: &[String]| ids.iter().map(place).sum::<usize>();
    assert!(sum(&urgent) < sum(&patient), "{runs:?}");
    assert_eq!(fleet.task(&urgent[0]).await["priority"], "h", "after its end too");
}

#[tokio::test]
async fn tasks_with_one_ordering_key_share_a_bucket() {
    let fleet = Fleet::builder().workers("probe", 0).start().await;
    let mut buckets = Vec::new();
    for _ in 0..8 {
        let id = fleet.submit_with("?ordering_key=customer-7", &Probe::echo("x")).await;
        assert_eq!(fleet.task(&id).await["ordering_key"], "customer-7");
        buckets.push(id.chars().last());
    }
    buckets.dedup();
    assert_eq!(buckets.len(), 1, "{buckets:?}");
}

/// Two fleets can share one broker: every name of this one stands behind its prefix.
#[tokio::test]
async fn a_prefix_stands_before_every_name() {
    let fleet = Fleet::builder().variable("WORKFLEET_PREFIX", "blue").start().await;
    let id = fleet.submit(&Probe::echo("blue").fails(1)).await;
    fleet.completed(&id).await;
    fleet.call("", &Probe::echo("blue")).await.expect(200);
    let mut names = Vec::new();
    let mut streams = fleet.jetstream().await.stream_names();
    while let Some(Ok(name)) = futures::StreamExt::next(&mut streams).await {
        names.push(name);
    }
    names.retain(|name| name != "OBSERVED");
    assert!(
        names.iter().all(|name| ["BLUE_", "KV_BLUE_", "OBJ_BLUE_"].iter().any(|start| name.starts_with(start))),
        "{names:?}"
    );
}
