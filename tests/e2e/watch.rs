use serde_json::json;
use workfleet_proto::v1::{self, State, WatchRequest};
use workfleet_tests::sse::Event;
use workfleet_tests::{Fleet, Probe};

fn percents(events: &[Event]) -> Vec<u64> {
    events.iter().filter_map(|event| event.data["progress"]["percent"].as_u64()).collect()
}

#[tokio::test]
async fn events_tell_a_task_from_its_start_to_its_end() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("seen").sleeps_ms(2_000).progress_steps(4)).await;
    let events = fleet.events(&id, None).await.rest().await;
    let last = events.last().expect("at least the end");
    assert_eq!((last.kind.as_str(), last.state()), ("state", "completed"));
    assert_eq!(last.data["output"]["echo"], "seen");
    assert!(events.iter().any(|event| event.state() == "running"), "{events:#?}");
    assert!(events.iter().any(|event| event.kind == "progress"), "{events:#?}");
    assert!(percents(&events).is_sorted(), "{events:#?}");
    assert!(events.iter().all(|event| !event.id.is_empty() && event.data["id"] == json!(id)), "{events:#?}");
}

#[tokio::test]
async fn a_late_joiner_gets_the_end_at_once() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("over")).await;
    fleet.completed(&id).await;
    let events = fleet.events(&id, None).await.rest().await;
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0].state(), "completed");
    // 204 is what tells a browser not to come again.
    let again = fleet.http.get(&format!("/v1/tasks/{id}/events")).header("last-event-id", &events[0].id);
    again.send().await.expect(204);
}

#[tokio::test]
async fn a_reader_that_resumes_sees_nothing_twice_and_misses_no_end() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("resumed").sleeps_ms(3_000).progress_steps(6)).await;
    let mut stream = fleet.events(&id, None).await;
    let mut seen = Vec::new();
    while percents(&seen).is_empty() {
        seen.push(stream.next().await.expect("the task goes on"));
    }
    drop(stream);
    let cursor = seen.last().expect("it saw something").id.clone();
    let rest = fleet.events(&id, Some(&cursor)).await.rest().await;
    assert!(rest.iter().all(|event| seen.iter().all(|old| old.id != event.id)), "{seen:#?} {rest:#?}");
    assert_eq!(rest.last().map(Event::state), Some("completed"), "{rest:#?}");
    seen.extend(rest);
    assert!(percents(&seen).is_sorted(), "{seen:#?}");
}

#[tokio::test]
async fn events_show_a_retry() {
    let fleet = Fleet::builder().probe(|queue| queue.backoff("3s", "3s")).start().await;
    let id = fleet.submit(&Probe::echo("twice").sleeps_ms(300).fails(1)).await;
    let events = fleet.events(&id, None).await.rest().await;
    assert_eq!(events.last().map(Event::state), Some("completed"), "{events:#?}");
    assert_eq!(events.last().map(|event| event.data["attempt"].clone()), Some(json!(2)));
}

#[tokio::test]
async fn watch_over_grpc_ends_with_the_ended_task() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("watched").sleeps_ms(1_000).progress_steps(2)).await;
    let mut stream =
        fleet.grpc().await.watch(WatchRequest { id: id.clone(), cursor: None }).await.expect("a stream").into_inner();
    let mut tasks = Vec::new();
    while let Some(task) = stream.message().await.expect("a task") {
        tasks.push(task);
    }
    assert_eq!(tasks.last().map(v1::Task::state), Some(State::Completed), "{tasks:?}");
    assert!(tasks.len() > 1, "{tasks:?}");
    let late = fleet
        .grpc()
        .await
        .watch(WatchRequest { id, cursor: None })
        .await
        .expect("a stream")
        .into_inner()
        .message()
        .await;
    assert_eq!(late.expect("a task").map(|task| task.state()), Some(State::Completed));
}
