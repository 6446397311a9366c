//! Tasks that have failed, as workers would leave them.

use prost::Message as _;
use workfleet_dispatcher::operations::Caller;
use workfleet_dispatcher::{DeadFilter, DeadList, ListDead};
use workfleet_link::broker::NatsHeaders;
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_link::read;
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::names::Lane;
use workfleet_proto::settlement::dead_letter_id;
use workfleet_proto::v1::{self, DeadLetter, Envelope, Failure, State};
use workfleet_proto::wire::CopyHeaders;

use crate::fill::{id, record};
use crate::place::Place;

/// A copy of a task that waits.
pub(crate) struct Copy {
    pub(crate) headers: CopyHeaders,
    pub(crate) message_id: String,
    pub(crate) envelope: Envelope,
}

impl Copy {
    pub(crate) fn width_px(&self) -> u32 {
        ThumbnailRequest::decode(self.envelope.payload.clone()).expect("a request").width_px
    }
}

pub(crate) fn operator() -> Caller {
    Caller::new("ops", "cli")
}

/// What was asked for: a thumbnail so wide.
pub(crate) fn request(width_px: u32) -> Vec<u8> {
    ThumbnailRequest { width_px, height_px: 1, ..ThumbnailRequest::default() }.encode_to_vec()
}

/// The letter of a task that failed in its only attempt.
pub(crate) fn letter(number: u64) -> DeadLetter {
    let failure = Failure { code: "bad_image".to_owned(), message: "no image".to_owned() };
    let attempt = v1::Attempt { attempt: 1, code: failure.code.clone(), ..v1::Attempt::default() };
    let result = v1::Result { failure: Some(failure), attempts: vec![attempt], ..record(number, State::Failed) };
    let envelope = Envelope {
        id: id(number).to_string(),
        payload: request(u32::try_from(number).expect("a width")).into(),
        submitted_at_ms: result.submitted_at_ms,
        attempts_max: 3,
        timeout_ms: 1_000,
        labels: result.labels.clone(),
        attempts: result.attempts.clone(),
        children: vec!["a child of this run".to_owned()],
        ..Envelope::default()
    };
    DeadLetter {
        result: Some(result),
        envelope: Some(envelope),
        dead_at_ms: 1_700_000_001_000 + i64::try_from(number).expect("a time"),
        reason: "bad_image in attempt 1 of 3".to_owned(),
        payload_missing: false,
    }
}

/// Stores the failed result and the letter.
pub(crate) async fn dies(place: &Place, letter: &DeadLetter) -> TaskId {
    let result = letter.result.clone().expect("a result");
    let id: TaskId = result.id.parse().expect("an id");
    let names = &place.dispatcher.broker().names;
    store(place, Publish::new(names.result(&id), result.encode_to_vec().into())).await;
    lies(place, letter).await;
    id
}

/// Stores the letter alone.
pub(crate) async fn lies(place: &Place, letter: &DeadLetter) {
    let result = letter.result.as_ref().expect("a result");
    let id: TaskId = result.id.parse().expect("an id");
    let message = Publish::new(place.dispatcher.broker().names.dead(&id), letter.encode_to_vec().into());
    store(place, Publish { message_id: Some(dead_letter_id(&id, result.run)), ..message }).await;
}

pub(crate) async fn store(place: &Place, message: Publish) {
    Pipeline::start(place.dispatcher.broker()).publish(message).await.expect("stored");
}

/// The copy of the task that is in the queue.
pub(crate) async fn queued(place: &Place, id: &TaskId) -> Option<Copy> {
    let broker = place.dispatcher.broker();
    let subject = broker.names.task(id, Lane::DEFAULT);
    let stored = read::last_on_subject(broker, "TASKS_thumbnail", &subject).await.expect("an answer")?;
    Some(Copy {
        headers: CopyHeaders::read(&NatsHeaders(&stored.headers)).expect("our headers"),
        message_id: stored.headers.get("Nats-Msg-Id").expect("an id").to_string(),
        envelope: Envelope::decode(stored.payload).expect("an envelope"),
    })
}

/// What is recorded of the task, with its sequence.
pub(crate) async fn recorded(place: &Place, id: &TaskId) -> Option<(v1::Result, u64)> {
    let broker = place.dispatcher.broker();
    let stored = read::last_on_subject(broker, "RESULTS_thumbnail", &broker.names.result(id)).await;
    let stored = stored.expect("an answer")?;
    Some((v1::Result::decode(stored.payload).expect("a record"), stored.sequence))
}

/// Whether the task has a letter.
pub(crate) async fn is_dead(place: &Place, id: &TaskId) -> bool {
    let broker = place.dispatcher.broker();
    let stored = read::last_on_subject(broker, "DEAD_thumbnail", &broker.names.dead(id)).await;
    stored.expect("an answer").is_some()
}

/// The mark of a redrive that has died right after it.
pub(crate) async fn marked(place: &Place, id: &TaskId, run: u32, payload_sha256: [u8; 32]) {
    let mark = v1::Result {
        id: id.to_string(),
        state: State::Queued.into(),
        run,
        redriven_payload_sha256: bytes::Bytes::copy_from_slice(&payload_sha256),
        submitted_at_ms: now_ms(),
        ..v1::Result::default()
    };
    let subject = place.dispatcher.broker().names.result(id);
    store(place, Publish::new(subject, mark.encode_to_vec().into())).await;
}

pub(crate) async fn list(place: &Place, filter: DeadFilter) -> DeadList {
    let list = ListDead { queue: "thumbnail".to_owned(), filter };
    place.dispatcher.dead_letters(&list).await.expect("a page")
}
