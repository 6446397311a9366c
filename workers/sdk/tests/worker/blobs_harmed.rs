//! Payloads that cannot be had now, that somebody else wrote, or that come with a drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use serde_json::json;
use workfleet_link::read;
use workfleet_proto::blob::{BlobId, Store};
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::v1::{Blob, Envelope, Result as Record, State};
use workfleet_proto::wire::CopyHeaders;
use workfleet_sdk::{Context, TaskError};

use crate::blobs::{echo, picture, record};
use crate::fleet::{Fleet, eventually, noise};

/// A task whose payload cannot be fetched now: nobody answers for its pieces.
async fn unreachable(fleet: &Fleet) -> TaskId {
    fleet.answer_reads(Store::In, false).await;
    fleet.submit_large(&picture(400_000)).await.0
}

async fn asked_for(fleet: &Fleet) -> async_nats::Subscriber {
    let reads = format!("$JS.API.STREAM.MSG.GET.{}", fleet.object_stream(Store::In));
    fleet.broker.client.subscribe(reads).await.expect("a subscription")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_cannot_be_reached_for_seconds_costs_no_attempt() {
    let fleet = Fleet::start().await;
    let id = unreachable(&fleet).await;
    let mut reads = asked_for(&fleet).await;
    let worker = fleet.worker(2, echo).await;
    futures::StreamExt::next(&mut reads).await.expect("it is tried");
    // Beyond the lease, which is kept meanwhile.
    tokio::time::sleep(Duration::from_secs(3)).await;
    fleet.answer_reads(Store::In, true).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt), (State::Completed, 1));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_hands_a_task_back_whose_payload_is_being_fetched_and_spends_no_attempt() {
    let fleet = Fleet::start().await;
    let id = unreachable(&fleet).await;
    let mut reads = asked_for(&fleet).await;
    let worker = fleet.worker(2, echo).await;
    futures::StreamExt::next(&mut reads).await.expect("it is tried");
    tokio::time::timeout(Duration::from_secs(5), worker.stop()).await.expect("a drain does not wait for a payload");
    fleet.answer_reads(Store::In, true).await;
    let worker = fleet.worker(2, echo).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt), (State::Completed, 1));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_lease_lapsed_while_its_payload_was_fetched_is_left_to_whoever_has_it_now() {
    let fleet = Fleet::start().await;
    let id = unreachable(&fleet).await;
    let mut reads = asked_for(&fleet).await;
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let worker = fleet
        .worker(2, move |ctx: Context, task: ThumbnailRequest| {
            counted.fetch_add(1, Ordering::SeqCst);
            async {
                // So long the payload is there, for the delivery that has lapsed too.
                tokio::time::sleep(Duration::from_secs(2)).await;
                echo(ctx, task).await
            }
        })
        .await;
    futures::StreamExt::next(&mut reads).await.expect("it is tried");
    fleet.signal_broker("-STOP");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    fleet.signal_broker("-CONT");
    fleet.answer_reads(Store::In, true).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt), (State::Completed, 2), "its redelivery");
    fleet.emptied().await;
    worker.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_check_is_believed_for_the_payload_of_its_own_task_alone() {
    let fleet = Fleet::start_with(|settings| settings.payload_bytes_max = 500_000).await;
    let worker = fleet.worker(2, echo).await;
    let victim = fleet.new_id();
    let (theirs, claim) = fleet.check_in(&victim, noise(100_000)).await;
    let kept = fleet.stored(Store::In).await;
    let id = || fleet.new_id();
    let own = |id: &TaskId| Blob { name: BlobId::input(id, 1).name().to_owned(), ..claim.clone() };
    let (a, b, c, d) = (id(), id(), id(), id());
    let payload = Bytes::from_static(b"\x10\x01");
    for (id, blob, payload, code) in [
        (id(), claim.clone(), Bytes::new(), "invalid_claim_check"),
        (
            a.clone(),
            Blob { name: BlobId::output(&a, 1).name().to_owned(), ..claim.clone() },
            Bytes::new(),
            "invalid_claim_check",
        ),
        (id(), Blob { name: "x".repeat(700_000), ..claim.clone() }, Bytes::new(), "invalid_claim_check"),
        (b.clone(), Blob { sha256: Bytes::new(), ..own(&b) }, Bytes::new(), "invalid_claim_check"),
        (c.clone(), own(&c), payload, "invalid_claim_check"),
        (d.clone(), Blob { bytes: u64::MAX, ..own(&d) }, Bytes::new(), "payload_too_large"),
    ] {
        fleet.submit_as(&id, Envelope { payload, blob: Some(blob), ..fleet.envelope() }).await;
        let record = fleet.ended(&id).await;
        assert_eq!((record.failure.expect("a failure").code.as_str(), record.attempt), (code, 1));
    }
    // Nor is it deleted, when a task ends well that names it.
    worker.stop().await;
    let id = id();
    record(&fleet, &id, Record { state: State::Completed.into(), ..Default::default() }).await;
    fleet.submit_claim(&id, claim).await;
    fleet.lose(1).await;
    let worker = fleet.worker(1, echo).await;
    fleet.emptied().await;
    worker.stop().await;
    assert!(fleet.is_kept(&theirs).await);
    assert_eq!(fleet.stored(Store::In).await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_handed_back_for_its_schema_names_its_payload() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, echo).await;
    let id = fleet.new_id();
    let (payload, claim) = fleet.check_in(&id, vec![0xff; 300_000].into()).await;
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in (CopyHeaders { schema: "ffffffffffffffff".to_owned(), ..fleet.headers() }).pairs() {
        headers.insert(name, value);
    }
    let envelope = Envelope { id: id.to_string(), blob: Some(claim.clone()), ..fleet.envelope() };
    fleet.publish_raw(&id, "m", headers, envelope.encode_to_vec().into()).await;
    let (stream, subject) = (fleet.broker.names.delay_stream(&fleet.queue), fleet.broker.names.delay_at(&id));
    let copy = eventually("it is handed back", async || {
        read::last_on_subject(&fleet.broker, &stream, &subject).await.expect("an answer")
    });
    let copy = Envelope::decode(copy.await.payload).expect("an envelope");
    assert_eq!(copy.blob, Some(claim));
    fleet.emptied().await;
    assert!(fleet.is_kept(&payload).await);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_are_not_deleted_hold_up_no_task() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(1, echo_small).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(fleet.submit_large(&picture(300_000)).await.0);
    }
    // Purges are refused from now on.
    let deny = |config: &mut serde_json::Value| {
        config["allow_rollup_hdrs"] = json!(false);
        config["deny_purge"] = json!(true);
    };
    fleet.change_store(Store::In, deny).await;
    for id in ids {
        assert_eq!(fleet.ended(&id).await.state(), State::Completed);
    }
    fleet.emptied().await;
    tokio::time::timeout(Duration::from_secs(10), worker.stop()).await.expect("a drain that ends");
}

async fn echo_small(_: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    Ok(ThumbnailReply { width_px: task.width_px, ..Default::default() })
}
