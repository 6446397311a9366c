//! How a task ends, and what is stored of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use prost::Message as _;
use tower::ServiceExt as _;
use tower::layer::layer_fn;
use workfleet_link::time::now_ms;
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::{Envelope, State};
use workfleet_proto::wire::CopyHeaders;
use workfleet_sdk::{Context, Delivery, HandlerService, Outcome, ResultExt as _, TaskError};

use crate::fleet::{Fleet, eventually};

/// Replies with the width it was asked for.
async fn echo(_: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    Ok(ThumbnailReply { width_px: task.width_px, ..Default::default() })
}

fn task(width_px: u32) -> ThumbnailRequest {
    ThumbnailRequest { width_px, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_task_has_its_output_recorded_and_leaves_the_queue() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo).await;
    let id = fleet.submit(task(80)).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt, record.run), (State::Completed, 1, 1));
    assert_eq!(ThumbnailReply::decode(record.output).expect("an output").width_px, 80);
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_tried_again_and_remembered() {
    let fleet = Fleet::start().await;
    let handler = async |ctx: Context, task: ThumbnailRequest| {
        if ctx.attempt() < 3 {
            Err(std::io::Error::other(format!("attempt {}", ctx.attempt())))?;
        }
        assert!(ctx.is_last_attempt());
        echo(ctx, task).await
    };
    let worker = fleet.worker(2, move |ctx, task| Box::pin(handler(ctx, task))).await;
    let record = fleet.ended(&fleet.submit(task(1)).await).await;
    assert_eq!((record.state(), record.attempt), (State::Completed, 3));
    let messages: Vec<&str> = record.attempts.iter().map(|attempt| attempt.message.as_str()).collect();
    assert_eq!(messages, ["attempt 1", "attempt 2"]);
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_are_used_up_leave_the_last_failure_and_a_dead_letter() {
    let fleet = Fleet::start().await;
    let worker = fleet
        .worker(2, async |_: Context, _: ThumbnailRequest| Err(TaskError::retryable("no_route", "nobody answers")))
        .await;
    let id = fleet.submit(task(1)).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt, record.attempts.len()), (State::Failed, 3, 3));
    assert_eq!(record.failure.expect("a failure").code, "no_route");
    fleet.emptied().await;
    let letter = fleet.dead(&id).await.expect("stored before the acknowledgement");
    assert_eq!(letter.reason, "no_route in attempt 3 of 3");
    assert_eq!(letter.envelope.expect("the task").id, id.as_str());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_error_fails_at_once() {
    let fleet = Fleet::start().await;
    let handler = async |_: Context, _: ThumbnailRequest| Err(std::fmt::Error).permanent("bad_image");
    let worker = fleet.worker(2, handler).await;
    let record = fleet.ended(&fleet.submit(task(1)).await).await;
    assert_eq!((record.state(), record.attempt), (State::Failed, 1));
    assert_eq!(record.failure.expect("a failure").code, "bad_image");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_a_timeout_are_failures_with_codes() {
    let fleet = Fleet::start().await;
    let handler = async |_: Context, task: ThumbnailRequest| {
        assert!(task.width_px != 0, "no width");
        std::future::pending().await
    };
    let worker = fleet.worker(4, handler).await;
    let panics = fleet.submit(task(0)).await;
    let envelope =
        Envelope { payload: task(1).encode_to_vec().into(), timeout_ms: 200, attempts_max: 1, ..fleet.envelope() };
    let hangs = fleet.publish("m", fleet.headers(), envelope).await;
    let failure = fleet.ended(&panics).await.failure.expect("a failure");
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("panic", "no width"));
    assert_eq!(fleet.ended(&hangs).await.failure.expect("a failure").code, "timeout");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_task_fail_under_their_id_and_keep_their_bytes() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo).await;
    let no_envelope = fleet.new_id();
    fleet.publish_raw(&no_envelope, "m", HeaderMap::new(), b"\xff\xff".as_slice().into()).await;
    let envelope = Envelope { payload: b"\xff\xff".as_slice().into(), ..fleet.envelope() };
    let no_payload = fleet.publish("m", fleet.headers(), envelope).await;
    for id in [no_envelope, no_payload] {
        let record = fleet.ended(&id).await;
        assert_eq!((record.state(), record.failure.expect("a failure").code.as_str()), (State::Failed, "undecodable"));
        let letter = eventually("the dead letter", async || fleet.dead(&id).await).await;
        assert_eq!(&letter.envelope.expect("kept").payload[..], b"\xff\xff");
    }
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_an_id_is_removed() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo).await;
    let subject = format!("wf.task.{}.q.m.nobody", fleet.queue);
    fleet.broker.jetstream.publish(subject, "x".into()).await.expect("sent").await.expect("stored");
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_the_worker_does_not_know_is_handed_back_and_not_failed() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo).await;
    let envelope = Envelope { payload: b"\xff\xff".as_slice().into(), ..fleet.envelope() };
    let mut headers = fleet.headers();
    headers.schema = "ffffffffffffffff".to_owned();
    let id = fleet.publish("m", headers, envelope).await;
    let subject = fleet.broker.names.delay_at(&id);
    let stream = fleet.broker.names.delay_stream(&fleet.queue);
    eventually("it is scheduled", async || {
        workfleet_link::read::last_on_subject(&fleet.broker, &stream, &subject).await.expect("an answer")
    })
    .await;
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_stays_unknown_for_ten_minutes_fails_the_task() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo).await;
    // Each time it was handed back it waited for 5 s, so this is the last time.
    let headers = CopyHeaders { schema: "ffffffffffffffff".to_owned(), schema_backs: 120, ..fleet.headers() };
    let envelope = Envelope { payload: b"\xff\xff".as_slice().into(), ..fleet.envelope() };
    let id = fleet.publish("m", headers.clone(), envelope.clone()).await;
    let record = fleet.ended(&id).await;
    assert_eq!(record.failure.expect("a failure").code, "undecodable");
    eventually("the dead letter", async || fleet.dead(&id).await).await;
    // What it was handed back for besides, since it could not run alone or there was no slot, does not count.
    let generation = Generation { back: 4_000, ..Generation::FIRST };
    let headers = CopyHeaders { generation, schema_backs: 119, ..headers };
    let old = Envelope { submitted_at_ms: 1, ..envelope };
    let id = fleet.publish("m", headers, old).await;
    eventually("it is scheduled", async || fleet.scheduled_for(&id).await).await;
    fleet.emptied().await;
    worker.stop().await;
}

/// Protobuf reads it and would leave the new field out.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_no_worker_knew_for_ten_minutes_fails_the_task_and_is_named() {
    let fleet = Fleet::start().await;
    let handler = async |_: Context, _: ThumbnailRequest| panic!("must not start");
    let worker = fleet.worker(2, handler).await;
    let payload = [task(80).encode_to_vec(), b"\xa0\x06\x01".to_vec()].concat();
    let envelope = Envelope { payload: payload.into(), ..fleet.envelope() };
    let headers = CopyHeaders { schema: "ffffffffffffffff".to_owned(), schema_backs: 119, ..fleet.headers() };
    let waits = fleet.publish("m", headers.clone(), envelope.clone()).await;
    eventually("it is scheduled", async || fleet.scheduled_for(&waits).await).await;
    let fails = fleet.publish("m", CopyHeaders { schema_backs: 120, ..headers }, envelope).await;
    let failure = fleet.ended(&fails).await.failure.expect("a failure");
    assert_eq!(failure.code, "undecodable");
    for said in ["field 100 of workfleet.kinds.thumbnail.v1.ThumbnailRequest", "ffffffffffffffff", "in 10 minutes"] {
        assert!(failure.message.contains(said), "{}", failure.message);
    }
    eventually("the dead letter", async || fleet.dead(&fails).await).await;
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_were_used_up_by_dying_workers_fail_the_task_without_a_handler() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(task(1)).await;
    fleet.lose(3).await;
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let handler = move |ctx: Context, task: ThumbnailRequest| {
        counted.fetch_add(1, Ordering::SeqCst);
        echo(ctx, task)
    };
    let worker = fleet.worker(2, handler).await;
    let record = fleet.ended(&id).await;
    let failure = record.failure.expect("a failure");
    assert_eq!((record.attempt, failure.code.as_str()), (3, "worker_lost"));
    let message = "the last of 3 attempts left no outcome: its worker was lost, or could not store it";
    assert_eq!(failure.message, message);
    fleet.emptied().await;
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_whose_task_has_ended_is_only_acknowledged() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(task(1)).await;
    let record = workfleet_proto::v1::Result { id: id.to_string(), run: 1, ended_at_ms: 5, ..Default::default() };
    for (state, dead) in [(State::Completed, false), (State::Failed, true)] {
        let record = workfleet_proto::v1::Result { state: state.into(), ..record.clone() };
        let id = if dead { fleet.submit(task(1)).await } else { id.clone() };
        let subject = fleet.broker.names.result(&id);
        let record = workfleet_proto::v1::Result { id: id.to_string(), ..record };
        let stored = fleet.broker.jetstream.publish(subject, record.encode_to_vec().into()).await.expect("sent");
        stored.await.expect("stored");
        fleet.lose(1).await;
        let worker = fleet.worker(1, async |_: Context, _: ThumbnailRequest| panic!("must not start")).await;
        fleet.emptied().await;
        worker.stop().await;
        assert_eq!(fleet.ended(&id).await.state(), state);
        // Whoever completes the letter writes the same one.
        let died = fleet.dead(&id).await.map(|letter| letter.dead_at_ms);
        assert_eq!(died, dead.then_some(5), "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn middleware_sees_what_goes_in_and_what_comes_out() {
    let fleet = Fleet::start().await;
    let wrap = |worker: workfleet_sdk::KindWorker| {
        let inner = layer_fn(|inner: HandlerService| {
            inner.map_request(|delivery: Delivery| {
                let doubled = ThumbnailRequest::decode(delivery.payload).expect("a task").width_px * 2;
                Delivery { payload: task(doubled).encode_to_vec().into(), ..delivery }
            })
        });
        let outer = layer_fn(|inner: HandlerService| {
            inner.map_response(|outcome: Outcome| match outcome {
                Outcome::Completed(output) if output.len() < 100 => Outcome::Completed(output),
                _ => Outcome::Failed(TaskError::permanent("large", "too large")),
            })
        });
        worker.layer(inner).layer(outer)
    };
    let worker = fleet.worker_with(&[], echo, wrap).await;
    let record = fleet.ended(&fleet.submit(task(21)).await).await;
    assert_eq!(ThumbnailReply::decode(record.output).expect("an output").width_px, 42);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_the_handler_asks_for_is_kept() {
    let fleet = Fleet::start().await;
    let handler = async |ctx: Context, task: ThumbnailRequest| {
        if ctx.attempt() == 1 {
            return Err(TaskError::retryable("busy", "later").retry_after(Duration::from_millis(900)));
        }
        echo(ctx, task).await
    };
    let worker = fleet.worker(2, handler).await;
    let record = fleet.ended(&fleet.submit(task(1)).await).await;
    let waited_ms = record.started_at_ms.expect("started") - record.attempts[0].ended_at_ms;
    assert!((900..2_500).contains(&waited_ms), "{waited_ms} ms");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_past_its_deadline_when_it_is_taken_has_begun_no_attempt() {
    let fleet = Fleet::start().await;
    let envelope = Envelope { deadline_ms: Some(now_ms() - 1), ..fleet.envelope() };
    let id = fleet.publish("m", fleet.headers(), envelope).await;
    let handler = async |_: Context, _: ThumbnailRequest| Err(TaskError::permanent("begun", "nobody wants it"));
    let worker = fleet.worker(1, handler).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt, record.started_at_ms), (State::Expired, 0, None));
    assert_eq!(record.attempts.len(), 0);
    fleet.emptied().await;
    worker.stop().await;
}
