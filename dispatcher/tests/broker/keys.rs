//! One task for one key (rule 13).

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use workfleet_dispatcher::{Code, Dispatcher, Options, Payload, Submit, TaskView};
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_link::read;
use workfleet_proto::id::TaskId;
use workfleet_proto::names::Lane;
use workfleet_proto::v1;

use crate::place::{Place, wide};

/// Keeps a record under a subject of the results.
async fn store(place: &Place, subject: String, record: Bytes) {
    let pipeline = Pipeline::start(place.dispatcher.broker());
    pipeline.publish(Publish::new(subject, record)).await.expect("stored");
}

/// As the retention leaves a key whose task is still there.
async fn expire(place: &Place, id: &TaskId) {
    let names = &place.dispatcher.broker().names;
    let stream = place.dispatcher.broker().jetstream.get_stream(names.results_stream(&id.queue())).await;
    let purged = stream.expect("a stream").purge().filter(names.key(id)).await.expect("purged");
    assert_eq!(purged.purged, 1, "there was a record");
}

async fn key_record(place: &Place, id: &TaskId) -> Option<Bytes> {
    let names = &place.dispatcher.broker().names;
    let stream = names.results_stream(&id.queue());
    let stored = read::last_on_subject(place.dispatcher.broker(), &stream, &names.key(id)).await;
    stored.expect("an answer").map(|stored| stored.payload)
}

async fn accepted(place: &Place, width_px: u32, options: Options) -> TaskView {
    place.dispatcher.submit(wide(width_px, Some("order-1"), options)).await.expect("accepted").task
}

async fn refused(place: &Place, width_px: u32, options: Options) {
    let refused = place.dispatcher.submit(wide(width_px, Some("order-1"), options)).await.expect_err("conflict");
    assert_eq!(refused.code, Code::Conflict);
}

fn late() -> Options {
    Options { delay: Some(Duration::from_secs(3_600)), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_task_that_outlives_its_key_is_neither_replaced_nor_doubled() {
    let place = Place::start("").await;
    let first = accepted(&place, 1, late()).await;
    let id: TaskId = first.id.parse().expect("an id");
    expire(&place, &id).await;
    refused(&place, 2, late()).await;
    refused(&place, 2, Options::default()).await;
    assert!(key_record(&place, &id).await.is_none(), "who is refused takes no key");
    let repeat = accepted(&place, 1, Options::default()).await;
    assert_eq!((repeat.id.as_str(), repeat.state.0.word()), (id.as_str(), "scheduled"));
    assert!(key_record(&place, &id).await.is_some(), "the key is remembered again");
    refused(&place, 2, late()).await;
    assert_eq!((place.messages("DELAY_thumbnail").await, place.messages("TASKS_thumbnail").await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_the_same_task_also_once_their_contract_knows_more_of_them() {
    let place = Place::start("").await;
    let proto = place.mail_proto();
    let queue = format!("[queue.mail]\nproto = {proto:?}");
    place.provision(&queue).await;
    // The second field is not known yet.
    let submit = |height_px: u8| Submit {
        queue: "mail".to_owned(),
        payload: Payload::Protobuf(vec![8, 1, 16, height_px].into()),
        ..wide(1, Some("order-1"), Options::default())
    };
    let first = place.dispatcher.submit(submit(2)).await.expect("accepted").task;
    let text = std::fs::read_to_string(&proto).expect("a file");
    std::fs::write(&proto, text.replace("width_px = 1;", "width_px = 1; uint32 height_px = 2;")).expect("a file");
    place.provision(&queue).await;
    let deployed = Dispatcher::connect(&place.config("")).await.expect("connected");
    let again = deployed.submit(submit(2)).await.expect("the same").task;
    assert_eq!((again.id.as_str(), place.messages("TASKS_mail").await), (first.id.as_str(), 1));
    assert_eq!(deployed.submit(submit(3)).await.expect_err("another").code, Code::Conflict);
    // As an earlier version has kept the key.
    let id: TaskId = first.id.parse().expect("an id");
    let record = v1::KeyRecord::decode(key_record(&place, &id).await.expect("a record")).expect("a record");
    assert_eq!(record.payload_bytes_sha256.len(), 32);
    let earlier = v1::KeyRecord { payload_bytes_sha256: Bytes::new(), ..record };
    store(&place, place.dispatcher.broker().names.key(&id), earlier.encode_to_vec().into()).await;
    assert_eq!(deployed.submit(submit(2)).await.expect_err("it cannot be known").code, Code::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_task_that_outlives_its_key_is_neither_replaced_nor_doubled() {
    let place = Place::start("lanes = [\"h\", \"m\"]").await;
    let urgent = || Options { priority: Some("h".to_owned()), ..Options::default() };
    let first = accepted(&place, 1, urgent()).await;
    let id: TaskId = first.id.parse().expect("an id");
    expire(&place, &id).await;
    refused(&place, 2, urgent()).await;
    refused(&place, 2, late()).await;
    let repeats = [accepted(&place, 1, late()).await, accepted(&place, 1, Options::default()).await];
    assert!(repeats.iter().all(|repeat| repeat.id == first.id && repeat.state.0.word() == "queued"));
    assert_eq!((place.messages("DELAY_thumbnail").await, place.messages("TASKS_thumbnail").await), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_outlives_its_key_answers_and_is_compared_where_a_dead_letter_shows_the_payload() {
    let place = Place::start("").await;
    let first = accepted(&place, 1, Options::default()).await;
    let id: TaskId = first.id.parse().expect("an id");
    let names = &place.dispatcher.broker().names;
    let tasks = names.tasks_stream(&id.queue());
    let copy = read::last_on_subject(place.dispatcher.broker(), &tasks, &names.task(&id, Lane::DEFAULT)).await;
    let envelope = v1::Envelope::decode(copy.expect("an answer").expect("a copy").payload).expect("an envelope");
    let ended =
        |state: v1::State| v1::Result { id: first.id.clone(), state: state.into(), run: 1, ..Default::default() };
    store(&place, names.result(&id), ended(v1::State::Completed).encode_to_vec().into()).await;
    place.dispatcher.broker().jetstream.get_stream(tasks).await.expect("a stream").purge().await.expect("ended");
    expire(&place, &id).await;
    let old = accepted(&place, 2, Options::default()).await;
    assert_eq!((old.id.as_str(), old.state.0.word()), (id.as_str(), "completed"));
    // Its first owner is not shut out by the stranger.
    accepted(&place, 1, Options::default()).await;

    store(&place, names.result(&id), ended(v1::State::Failed).encode_to_vec().into()).await;
    let letter = v1::DeadLetter { envelope: Some(envelope), ..Default::default() };
    store(&place, names.dead(&id), letter.encode_to_vec().into()).await;
    refused(&place, 2, Options::default()).await;
    assert_eq!(accepted(&place, 1, Options::default()).await.state.0.word(), "failed");
    assert_eq!(place.messages("TASKS_thumbnail").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_submit_does_not_use_its_key_up() {
    let place = Place::start("tasks_max = 1").await;
    place.dispatcher.submit(wide(9, None, Options::default())).await.expect("room");
    let full = place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect_err("no room");
    assert_eq!(full.code, Code::QueueFull);
    let stream = place.dispatcher.broker().jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    stream.purge().await.expect("room again");
    accepted(&place, 2, Options::default()).await;
    refused(&place, 1, Options::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_submits_of_one_key_at_once_are_one_task() {
    let place = Place::start("").await;
    let submits = (0..32).map(|_| place.dispatcher.submit(wide(1, Some("order-1"), Options::default())));
    let submitted = futures::future::try_join_all(submits).await.expect("each is told the task");
    let ids: std::collections::HashSet<&str> = submitted.iter().map(|one| one.task.id.as_str()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(place.messages("TASKS_thumbnail").await, 1);
    assert!(submitted.iter().all(|one| one.key_expires_at.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_payload_under_a_key_is_a_conflict_that_names_the_task() {
    let place = Place::start("").await;
    let first = place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect("stored").task;
    let refused = place.dispatcher.submit(wide(2, Some("order-1"), Options::default())).await.expect_err("conflict");
    assert_eq!(refused.code, Code::Conflict);
    assert_eq!(refused.task_id.as_ref().map(TaskId::as_str), Some(first.id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_lost_between_its_key_and_its_publish_is_published_by_the_repeat() {
    let place = Place::start("").await;
    let first = place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect("stored").task;
    let id: TaskId = first.id.parse().expect("an id");
    // As a crash after the key's record leaves it. The stream's duplicate window has nothing of it either.
    let names = &place.dispatcher.broker().names;
    let other = TaskId::keyed(&id.queue(), "order-2", None);
    let stream = names.results_stream(&id.queue());
    let record = read::last_on_subject(place.dispatcher.broker(), &stream, &names.key(&id)).await;
    let record = record.expect("an answer").expect("a record");
    store(&place, names.key(&other), record.payload).await;
    let repeat = place.dispatcher.submit(wide(1, Some("order-2"), Options::default())).await.expect("published");
    assert_eq!(repeat.task.id, other.as_str());
    assert_eq!(place.messages("TASKS_thumbnail").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_with_other_options_stores_the_task_where_its_slow_first_submit_does() {
    let place = Place::start("").await;
    let first = accepted(&place, 1, late()).await;
    let id: TaskId = first.id.parse().expect("an id");
    let record = key_record(&place, &id).await.expect("a record");
    // As a submit of another key that is between its record and its publish.
    let other = TaskId::keyed(&id.queue(), "order-2", None);
    store(&place, place.dispatcher.broker().names.key(&other), record).await;
    let repeat = place.dispatcher.submit(wide(1, Some("order-2"), Options::default())).await.expect("published").task;
    assert_eq!((repeat.id.as_str(), repeat.state.0.word()), (other.as_str(), "scheduled"));
    assert_eq!(repeat.not_before, first.not_before);
    assert_eq!((place.messages("DELAY_thumbnail").await, place.messages("TASKS_thumbnail").await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_after_the_end_is_told_the_end_and_nothing_is_stored() {
    let place = Place::start("").await;
    let first = place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect("stored").task;
    let id: TaskId = first.id.parse().expect("an id");
    let (names, queue) = (&place.dispatcher.broker().names, id.queue());
    let result = v1::Result {
        id: first.id.clone(),
        state: v1::State::Completed.into(),
        run: 1,
        attempt: 1,
        ..Default::default()
    };
    store(&place, names.result(&id), result.encode_to_vec().into()).await;
    let stream = place.dispatcher.broker().jetstream.get_stream(names.tasks_stream(&queue)).await.expect("a stream");
    stream.purge().await.expect("as an acknowledgement leaves it");
    let repeat = place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect("told");
    assert_eq!((repeat.task.id.as_str(), repeat.task.state.0.word()), (first.id.as_str(), "completed"));
    assert_eq!(place.messages("TASKS_thumbnail").await, 0);
}

/// A purge takes a message and not the memory of its id: what is published again is acknowledged and not stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_the_stream_only_remembers_is_not_said_to_be_stored() {
    let place = Place::start("").await;
    let first = accepted(&place, 1, Options::default()).await;
    let stream = place.dispatcher.broker().jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    stream.purge().await.expect("purged");
    let refused = place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect_err("not stored");
    assert_eq!((refused.code, refused.retry_after_ms), (Code::BrokerUnavailable, Some(120_000)));
    assert_eq!(refused.task_id.as_ref().map(ToString::to_string), Some(first.id));
}

/// A worker has said a moment ago that the task runs.
async fn say_it_runs(place: &Place, id: &TaskId) {
    let event =
        v1::Event { id: id.to_string(), state: v1::State::Running.into(), run: 1, attempt: 1, ..Default::default() };
    store(place, place.dispatcher.broker().names.event(id), event.encode_to_vec().into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_of_a_task_is_no_proof_that_it_is_stored() {
    let place = Place::start("").await;
    let first = accepted(&place, 1, Options::default()).await;
    let id: TaskId = first.id.parse().expect("an id");
    say_it_runs(&place, &id).await;
    // As results that were purged leave it: neither the copy nor the key is there, and the stream remembers the copy.
    let stream = place.dispatcher.broker().jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    stream.purge().await.expect("purged");
    expire(&place, &id).await;
    let refused = place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect_err("not stored");
    assert_eq!(refused.code, Code::BrokerUnavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_stores_the_task_of_which_only_an_event_is_left() {
    let place = Place::start("").await;
    let first = accepted(&place, 1, Options::default()).await;
    let id: TaskId = first.id.parse().expect("an id");
    let record = key_record(&place, &id).await.expect("a record");
    // As a purge of what waits leaves it: the key is there, and no stream remembers a copy.
    let other = TaskId::keyed(&id.queue(), "order-2", None);
    store(&place, place.dispatcher.broker().names.key(&other), record).await;
    say_it_runs(&place, &other).await;
    let repeat = place.dispatcher.submit(wide(1, Some("order-2"), Options::default())).await.expect("stored").task;
    assert_eq!(repeat.id, other.as_str());
    assert_eq!(place.messages("TASKS_thumbnail").await, 2);
}
