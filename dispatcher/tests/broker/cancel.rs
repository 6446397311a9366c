//! Cancels (rule 11), without workers or with ones that only answer.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt as _;
use prost::Message as _;
use workfleet_dispatcher::{Cancelled, Code, Dispatcher, ListTasks, Options, Submit};
use workfleet_link::pipeline::{Pipeline, Publish, PublishError};
use workfleet_link::read;
use workfleet_link::time::{now_ms, rfc3339_ms};
use workfleet_proto::id::TaskId;
use workfleet_proto::names::{Lane, header};
use workfleet_proto::v1::{self, Event, State};

use crate::due::Carrier;
use crate::halting::{DEAD, DELAY, TASKS, caller, copy, id_of, later, record, recorded, store, submitted};
use crate::place::{Place, eventually, wide};

/// A user that may not take a task out of its queue: nobody answers that question.
const BARRED_FROM_TASKS: &str = r#"
no_auth_user: all
authorization {
  users = [
    { user: all, password: x }
    { user: barred, password: x, permissions: { publish: { deny: ["$JS.API.STREAM.MSG.DELETE.TASKS_thumbnail"] } } }
  ]
}
"#;

pub(crate) async fn cancelled(place: &Place, id: &TaskId) -> Cancelled {
    place.dispatcher.cancel(id, "a test", &caller()).await.expect("cancelled")
}

async fn refused(place: &Place, id: &TaskId) -> workfleet_dispatcher::ApiError {
    place.dispatcher.cancel(id, "", &caller()).await.expect_err("refused")
}

fn with_deadline() -> Options {
    Options { deadline: Some(workfleet_dispatcher::Deadline::In(Duration::from_secs(3_600))), ..Options::default() }
}

/// The next task, as a worker takes it.
pub(crate) async fn pulled(place: &Place) -> jetstream::Message {
    let stream = place.dispatcher.broker().jetstream.get_stream(TASKS).await.expect("a stream");
    let consumer: PullConsumer = stream.get_consumer("WORK_m").await.expect("a consumer");
    let mut pulled =
        consumer.batch().max_messages(1).expires(Duration::from_secs(30)).messages().await.expect("a pull");
    pulled.next().await.expect("a task").expect("a message")
}

/// What a worker says of a task that it runs.
pub(crate) fn running(place: &Place, id: &TaskId) -> Publish {
    let event = Event {
        id: id.to_string(),
        state: State::Running.into(),
        run: 1,
        attempt: 1,
        sequence: 1,
        at_ms: now_ms(),
        started_at_ms: now_ms(),
        worker: "frozen".to_owned(),
        ..Event::default()
    };
    Publish::new(place.dispatcher.broker().names.event(id), event.encode_to_vec().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_is_cancelled_while_every_worker_is_down_and_whoever_waits_for_it_is_told() {
    let place = Place::start("").await;
    let waiting = Submit { wait: Some(Duration::from_secs(60)), ..wide(1, Some("order-1"), with_deadline()) };
    let waiter = tokio::spawn({
        let dispatcher = place.dispatcher.clone();
        async move { dispatcher.submit(waiting).await.expect("accepted").task }
    });
    eventually("the task waits", async || (place.messages(TASKS).await == 1).then_some(())).await;
    assert_eq!(place.messages(DELAY).await, 1, "the timer of its deadline");
    let id = TaskId::keyed(&"thumbnail".parse().expect("a name"), "order-1", None);
    let began = Instant::now();
    let done = cancelled(&place, &id).await;
    assert_eq!((done.workers_unanswered, done.task.state.0), (0, State::Cancelled));
    assert!(began.elapsed() < Duration::from_secs(5), "nobody has to answer: {:?}", began.elapsed());
    let failure = done.task.failure.expect("a failure");
    assert_eq!((failure.code.as_str(), failure.message.as_str(), done.task.attempt), ("cancelled", "a test", 0));
    assert_eq!((place.messages(TASKS).await, place.messages(DELAY).await), (0, 0));
    let told = waiter.await.expect("no panic");
    assert_eq!((told.state.0, told.id.as_str()), (State::Cancelled, id.as_str()));

    let list = ListTasks { queue: "thumbnail".to_owned(), state: Some(State::Cancelled), ..ListTasks::default() };
    let listed = place.dispatcher.tasks(&list).await.expect("a page").tasks;
    assert_eq!(listed.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    let repeat = place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect("told").task;
    assert_eq!((repeat.state.0, place.messages(TASKS).await), (State::Cancelled, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_a_frozen_broker_says_that_nobody_knows_and_may_be_repeated() {
    let place = Place::start("").await;
    let id = submitted(&place, Options::default()).await;
    // Its queue is known, as it is to any dispatcher that works.
    place.dispatcher.get(&id).await.expect("known");
    place.signal_broker("STOP");
    let unclear = refused(&place, &id).await;
    place.signal_broker("CONT");
    assert_eq!((unclear.code, unclear.task_id.as_ref()), (Code::BrokerUnavailable, Some(&id)));
    assert!(unclear.detail.contains("not known whether") && unclear.detail.contains("is safe"), "{unclear}");
    let again = async || place.dispatcher.cancel(&id, "", &caller()).await.ok();
    assert_eq!(eventually("the broker answers again", again).await.task.state.0, State::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_task_never_starts() {
    let place = Place::start("").await;
    let carrier = Carrier::start(&place.dispatcher);
    let id = submitted(&place, Options { delay: Some(Duration::from_secs(2)), ..with_deadline() }).await;
    assert_eq!(place.messages(DELAY).await, 2);
    let done = cancelled(&place, &id).await;
    assert_eq!((done.task.state.0, done.task.started_at), (State::Cancelled, None));
    assert_eq!(place.messages(DELAY).await, 0);
    // Another one that is due later shows that the time of the first has come.
    let witness = submitted(&place, later(Duration::from_millis(2_500))).await;
    let subject = place.dispatcher.broker().names.task(&witness, Lane::DEFAULT);
    let arrived = async || read::last_on_subject(place.dispatcher.broker(), TASKS, &subject).await.expect("an answer");
    eventually("the witness is due", arrived).await;
    assert_eq!(place.messages(TASKS).await, 1);
    carrier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_waits_is_cancelled_with_what_was_tried() {
    let place = Place::start("").await;
    let id = submitted(&place, Options::default()).await;
    let mut retry = copy(&place, &id).await;
    place.dispatcher.broker().jetstream.get_stream(TASKS).await.expect("a stream").purge().await.expect("acknowledged");
    let mut envelope = v1::Envelope::decode(retry.payload).expect("an envelope");
    envelope.attempts =
        vec![v1::Attempt { attempt: 1, started_at_ms: 7, code: "error".to_owned(), ..Default::default() }];
    retry.payload = envelope.encode_to_vec().into();
    retry.headers.insert(header::ATTEMPT, "2");
    retry.headers.insert(header::SCHEDULE, format!("@at {}", rfc3339_ms(now_ms() + 3_600_000)));
    retry.headers.insert(header::SCHEDULE_TARGET, place.dispatcher.broker().names.delay_due(&id, Lane::DEFAULT));
    retry.subject = place.dispatcher.broker().names.delay_at(&id);
    store(&place, retry).await;
    assert_eq!(place.dispatcher.get(&id).await.expect("known").state.0, State::Retrying);

    let done = cancelled(&place, &id).await;
    assert_eq!((done.task.attempt, done.task.started_at.map(|at| at.0)), (1, Some(7)));
    assert_eq!(done.task.failure.expect("a failure").attempts[0].code, "error");
    assert_eq!(record(&place, &id).await.expect("a record").lane, "m", "the schedule leads there");
    assert_eq!(place.messages(DELAY).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_still_does_with_a_cancelled_task_is_not_recorded() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    let id = submitted(&place, Options::default()).await;
    let held = pulled(&place).await;
    store(&place, running(&place, &id)).await;

    let done = cancelled(&place, &id).await;
    let cut_off = &done.task.failure.expect("a failure").attempts[0];
    assert_eq!(
        (cut_off.worker.as_deref().unwrap_or_default(), cut_off.code.as_str(), done.task.attempt),
        ("frozen", "cancelled", 1)
    );
    let mut late = Publish::new(broker.names.result(&id), Vec::new().into());
    late.expected_sequence = Some(0);
    assert_eq!(Pipeline::start(broker).publish(late).await, Err(PublishError::Lost));
    held.ack().await.expect("harmless");
    let state = async || place.info(TASKS).await["state"]["messages"].as_u64();
    assert_eq!(state().await, Some(0), "nothing is left to be delivered again");
    assert_eq!(place.dispatcher.get(&id).await.expect("known").state.0, State::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_purges_what_came_meanwhile_and_keeps_the_first_record() {
    let place = Place::start("").await;
    let id = submitted(&place, Options::default()).await;
    let late = copy(&place, &id).await;
    let first = cancelled(&place, &id).await.task;
    store(&place, late).await;
    let again = place.dispatcher.cancel(&id, "another reason", &caller()).await.expect("cancelled").task;
    assert_eq!(place.messages(TASKS).await, 0);
    assert_eq!((again.ended_at, again.failure), (first.ended_at, first.failure));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_died_between_its_record_and_its_purges_is_finished_by_the_next() {
    let place = Place::start("").await;
    let queued = submitted(&place, with_deadline()).await;
    let scheduled = submitted(&place, Options { delay: Some(Duration::from_secs(600)), ..with_deadline() }).await;
    for id in [&queued, &scheduled] {
        recorded(&place, id, State::Cancelled, 1).await;
    }
    assert_eq!((place.messages(TASKS).await, place.messages(DELAY).await), (1, 3));
    for id in [&queued, &scheduled] {
        assert_eq!(cancelled(&place, id).await.task.state.0, State::Cancelled);
    }
    assert_eq!((place.messages(TASKS).await, place.messages(DELAY).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_breaks_off_behind_its_record_stands_in_the_operators_log() {
    let place = Place::start_with(BARRED_FROM_TASKS, "").await;
    let barred = Dispatcher::connect(&place.config("barred:x@")).await.expect("connected");
    let id = submitted(&place, Options::default()).await;
    let broken = barred.cancel(&id, "", &caller()).await.expect_err("its copy stays");
    assert_eq!(broken.code, Code::BrokerUnavailable, "{broken}");
    assert_eq!(record(&place, &id).await.expect("a record").state(), State::Cancelled);
    eventually("it is noted", async || (place.messages("OPERATIONS").await == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_has_ended_stays_as_it_is_and_one_that_nobody_knows_is_not_invented() {
    let place = Place::start("").await;
    for state in [State::Completed, State::Failed, State::Expired] {
        let id = submitted(&place, Options::default()).await;
        recorded(&place, &id, state, 1).await;
        let conflict = refused(&place, &id).await;
        assert!(conflict.code == Code::Conflict && conflict.detail.contains(state.word()), "{conflict}");
        assert_eq!(conflict.task_id.as_ref(), Some(&id));
        assert_eq!(record(&place, &id).await.expect("a record").state(), state);
    }
    let nobody: TaskId = "thumbnail_01h455vb4pex5vsknk084sn02q".parse().expect("an id");
    assert_eq!(refused(&place, &nobody).await.code, Code::UnknownTask);
    assert!(record(&place, &nobody).await.is_none());
    let elsewhere: TaskId = "nowhere_01h455vb4pex5vsknk084sn02q".parse().expect("an id");
    assert_eq!(refused(&place, &elsewhere).await.code, Code::UnknownTask);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_has_begun_is_overtaken_and_its_dead_letter_goes() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    let letter = async |id: &TaskId, run: u32| {
        let envelope = v1::Envelope::decode(copy(&place, id).await.payload).expect("an envelope");
        let result = v1::Result { id: id.to_string(), state: State::Failed.into(), run, ..v1::Result::default() };
        let letter = v1::DeadLetter { result: Some(result), envelope: Some(envelope), ..v1::DeadLetter::default() };
        store(&place, Publish::new(broker.names.dead(id), letter.encode_to_vec().into())).await;
    };
    // Its mark is stored, and nothing else; and one whose task is published, its letter still there.
    let begun =
        submitted(&place, Options { labels: [("a".to_owned(), "1".to_owned())].into(), ..with_deadline() }).await;
    letter(&begun, 1).await;
    broker.jetstream.get_stream(TASKS).await.expect("a stream").purge().await.expect("ended");
    let published = submitted(&place, Options::default()).await;
    letter(&published, 1).await;
    for id in [&begun, &published] {
        recorded(&place, id, State::Queued, 2).await;
    }
    let mut second = copy(&place, &published).await;
    second.headers.insert(header::RUN, "2");
    broker.jetstream.get_stream(TASKS).await.expect("a stream").purge().await.expect("ended");
    store(&place, second).await;

    for id in [&begun, &published] {
        cancelled(&place, id).await;
        let record = record(&place, id).await.expect("a record");
        assert_eq!((record.state(), record.run), (State::Cancelled, 2));
    }
    assert_eq!(record(&place, &begun).await.expect("a record").labels.get("a").map(String::as_str), Some("1"));
    assert_eq!((place.messages(DEAD).await, place.messages(TASKS).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_goes_with_its_task() {
    let place = Place::start("").await;
    let image = "A".repeat(400 << 10);
    let payload = workfleet_dispatcher::Payload::Json(format!("{{\"width_px\":1,\"image\":{image:?}}}").into());
    let large = Submit { payload, ..wide(1, None, Options::default()) };
    let id = id_of(&place.dispatcher.submit(large).await.expect("accepted").task);
    assert!(place.messages("OBJ_IN_thumbnail").await > 0);
    cancelled(&place, &id).await;
    assert_eq!(place.messages("OBJ_IN_thumbnail").await, 0);
}
