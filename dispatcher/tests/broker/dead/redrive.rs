//! Redrives: one new run, or the letter is still there.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use workfleet_dispatcher::{Payload, RedriveChanges, Sweep, SweepAction, SweepPace};
use workfleet_link::blobs;
use workfleet_link::pipeline::Publish;
use workfleet_link::read;
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::v1::{self, Blob, State};

use super::graves::{dies, is_dead, letter, lies, marked, operator, queued, recorded, request, store};
use crate::fill::Fill;
use crate::place::Place;

pub(super) const AS_IT_WAS: RedriveChanges =
    RedriveChanges { payload: None, deadline: None, attempts_max: None, run: None, reason: String::new() };

pub(super) fn wide(width_px: u32) -> RedriveChanges {
    let payload = Payload::Json(Bytes::from(format!("{{\"width_px\":{width_px}}}")));
    RedriveChanges { payload: Some(payload), ..AS_IT_WAS }
}

pub(super) async fn redriven(place: &Place, id: &TaskId, changes: &RedriveChanges) -> String {
    let redriven = place.dispatcher.redrive(id, changes, operator()).await.expect("redriven");
    redriven.task.state.0.word().to_owned()
}

pub(super) async fn refused(place: &Place, id: &TaskId, changes: &RedriveChanges) -> &'static str {
    place.dispatcher.redrive(id, changes, operator()).await.expect_err("refused").code.name()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_task_is_queued_as_its_next_run_and_its_letter_is_gone() {
    let place = Place::start("").await;
    let dead = dies(&place, &letter(640)).await;
    assert_eq!(redriven(&place, &dead, &AS_IT_WAS).await, "queued");
    let (copy, (mark, sequence)) =
        (queued(&place, &dead).await.expect("a copy"), recorded(&place, &dead).await.expect("a mark"));
    assert_eq!((copy.headers.generation.run, copy.headers.generation.attempt), (2, 1));
    assert_eq!((copy.headers.result_sequence, copy.headers.check), (sequence, true));
    assert_eq!(copy.message_id, format!("{dead}/2/1"));
    assert_eq!((copy.width_px(), copy.envelope.attempts_max), (640, 3));
    assert!(
        copy.envelope.attempts.is_empty() && copy.envelope.children.is_empty(),
        "they were those of the run before"
    );
    assert_eq!((mark.state(), mark.run), (State::Queued, 2));
    assert!(!is_dead(&place, &dead).await);
    assert_eq!(refused(&place, &dead, &AS_IT_WAS).await, "unknown_dead_letter");
    let other = dies(&place, &letter(7)).await;
    let of_another_run = RedriveChanges { run: Some(2), ..AS_IT_WAS };
    let error = place.dispatcher.redrive(&other, &of_another_run, operator()).await.expect_err("another run's");
    assert_eq!(error.code.name(), "unknown_dead_letter");
    assert!(error.detail.contains("is of run 1, and not of run 2"), "{error}");
    assert!(is_dead(&place, &other).await);
    assert_eq!(place.messages("TASKS_thumbnail").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_task_keeps_its_lane_and_its_labels() {
    let place = Place::start("lanes = [\"h\", \"m\"]").await;
    let mut urgent = letter(640);
    urgent.result.as_mut().expect("a result").lane = "h".to_owned();
    let dead = dies(&place, &urgent).await;
    redriven(&place, &dead, &AS_IT_WAS).await;
    let broker = place.dispatcher.broker();
    let subject = broker.names.task(&dead, "h".parse().expect("a lane"));
    let stored = read::last_on_subject(broker, "TASKS_thumbnail", &subject).await.expect("an answer");
    let envelope = v1::Envelope::decode(stored.expect("it is in its lane").payload).expect("an envelope");
    assert_eq!(envelope.labels, urgent.envelope.expect("one").labels);
    assert_eq!(recorded(&place, &dead).await.expect("a mark").0.lane, "h");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_without_a_result_is_redriven_too() {
    let place = Place::start("").await;
    lies(&place, &letter(640)).await;
    let dead = crate::fill::id(640);
    assert_eq!(redriven(&place, &dead, &AS_IT_WAS).await, "queued");
    assert_eq!(recorded(&place, &dead).await.expect("a mark").0.run, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_payload_is_checked_as_that_of_a_submit_is() {
    let place = Place::start("").await;
    let dead = dies(&place, &letter(640)).await;
    let wrong = |text: &'static str| RedriveChanges {
        payload: Some(Payload::Json(Bytes::from_static(text.as_bytes()))),
        ..AS_IT_WAS
    };
    assert_eq!(refused(&place, &dead, &wrong(r#"{"wide_px": 1}"#)).await, "invalid_payload");
    assert_eq!(refused(&place, &dead, &wrong("{")).await, "invalid_json");
    let many = RedriveChanges { attempts_max: Some(0), ..AS_IT_WAS };
    assert_eq!(refused(&place, &dead, &many).await, "invalid_option");
    assert_eq!(recorded(&place, &dead).await.expect("a result").0.state(), State::Failed, "nothing was begun");
    redriven(&place, &dead, &RedriveChanges { attempts_max: Some(9), ..wide(80) }).await;
    let copy = queued(&place, &dead).await.expect("a copy");
    assert_eq!((copy.width_px(), copy.envelope.attempts_max), (80, 9));
    assert_eq!(copy.headers.schema, copy.envelope.schema);
    assert!(!copy.headers.schema.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_died_after_its_mark_is_gone_on_with_and_another_payload_is_refused() {
    let place = Place::start("").await;
    let dead = dies(&place, &letter(640)).await;
    marked(&place, &dead, 2, Sha256::digest(request(640)).into()).await;
    // Whoever marked it may live, and publish it yet: a run beside it could be lost with the letter.
    assert_eq!(refused(&place, &dead, &wide(80)).await, "conflict");
    assert!(is_dead(&place, &dead).await);
    assert_eq!(redriven(&place, &dead, &AS_IT_WAS).await, "queued");
    assert_eq!(queued(&place, &dead).await.expect("a copy").headers.generation.run, 2);
    assert!(!is_dead(&place, &dead).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_begun_from_a_later_letter_than_the_one_that_was_read_is_left_to_its_own() {
    let place = Place::start("").await;
    let dead = dies(&place, &letter(640)).await;
    marked(&place, &dead, 3, Sha256::digest(request(640)).into()).await;
    assert_eq!(refused(&place, &dead, &AS_IT_WAS).await, "conflict");
    assert!(queued(&place, &dead).await.is_none(), "its letter would have stayed beside its end");
    assert!(is_dead(&place, &dead).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_died_after_its_publish_is_finished_and_another_payload_is_refused() {
    let place = Place::start("").await;
    let dead = dies(&place, &letter(640)).await;
    redriven(&place, &dead, &AS_IT_WAS).await;
    lies(&place, &v1::DeadLetter { dead_at_ms: 5, ..letter(640) }).await;
    // Its id is remembered; so it lies there under another one.
    let letter_again = Publish::new(place.dispatcher.broker().names.dead(&dead), letter(640).encode_to_vec().into());
    store(&place, letter_again).await;
    assert_eq!(refused(&place, &dead, &wide(80)).await, "conflict");
    assert!(is_dead(&place, &dead).await);
    assert_eq!(redriven(&place, &dead, &AS_IT_WAS).await, "queued");
    assert!(!is_dead(&place, &dead).await);
    assert_eq!(place.messages("TASKS_thumbnail").await, 1, "it was not published twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_beside_a_later_end_is_a_leftover() {
    let place = Place::start("").await;
    let dead = dies(&place, &letter(640)).await;
    let ended = v1::Result { run: 2, ..crate::fill::record(640, State::Completed) };
    Fill::new(place.dispatcher.broker()).ended([ended]).await;
    assert_eq!(redriven(&place, &dead, &AS_IT_WAS).await, "completed");
    assert!(!is_dead(&place, &dead).await && queued(&place, &dead).await.is_none());
    // Nothing was redriven, so that what is done next is the first entry of the operators' log.
    let other = dies(&place, &letter(641)).await;
    place.dispatcher.drop_dead(&other, "", operator()).await.expect("dropped");
    let broker = place.dispatcher.broker();
    let first = async || read::by_sequence(broker, "OPERATIONS", 1).await.expect("an answer");
    let first = crate::place::eventually("something is noted", first).await;
    let first: serde_json::Value = serde_json::from_slice(&first.payload).expect("JSON");
    assert_eq!(first["action"], "drop", "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redrives_that_race_make_one_run() {
    let place = Place::start("").await;
    let dead = dies(&place, &letter(640)).await;
    let as_it_was = AS_IT_WAS;
    let racers = (0..8).map(|_| place.dispatcher.redrive(&dead, &as_it_was, operator()));
    let came = futures::future::join_all(racers).await;
    let wrong: Vec<_> = came.iter().filter_map(|came| came.as_ref().err()).map(|error| error.code.name()).collect();
    assert!(wrong.iter().all(|code| *code == "unknown_dead_letter"), "{wrong:?}");
    assert!(wrong.len() < 8);
    assert_eq!(queued(&place, &dead).await.expect("a copy").headers.generation.run, 2);
    assert_eq!(place.messages("TASKS_thumbnail").await, 1);
    assert!(!is_dead(&place, &dead).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_leaves_the_letter_and_the_task_failed() {
    let place = Place::start("tasks_max = 1").await;
    place.dispatcher.submit(crate::place::wide(1, None, Default::default())).await.expect("stored");
    let dead = dies(&place, &letter(640)).await;
    assert_eq!(refused(&place, &dead, &AS_IT_WAS).await, "queue_full");
    assert!(is_dead(&place, &dead).await);
    assert_eq!(place.dispatcher.get(&dead).await.expect("known").state.0.word(), "failed");
    let stream = place.dispatcher.broker().jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    stream.purge().await.expect("purged");
    let redriven = async || place.dispatcher.redrive(&dead, &AS_IT_WAS, operator()).await.ok();
    let redriven = crate::place::eventually("what the queue holds is asked anew", redriven).await;
    assert_eq!(redriven.task.state.0.word(), "queued");
}

fn large(width_px: u32) -> Bytes {
    let image = vec![u8::try_from(width_px % 256).expect("a byte"); 600_000].into();
    ThumbnailRequest { image, width_px, height_px: 1, ..ThumbnailRequest::default() }.encode_to_vec().into()
}

async fn sweep(place: &Place) -> u64 {
    let sweep =
        Sweep { queue: None, older_than: Some(Duration::ZERO), action: SweepAction::Delete, pace: SweepPace::Fast };
    place.dispatcher.sweep(&sweep).await.expect("swept").pop().expect("one queue").inputs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_goes_on_into_the_next_run_or_makes_room_for_another() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    for number in [1, 2] {
        let dead = crate::fill::id(number);
        let blob = BlobId::input(&dead, 1);
        let claim = Blob::from(&blobs::put_bytes(broker, &blob, large(7)).await.expect("stored"));
        let mut letter = letter(number);
        let envelope = letter.envelope.as_mut().expect("one");
        (envelope.payload, envelope.blob) = (Bytes::new(), Some(claim));
        dies(&place, &letter).await;
        let read = place.dispatcher.dead_letter(&dead).await.expect("a letter");
        assert_eq!((read.payload_blob, read.payload.is_none()), (Some(blob.to_string()), true));
        assert_eq!(sweep(&place).await, 0, "the letter has it");
        let edited = number == 2;
        let payload = edited.then(|| Payload::Protobuf(large(9)));
        redriven(&place, &dead, &RedriveChanges { payload, ..AS_IT_WAS }).await;
        let named = queued(&place, &dead).await.expect("a copy").envelope.blob.expect("a claim check");
        assert_eq!(named.name != blob.name(), edited);
        assert_eq!(sweep(&place).await, u64::from(edited), "the old one is nobody's any more");
        let there = blobs::fetch(broker, &BlobId::named(blob.queue(), &named.name).expect("a name"), &named).await;
        assert_eq!(there.expect("it is there"), large(if edited { 9 } else { 7 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_gone_can_only_be_replaced() {
    let place = Place::start("").await;
    let dead = crate::fill::id(1);
    let mut gone = letter(1);
    let claim = Blob { name: BlobId::input(&dead, 1).name().to_owned(), bytes: 5, sha256: vec![0; 32].into() };
    gone.envelope.as_mut().expect("one").blob = Some(claim);
    dies(&place, &gone).await;
    assert_eq!(refused(&place, &dead, &AS_IT_WAS).await, "unknown_blob");
    assert_eq!(redriven(&place, &dead, &wide(80)).await, "queued");
    let mut cut = letter(2);
    (cut.envelope, cut.payload_missing) = (None, true);
    let dead = dies(&place, &cut).await;
    assert_eq!(refused(&place, &dead, &AS_IT_WAS).await, "invalid_payload");
    assert_eq!(redriven(&place, &dead, &wide(80)).await, "queued");
    let copy = queued(&place, &dead).await.expect("a copy");
    assert_eq!((copy.width_px(), copy.envelope.labels.len(), copy.envelope.timeout_ms), (80, 1, 300_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_an_edit_that_comes_to_nothing_is_not_kept() {
    let place = Place::start("tasks_max = 1").await;
    place.dispatcher.submit(crate::place::wide(1, None, Default::default())).await.expect("stored");
    let dead = dies(&place, &letter(640)).await;
    let edited = RedriveChanges { payload: Some(Payload::Protobuf(large(9))), ..AS_IT_WAS };
    assert_eq!(refused(&place, &dead, &edited).await, "queue_full");
    assert_eq!(place.messages("OBJ_IN_thumbnail").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_noted_with_who_did_it() {
    let place = Place::start("").await;
    let (one, two) = (dies(&place, &letter(1)).await, dies(&place, &letter(2)).await);
    redriven(&place, &one, &AS_IT_WAS).await;
    place.dispatcher.drop_dead(&two, "", operator()).await.expect("dropped");
    crate::place::eventually("both are stored", async || (place.messages("OPERATIONS").await == 2).then_some(())).await;
    let broker = place.dispatcher.broker();
    let last = read::last_on_subject(broker, "OPERATIONS", "wf.operation.thumbnail").await.expect("an answer");
    let last: serde_json::Value = serde_json::from_slice(&last.expect("one").payload).expect("JSON");
    assert_eq!(
        (&last["action"], &last["who"], &last["task_id"]),
        (&"drop".into(), &"ops".into(), &two.to_string().into())
    );
}
