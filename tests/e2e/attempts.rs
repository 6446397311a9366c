use serde_json::json;
use workfleet_proto::v1::State;
use workfleet_tests::{Fleet, Probe, eventually};

#[tokio::test]
async fn a_failed_attempt_is_tried_again_and_remembered() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("third time").fails(2)).await;
    let task = fleet.completed(&id).await;
    assert_eq!((&task["attempt"], &task["output"]["attempt"]), (&json!(3), &json!(3)));
    let attempts: Vec<u32> = fleet.runs_of(&id).iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(fleet.observer.stores_of(&id).await, 1);
    assert!(fleet.dead_letter(&id).await.is_none());
}

#[tokio::test]
async fn a_permanent_failure_is_not_tried_again_and_becomes_a_dead_letter() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("hopeless").fails_with("bad_image")).await;
    let task = fleet.failed(&id).await;
    assert_eq!(task["failure"]["code"], "bad_image");
    assert_eq!(task["output"], json!(null));
    assert_eq!(fleet.runs_of(&id).len(), 1);

    let dead = eventually("the dead letter is stored", async || fleet.dead_letter(&id).await).await;
    let result = dead.result.expect("the result");
    assert_eq!((result.id.as_str(), result.state()), (id.as_str(), State::Failed));
    assert_eq!(result.failure.map(|failure| failure.code).as_deref(), Some("bad_image"));
    assert!(dead.envelope.is_some_and(|envelope| !envelope.payload.is_empty()), "it can be redriven");
    assert!(!dead.reason.is_empty() && !dead.reason.contains('\n'), "{:?}", dead.reason);
    let queue = fleet.http.get("/v1/queues/probe").send().await.expect(200).json();
    assert_eq!(queue["dead"], 1, "{queue}");
}

#[tokio::test]
async fn attempts_are_used_up_one_by_one() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("never").fails(100)).await;
    let task = fleet.failed(&id).await;
    assert_eq!(task["failure"]["code"], "told_to_fail", "{task:#}");
    assert_eq!((&task["attempt"], fleet.runs_of(&id).len()), (&json!(3), 3));
    let tries = task["failure"]["attempts"].as_array().expect("a list");
    assert!(!tries.is_empty() && tries.iter().all(|attempt| attempt["code"] == "told_to_fail"), "{task:#}");
    eventually("the dead letter is stored", async || fleet.dead_letter(&id).await).await;
}

#[tokio::test]
async fn attempts_max_can_be_set_for_one_task() {
    let fleet = Fleet::start().await;
    let id = fleet.submit_with("?attempts_max=1", &Probe::echo("once").fails(1)).await;
    assert_eq!(fleet.failed(&id).await["attempts_max"], 1);
    assert_eq!(fleet.runs_of(&id).len(), 1);
}

#[tokio::test]
async fn a_panic_fails_the_attempt_and_not_the_worker() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("boom").panics()).await;
    assert_eq!(fleet.failed(&id).await["failure"]["code"], "panic");
    let after = fleet.submit(&Probe::echo("still here")).await;
    fleet.completed(&after).await;
    assert_eq!(fleet.started(&after).await.pid, fleet.workers[0].pid());
    assert_eq!(fleet.runs_of(&id).len(), 3);
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_ended() {
    let fleet = Fleet::builder().probe(|queue| queue.timeout("500ms").attempts_max(2)).start().await;
    let id = fleet.submit(&Probe::echo("slow").sleeps_ms(20_000)).await;
    assert_eq!(fleet.failed(&id).await["failure"]["code"], "timeout");
    assert_eq!(fleet.runs_of(&id).len(), 2);
}

#[tokio::test]
async fn an_output_that_is_too_large_is_a_failure_with_a_name() {
    let fleet = Fleet::builder().probe(|queue| queue.payload_bytes_max(700 * 1024)).start().await;
    let id = fleet.submit(&Probe::echo("huge").output_bytes(800 * 1024)).await;
    assert_eq!(fleet.failed(&id).await["failure"]["code"], "output_too_large");
}

/// Each delivery kills its process; the fourth finds its attempts used up and starts no handler.
#[tokio::test]
async fn a_poison_ends_as_a_dead_letter_before_it_has_killed_every_worker() {
    let fleet = Fleet::builder().probe(|queue| queue.lease("1s")).workers("probe", 4).start().await;
    let id = fleet.submit(&Probe::echo("poison").exits()).await;
    let task = fleet.failed(&id).await;
    assert_eq!(task["failure"]["code"], "worker_lost", "{task:#}");
    assert_eq!(fleet.runs_of(&id).len(), 3);
    eventually("the dead letter is stored", async || fleet.dead_letter(&id).await).await;
    let innocent = fleet.submit(&Probe::echo("fine")).await;
    fleet.completed(&innocent).await;
}
