use std::time::{Duration, Instant};

use prost::Message as _;
use workfleet_proto::v1::CallRequest;
use workfleet_proto::v1::call_request::Payload;
use workfleet_tests::kinds::probe::ProbeReply;
use workfleet_tests::{Fleet, Probe, eventually};

#[tokio::test]
async fn a_call_is_answered_by_the_same_handler() {
    let fleet = Fleet::start().await;
    let answer = fleet.call("", &Probe::echo("asked")).await.expect(200).json();
    assert_eq!(answer["output"]["echo"], "asked");
    assert_eq!(answer["delivery"], "at_most_once");
    assert!(answer["worker"].as_str().is_some_and(|worker| !worker.is_empty()), "{answer}");

    let request = CallRequest {
        queue: "probe".to_owned(),
        payload: Some(Payload::Json(r#"{"echo":"asked"}"#.to_owned())),
        timeout_ms: Some(5_000),
    };
    let response = fleet.grpc().await.call(request).await.expect("an answer").into_inner();
    assert_eq!(ProbeReply::decode(response.output).expect("a reply").echo, "asked");
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_at_its_deadline() {
    let fleet = Fleet::start().await;
    let begun = Instant::now();
    let answer = fleet.call("?timeout=500ms", &Probe::echo("slow").sleeps_ms(8_000)).await;
    answer.expect_problem(504, "deadline_exceeded");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_call_without_a_free_slot_is_told_busy() {
    let fleet = Fleet::builder().slots(1).start().await;
    let id = fleet.submit(&Probe::echo("holds the slot").sleeps_ms(6_000)).await;
    fleet.started(&id).await;
    let answer = fleet.call("?timeout=500ms", &Probe::echo("no room")).await;
    answer.expect_problem(429, "busy");
}

#[tokio::test]
async fn a_call_finds_the_worker_that_is_free() {
    let fleet = Fleet::builder().workers("probe", 3).slots(1).start().await;
    for _ in 0..2 {
        let id = fleet.submit(&Probe::echo("holds a slot").sleeps_ms(8_000)).await;
        fleet.started(&id).await;
    }
    for _ in 0..10 {
        fleet.call("?timeout=5s", &Probe::echo("one is free")).await.expect(200);
    }
}

#[tokio::test]
async fn a_call_that_fails_says_how() {
    let fleet = Fleet::start().await;
    let answer = fleet.call("", &Probe::echo("x").fails_with("bad_image")).await;
    assert!(answer.status >= 400, "{}", answer.text());
    assert!(answer.text().contains("bad_image"), "{}", answer.text());
    let answer = fleet.call("", &Probe::echo("x").panics()).await;
    assert!(answer.status >= 500, "{}", answer.text());
    fleet.call("", &Probe::echo("still there")).await.expect(200);
}

/// The difference between the two ways, in one test.
#[tokio::test]
async fn with_all_workers_stopped_a_call_fails_at_once_and_a_submit_is_kept() {
    let mut fleet = Fleet::start().await;
    fleet.workers[0].drain().await;

    let begun = Instant::now();
    fleet.call("", &Probe::echo("now or never")).await.expect_problem(503, "no_workers");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    let id = fleet.submit(&Probe::echo("whenever")).await;
    assert_eq!(fleet.task(&id).await["state"], "queued");

    fleet.add_worker("probe").await;
    assert_eq!(fleet.completed(&id).await["output"]["echo"], "whenever");
    let answer = eventually("the queue group is back", async || {
        let answer = fleet.call("", &Probe::echo("again")).await;
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(answer.await.json()["output"]["echo"], "again");
}
