//! Whether there is room, asked of streams that do not answer.

use std::time::{Duration, Instant};

use prost::Message as _;
use workfleet_dispatcher::{Code, Dispatcher, Options, Payload, Submit};
use workfleet_link::read;

use crate::place::{Place, wide};

/// A question that a user may not ask is one that nobody answers.
const DEAF_TO_THUMBNAIL: &str = r#"
no_auth_user: all
authorization {
  users = [
    { user: all, password: x }
    { user: deaf, password: x, permissions: { publish: { deny: ["$JS.API.STREAM.INFO.RESULTS_thumbnail"] } } }
  ]
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_answer_holds_up_its_own_queue_alone_and_once() {
    let place = Place::start_with(DEAF_TO_THUMBNAIL, "").await;
    let mail = place.mail_proto();
    place.provision(&format!("[queue.mail]\nproto = {mail:?}")).await;
    let deaf = Dispatcher::connect(&place.config("deaf:x@")).await.expect("connected");
    let to_mail = || Submit { queue: "mail".to_owned(), ..wide(1, None, Options::default()) };
    deaf.submit(to_mail()).await.expect("its kind is known now");

    let began = Instant::now();
    let stuck = tokio::spawn({
        let deaf = deaf.clone();
        async move {
            let submits = (0..8).map(|_| deaf.submit(wide(1, None, Options::default())));
            (futures::future::join_all(submits).await, deaf)
        }
    });
    // Long enough that the count of mail is asked for again, behind the question that hangs.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let asked = Instant::now();
    deaf.submit(to_mail()).await.expect("its stream answers");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());

    let (refused, deaf) = stuck.await.expect("no panic");
    assert!(refused.iter().all(|one| one.as_ref().is_err_and(|error| error.code == Code::BrokerUnavailable)));
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    let asked = Instant::now();
    deaf.submit(wide(1, None, Options::default())).await.expect_err("remembered");
    assert!(asked.elapsed() < Duration::from_millis(300), "{:?}", asked.elapsed());
    assert_eq!(place.messages("TASKS_thumbnail").await, 0);
}

/// A submit of 200 KiB.
fn large(delay: Option<Duration>) -> Submit {
    let image = "A".repeat((200 << 10) / 3 * 4);
    let payload = Payload::Json(format!("{{\"width_px\":1,\"image\":{image:?}}}").into());
    Submit { payload, ..wide(1, None, Options { delay, ..Options::default() }) }
}

const LATER: Option<Duration> = Some(Duration::from_secs(600));

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_tasks_are_refused_by_their_bytes_too_and_others_are_not() {
    let place = Place::start("scheduled_bytes_max = 1048576").await;
    for _ in 0..6 {
        place.dispatcher.submit(large(LATER)).await.expect("the queue holds less than 1 MiB");
    }
    let full = place.dispatcher.submit(large(LATER)).await.expect_err("1.2 MiB are there");
    assert_eq!((full.code, full.retry_after_ms), (Code::QueueFull, Some(1_000)));
    assert!(full.detail.contains("scheduled_bytes_max"), "{}", full.detail);
    // One that has let nothing in knows it from the stream.
    let other = Dispatcher::connect(&place.config("")).await.expect("connected");
    let small = Options { delay: LATER, ..Options::default() };
    let full = other.submit(wide(1, None, small)).await.expect_err("1.2 MiB are there");
    assert!(full.code == Code::QueueFull && full.detail.contains("1048576 bytes"), "{}", full.detail);
    assert_eq!(place.messages("DELAY_thumbnail").await, 6);
    other.submit(large(None)).await.expect("it starts at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whose_retries_pile_up_takes_no_more_tasks() {
    let place = Place::start("scheduled_bytes_max = 1048576").await;
    let jetstream = &place.dispatcher.broker().jetstream;
    for retry in ["a", "b"] {
        place.dispatcher.submit(wide(1, None, Options::default())).await.expect("there is room");
        let subject = format!("wf.delay.at.thumbnail.{retry}");
        jetstream.publish(subject, vec![0; (1 << 20) - (4 << 10)].into()).await.expect("sent").await.expect("stored");
    }
    // Another one asks the stream anew.
    let other = Dispatcher::connect(&place.config("")).await.expect("connected");
    other.submit(wide(1, None, Options::default())).await.expect("8 KiB are left");
    jetstream.publish("wf.delay.at.thumbnail.c", vec![0; 16 << 10].into()).await.expect("sent").await.expect("stored");
    let other = Dispatcher::connect(&place.config("")).await.expect("connected");
    let full = other.submit(wide(1, None, Options::default())).await.expect_err("2 MiB are there");
    assert!(full.code == Code::QueueFull && full.detail.contains("retries"), "{}", full.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_from_before_scheduled_tasks_had_a_size_let_them_in() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    let queue = "thumbnail".parse().expect("a name");
    let mut settings = read::queue_settings(broker, &queue).await.expect("an answer").expect("it is there");
    settings.scheduled_bytes_max = 0;
    let stored = broker.jetstream.publish("$KV.QUEUES.thumbnail", settings.encode_to_vec().into()).await;
    stored.expect("sent").await.expect("stored");
    let dispatcher = Dispatcher::connect(&place.config("")).await.expect("connected");
    dispatcher.submit(large(LATER)).await.expect("the default has room");
}
