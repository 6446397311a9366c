//! Deadlines that pass (rule 12), without workers.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workfleet_dispatcher::streams::{self, InUse};
use workfleet_dispatcher::{Code, Dispatcher, Options};
use workfleet_link::pipeline::Publish;
use workfleet_link::time::{now_ms, rfc3339_ms};
use workfleet_proto::id::TaskId;
use workfleet_proto::names::header;
use workfleet_proto::v1::State;

use crate::deadlines::within;
use crate::due::Carrier;
use crate::halting::{DELAY, RESULTS, TASKS, caller, id_of, record, recorded, store, submitted};
use crate::place::{Place, eventually, wide};
use crate::removal::name;

pub(crate) fn soon() -> Options {
    within(Duration::from_secs(1))
}

/// What takes deadlines; it ends with this.
pub(crate) struct Taker {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Taker {
    pub(crate) fn start(dispatcher: &Dispatcher) -> Self {
        let (stop, dispatcher) = (CancellationToken::new(), dispatcher.clone());
        let stopped = stop.clone();
        Self { stop, running: tokio::spawn(async move { dispatcher.expire(stopped).await }) }
    }

    /// In order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.expect("no panic");
    }
}

pub(crate) async fn expired(place: &Place, id: &TaskId) {
    let ended = async || record(place, id).await.filter(|record| record.state().is_end());
    let record = eventually("the task ends", ended).await;
    assert_eq!(record.state(), State::Expired);
    let failure = record.failure.expect("a failure");
    assert_eq!((failure.code.as_str(), record.deadline_ms.is_some()), ("expired", true));
}

/// The consumer of deadlines as it is, but for this.
pub(crate) async fn consumer_with(place: &Place, ack_wait_s: u64, max_ack_pending: u64) {
    let changed = json!({
        "stream_name": DELAY,
        "config": {
            "durable_name": "EXPIRED", "filter_subject": "wf.delay.expired.thumbnail.>", "deliver_policy": "all",
            "ack_policy": "explicit", "ack_wait": ack_wait_s * 1_000_000_000, "max_deliver": -1,
            "max_ack_pending": max_ack_pending,
        },
    });
    let jetstream = &place.dispatcher.broker().jetstream;
    let updated: Value =
        jetstream.request("CONSUMER.DURABLE.CREATE.DELAY_thumbnail.EXPIRED", &changed).await.expect("an answer");
    assert!(updated.get("error").is_none(), "{updated}");
}

/// Another timer of the task, which fires at this time.
pub(crate) fn timer_of(place: &Place, id: &TaskId, deadline_ms: i64, fires_ms: i64) -> Publish {
    let names = &place.dispatcher.broker().names;
    let mut timer = Publish::new(names.delay_deadline(id), Vec::new().into());
    timer.headers.insert(header::DEADLINE_MS, deadline_ms.to_string());
    timer.headers.insert(header::SCHEDULE, format!("@at {}", rfc3339_ms(fires_ms)));
    timer.headers.insert(header::SCHEDULE_TARGET, names.delay_expired(id));
    timer
}

/// It was looked at, and came again.
async fn given_back(place: &Place) {
    let again = async || {
        let asked = "$JS.API.CONSUMER.INFO.DELAY_thumbnail.EXPIRED";
        let info = place.dispatcher.broker().client.request(asked, "".into()).await.ok()?;
        let info: Value = serde_json::from_slice(&info.payload).ok()?;
        (info["delivered"]["consumer_seq"].as_u64()? >= 2).then_some(())
    };
    eventually("the deadline comes again", again).await;
}

pub(crate) async fn done(place: &Place) {
    let empty = async || (place.messages(DELAY).await == 0).then_some(());
    eventually("every deadline is acknowledged", empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_expire_wherever_they_wait_and_others_go_on() {
    let place = Place::start("").await;
    let (carrier, taker) = (Carrier::start(&place.dispatcher), Taker::start(&place.dispatcher));
    let queued = submitted(&place, soon()).await;
    let long = submitted(&place, within(Duration::from_secs(3_600))).await;
    let endless = submitted(&place, Options::default()).await;
    let late = Options { delay: Some(Duration::from_millis(500)), ..soon() };
    let scheduled = submitted(&place, late).await;
    for id in [&queued, &scheduled] {
        expired(&place, id).await;
    }
    let purged = async || (place.messages(TASKS).await == 2 && place.messages(DELAY).await == 1).then_some(());
    eventually("what is left of them is purged, and of no other", purged).await;
    for id in [&long, &endless] {
        assert_eq!(place.dispatcher.get(id).await.expect("known").state.0, State::Queued);
    }
    let view = place.dispatcher.queue("thumbnail").await.expect("a queue");
    assert_eq!(view.scheduled, 0, "the timer of a deadline is no task");
    let conflict = place.dispatcher.cancel(&queued, "", &caller()).await.expect_err("it has ended");
    assert!(conflict.code == Code::Conflict && conflict.detail.contains("expired"), "{conflict}");
    carrier.stop().await;
    taker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dispatchers_share_the_deadlines_and_record_each_end_once() {
    let place = Place::start("").await;
    let other = Dispatcher::connect(&place.config("")).await.expect("connected");
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(submitted(&place, soon()).await);
    }
    let takers = [Taker::start(&place.dispatcher), Taker::start(&other)];
    for id in &ids {
        expired(&place, id).await;
    }
    done(&place).await;
    assert_eq!(place.messages(TASKS).await, 0);
    // Each record has been written once: no sequence was given to a second one.
    assert_eq!(place.info("RESULTS_thumbnail").await["state"]["last_seq"].as_u64(), Some(200));
    for taker in takers {
        taker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_a_dispatcher_died_with_is_given_out_again() {
    let place = Place::start("").await;
    consumer_with(&place, 2, 4_096).await;
    let id = submitted(&place, soon()).await;
    let client = async_nats::connect(&place.config("").url).await.expect("connected");
    let inbox = client.new_inbox();
    let mut deadlines = client.subscribe(inbox.clone()).await.expect("subscribed");
    let next = "$JS.API.CONSUMER.MSG.NEXT.DELAY_thumbnail.EXPIRED";
    client.publish_with_reply(next, inbox, "1".into()).await.expect("sent");
    let taken = deadlines.next().await.expect("the deadline");
    assert!(taken.subject.ends_with(id.as_str()), "{taken:?}");
    drop((deadlines, client));
    let taker = Taker::start(&place.dispatcher);
    expired(&place, &id).await;
    done(&place).await;
    taker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_acknowledged_without_harm_where_its_task_has_ended_or_has_another_one() {
    let place = Place::start("").await;
    let ended = submitted(&place, soon()).await;
    recorded(&place, &ended, State::Completed, 1).await;
    let redriven = submitted(&place, within(Duration::from_secs(3_600))).await;
    // A timer that an earlier run has left.
    store(&place, timer_of(&place, &redriven, now_ms() - 5, now_ms())).await;
    // And what is no deadline at all.
    store(&place, Publish::new("wf.delay.expired.thumbnail.x".to_owned(), Vec::new().into())).await;
    // Nor does one of this queue end a task of another.
    let elsewhere = "wf.delay.expired.thumbnail.nowhere_01h455vb4pex5vsknk084sn02q";
    let mut elsewhere = Publish::new(elsewhere.to_owned(), Vec::new().into());
    elsewhere.headers.insert(header::DEADLINE_MS, (now_ms() - 5).to_string());
    store(&place, elsewhere).await;
    let taker = Taker::start(&place.dispatcher);
    // That of the other deadline is looked at once more, since a submit may be under way.
    done(&place).await;
    assert_eq!(record(&place, &ended).await.expect("a record").state(), State::Completed);
    assert!(record(&place, &redriven).await.is_none(), "its own deadline has not passed");
    assert_eq!(place.messages(TASKS).await, 2);
    taker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_of_which_it_is_not_known_what_became_comes_again() {
    let place = Place::start("").await;
    let id = submitted(&place, soon()).await;
    // Whether the task has ended cannot be read.
    let garbled = Publish::new(place.dispatcher.broker().names.result(&id), "garbled".into());
    let garbled = store(&place, garbled).await;
    let taker = Taker::start(&place.dispatcher);
    given_back(&place).await;
    let results = place.dispatcher.broker().jetstream.get_stream(RESULTS).await.expect("a stream");
    results.delete_message(garbled).await.expect("deleted");
    expired(&place, &id).await;
    done(&place).await;
    taker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_taken_again_once_the_broker_is_back() {
    let mut place = Place::start("").await;
    let taker = Taker::start(&place.dispatcher);
    let first = submitted(&place, soon()).await;
    expired(&place, &first).await;
    place.kill_broker();
    place.start_broker().await;
    let second = submitted(&place, soon()).await;
    expired(&place, &second).await;
    taker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_taken_of_a_queue_that_was_retired_and_is_back() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    let taker = Taker::start(&place.dispatcher);
    let first = submitted(&place, soon()).await;
    expired(&place, &first).await;
    done(&place).await;
    let removal = streams::retire(broker, &name("thumbnail"), InUse::Refused).await.expect("nothing waits");
    removal.carry_out(broker, InUse::Refused).await.expect("retired");
    eventually("it is unknown", async || place.dispatcher.queue("thumbnail").await.err()).await;
    place.provision("").await;
    let accepted = async || place.dispatcher.submit(wide(2, None, soon())).await.ok();
    let second = eventually("it is back", accepted).await;
    expired(&place, &id_of(&second.task)).await;
    taker.stop().await;
}
