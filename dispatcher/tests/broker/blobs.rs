//! Large payloads and uploads (rule 19), on the dispatcher's side.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use workfleet_dispatcher::{Code, Options, Payload, Put, Submit};
use workfleet_link::blobs::{self, BlobError};
use workfleet_link::read;
use workfleet_proto::blob::{BlobId, Store};
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::limits::INLINE_BYTES_MAX;
use workfleet_proto::names::Lane;
use workfleet_proto::v1;

use crate::place::{Place, eventually, wide};

fn queue() -> QueueName {
    "thumbnail".parse().expect("a name")
}

fn picture(bytes: usize, seed: u8) -> Bytes {
    Bytes::from((0..bytes).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed)).collect::<Vec<u8>>())
}

fn encoded(bytes: usize, seed: u8) -> Bytes {
    ThumbnailRequest { image: picture(bytes, seed), width_px: 5, ..Default::default() }.encode_to_vec().into()
}

fn submit(payload: Bytes, key: Option<&str>, options: Options) -> Submit {
    let idempotency_key = key.map(ToOwned::to_owned);
    Submit { queue: "thumbnail".to_owned(), payload: Payload::Protobuf(payload), idempotency_key, wait: None, options }
}

/// Messages in the object store `IN_thumbnail`.
async fn stored(place: &Place) -> u64 {
    place.messages("OBJ_IN_thumbnail").await
}

async fn envelope(place: &Place, id: &TaskId) -> v1::Envelope {
    let names = &place.dispatcher.broker().names;
    let (stream, subject) = (names.tasks_stream(&queue()), names.task(id, Lane::DEFAULT));
    let stored = read::last_on_subject(place.dispatcher.broker(), &stream, &subject).await.expect("an answer");
    v1::Envelope::decode(stored.expect("the task waits").payload).expect("an envelope")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_is_stored_before_its_task_which_carries_its_claim_check() {
    let place = Place::start("").await;
    let payload = encoded(1_000_000, 1);
    let task = place.dispatcher.submit(submit(payload.clone(), None, Options::default())).await.expect("stored").task;
    let id: TaskId = task.id.parse().expect("an id");
    let envelope = envelope(&place, &id).await;
    assert!(envelope.payload.is_empty());
    let claim = envelope.blob.expect("a claim check");
    assert_eq!((claim.bytes, &claim.sha256[..]), (payload.len() as u64, &Sha256::digest(&payload)[..]));
    let blob = BlobId::named(&queue(), &claim.name).expect("a name");
    let fetched = blobs::fetch(place.dispatcher.broker(), &blob, &claim).await.expect("the blob is there");
    assert!(fetched == payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_within_the_limit_travels_in_its_task() {
    let place = Place::start("").await;
    let room = 2 * INLINE_BYTES_MAX - encoded(INLINE_BYTES_MAX, 1).len();
    for (bytes, blobs) in [(room, 0), (room + 1, 1)] {
        place.dispatcher.submit(submit(encoded(bytes, 1), None, Options::default())).await.expect("stored");
        assert_eq!(stored(&place).await > 0, blobs > 0, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_a_large_keyed_submit_stores_nothing_and_another_payload_is_a_conflict() {
    let place = Place::start("").await;
    let large = |seed| submit(encoded(600_000, seed), Some("order-1"), Options::default());
    let first = place.dispatcher.submit(large(1)).await.expect("stored").task;
    let before = place.info("OBJ_IN_thumbnail").await["state"]["last_seq"].clone();
    assert_eq!(place.dispatcher.submit(large(1)).await.expect("the same").task.id, first.id);
    assert_eq!(place.dispatcher.submit(large(2)).await.expect_err("other bytes").code, Code::Conflict);
    assert_eq!(place.info("OBJ_IN_thumbnail").await["state"]["last_seq"], before, "nothing was stored in between");
    // The same without the key's record, by which the payload itself is compared.
    let (names, id) = (&place.dispatcher.broker().names, first.id.parse().expect("an id"));
    let results = place.dispatcher.broker().jetstream.get_stream(names.results_stream(&queue())).await;
    results.expect("a stream").purge().filter(names.key(&id)).await.expect("purged");
    assert_eq!(place.dispatcher.submit(large(2)).await.expect_err("other bytes").code, Code::Conflict);
    assert_eq!(place.dispatcher.submit(large(1)).await.expect("the same").task.id, first.id);
    assert_eq!(place.info("OBJ_IN_thumbnail").await["state"]["last_seq"], before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_large_submits_of_one_key_one_leaves_a_blob() {
    let place = Place::start("").await;
    let payload = encoded(600_000, 1);
    let submits = (0..8).map(|_| place.dispatcher.submit(submit(payload.clone(), Some("order-1"), Options::default())));
    let tasks = futures::future::try_join_all(submits).await.expect("accepted");
    let id: TaskId = tasks[0].task.id.parse().expect("an id");
    assert!(tasks.iter().all(|task| task.task.id == tasks[0].task.id));
    let claim = envelope(&place, &id).await.blob.expect("a claim check");
    let blob = BlobId::named(&queue(), &claim.name).expect("a name");
    assert!(blobs::fetch(place.dispatcher.broker(), &blob, &claim).await.expect("it is there") == payload);
    assert_eq!(stored(&place).await, payload.len().div_ceil(128 * 1024) as u64 + 1, "one blob and its record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_submit_leaves_nothing_in_the_store_and_its_key_free() {
    let place = Place::start("tasks_max = 1\n").await;
    place.dispatcher.submit(wide(1, None, Options::default())).await.expect("there is room for one");
    for key in [None, Some("order-1")] {
        let refused = place.dispatcher.submit(submit(encoded(600_000, 1), key, Options::default())).await;
        assert_eq!(refused.expect_err("full").code, Code::QueueFull);
        assert_eq!(stored(&place).await, 0);
    }
    assert_eq!(place.messages("RESULTS_thumbnail").await, 0, "the key is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_the_queues_limit_is_refused_and_the_limit_is_a_setting() {
    let place = Place::start("payload_bytes_max = 1000000\n").await;
    let refused = place.dispatcher.submit(submit(encoded(1_000_000, 1), None, Options::default())).await;
    assert_eq!(refused.expect_err("too large").code, Code::PayloadTooLarge);
    place.dispatcher.submit(submit(encoded(900_000, 1), None, Options::default())).await.expect("within the limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_beyond_the_stores_age_is_refused_for_large_payloads_alone() {
    let place = Place::start("").await;
    let days = |days: u64| Options { delay: Some(Duration::from_secs(days * 86_400)), ..Options::default() };
    let refused = place.dispatcher.submit(submit(encoded(600_000, 1), None, days(24))).await.expect_err("too far");
    assert_eq!((refused.code, refused.field.as_deref()), (Code::InvalidOption, Some("delay")));
    assert_eq!(stored(&place).await, 0);
    place.dispatcher.submit(submit(encoded(600_000, 1), None, days(22))).await.expect("its dead letter would have it");
    place.dispatcher.submit(wide(1, None, days(31))).await.expect("it travels with its payload");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_nearly_full_takes_nothing_new_while_small_tasks_go_on() {
    let place = Place::start("payload_bytes_max = 1000000\nblobs_bytes_max = 1048576\n").await;
    place.dispatcher.submit(submit(encoded(700_000, 1), None, Options::default())).await.expect("there is room");
    let refused = place.dispatcher.submit(submit(encoded(300_000, 1), Some("order-1"), Options::default())).await;
    let refused = refused.expect_err("90 % are less than that");
    assert_eq!((refused.code, refused.retry_after_ms.is_some()), (Code::BlobsFull, true));
    let id = "thumbnail_a".parse().expect("an id");
    let upload = place.dispatcher.put_blob(&id, None, pieces(300_000, 1)).await.expect_err("no room either");
    assert_eq!(upload.code, Code::BlobsFull);
    place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect("and the key is free");
}

fn pieces(bytes: usize, seed: u8) -> impl futures::Stream<Item = Result<Bytes, BlobError>> + Send {
    let pieces: Vec<_> = picture(bytes, seed).chunks(50_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    futures::stream::iter(pieces)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_stored_once_read_back_and_deleted() {
    let (place, bytes) = (Place::start("").await, picture(500_000, 1));
    let id: BlobId = "thumbnail_dunes.jpg".parse().expect("an id");
    let Put::New(info) = place.dispatcher.put_blob(&id, Some(500_000), pieces(500_000, 1)).await.expect("stored")
    else {
        panic!("it is new")
    };
    assert_eq!((info.id.as_str(), info.bytes), ("thumbnail_dunes.jpg", 500_000));
    let again = place.dispatcher.put_blob(&id, None, pieces(500_000, 1)).await.expect("the same bytes");
    assert!(matches!(&again, Put::Same(same) if same.sha256 == info.sha256), "{again:?}");
    for (length, other) in [(Some(500_000), 500_000), (None, 500_000), (Some(499_999), 499_999), (None, 600_000)] {
        let seed = if other == 500_000 { 2 } else { 1 };
        let refused = place.dispatcher.put_blob(&id, length, pieces(other, seed)).await.expect_err("other bytes");
        assert_eq!(refused.code, Code::Conflict);
    }
    let read = place.dispatcher.get_blob(&id).await.expect("it is there");
    assert_eq!((&read.info.sha256, read.info.bytes), (&info.sha256, info.bytes));
    let whole: Vec<Bytes> = read.pieces.try_collect().await.expect("pieces");
    assert!(whole.concat() == bytes);
    place.dispatcher.delete_blob(&id).await.expect("deleted");
    assert_eq!(stored(&place).await, 0);
    assert_eq!(place.dispatcher.get_blob(&id).await.expect_err("gone").code, Code::UnknownBlob);
    assert_eq!(place.dispatcher.delete_blob(&id).await.expect_err("gone").code, Code::UnknownBlob);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_task_is_readable_and_nobody_elses_to_write_or_delete() {
    let place = Place::start("").await;
    let payload = encoded(600_000, 1);
    let task = place.dispatcher.submit(submit(payload.clone(), None, Options::default())).await.expect("stored").task;
    let id: TaskId = task.id.parse().expect("an id");
    let claim = envelope(&place, &id).await.blob.expect("a claim check");
    let blob = BlobId::named(&queue(), &claim.name).expect("a name");
    assert_eq!(blob.store(), Store::In);
    assert_eq!(place.dispatcher.delete_blob(&blob).await.expect_err("the task's").code, Code::Forbidden);
    let theirs = BlobId::output(&id, 7);
    let refused = place.dispatcher.put_blob(&theirs, None, pieces(10, 1)).await.expect_err("the task's");
    assert_eq!(refused.code, Code::Forbidden);
    let read = place.dispatcher.get_blob(&blob).await.expect("it can be read");
    assert!(read.pieces.try_collect::<Vec<Bytes>>().await.expect("pieces").concat() == payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let place = Place::start("").await;
    let id: BlobId = "thumbnail_half".parse().expect("an id");
    let broken = futures::stream::iter(vec![
        Ok(picture(700_000, 1)),
        Err(BlobError::Source { reason: "the caller went away".to_owned() }),
    ]);
    let refused = place.dispatcher.put_blob(&id, None, broken).await.expect_err("it broke off");
    assert_eq!(refused.code, Code::RequestTimeout);
    eventually("its pieces are deleted", async || (stored(&place).await == 0).then_some(())).await;
    assert_eq!(place.dispatcher.get_blob(&id).await.expect_err("none").code, Code::UnknownBlob);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_at_most_half_of_its_store() {
    let place = Place::start("payload_bytes_max = 1000000\nblobs_bytes_max = 1048576\n").await;
    let id: BlobId = "thumbnail_large".parse().expect("an id");
    for length in [Some(600_000), None] {
        let refused = place.dispatcher.put_blob(&id, length, pieces(600_000, 1)).await.expect_err("too large");
        assert_eq!(refused.code, Code::PayloadTooLarge, "{length:?}");
    }
    assert_eq!(stored(&place).await, 0);
    place.dispatcher.put_blob(&id, None, pieces(500_000, 1)).await.expect("less than half");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uploads_of_one_new_name_at_once_one_is_stored_and_each_hears_what_it_came_to() {
    let place = Place::start("").await;
    let id: BlobId = "thumbnail_dunes.jpg".parse().expect("an id");
    let uploads = (0..24).map(|n| {
        let (dispatcher, id) = (place.dispatcher.clone(), id.clone());
        async move { (n % 2, dispatcher.put_blob(&id, None, pieces(300_000, n % 2)).await) }
    });
    let outcomes = futures::future::join_all(uploads).await;
    let winner = outcomes.iter().find(|(_, outcome)| matches!(outcome, Ok(Put::New(_)))).expect("one is new").0;
    let new = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Ok(Put::New(_)))).count();
    assert_eq!(new, 1);
    for (seed, outcome) in outcomes {
        match outcome {
            Ok(_) => assert_eq!(seed, winner),
            Err(error) => assert_eq!((error.code, seed != winner), (Code::Conflict, true), "{error:?}"),
        }
    }
    eventually("three pieces and a record are left", async || (stored(&place).await == 4).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_reads_at_once_than_the_dispatcher_allows_are_told_to_come_again() {
    let place = Place::start("").await;
    let id: BlobId = "thumbnail_dunes.jpg".parse().expect("an id");
    place.dispatcher.put_blob(&id, None, pieces(300_000, 1)).await.expect("stored");
    let mut reads = Vec::new();
    for _ in 0..workfleet_dispatcher::limits::BLOBS_READ_MAX {
        reads.push(place.dispatcher.get_blob(&id).await.expect("a place"));
    }
    let refused = place.dispatcher.get_blob(&id).await.expect_err("no place");
    assert_eq!((refused.code, refused.retry_after_ms.is_some()), (Code::RateLimited, true));
    for read in reads {
        assert!(read.pieces.try_collect::<Vec<Bytes>>().await.expect("pieces").concat() == picture(300_000, 1));
    }
    let freed = async || place.dispatcher.get_blob(&id).await.ok();
    let read = eventually("there are places again", freed).await;
    drop(read);
}
