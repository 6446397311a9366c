//! What other publishers may write, on purpose or not: numbers at the ends of their range, and messages of any size.

use std::time::Duration;

use prost::Message as _;
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::limits::PAYLOAD_BYTES_MAX;
use workfleet_proto::v1::{self, Backoff, Envelope, State};
use workfleet_proto::wire::CopyHeaders;
use workfleet_sdk::{Context, TaskError};

use crate::fleet::{Fleet, eventually};

async fn quick(_: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    Ok(ThumbnailReply::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_at_the_ends_of_their_range_do_no_harm() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, quick).await;
    for ms in [i64::MIN, i64::MAX] {
        let headers = CopyHeaders { due_ms: ms, ..fleet.headers() };
        let plain = Envelope { submitted_at_ms: ms, timeout_ms: ms, ..fleet.envelope() };
        let id = fleet.publish("m", headers.clone(), plain.clone()).await;
        assert_eq!(fleet.ended(&id).await.state(), State::Completed);
        let late = Envelope { deadline_ms: Some(ms), attempts_max: 1, ..plain };
        fleet.ended(&fleet.publish("m", headers.clone(), late).await).await;
        // Bytes of an unknown schema wait for a newer worker, however old the task says it is.
        let headers = CopyHeaders { schema: "ffffffffffffffff".to_owned(), ..headers };
        let payload = b"\xff\xff".as_slice().into();
        let unknown = fleet.publish("m", headers, Envelope { payload, submitted_at_ms: ms, ..fleet.envelope() }).await;
        eventually("it is scheduled", async || fleet.copies(&unknown).await.pop()).await;
    }
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wait_before_the_next_attempt_is_endless() {
    let fleet = Fleet::start().await;
    let later = async |_: Context, task: ThumbnailRequest| {
        let error = TaskError::retryable("busy", "later");
        Err::<ThumbnailReply, _>(if task.width_px == 1 { error.retry_after(Duration::MAX) } else { error })
    };
    let worker = fleet.worker(2, move |ctx, task| Box::pin(later(ctx, task))).await;
    let backoff = Some(Backoff { base_ms: i64::MAX, max_ms: i64::MAX });
    for width_px in [1, 2] {
        let payload = ThumbnailRequest { width_px, ..Default::default() }.encode_to_vec().into();
        let id = fleet.publish("m", fleet.headers(), Envelope { payload, backoff, ..fleet.envelope() }).await;
        let due_ms = eventually("the retry", async || fleet.scheduled_for(&id).await).await;
        let week = Duration::from_secs(7 * 24 * 60 * 60 + 60).as_millis();
        assert!(u128::try_from(due_ms - workfleet_link::time::now_ms()).expect("later") <= week, "{due_ms}");
    }
    fleet.emptied().await;
    worker.stop().await;
}

/// What the broker takes at most.
const MESSAGE_BYTES_MAX: usize = 1_024 * 1_024;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_as_large_as_any_ends_even_if_it_is_no_task() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, quick).await;
    let id = fleet.new_id();
    let body = vec![0xff; MESSAGE_BYTES_MAX - 64];
    fleet.publish_raw(&id, "m", async_nats::HeaderMap::new(), body.into()).await;
    assert_eq!(fleet.ended(&id).await.failure.expect("a failure").code, "undecodable");
    let letter = eventually("the dead letter", async || fleet.dead(&id).await).await;
    assert_eq!(letter.envelope.expect("kept").payload.len(), PAYLOAD_BYTES_MAX);
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_copy_whose_headers_are_no_numbers_ends_the_run_of_its_mark() {
    let fleet = Fleet::start().await;
    let id = fleet.new_id();
    let mark = v1::Result { id: id.to_string(), state: State::Queued.into(), run: 2, ..v1::Result::default() };
    let mark = Publish::new(fleet.broker.names.result(&id), mark.encode_to_vec().into());
    let mark = Pipeline::start(&fleet.broker).publish(mark).await.expect("stored");
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in (CopyHeaders { result_sequence: mark.sequence, ..fleet.headers() }).pairs() {
        headers.insert(name, if name == "Wf-Run" { "x2".to_owned() } else { value });
    }
    let envelope = Envelope { id: id.to_string(), ..fleet.envelope() };
    fleet.publish_raw(&id, "m", headers, envelope.encode_to_vec().into()).await;
    let worker = fleet.worker(2, quick).await;
    fleet.emptied().await;
    let end = fleet.ended(&id).await;
    assert_eq!((end.state(), end.run), (State::Failed, 2));
    let letter = eventually("the dead letter", async || fleet.dead(&id).await).await;
    assert_eq!(letter.result.expect("a result").run, 2);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_no_dead_letter_is_left_out_of_it() {
    let fleet = Fleet::start().await;
    let fail = |_: Context, _: ThumbnailRequest| async {
        Err::<ThumbnailReply, _>(TaskError::permanent("bad", "x".repeat(1_000)))
    };
    let worker = fleet.worker(2, fail).await;
    let image = vec![0; MESSAGE_BYTES_MAX - 1_024].into();
    let payload = ThumbnailRequest { image, ..Default::default() }.encode_to_vec().into();
    let large = fleet.publish("m", fleet.headers(), Envelope { payload, ..fleet.envelope() }).await;
    let tenant = Some("x".repeat(MESSAGE_BYTES_MAX - 1_024));
    let wordy = fleet.publish("m", fleet.headers(), Envelope { tenant, ..fleet.envelope() }).await;
    for id in [large, wordy] {
        assert_eq!(fleet.ended(&id).await.failure.expect("a failure").code, "bad");
        let letter = eventually("the dead letter", async || fleet.dead(&id).await).await;
        assert_eq!(letter.result.expect("a result").id, id.as_str());
    }
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_whose_record_fits_no_message_fails_the_task() {
    let fleet = Fleet::start().await;
    let large = |_: Context, _: ThumbnailRequest| async {
        Ok(ThumbnailReply { image: vec![0; 200 * 1_024].into(), ..Default::default() })
    };
    let worker = fleet.worker(2, large).await;
    let tenant = Some("x".repeat(900 * 1_024));
    let id = fleet.publish("m", fleet.headers(), Envelope { tenant, ..fleet.envelope() }).await;
    assert_eq!(fleet.ended(&id).await.failure.expect("a failure").code, "output_too_large");
    fleet.emptied().await;
    worker.stop().await;
}
