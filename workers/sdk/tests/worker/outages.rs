//! Deliveries whose lease has lapsed, and reads and stores that the broker does not answer.

use std::time::Duration;

use futures::StreamExt as _;
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_sdk::{Context, TaskError};

use crate::fleet::{Fleet, eventually};

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
async fn a_delivery_whose_lease_has_lapsed_is_not_given_back_for_it_may_be_anothers() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(1, sleepy).await;
    let mut replies = fleet.broker.client.subscribe("$JS.ACK.>").await.expect("a subscription");
    fleet.submit(task(3_500)).await;
    let first = replies.next().await.expect("a renewal");
    assert_eq!(&first.payload[..], b"+WPI");
    let_leases_lapse(&fleet).await;
    fleet.delete_stream(&fleet.broker.names.results_stream(&fleet.queue)).await;
    // It tries to store its output, and then is free for another task.
    eventually("the worker pulls again", async || (fleet.waiting_pulls().await > 0).then_some(())).await;
    worker.stop().await;
    fleet.broker.client.flush().await.expect("a connection");
    while let Ok(Some(reply)) = tokio::time::timeout(Duration::from_millis(200), replies.next()).await {
        // Later deliveries may be given back: they are held.
        assert!(reply.subject != first.subject || !reply.payload.starts_with(b"-NAK"));
    }
}
