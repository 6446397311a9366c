//! Payloads and outputs that no message holds: how they travel, and when they are deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::Notify;
use workfleet_link::blobs;
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_proto::blob::{BlobId, Store};
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::limits::INLINE_BYTES_MAX;
use workfleet_proto::v1::{Blob, Envelope, Failure, Result as Record, State};
use workfleet_sdk::{Context, TaskError};

use crate::fleet::{Fleet, eventually, noise};

pub(super) async fn echo(_: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    Ok(ThumbnailReply { image: task.image, ..Default::default() })
}

/// Fails as often as the width says, then gives the picture back.
async fn echo_at_last(ctx: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    if ctx.attempt() <= task.width_px {
        return Err(TaskError::retryable("unlucky", "once more"));
    }
    echo(ctx, task).await
}

pub(super) fn picture(bytes: usize) -> ThumbnailRequest {
    ThumbnailRequest { image: noise(bytes), ..Default::default() }
}

/// The output of a record: the blob that it names.
async fn large_output(fleet: &Fleet, record: &Record) -> ThumbnailReply {
    let claim = record.blob.as_ref().expect("a claim check");
    assert!(record.output.is_empty());
    let blob = BlobId::named(&fleet.queue, &claim.name).expect("a name");
    ThumbnailReply::decode(fleet.fetched(&blob, claim).await).expect("an output")
}

async fn deleted(fleet: &Fleet, blob: &BlobId) {
    eventually("the payload is deleted", async || (!fleet.is_kept(blob).await).then_some(())).await;
    eventually("and its pieces", async || (fleet.stored(Store::In).await == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_and_an_output_over_256_kib_go_through_the_stores_and_the_payload_is_deleted() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo).await;
    let task = picture(3_000_000);
    let (id, blob) = fleet.submit_large(&task).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt), (State::Completed, 1));
    assert!(large_output(&fleet, &record).await.image == task.image, "the bytes came back changed");
    deleted(&fleet, &blob).await;
    assert_eq!(record.blob.expect("a claim check").name.split('.').take(2).collect::<Vec<_>>(), ["out", id.suffix()]);
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_travels_in_its_result_up_to_256_kib() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo).await;
    let around = ThumbnailReply { image: vec![1; INLINE_BYTES_MAX - 8].into(), ..Default::default() }.encoded_len();
    let fitting = INLINE_BYTES_MAX - 8 + INLINE_BYTES_MAX - around;
    let small = fleet.ended(&fleet.submit(picture(fitting)).await).await;
    assert_eq!((small.output.len(), small.blob), (INLINE_BYTES_MAX, None));
    let large = fleet.ended(&fleet.submit(picture(fitting + 1)).await).await;
    assert_eq!(large.blob.expect("a claim check").bytes, INLINE_BYTES_MAX as u64 + 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_stays_for_every_retry_and_for_the_dead_letter_and_there_is_one_of_it() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo_at_last).await;
    let (id, blob) = fleet.submit_large(&ThumbnailRequest { width_px: 9, ..picture(1_000_000) }).await;
    let pieces = fleet.stored(Store::In).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt), (State::Failed, 3));
    let letter = eventually("the dead letter", async || fleet.dead(&id).await).await;
    fleet.emptied().await;
    let envelope = letter.envelope.expect("an envelope");
    assert_eq!(envelope.blob.expect("a claim check").name, blob.name());
    worker.stop().await;
    assert_eq!(fleet.stored(Store::In).await, pieces);
    assert!(fleet.is_kept(&blob).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_completes_with_the_same_payload_and_deletes_it() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo_at_last).await;
    let task = ThumbnailRequest { width_px: 2, ..picture(1_000_000) };
    let (id, blob) = fleet.submit_large(&task).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt), (State::Completed, 3));
    assert!(large_output(&fleet, &record).await.image == task.image);
    deleted(&fleet, &blob).await;
    worker.stop().await;
}

/// Records an end as somebody else would.
pub(super) async fn record(fleet: &Fleet, id: &TaskId, record: Record) {
    let record = Record { id: id.to_string(), run: 1, ..record };
    let message = Publish::new(fleet.broker.names.result(id), record.encode_to_vec().into());
    Pipeline::start(&fleet.broker).publish(message).await.expect("stored");
}

/// Completes when it is told to.
fn gated(gate: &Arc<Notify>) -> impl workfleet_sdk::Handler<ThumbnailRequest> + use<> {
    let gate = Arc::clone(gate);
    move |ctx: Context, task: ThumbnailRequest| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            echo(ctx, task).await
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_outputs_the_one_that_is_recorded_lives_and_the_other_is_deleted() {
    let fleet = Fleet::start().await;
    let gate = Arc::new(Notify::new());
    let worker = fleet.worker(2, gated(&gate)).await;
    let (id, payload) = fleet.submit_large(&picture(1_000_000)).await;
    let winners = BlobId::output(&id, 1);
    let info = blobs::put_bytes(&fleet.broker, &winners, noise(300_000)).await.expect("stored");
    let alone = fleet.stored(Store::Out).await;
    record(&fleet, &id, Record { state: State::Completed.into(), blob: Some(Blob::from(&info)), ..Default::default() })
        .await;
    gate.notify_one();
    deleted(&fleet, &payload).await;
    fleet.emptied().await;
    worker.stop().await;
    assert_eq!(fleet.stored(Store::Out).await, alone, "pieces of the loser");
    assert_eq!(fleet.ended(&id).await.blob, Some(Blob::from(&info)));
    fleet.fetched(&winners, &Blob::from(&info)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_success_after_a_failure_leaves_the_payload_to_the_dead_letter() {
    let fleet = Fleet::start().await;
    let gate = Arc::new(Notify::new());
    let worker = fleet.worker(2, gated(&gate)).await;
    let (id, payload) = fleet.submit_large(&picture(1_000_000)).await;
    let failure = Some(Failure { code: "error".to_owned(), message: "x".to_owned() });
    record(&fleet, &id, Record { state: State::Failed.into(), failure, ..Default::default() }).await;
    gate.notify_one();
    eventually("the dead letter", async || fleet.dead(&id).await).await;
    fleet.emptied().await;
    worker.stop().await;
    assert!(fleet.is_kept(&payload).await);
    assert_eq!(fleet.stored(Store::Out).await, 0, "pieces of the loser");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_deletes_the_payload_of_an_end_unless_it_is_a_failure() {
    let fleet = Fleet::start().await;
    for (state, is_kept) in [(State::Completed, false), (State::Cancelled, false), (State::Failed, true)] {
        let id = fleet.new_id();
        let (payload, claim) = fleet.check_in(&id, noise(300_000)).await;
        record(&fleet, &id, Record { state: state.into(), ..Default::default() }).await;
        fleet.submit_claim(&id, claim).await;
        fleet.lose(1).await;
        let worker = fleet.worker(1, echo).await;
        fleet.emptied().await;
        worker.stop().await;
        assert_eq!(fleet.is_kept(&payload).await, is_kept, "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_gone_fails_the_task_at_once() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo).await;
    let id = fleet.new_id();
    let (blob, claim) = fleet.check_in(&id, noise(300_000)).await;
    blobs::delete(&fleet.broker, &blob).await.expect("deleted");
    fleet.submit_claim(&id, claim).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.failure.expect("a failure").code.as_str(), record.attempt), ("payload_gone", 1));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_payload_never_reaches_a_handler_and_fails_after_the_last_attempt() {
    let fleet = Fleet::start().await;
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let worker = fleet
        .worker(2, move |ctx: Context, task: ThumbnailRequest| {
            counted.fetch_add(1, Ordering::SeqCst);
            echo(ctx, task)
        })
        .await;
    let id = fleet.new_id();
    let (_, claim) = fleet.check_in(&id, noise(100_000)).await;
    fleet.damage(Store::In).await;
    fleet.submit_claim(&id, claim).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.failure.expect("a failure").code.as_str(), record.attempt), ("payload_unavailable", 3));
    assert_eq!((record.attempts.len(), runs.load(Ordering::SeqCst)), (3, 0));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_larger_than_the_queue_allows_fails_the_task() {
    let fleet = Fleet::start_with(|settings| settings.payload_bytes_max = 400_000).await;
    let worker = fleet.worker(2, echo).await;
    let record = fleet.ended(&fleet.submit(picture(500_000)).await).await;
    assert_eq!((record.failure.expect("a failure").code.as_str(), record.attempt), ("output_too_large", 1));
    assert_eq!(fleet.stored(Store::Out).await, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_finds_no_room_is_tried_for_a_while_and_costs_an_attempt() {
    let fleet = Fleet::start_with(|settings| settings.blobs_bytes_max = 500_000).await;
    let worker = fleet.worker(1, echo).await;
    let payload = picture(600_000).encode_to_vec().into();
    let id = fleet.publish("m", fleet.headers(), Envelope { payload, attempts_max: 1, ..fleet.envelope() }).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.failure.expect("a failure").code.as_str(), record.attempt), ("output_not_stored", 1));
    assert_eq!(fleet.stored(Store::Out).await, 0, "what was stored of it is taken back");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_waits_for_room_and_costs_no_attempt() {
    let fleet = Fleet::start_with(|settings| settings.blobs_bytes_max = 900_000).await;
    let other = BlobId::upload(&fleet.queue, 1);
    let full = BlobId::output(&fleet.new_id(), 1);
    blobs::put_bytes(&fleet.broker, &other, noise(1_000)).await.expect("the other store is not full");
    blobs::put_bytes(&fleet.broker, &full, noise(600_000)).await.expect("stored");
    let mut chunks = fleet.broker.client.subscribe(format!("$O.OUT_{}.C.>", fleet.queue)).await.expect("subscribed");
    let worker = fleet.worker(1, echo).await;
    let id = fleet.submit(picture(600_000)).await;
    futures::StreamExt::next(&mut chunks).await.expect("it is tried");
    tokio::time::sleep(Duration::from_secs(2)).await;
    blobs::delete(&fleet.broker, &full).await.expect("deleted");
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt), (State::Completed, 1));
    worker.stop().await;
}
