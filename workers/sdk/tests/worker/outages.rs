//! Deliveries whose lease has lapsed, and reads and stores that the broker does not answer.

use std::time::Duration;

use futures::StreamExt as _;
use prost::Message as _;
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::v1::{Envelope, State};
use workfleet_sdk::{Context, TaskError};

use crate::fleet::Fleet;

/// Waits as many milliseconds as the width says.
async fn sleepy(_: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    tokio::time::sleep(Duration::from_millis(task.width_px.into())).await;
    Ok(ThumbnailReply::default())
}

fn task(width_px: u32) -> ThumbnailRequest {
    ThumbnailRequest { width_px, ..Default::default() }
}

/// Freezes the broker until every lease of two seconds has lapsed.
async fn let_leases_lapse(fleet: &Fleet) {
    fleet.signal_broker("-STOP");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    fleet.signal_broker("-CONT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_lease_has_lapsed_is_not_given_back_since_another_may_hold_it() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(1, sleepy).await;
    let mut replies = fleet.broker.client.subscribe("$JS.ACK.>").await.expect("a subscription");
    let id = fleet.submit(task(3_500)).await;
    let first = replies.next().await.expect("a renewal");
    assert_eq!(&first.payload[..], b"+WPI");
    let_leases_lapse(&fleet).await;
    let results = fleet.delete_stream(&fleet.broker.names.results_stream(&fleet.queue)).await;
    // It tries to store its output. When its only slot is free, it gets the task again.
    loop {
        let reply = replies.next().await.expect("a reply");
        if reply.subject != first.subject {
            break;
        }
        assert!(!reply.payload.starts_with(b"-NAK"));
    }
    fleet.create_stream(results).await;
    fleet.ended(&id).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_not_answered_for_seconds_costs_no_attempt() {
    let fleet = Fleet::start().await;
    let results = fleet.broker.names.results_stream(&fleet.queue);
    let id = fleet.submit(task(1)).await;
    fleet.lose(2).await;
    let config = fleet.delete_stream(&results).await;
    let mut looks = fleet.broker.client.subscribe(format!("$JS.API.STREAM.MSG.GET.{results}")).await.expect("a look");
    let worker = fleet.worker(2, sleepy).await;
    looks.next().await.expect("the worker looks");
    tokio::time::sleep(Duration::from_secs(3)).await;
    fleet.create_stream(config).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt), (State::Completed, 3), "it was the last one");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_lapsed_long_ago_is_no_longer_renewed() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(1, sleepy).await;
    let payload = task(11_000).encode_to_vec().into();
    let envelope = Envelope { payload, timeout_ms: 30_000, ..fleet.envelope() };
    let id = fleet.publish("m", fleet.headers(), envelope).await;
    let mut replies = fleet.broker.client.subscribe("$JS.ACK.>").await.expect("a subscription");
    replies.next().await.expect("a renewal");
    let_leases_lapse(&fleet).await;
    // Two leases after the lapse, and some time for what is on its way.
    tokio::time::sleep(Duration::from_secs(5)).await;
    while futures::FutureExt::now_or_never(replies.next()).is_some() {}
    assert!(tokio::time::timeout(Duration::from_millis(1_500), replies.next()).await.is_err(), "still renewed");
    assert_eq!(fleet.ended(&id).await.state(), State::Completed, "a late success is as good as any");
    worker.stop().await;
}
