//! Somebody is told of dead letters.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use futures::StreamExt as _;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use workfleet_dispatcher::Dispatcher;
use workfleet_dispatcher::streams::ProvisionError;
use workfleet_link::pipeline::Publish;
use workfleet_link::read;
use workfleet_link::time::now_ms;
use workfleet_proto::kinds::webhook::WebhookRequest;
use workfleet_proto::v1::{DeadLetter, Envelope};

use super::graves::{letter, lies, store};
use crate::place::{Place, eventually};

const PER_MINUTE: u64 = 3;
/// More than there are places.
const LETTERS: u64 = 10;

fn alert(queue: &str) -> String {
    format!("dead_alert = {{ queue = {queue:?}, url = \"https://ops.test/hook\", per_minute = {PER_MINUTE} }}\n")
}

fn webhook() -> String {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/kinds/webhook.proto");
    format!("[queue.webhook]\nproto = {proto:?}\n")
}

async fn start() -> Place {
    let place = Place::start("").await;
    lies(&place, &letter(100)).await;
    place.provision(&(alert("webhook") + &webhook())).await;
    place
}

/// A letter of a task that has failed so long ago.
fn died_ago(number: u64, ago_ms: i64) -> DeadLetter {
    DeadLetter { dead_at_ms: now_ms() - ago_ms, ..letter(number) }
}

/// Stores the letter once more, as a worker does after the one that had stored it died: its id is forgotten by then.
async fn lies_again(place: &Place, letter: &DeadLetter) {
    let id = letter.result.as_ref().expect("a result").id.parse().expect("an id");
    store(place, Publish::new(place.dispatcher.broker().names.dead(&id), letter.encode_to_vec().into())).await;
}

/// Tells of dead letters, with one more dispatcher.
async fn teller(place: &Place) -> CancellationToken {
    let dispatcher = Dispatcher::connect(&place.config("")).await.expect("connected");
    let stop = CancellationToken::new();
    let until = stop.clone();
    tokio::spawn(async move { dispatcher.tell_of_dead_letters(until).await });
    stop
}

/// What is told, in order.
async fn told(place: &Place) -> Vec<WebhookRequest> {
    let broker = place.dispatcher.broker();
    let mut told = Vec::new();
    for sequence in 1..=place.messages("TASKS_webhook").await {
        let stored = read::by_sequence(broker, "TASKS_webhook", sequence).await.expect("an answer").expect("a task");
        let envelope = Envelope::decode(stored.payload).expect("an envelope");
        told.push(WebhookRequest::decode(envelope.payload).expect("a request"));
    }
    told
}

/// So that all letters of a test are of one minute.
async fn minute_with_room() {
    let left_ms = 60_000 - now_ms().rem_euclid(60_000);
    if left_ms < 20_000 {
        tokio::time::sleep(Duration::from_millis(u64::try_from(left_ms).expect("positive"))).await;
    }
}

async fn all_acknowledged(place: &Place, pending: u64) {
    eventually("the letters are acknowledged", async || {
        let stream = place.dispatcher.broker().jetstream.get_stream("DEAD_thumbnail").await.ok()?;
        let info = stream.consumer_info("ALERT").await.ok()?;
        (info.num_pending == 0 && info.num_ack_pending as u64 == pending).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_letter_is_told_of_once_however_many_dispatchers_there_are_and_however_often_they_restart() {
    let place = start().await;
    minute_with_room().await;
    let tellers = [teller(&place).await, teller(&place).await];
    lies(&place, &died_ago(1, 5)).await;
    lies(&place, &died_ago(2, 5)).await;
    all_acknowledged(&place, 0).await;
    for teller in tellers {
        teller.cancel();
    }
    // Whatever was told of is delivered again, as after a crash before the acknowledgements; and in another order.
    let stream = place.dispatcher.broker().jetstream.get_stream("DEAD_thumbnail").await.expect("a stream");
    stream.delete_consumer("ALERT").await.expect("deleted");
    let mut again = place.info("DEAD_thumbnail").await;
    assert_eq!(again["state"]["messages"].take(), 3);
    let config = async_nats::jetstream::consumer::pull::Config {
        durable_name: Some("ALERT".to_owned()),
        deliver_policy: async_nats::jetstream::consumer::DeliverPolicy::ByStartSequence { start_sequence: 2 },
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.expect("made anew");
    let held = consumer.fetch().max_messages(2).messages().await.expect("asked");
    let mut held: Vec<_> = held.map(|letter| letter.expect("a letter")).collect().await;
    held.reverse();
    for letter in held {
        letter.ack_with(AckKind::Nak(None)).await.expect("given back");
    }
    let third = teller(&place).await;
    all_acknowledged(&place, 0).await;
    third.cancel();
    let told = told(&place).await;
    assert_eq!(told.len(), 2, "the letter from before the alert is not told of");
    assert!(told.iter().all(|told| told.r#type == "workfleet.dead_letter" && told.url == "https://ops.test/hook"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_stored_again_long_after_its_task_failed_is_told_of_once() {
    let place = start().await;
    minute_with_room().await;
    teller(&place).await;
    // One whose worker died before it was stored at all, and one that was stored in time.
    let (late, timely) = (died_ago(1, 3_600_000), died_ago(2, 55_000));
    for letter in [&late, &timely] {
        lies(&place, letter).await;
    }
    all_acknowledged(&place, 0).await;
    assert_eq!(told(&place).await.len(), 2);
    let is_late = async || (now_ms() - timely.dead_at_ms > 61_000).then_some(());
    eventually("nobody who stores it now has just seen it fail", is_late).await;
    for letter in [&timely, &late] {
        lies_again(&place, letter).await;
    }
    all_acknowledged(&place, 0).await;
    assert_eq!(told(&place).await.len(), 2, "nothing is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_for_whose_webhook_there_is_no_room_is_told_of_once_there_is() {
    let place = start().await;
    let with_room = |tasks: u64| alert("webhook") + &webhook() + &format!("tasks_max = {tasks}\n");
    place.provision(&with_room(1)).await;
    minute_with_room().await;
    teller(&place).await;
    for number in 1..3 {
        lies(&place, &letter(number)).await;
    }
    eventually("one is told of, and the other comes again", async || {
        let stream = place.dispatcher.broker().jetstream.get_stream("DEAD_thumbnail").await.ok()?;
        let info = stream.consumer_info("ALERT").await.ok()?;
        (info.num_ack_pending == 1 && info.delivered.consumer_sequence > 2).then_some(())
    })
    .await;
    assert_eq!(place.messages("TASKS_webhook").await, 1);
    place.provision(&with_room(10)).await;
    all_acknowledged(&place, 0).await;
    let told: Vec<_> = told(&place).await.iter().map(|told| format!("{:?}", told.data)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for number in 1..3 {
        let id = crate::fill::id(number);
        assert!(told.iter().any(|told| told.contains(id.as_str())), "{id}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits for a minute to be over: `make slow-test`"]
async fn beyond_the_limit_of_a_minute_somebody_is_told_how_many_there_were() {
    assert_eq!(beyond_the_limit(1).await, LETTERS - PER_MINUTE);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits for a minute to be over: `make slow-test`"]
async fn several_dispatchers_tell_of_those_beyond_the_limit_once() {
    // Each counts from the first letter that it met beyond the limit.
    assert!((1..=LETTERS - PER_MINUTE).contains(&beyond_the_limit(2).await));
}

/// How many more there were, as so many dispatchers tell it.
async fn beyond_the_limit(tellers: usize) -> u64 {
    let place = start().await;
    minute_with_room().await;
    for _ in 0..tellers {
        teller(&place).await;
    }
    for number in 0..LETTERS {
        lies(&place, &died_ago(number, 5)).await;
    }
    eventually("the places are taken", async || (place.messages("TASKS_webhook").await == PER_MINUTE).then_some(()))
        .await;
    let mut told = told(&place).await;
    for _ in 0..900 {
        if told.len() as u64 > PER_MINUTE {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        told = self::told(&place).await;
    }
    all_acknowledged(&place, 0).await;
    assert_eq!(self::told(&place).await.len() as u64, PER_MINUTE + 1, "one sum for all");
    assert_eq!(told.last().expect("one").r#type, "workfleet.dead_letters");
    let data = format!("{:?}", told.last().expect("one").data);

    let count = (1..=LETTERS).rev().find(|count| data.contains(&format!("NumberValue({count}.0)")));
    count.unwrap_or_else(|| panic!("{data}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_nobody_could_send_is_refused() {
    let place = Place::start("").await;
    let mail = format!("[queue.mail]\nproto = {:?}\n", place.mail_proto());
    for (settings, reason) in [(alert("webhook"), "no queue webhook"), (alert("mail") + &mail, "not a webhook")] {
        let refused = place.try_provision(&settings).await.expect_err("refused");
        assert!(matches!(refused, ProvisionError::Alert { .. }), "{refused}");
        assert!(refused.to_string().contains(reason), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_not_wanted_any_more_takes_its_consumer_along() {
    let place = start().await;
    let stream = place.dispatcher.broker().jetstream.get_stream("DEAD_thumbnail").await.expect("a stream");
    assert!(stream.consumer_info("ALERT").await.is_ok());
    place.provision(&webhook()).await;
    assert!(stream.consumer_info("ALERT").await.is_err());
}
