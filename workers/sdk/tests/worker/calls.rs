//! Direct calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use prost::Message as _;
use workfleet_link::time::now_ms;
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::names::header;
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::CallReply;
use workfleet_proto::v1::call_reply::Answer;
use workfleet_proto::wire::CopyHeaders;
use workfleet_sdk::{Context, TaskError};

use crate::fleet::{Fleet, eventually};

/// Waits as many milliseconds as the width says.
async fn sleepy(ctx: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    assert!(ctx.is_last_attempt() || ctx.attempt() == 1);
    tokio::time::sleep(Duration::from_millis(task.width_px.into())).await;
    Ok(ThumbnailReply { width_px: task.width_px, ..Default::default() })
}

async fn call(fleet: &Fleet, width_px: u32, time_ms: i64) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(header::DEADLINE_MS, (now_ms() + time_ms).to_string());
    let body = ThumbnailRequest { width_px, ..Default::default() }.encode_to_vec();
    let subject = fleet.broker.names.call(&fleet.queue);
    let reply = fleet.broker.client.request_with_headers(subject, headers, body.into()).await.expect("an answer");
    CallReply::decode(reply.payload).expect("a reply").answer.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_by_the_same_handler_and_stores_nothing() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(1, sleepy).await;
    let Answer::Output(output) = call(&fleet, 1, 5_000).await else { panic!("no output") };
    assert_eq!(ThumbnailReply::decode(output).expect("an output").width_px, 1);
    assert_eq!(fleet.held().await, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_free_slot_says_so_at_once() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(1, sleepy).await;
    let id = fleet.submit(ThumbnailRequest { width_px: 1_500, ..Default::default() }).await;
    let answer = eventually("the slot is taken", async || match call(&fleet, 1, 5_000).await {
        Answer::Output(_) => None,
        other => Some(other),
    });
    assert!(matches!(answer.await, Answer::Busy(_)));
    fleet.ended(&id).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_at_its_deadline_and_answers_nothing_then() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(1, sleepy).await;
    let slow = tokio::time::timeout(Duration::from_secs(1), call(&fleet, 60_000, 200));
    assert!(slow.await.is_err(), "the caller has given up by itself");
    let next = eventually("the slot is free again", async || match call(&fleet, 1, 5_000).await {
        Answer::Output(output) => Some(output),
        _ => None,
    });
    next.await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_outlasts_the_queues_timeout_is_told_so() {
    let fleet = Fleet::start_with(|settings| settings.timeout_ms = 200).await;
    let worker = fleet.worker(1, sleepy).await;
    let Answer::Failure(failure) = call(&fleet, 60_000, 5_000).await else { panic!("no failure") };
    assert_eq!(failure.code, "timeout");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_comes_while_a_call_has_the_slot_is_handed_back_and_not_held() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(1, sleepy).await;
    let (answer, id) = tokio::join!(call(&fleet, 1_000, 5_000), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        fleet.submit(ThumbnailRequest { width_px: 1, ..Default::default() }).await
    });
    assert!(matches!(answer, Answer::Output(_)));
    let record = fleet.ended(&id).await;
    assert_eq!(record.attempt, 1, "handing back spends no attempt");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_retry_is_stored_is_not_handed_back_beside_it() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(ThumbnailRequest { width_px: 1, ..Default::default() }).await;
    // As a worker leaves it that dies between storing the retry and acknowledging.
    let taken = fleet.take().await;
    let retry = CopyHeaders { generation: Generation { run: 1, attempt: 2, back: 0 }, ..fleet.headers() };
    fleet.schedule(&id, &retry, Duration::from_secs(3_600)).await;
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let handler = move |ctx, task| {
        counted.fetch_add(1, Ordering::SeqCst);
        sleepy(ctx, task)
    };
    let worker = fleet.worker(1, handler).await;
    let (answer, ()) = tokio::join!(call(&fleet, 1_000, 5_000), async {
        eventually("the call has the slot", async || (runs.load(Ordering::SeqCst) == 1).then_some(())).await;
        fleet.drop_taken(taken).await;
        fleet.emptied().await;
    });
    assert!(matches!(answer, Answer::Output(_)));
    assert_eq!(fleet.copies(&id).await, [retry.generation], "no copy besides the retry");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    worker.stop().await;
}
