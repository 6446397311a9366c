//! Deadlines of submits: how many there may be, and which one a repeat has.

use std::time::Duration;

use prost::Message as _;
use workfleet_dispatcher::{Code, Deadline, Dispatcher, Options};

use crate::halting::{DELAY, TASKS, submitted};
use crate::place::{Place, wide};

pub(crate) fn within(time: Duration) -> Options {
    Options { deadline: Some(Deadline::In(time)), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_have_a_bound_and_a_queue_that_has_reached_it_takes_tasks_without_one() {
    let place = Place::start("deadlines_max = 2\nscheduled_max = 3").await;
    for _ in 0..2 {
        submitted(&place, within(Duration::from_secs(3_600))).await;
    }
    let other = Dispatcher::connect(&place.config("")).await.expect("connected");
    for dispatcher in [&place.dispatcher, &other] {
        let full = dispatcher.submit(wide(1, None, within(Duration::from_secs(3_600)))).await.expect_err("full");
        assert!(full.code == Code::QueueFull && full.detail.contains("deadlines_max"), "{full}");
        assert_eq!(full.retry_after_ms, Some(1_000));
    }
    submitted(&place, Options::default()).await;
    // Timers do not count as scheduled tasks.
    for _ in 0..3 {
        let later = Options { delay: Some(Duration::from_secs(600)), ..Options::default() };
        other.submit(wide(1, None, later)).await.expect("there is room for three");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_a_keyed_submit_keeps_the_first_deadline() {
    let place = Place::start("").await;
    let keyed = |time: u64| wide(1, Some("order-1"), within(Duration::from_secs(time)));
    let first = place.dispatcher.submit(keyed(3_600)).await.expect("accepted").task;
    let again = place.dispatcher.submit(keyed(60)).await.expect("told").task;
    assert_eq!((&again.id, again.deadline), (&first.id, first.deadline));
    assert_eq!(place.messages(DELAY).await, 1, "one timer");
    let envelope = workfleet_proto::v1::Envelope::decode(
        crate::halting::copy(&place, &first.id.parse().expect("an id")).await.payload,
    );
    assert_eq!(envelope.expect("an envelope").deadline_ms, first.deadline.map(|at| at.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_submit_leaves_no_deadline_with_a_key_and_without() {
    let place = Place::start("tasks_max = 1").await;
    submitted(&place, Options::default()).await;
    for key in [Some("order-1"), Some("order-2"), None] {
        let refused =
            place.dispatcher.submit(wide(1, key, within(Duration::from_secs(3_600)))).await.expect_err("full");
        assert_eq!(refused.code, Code::QueueFull);
    }
    assert_eq!(place.messages(DELAY).await, 0, "timers of tasks that nobody accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submit_that_goes_on_with_a_key_of_an_earlier_one_has_a_deadline_of_its_own() {
    let place = Place::start("").await;
    let first = place.dispatcher.submit(wide(1, Some("order-1"), within(Duration::from_secs(3_600)))).await;
    let id = crate::halting::id_of(&first.expect("accepted").task);
    let broker = place.dispatcher.broker();
    let timer = || async {
        let stored = workfleet_link::read::last_on_subject(broker, DELAY, &broker.names.delay_deadline(&id)).await;
        stored.expect("an answer").map(|stored| stored.sequence)
    };
    let before = timer().await.expect("a timer");
    // The first one seems to have died between its timer and its task; it may also be about to take the timer back.
    let tasks = broker.jetstream.get_stream(TASKS).await.expect("a stream");
    tasks.purge().await.expect("purged");
    // Its message id is remembered, so nothing is stored; the timer came before.
    let again = place.dispatcher.submit(wide(1, Some("order-1"), within(Duration::from_secs(3_600)))).await;
    assert_eq!(again.expect_err("removed a moment ago").code, Code::BrokerUnavailable);
    taken_back(&place, before).await;
    assert!(timer().await.is_some_and(|timer| timer > before), "the second one's timer stays");
}

/// As the first one would take its timer back, by its sequence.
async fn taken_back(place: &Place, sequence: u64) {
    let delay = place.dispatcher.broker().jetstream.get_stream(DELAY).await.expect("a stream");
    let _ = delay.delete_message(sequence).await;
}
