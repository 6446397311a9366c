//! Submits, and where the task is then.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use workfleet_dispatcher::{Code, Options};
use workfleet_proto::id::TaskId;

use crate::due::Carrier;
use crate::place::{Place, eventually, wide};

fn delayed(milliseconds: u64) -> Options {
    Options { delay: Some(Duration::from_millis(milliseconds)), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_task_moves_into_the_queue_when_its_time_has_come() {
    let place = Place::start("").await;
    let carrier = Carrier::start(&place.dispatcher);
    let task = place.dispatcher.submit(wide(1, None, delayed(700))).await.expect("stored").task;
    let id: TaskId = task.id.parse().expect("an id");
    assert_eq!(task.state.0.word(), "scheduled");
    assert_eq!(place.dispatcher.get(&id).await.expect("known").state.0.word(), "scheduled");
    let queue = place.dispatcher.queue("thumbnail").await.expect("a queue");
    assert_eq!((queue.scheduled, queue.waiting), (1, 0));
    eventually("the task is queued", async || {
        let state = place.dispatcher.get(&id).await.expect("known at every moment").state.0;
        (state.word() == "queued").then_some(())
    })
    .await;
    eventually("nothing is left behind", async || (place.messages("DELAY_thumbnail").await == 0).then_some(())).await;
    assert_eq!(place.messages("TASKS_thumbnail").await, 1);
    carrier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_that_the_time_has_come() {
    let place = Place::start("").await;
    let task = place.dispatcher.submit(wide(1, None, delayed(500))).await.expect("stored").task;
    let mut watch = place.dispatcher.watch(&task.id.parse().expect("an id"), None).await.expect("known");
    let mut states = Vec::new();
    while states.len() < 2 {
        let view = tokio::time::timeout(Duration::from_secs(15), watch.next()).await.expect("in time");
        states.push(view.expect("not the end").expect("no error").state.0.word());
    }
    assert_eq!(states, ["scheduled", "queued"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_so_and_when_to_come_again() {
    let place = Place::start("tasks_max = 2\nscheduled_max = 3").await;
    for _ in 0..2 {
        place.dispatcher.submit(wide(1, None, Options::default())).await.expect("room");
    }
    let full = place.dispatcher.submit(wide(1, None, Options::default())).await.expect_err("no room");
    assert_eq!((full.code, full.retry_after_ms), (Code::QueueFull, Some(1_000)));
    for _ in 0..3 {
        place.dispatcher.submit(wide(1, None, delayed(60_000))).await.expect("room");
    }
    let full = place.dispatcher.submit(wide(1, None, delayed(60_000))).await.expect_err("no room");
    assert_eq!(full.code, Code::QueueFull);
    assert_eq!(place.dispatcher.scale("thumbnail").await.expect("a queue").value, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_the_answer_comes_at_once_and_nothing_is_stored_later() {
    let mut place = Place::start("").await;
    place.kill_broker();
    let broker = place.dispatcher.broker().clone();
    eventually("the loss is noticed", async || (!broker.is_connected()).then_some(())).await;
    let began = Instant::now();
    let refused = place.dispatcher.submit(wide(1, None, Options::default())).await.expect_err("no broker");
    assert_eq!((refused.code, refused.task_id.is_some()), (Code::BrokerUnavailable, false));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    place.start_broker().await;
    assert_eq!(place.messages("TASKS_thumbnail").await, 0);
    place.dispatcher.submit(wide(1, None, Options::default())).await.expect("as if nothing had happened");
}
