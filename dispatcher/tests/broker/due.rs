//! What is due, carried into its queue.

use std::time::Duration;

use async_nats::HeaderValue;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workfleet_dispatcher::{Dispatcher, Options};
use workfleet_link::pipeline::Publish;
use workfleet_link::read::{self, StoredMessage};
use workfleet_proto::id::TaskId;
use workfleet_proto::names::{Lane, header};

use crate::cancel::pulled;
use crate::halting::{DELAY, TASKS, copy, later, store, submitted};
use crate::place::{Place, eventually};

/// What carries; it ends with this.
pub(crate) struct Carrier {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Carrier {
    pub(crate) fn start(dispatcher: &Dispatcher) -> Self {
        let (stop, dispatcher) = (CancellationToken::new(), dispatcher.clone());
        let stopped = stop.clone();
        Self { stop, running: tokio::spawn(async move { dispatcher.carry(stopped).await }) }
    }

    /// In order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.expect("no panic");
    }
}

pub(crate) fn soon() -> Options {
    later(Duration::from_millis(300))
}

/// What the consumer gives out next.
async fn taken(place: &Place) -> Message {
    let stream = place.dispatcher.broker().jetstream.get_stream(DELAY).await.expect("a stream");
    let consumer: PullConsumer = stream.get_consumer("DUE").await.expect("a consumer");
    let mut taken = consumer.batch().max_messages(1).expires(Duration::from_secs(30)).messages().await.expect("a pull");
    taken.next().await.expect("a task").expect("a message")
}

/// Its copy in the queue.
async fn arrived(place: &Place, id: &TaskId) -> StoredMessage {
    let subject = place.dispatcher.broker().names.task(id, Lane::DEFAULT);
    let there = async || read::last_on_subject(place.dispatcher.broker(), TASKS, &subject).await.ok()?;
    eventually("it is in the queue", there).await
}

async fn all_carried(place: &Place) {
    eventually("nothing is left behind", async || (place.messages(DELAY).await == 0).then_some(())).await;
}

async fn tasks_ever_stored(place: &Place) -> u64 {
    place.info(TASKS).await["state"]["last_seq"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_due_is_carried_and_says_so() {
    let place = Place::start("").await;
    let carrier = Carrier::start(&place.dispatcher);
    let id = submitted(&place, soon()).await;
    let copy = arrived(&place, &id).await;
    all_carried(&place).await;
    let value = |name: &str| copy.headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(value(header::CHECK).as_deref(), Some(header::CARRIED));
    assert_eq!(value(header::MESSAGE_ID), Some(format!("{id}/1/1")));
    assert_eq!((value(header::RUN).as_deref(), value(header::ATTEMPT).as_deref()), (Some("1"), Some("1")));
    let names = copy.headers.iter().map(|(name, _)| name.to_string());
    let of_the_server: Vec<String> = names.filter(|name| name.starts_with(header::NATS_PREFIX)).collect();
    assert_eq!(of_the_server, [header::MESSAGE_ID], "what was said to the delay stream stays there");
    carrier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dispatcher_died_with_is_carried_by_another() {
    let place = Place::start("").await;
    let changed = json!({
        "stream_name": DELAY,
        "config": {
            "durable_name": "DUE", "filter_subject": "wf.delay.due.thumbnail.>", "deliver_policy": "all",
            "ack_policy": "explicit", "ack_wait": 2_000_000_000_u64, "max_deliver": -1, "max_ack_pending": 4_096,
        },
    });
    let jetstream = &place.dispatcher.broker().jetstream;
    let updated: Value =
        jetstream.request("CONSUMER.DURABLE.CREATE.DELAY_thumbnail.DUE", &changed).await.expect("an answer");
    assert!(updated.get("error").is_none(), "{updated}");
    let id = submitted(&place, soon()).await;
    drop(taken(&place).await);
    let carrier = Carrier::start(&place.dispatcher);
    arrived(&place, &id).await;
    all_carried(&place).await;
    carrier.stop().await;
}

/// As one stores it that dies before it acknowledges.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_and_not_acknowledged_is_not_stored_again() {
    let place = Place::start("").await;
    let id = submitted(&place, soon()).await;
    let carrier = Carrier::start(&place.dispatcher);
    let carried = arrived(&place, &id).await;
    all_carried(&place).await;
    carrier.stop().await;
    // A worker has it, and ends it.
    pulled(&place).await.double_ack().await.expect("acknowledged");
    // The copy as it was due: once more, since nobody had acknowledged it.
    let mut again = Publish::new(place.dispatcher.broker().names.delay_due(&id, Lane::DEFAULT), carried.payload);
    for (name, values) in carried.headers.iter() {
        if ![header::CHECK, header::MESSAGE_ID].contains(&name.to_string().as_str()) {
            values.iter().for_each(|value| again.headers.append(name.clone(), value.clone()));
        }
    }
    store(&place, again).await;
    let carrier = Carrier::start(&place.dispatcher);
    all_carried(&place).await;
    assert_eq!((place.messages(TASKS).await, tasks_ever_stored(&place).await), (0, 1));
    carrier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_waits_in_front_of_a_full_queue_and_comes_as_room_is_made() {
    let place = Place::start("tasks_max = 2").await;
    let carrier = Carrier::start(&place.dispatcher);
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(submitted(&place, soon()).await.to_string());
    }
    let is_full = async || {
        let view = place.dispatcher.queue("thumbnail").await.ok()?;
        (view.waiting == 2 && view.scheduled == 0).then_some(())
    };
    eventually("the queue is full, and all are due", is_full).await;
    let scale = place.dispatcher.scale("thumbnail").await.expect("a queue");
    assert_eq!((scale.waiting, scale.due), (2, 5), "and an autoscaler is told of all");
    let mut seen = Vec::new();
    while seen.len() < ids.len() {
        let task = pulled(&place).await;
        seen.push(task.subject.rsplit('.').next().expect("an id").to_owned());
        task.double_ack().await.expect("acknowledged");
    }
    ids.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, ids, "each once");
    all_carried(&place).await;
    assert_eq!(tasks_ever_stored(&place).await, 7);
    carrier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_stops_gives_back_what_the_full_queue_does_not_take() {
    let place = Place::start("tasks_max = 1").await;
    let carrier = Carrier::start(&place.dispatcher);
    for _ in 0..3 {
        submitted(&place, soon()).await;
    }
    let held = async || {
        let asked = place.dispatcher.broker().client.request("$JS.API.CONSUMER.INFO.DELAY_thumbnail.DUE", "".into());
        let info: Value = serde_json::from_slice(&asked.await.ok()?.payload).ok()?;
        (place.messages(TASKS).await == 1 && info["num_ack_pending"] == 2).then_some(())
    };
    eventually("the queue is full, and the others are with the dispatcher", held).await;
    tokio::time::timeout(Duration::from_secs(5), carrier.stop()).await.expect("it does not wait for room");
    // At once, and not when its time with the dispatcher is over.
    for _ in 0..2 {
        let next = tokio::time::timeout(Duration::from_secs(5), taken(&place)).await.expect("it is given out again");
        next.ack_with(AckKind::Ack).await.expect("acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_and_no_task_of_the_queue_is_dropped_and_one_with_unreadable_headers_is_for_its_worker() {
    let place = Place::start("").await;
    let names = &place.dispatcher.broker().names;
    for last in ["x", "q.m.nowhere_01h455vb4pex5vsknk084sn02q", "q.x.y.m.thumbnail_01h455vb4pex5vsknk084sn02q"] {
        store(&place, Publish::new(format!("wf.delay.due.thumbnail.{last}"), "x".into())).await;
    }
    let id = submitted(&place, Options::default()).await;
    let garbled = Publish { subject: names.delay_due(&id, Lane::DEFAULT), ..copy(&place, &id).await };
    pulled(&place).await.double_ack().await.expect("acknowledged");
    let mut garbled = Publish { message_id: None, ..garbled };
    garbled.headers.insert(header::RUN, "many");
    store(&place, garbled).await;
    let carrier = Carrier::start(&place.dispatcher);
    all_carried(&place).await;
    let arrived = arrived(&place, &id).await;
    assert_eq!(arrived.headers.get(header::RUN).map(HeaderValue::as_str), Some("many"));
    assert_eq!(place.messages(TASKS).await, 1);
    carrier.stop().await;
}
