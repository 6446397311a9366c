//! Deadlines that pass before their task can be ended: each is looked at again, and keeps no other from being taken.

use std::time::Duration;

use prost::Message as _;
use serde_json::Value;
use workfleet_dispatcher::{Deadline, Options};
use workfleet_link::pipeline::Publish;
use workfleet_link::read::{self, StoredMessage};
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::names::{Lane, header};
use workfleet_proto::v1::{self, State};

use crate::expire::{Taker, consumer_with, done, expired, soon, timer_of};
use crate::halting::{DELAY, TASKS, record, store, submitted};
use crate::place::{Place, eventually, wide};

/// So many deadlines were looked at, and the consumer holds none of them any more.
async fn put_off(place: &Place, timers: u64) {
    let looked_at = async || {
        let asked = "$JS.API.CONSUMER.INFO.DELAY_thumbnail.EXPIRED";
        let info = place.dispatcher.broker().client.request(asked, "".into()).await.ok()?;
        let info: Value = serde_json::from_slice(&info.payload).ok()?;
        let are_taken = info["delivered"]["consumer_seq"].as_u64()? >= timers && info["num_ack_pending"] == 0;
        are_taken.then_some(())
    };
    eventually("the deadlines are looked at", looked_at).await;
}

/// The timer of a task that waits.
async fn timer(place: &Place, id: &TaskId) -> Option<StoredMessage> {
    let broker = place.dispatcher.broker();
    read::last_on_subject(broker, DELAY, &broker.names.delay_deadline(id)).await.expect("an answer")
}

fn header_of(stored: &StoredMessage, name: &str) -> String {
    stored.headers.get(name).expect("a header").to_string()
}

/// Run 2 of a task whose redrive has marked it, and not published it.
async fn marked(place: &Place, deadline: Option<Duration>) -> TaskId {
    let options = Options { deadline: deadline.map(Deadline::In), ..Options::default() };
    let task = place.dispatcher.submit(wide(1, None, options)).await.expect("accepted").task;
    let mark = v1::Result {
        id: task.id.clone(),
        state: State::Queued.into(),
        run: 2,
        deadline_ms: task.deadline.map(|at| at.0),
        ..v1::Result::default()
    };
    let id = crate::halting::id_of(&task);
    store(place, Publish::new(place.dispatcher.broker().names.result(&id), mark.encode_to_vec().into())).await;
    let stream = place.dispatcher.broker().jetstream.get_stream(TASKS).await.expect("a stream");
    stream.purge().await.expect("its redrive has not published it");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_stored_after_its_timer_has_fired_expires_all_the_same() {
    let place = Place::start("").await;
    let id = submitted(&place, soon()).await;
    let copy = crate::halting::copy(&place, &id).await;
    let stream = place.dispatcher.broker().jetstream.get_stream(TASKS).await.expect("a stream");
    stream.purge().await.expect("not stored yet");
    let taker = Taker::start(&place.dispatcher);
    put_off(&place, 1).await;
    store(&place, copy).await;
    expired(&place, &id).await;
    done(&place).await;
    taker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_leaves_a_run_that_is_only_marked_and_comes_again() {
    let place = Place::start("").await;
    let id = marked(&place, Some(Duration::from_secs(1))).await;
    let before = timer(&place, &id).await.expect("a timer");
    let taker = Taker::start(&place.dispatcher);
    put_off(&place, 1).await;
    assert_eq!(record(&place, &id).await.expect("the mark").state(), State::Queued);
    let again = timer(&place, &id).await.expect("it comes again");
    for name in [header::DEADLINE_MS, header::SET_MS, header::SCHEDULE_TARGET] {
        assert_eq!(header_of(&again, name), header_of(&before, name), "{name}");
    }
    // The redrive publishes it at last, and the minute is over.
    let mark = record(&place, &id).await.expect("the mark");
    let envelope = v1::Envelope { id: mark.id.clone(), deadline_ms: mark.deadline_ms, ..v1::Envelope::default() };
    let names = &place.dispatcher.broker().names;
    let mut copy = Publish::new(names.task(&id, Lane::DEFAULT), envelope.encode_to_vec().into());
    copy.headers.insert(header::RUN, "2");
    copy.headers.insert(header::ATTEMPT, "1");
    store(&place, copy).await;
    let deadline_ms = header_of(&again, header::DEADLINE_MS).parse().expect("a time");
    store(&place, timer_of(&place, &id, deadline_ms, now_ms())).await;
    expired(&place, &id).await;
    done(&place).await;
    taker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_comes_again_takes_no_later_ones_place() {
    let place = Place::start("").await;
    let id = marked(&place, None).await;
    let later = timer_of(&place, &id, now_ms() + 3_600_000, now_ms() + 3_600_000);
    let sequence = store(&place, later).await;
    // As if it had fired before that was set.
    let mut fired = Publish::new(place.dispatcher.broker().names.delay_expired(&id), Vec::new().into());
    fired.headers.insert(header::DEADLINE_MS, (now_ms() - 5).to_string());
    store(&place, fired).await;
    let taker = Taker::start(&place.dispatcher);
    put_off(&place, 1).await;
    assert_eq!(timer(&place, &id).await.expect("the later one").sequence, sequence);
    taker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_that_are_put_off_keep_no_others_from_being_taken() {
    const PUT_OFF: u64 = 6;
    let place = Place::start("").await;
    consumer_with(&place, 30, PUT_OFF / 2).await;
    for number in 0..PUT_OFF / 2 {
        marked(&place, Some(Duration::from_secs(1))).await;
        // As a submit that was refused may leave it.
        let nobodys = crate::fill::id(number);
        store(&place, timer_of(&place, &nobodys, now_ms(), now_ms() + 1_000)).await;
    }
    let taker = Taker::start(&place.dispatcher);
    put_off(&place, PUT_OFF).await;
    let id = submitted(&place, soon()).await;
    expired(&place, &id).await;
    taker.stop().await;
}
