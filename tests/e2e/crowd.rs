use std::time::Duration;

use serde_json::Value;
use workfleet_proto::v1::State;
use workfleet_proto::v1::SubmitRequest;
use workfleet_proto::v1::submit_reply::Reply;
use workfleet_proto::v1::submit_request::Payload;
use workfleet_tests::{Fleet, Probe, eventually_within};

/// Readers that never pause, while tasks fail, wait, move and end.
#[tokio::test]
async fn what_a_reader_sees_of_a_task_never_goes_astray() {
    let fleet = Fleet::builder().workers("probe", 2).start().await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(fleet.submit(&Probe::echo("watched").sleeps_ms(30).fails(2)).await);
    }
    for _ in 0..4 {
        ids.push(fleet.submit_with("?delay=300ms", &Probe::echo("delayed").sleeps_ms(30)).await);
    }
    let histories = futures::future::join_all(ids.iter().map(|id| read_to_the_end(&fleet, id))).await;
    for history in histories {
        for pair in history.windows(2) {
            assert!(follows(&pair[0], &pair[1]), "{history:?}");
        }
        assert_eq!(history.last().map(|(state, _)| *state), Some(State::Completed), "{history:?}");
    }
}

/// Each state and attempt that was seen, without repetitions. A 404 in between is a failure already.
async fn read_to_the_end(fleet: &Fleet, id: &str) -> Vec<(State, u64)> {
    let mut history: Vec<(State, u64)> = Vec::new();
    loop {
        let task: Value = fleet.task(id).await;
        let state = State::from_word(task["state"].as_str().unwrap_or_default()).expect("a state");
        let seen = (state, task["attempt"].as_u64().unwrap_or(0));
        if history.last() != Some(&seen) {
            history.push(seen);
        }
        if state.is_end() {
            return history;
        }
    }
}

/// A reader may miss states in between, but time has one direction.
fn follows((before, attempt): &(State, u64), (after, later): &(State, u64)) -> bool {
    later >= attempt && !before.is_end() && *after != State::Scheduled
}

#[tokio::test]
async fn a_thousand_tasks_over_one_stream_all_end_once() {
    const TASKS: usize = 1_000;
    let fleet = Fleet::builder().workers("probe", 2).slots(64).start().await;
    let request = |number: usize| SubmitRequest {
        queue: "probe".to_owned(),
        payload: Some(Payload::Json(format!("{{\"echo\":\"{number}\"}}"))),
        ..SubmitRequest::default()
    };
    let requests = tokio_stream::iter((0..TASKS).map(request));
    let mut replies = fleet.grpc().await.submit_stream(requests).await.expect("a stream").into_inner();
    let mut accepted = 0;
    while let Some(reply) = replies.message().await.expect("a reply") {
        assert!(matches!(reply.reply, Some(Reply::Task(_))), "{reply:?}");
        accepted += 1;
    }
    assert_eq!(accepted, TASKS);
    let all = async || (fleet.observer.stores().await.len() == TASKS).then_some(());
    eventually_within(Duration::from_secs(60), "every task has a result", all).await;
    let stores = fleet.observer.stores().await;
    assert!(stores.values().all(|count| *count == 1));
    let scale = fleet.http.get("/v1/scale/probe").send().await.expect(200).json();
    assert_eq!((&scale["waiting"], &scale["due"]), (&Value::from(0), &Value::from(0)), "{scale}");
}

#[tokio::test]
async fn many_watch_one_task_and_all_see_its_end() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("popular").sleeps_ms(2_000).progress_steps(3)).await;
    let watchers = (0..50).map(async |_| fleet.events(&id, None).await.rest().await);
    for events in futures::future::join_all(watchers).await {
        assert_eq!(events.last().map(|event| event.state().to_owned()).as_deref(), Some("completed"));
    }
}
