//! Queues that are removed, beside queues that lose nothing.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use workfleet_dispatcher::streams::{self, InUse, Part, ProvisionError};
use workfleet_dispatcher::{Code, Options};

use crate::place::{Place, eventually, wide};
use crate::removal::{counts, filled, name, provisioned, purged, to};

/// Every stream of the broker, and every key of its buckets.
async fn everything(place: &Place) -> Vec<String> {
    let jetstream = &place.dispatcher.broker().jetstream;
    let mut names: Vec<String> = jetstream.stream_names().map(|name| name.expect("a name")).collect().await;
    for bucket in ["KV_QUEUES", "KV_KINDS", "DEAD_thumbnail"] {
        let stream = jetstream.get_stream(bucket).await.expect("a stream");
        let mut subjects = stream.info_with_subjects(">").await.expect("an answer");
        while let Some(subject) = subjects.next().await {
            names.push(subject.expect("a subject").0);
        }
    }
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_queue_leaves_nothing_and_takes_nothing_with_it() {
    let place = Place::start("").await;
    provisioned(&place).await;
    filled(&place).await;
    let broker = place.dispatcher.broker();
    let before = everything(&place).await;
    let used = streams::retire(broker, &name("mail-x"), InUse::Refused).await.expect_err("tasks wait");
    assert!(used.to_string().contains("1 tasks wait, 1 tasks are scheduled"), "{used}");
    assert_eq!(everything(&place).await, before, "a refusal removes nothing");
    purged(&place, "mail-x", &[Part::Waiting]).await;

    let removal = streams::retire(broker, &name("mail-x"), InUse::Refused).await.expect("unused");
    let (removed, refused) = futures::join!(removal.carry_out(broker, InUse::Refused), async {
        let began = Instant::now();
        eventually("it is unknown", async || place.dispatcher.queue("mail-x").await.err()).await;
        (began.elapsed(), place.dispatcher.submit(to("mail-x", 1, None, Options::default())).await)
    });
    removed.expect("retired");
    assert_eq!(refused.1.expect_err("gone").code, Code::UnknownQueue);
    assert!(refused.0 < Duration::from_secs(4), "{:?}", refused.0);

    let token = |name: &String| name.split(['.', '_']).any(|token| token == "mail-x");
    let schema = |name: &String| name.starts_with("$KV.KINDS.schema.");
    let others = before.iter().filter(|name| !token(name) && !schema(name));
    let left = everything(&place).await;
    assert!(left.iter().filter(|name| !schema(name)).eq(others), "{left:#?}");
    for other in ["mail", "mail-x-y"] {
        assert_eq!(counts(&place, other).await, [1, 1, 2, 1, 2], "{other}");
    }
    let queues = place.dispatcher.queues().await.expect("all of them").queues;
    assert_eq!(queues.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>(), ["mail", "mail-x-y", "thumbnail"]);

    provisioned(&place).await;
    eventually("it is back", async || place.dispatcher.submit(to("mail-x", 1, None, Options::default())).await.ok())
        .await;
    assert_eq!(counts(&place, "mail-x").await, [1, 0, 0, 0, 0], "and empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_comes_while_its_queue_is_retired_keeps_the_queue() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    // The dispatcher knows the queue for two seconds from here on.
    place.dispatcher.queue("thumbnail").await.expect("a queue");
    let removal = streams::retire(broker, &name("thumbnail"), InUse::Refused).await.expect("unused");
    let late = async {
        let queues = broker.jetstream.get_key_value("QUEUES").await.expect("a bucket");
        eventually("the settings go", async || {
            queues.get("thumbnail").await.expect("an answer").is_none().then_some(())
        })
        .await;
        place.dispatcher.submit(wide(1, None, Options::default())).await.expect("by the settings of a moment ago")
    };
    let (removed, task) = futures::join!(removal.carry_out(broker, InUse::Refused), late);
    assert!(matches!(removed, Err(ProvisionError::QueueInUse { .. })), "{removed:?}");
    let id = task.task.id.parse().expect("an id");
    eventually("the queue is known again", async || place.dispatcher.get(&id).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retirement_that_broke_off_is_finished_by_the_next() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    let removal = streams::retire(broker, &name("thumbnail"), InUse::Refused).await.expect("unused");
    let broken_off = tokio::time::timeout(Duration::from_secs(1), removal.carry_out(broker, InUse::Refused)).await;
    assert!(broken_off.is_err(), "it waits until nobody knows the queue");
    let removal = streams::retire(broker, &name("thumbnail"), InUse::Refused).await.expect("what is left");
    removal.carry_out(broker, InUse::Refused).await.expect("finished");
    let gone = streams::retire(broker, &name("thumbnail"), InUse::Refused).await.expect_err("nothing is left");
    assert!(matches!(gone, ProvisionError::UnknownQueue { .. }), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_came_before_a_repeated_retirement_is_not_lost() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    let removal = streams::retire(broker, &name("thumbnail"), InUse::Refused).await.expect("unused");
    // The dispatcher knows the queue for two seconds from here on.
    place.dispatcher.queue("thumbnail").await.expect("a queue");
    let broken_off = tokio::time::timeout(Duration::from_millis(300), removal.carry_out(broker, InUse::Refused)).await;
    assert!(broken_off.is_err(), "it waits until nobody knows the queue");
    let repeated = streams::retire(broker, &name("thumbnail"), InUse::Refused).await.expect("what is left");
    let late = place.dispatcher.submit(wide(1, None, Options::default())).await;
    let task = late.expect("by the settings of a moment ago").task;
    let removed = repeated.carry_out(broker, InUse::Refused).await;
    assert!(matches!(removed, Err(ProvisionError::QueueInUse { .. })), "{removed:?}");
    // Its settings went with the first attempt; whoever wants the task provisions the queue again.
    place.provision("").await;
    let id = task.id.parse().expect("an id");
    eventually("the task is there", async || place.dispatcher.get(&id).await.ok()).await;
}
