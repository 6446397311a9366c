//! How much of each bound is used, as the metrics and `workfleet doctor` tell it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt as _;
use workfleet_dispatcher::doctor;
use workfleet_dispatcher::{Deadline, Options};
use workfleet_link::blobs;
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_proto::blob::BlobId;
use workfleet_proto::names::Lane;
use workfleet_proto::v1::State;

use crate::fill::{Fill, id, record};
use crate::place::{Place, wide};

/// Every bound with a number of its own, so that none can be taken for another.
const SETTINGS: &str = "tasks_max = 101\nscheduled_max = 102\nrunning_max = 103\ndeadlines_max = 104\n\
                        scheduled_bytes_max = 2000005\ndead_bytes_max = 2000006\naccepted_bytes_max = 2000007\n\
                        lanes = [\"h\", \"m\"]\nledger = true";
const RUNNING: usize = 2;

/// Used and most, by the name of the setting.
async fn told(place: &Place) -> BTreeMap<&'static str, (u64, u64)> {
    let mut examined = doctor::examine(place.dispatcher.broker(), Vec::new()).await;
    let bounds = examined.queues.pop().expect("one queue").bounds;
    bounds.into_iter().map(|bound| (bound.limit, (bound.used, bound.max))).collect()
}

async fn bytes(place: &Place, stream: &str) -> u64 {
    place.info(stream).await["state"]["bytes"].as_u64().expect("a stream")
}

/// Takes tasks as a worker does, and keeps them.
async fn run(place: &Place, count: usize) {
    let broker = place.dispatcher.broker();
    let consumer = broker.names.work_consumer(Lane::DEFAULT);
    let consumer: PullConsumer =
        broker.jetstream.get_consumer_from_stream(consumer, "TASKS_thumbnail").await.expect("it is there");
    let held = consumer.fetch().max_messages(count).messages().await.expect("asked");
    assert_eq!(held.count().await, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_each_bound_is_told_what_lies_there_and_what_may() {
    let place = Place::start(SETTINGS).await;
    let broker = place.dispatcher.broker();
    let fill = Fill::new(broker);
    fill.queued(0..7).await;
    fill.scheduled(10..15).await;
    fill.ended((20..26).map(|number| record(number, State::Completed))).await;
    fill.dead_with([30], 300).await;
    let later = Options { deadline: Some(Deadline::In(Duration::from_secs(3_600))), ..Options::default() };
    for width_px in 1..4 {
        place.dispatcher.submit(wide(width_px, None, later.clone())).await.expect("accepted");
    }
    // A deadline that has passed and that no dispatcher has taken yet. It is no scheduled task.
    let passed = Publish::new(broker.names.delay_expired(&id(40)), "passed".into());
    Pipeline::start(broker).publish(passed).await.expect("stored");
    blobs::put_bytes(broker, &BlobId::input(&id(50), 1), vec![7; 400_000].into()).await.expect("stored");
    blobs::put_bytes(broker, &BlobId::output(&id(51), 1), vec![7; 300_000].into()).await.expect("stored");
    run(&place, RUNNING).await;

    let told = told(&place).await;
    assert_eq!(told["tasks_max"], (10, 101));
    assert_eq!(told["scheduled_max"], (5, 102));
    assert_eq!(told["running_max"], (RUNNING as u64, 103), "of the lane that has most");
    assert_eq!(told["deadlines_max"], (4, 104));
    for (limit, stream, max) in [
        ("tasks_bytes_max", "TASKS_thumbnail", 268_435_456),
        ("scheduled_bytes_max", "DELAY_thumbnail", 2_000_005),
        ("results_bytes_max", "RESULTS_thumbnail", 268_435_456),
        ("dead_bytes_max", "DEAD_thumbnail", 2_000_006),
        ("accepted_bytes_max", "ACCEPTED_thumbnail", 2_000_007),
        ("blobs_in_bytes_max", "OBJ_IN_thumbnail", 268_435_456),
        ("blobs_out_bytes_max", "OBJ_OUT_thumbnail", 268_435_456),
    ] {
        assert_eq!(told[limit], (bytes(&place, stream).await, max), "{limit}");
        assert!(told[limit].0 > 0, "{limit}: nothing was there to be told");
    }
    assert_eq!(told.len(), 11, "{told:?}");
}
