//! What is nobody's goes, and nothing else does.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use workfleet_dispatcher::{Options, Payload, Submit, Sweep, SweepAction, Swept};
use workfleet_link::blobs::{self, BlobError};
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_link::read;
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::names::Lane;
use workfleet_proto::v1::{self, Blob, DeadLetter, Envelope, State};

use crate::place::{Place, eventually};

const OLD: Sweep = Sweep {
    queue: None,
    older_than: Some(Duration::ZERO),
    action: SweepAction::Delete,
    pace: workfleet_dispatcher::SweepPace::Fast,
};

fn queue() -> QueueName {
    "thumbnail".parse().expect("a name")
}

fn task() -> TaskId {
    TaskId::new(&queue(), 1, rand::random(), None)
}

async fn put(place: &Place, blob: &BlobId) -> Blob {
    let info = blobs::put_bytes(place.dispatcher.broker(), blob, Bytes::from(vec![7; 200_000])).await.expect("stored");
    Blob::from(&info)
}

async fn is_there(place: &Place, blob: &BlobId) -> bool {
    blobs::info(place.dispatcher.broker(), blob).await.expect("an answer").is_some()
}

async fn publish(place: &Place, subject: String, body: Vec<u8>) {
    let pipeline = Pipeline::start(place.dispatcher.broker());
    pipeline.publish(Publish::new(subject, body.into())).await.expect("stored");
}

async fn end(place: &Place, id: &TaskId, state: State, blob: Option<Blob>) {
    let result = v1::Result { id: id.to_string(), state: state.into(), blob, ended_at_ms: 1, ..Default::default() };
    publish(place, place.dispatcher.broker().names.result(id), result.encode_to_vec()).await;
}

async fn sweep(place: &Place, sweep: &Sweep) -> Swept {
    place.dispatcher.sweep(sweep).await.expect("swept").pop().expect("one queue")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_lives_while_a_copy_or_a_dead_letter_names_it() {
    let place = Place::start("").await;
    let large = |options| {
        let request = ThumbnailRequest { image: vec![1; 600_000].into(), ..Default::default() };
        let payload = Payload::Protobuf(request.encode_to_vec().into());
        Submit { queue: "thumbnail".to_owned(), payload, idempotency_key: None, wait: None, options }
    };
    let late = Options { delay: Some(Duration::from_secs(3_600)), ..Options::default() };
    for options in [Options::default(), late] {
        place.dispatcher.submit(large(options)).await.expect("stored");
    }
    let (failed, lost) = (task(), task());
    let (letters, orphan) = (BlobId::input(&failed, 1), BlobId::input(&lost, 1));
    let envelope = Envelope { blob: Some(put(&place, &letters).await), ..Default::default() };
    let letter = DeadLetter { envelope: Some(envelope), ..Default::default() };
    publish(&place, place.dispatcher.broker().names.dead(&failed), letter.encode_to_vec()).await;
    end(&place, &failed, State::Failed, None).await;
    put(&place, &orphan).await;
    let losers = BlobId::input(&failed, 2);
    put(&place, &losers).await;

    let counted = sweep(&place, &Sweep { action: SweepAction::Count, ..OLD }).await;
    assert_eq!((counted.checked, counted.inputs, counted.bytes), (5, 2, 400_000));
    assert!(is_there(&place, &orphan).await, "it was only counted");
    let swept = sweep(&place, &OLD).await;
    assert_eq!((swept.inputs, swept.outputs, swept.uploads, swept.unfinished), (2, 0, 0, 0));
    assert!(!is_there(&place, &orphan).await && !is_there(&place, &losers).await);
    assert!(is_there(&place, &letters).await, "the dead letter's");
    assert_eq!(sweep(&place, &OLD).await.checked, 3, "two that wait and one that failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_stays_where_its_dead_letter_cannot_be_read() {
    let place = Place::start("").await;
    let failed = task();
    let payload = BlobId::input(&failed, 1);
    put(&place, &payload).await;
    publish(&place, place.dispatcher.broker().names.dead(&failed), b"\xff of a version to come".to_vec()).await;
    end(&place, &failed, State::Failed, None).await;
    assert_eq!(sweep(&place, &OLD).await.inputs, 0);
    assert!(is_there(&place, &payload).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_lives_while_its_task_lives_or_its_result_names_it() {
    let place = Place::start("").await;
    let living = place.dispatcher.submit(crate::place::wide(1, None, Options::default())).await.expect("stored").task;
    let living = BlobId::output(&living.id.parse().expect("an id"), 1);
    let ended = task();
    let (named, losers, handlers) = (BlobId::output(&ended, 1), BlobId::output(&ended, 2), BlobId::kept(&ended, 3));
    let nobodys = BlobId::kept(&task(), 1);
    let claim = put(&place, &named).await;
    for blob in [&living, &losers, &handlers, &nobodys] {
        put(&place, blob).await;
    }
    end(&place, &ended, State::Completed, Some(claim)).await;
    assert_eq!(sweep(&place, &OLD).await.outputs, 2);
    for (blob, there) in [(&living, true), (&named, true), (&handlers, true), (&losers, false), (&nobodys, false)] {
        assert_eq!(is_there(&place, blob).await, there, "{blob}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_lives_as_long_as_the_queue_says_and_pieces_without_a_record_go() {
    let place = Place::start("").await;
    let upload: BlobId = "thumbnail_dunes".parse().expect("an id");
    put(&place, &upload).await;
    // A dispatcher that dies in the midst of an upload leaves pieces.
    for piece in 0..3 {
        publish(&place, "$O.IN_thumbnail.C.deadbeef".to_owned(), vec![piece; 1_000]).await;
    }
    let young = Sweep { older_than: Some(Duration::from_secs(60)), ..OLD };
    assert_eq!(sweep(&place, &young).await, Swept { queue: "thumbnail".to_owned(), ..Swept::default() });
    let swept = sweep(&place, &OLD).await;
    assert_eq!((swept.uploads, swept.unfinished), (0, 1));
    assert!(is_there(&place, &upload).await);
    assert_eq!(place.messages("OBJ_IN_thumbnail").await, 3, "two pieces and a record are left");
    let read: Vec<Result<Bytes, BlobError>> = {
        use futures::StreamExt as _;
        let info = blobs::info(place.dispatcher.broker(), &upload).await.expect("an answer").expect("it is there");
        blobs::stream(place.dispatcher.broker(), info).collect().await
    };
    assert!(read.iter().all(Result::is_ok), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_once_it_is_older_than_the_queue_keeps_it() {
    let place = Place::start("uploads_age = \"1m\"\n").await;
    let upload: BlobId = "thumbnail_dunes".parse().expect("an id");
    put(&place, &upload).await;
    assert_eq!(sweep(&place, &OLD).await.uploads, 0, "it is no minute old");
    let broker = place.dispatcher.broker();
    let mut settings = read::queue_settings(broker, &queue()).await.expect("an answer").expect("a queue");
    // No queues file may say so; a minute is too long for a test.
    settings.uploads_age_ms = 1;
    let queues = broker.jetstream.get_key_value(broker.names.queues_bucket()).await.expect("a bucket");
    queues.put("thumbnail", settings.encode_to_vec().into()).await.expect("stored");
    let swept = eventually("the settings are read again", async || {
        Some(sweep(&place, &OLD).await).filter(|swept| swept.uploads > 0)
    })
    .await;
    assert_eq!((swept.uploads, swept.bytes), (1, 200_000));
    assert_eq!(place.messages("OBJ_IN_thumbnail").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_keeps_what_it_may_own_and_nothing_else() {
    let place = Place::start("").await;
    let names = &place.dispatcher.broker().names;
    let (copied, ended, dead) = (task(), task(), task());
    let garbage = || vec![0xff; 9];
    publish(&place, names.task(&copied, Lane::DEFAULT), garbage()).await;
    publish(&place, names.result(&ended), garbage()).await;
    publish(&place, names.dead(&dead), garbage()).await;
    // Its name is `garbled`.
    publish(&place, "$O.IN_thumbnail.M.Z2FyYmxlZA==".to_owned(), garbage()).await;
    let kept = [&copied, &ended, &dead].map(|task| [BlobId::input(task, 1), BlobId::output(task, 1)]).concat();
    for blob in &kept {
        put(&place, blob).await;
    }
    // A dead letter says nothing about outputs; without a result there is nobody for it.
    let (kept, orphan) = (&kept[..5], &kept[5]);
    let another = BlobId::input(&task(), 1);
    put(&place, &another).await;
    // A queue that nobody can read, in front of ours by its name.
    publish(&place, format!("$KV.{}.mail", names.queues_bucket()), garbage()).await;

    let swept = sweep(&place, &OLD).await;
    assert_eq!((swept.inputs, swept.outputs, swept.unfinished), (1, 1, 0), "{swept:?}");
    for blob in kept {
        assert!(is_there(&place, blob).await, "{blob}");
    }
    assert!(!is_there(&place, orphan).await && !is_there(&place, &another).await);
    let alone = place.dispatcher.sweep(&Sweep { queue: Some("mail".to_owned()), ..OLD }).await;
    assert!(alone.is_err(), "who asks for it is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mark_may_own_is_kept_and_the_rest_is_swept() {
    let place = Place::start("").await;
    let marked = task();
    crate::dead::graves::marked(&place, &marked, 2, [0; 32]).await;
    let kept = [BlobId::input(&marked, 1), BlobId::output(&marked, 1)];
    for blob in &kept {
        put(&place, blob).await;
    }
    for blob in [BlobId::input(&task(), 1), BlobId::output(&task(), 1)] {
        put(&place, &blob).await;
    }
    let swept = sweep(&place, &OLD).await;
    assert_eq!((swept.checked, swept.inputs, swept.outputs), (4, 1, 1));
    for blob in &kept {
        assert!(is_there(&place, blob).await, "{blob}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_cannot_be_swept_stops_no_other() {
    let place = Place::start("").await;
    place.provision(&format!("\n[queue.mail]\nproto = {:?}", place.mail_proto())).await;
    let mail: QueueName = "mail".parse().expect("a name");
    // In front of ours by its name, with more than may stay unanswered.
    for _ in 0..5 {
        put(&place, &BlobId::input(&TaskId::new(&mail, 1, rand::random(), None), 1)).await;
    }
    put(&place, &BlobId::input(&task(), 1)).await;
    place.dispatcher.broker().jetstream.delete_stream("RESULTS_mail").await.expect("deleted");
    let swept = sweep(&place, &OLD).await;
    assert_eq!((swept.queue.as_str(), swept.inputs), ("thumbnail", 1));
    let alone = place.dispatcher.sweep(&Sweep { queue: Some("mail".to_owned()), ..OLD }).await;
    assert!(alone.is_err(), "who asks for it is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_blobs_are_swept_page_by_page() {
    let place = Place::start("").await;
    let owned: BTreeSet<TaskId> = (0..20).map(|_| task()).collect();
    for task in &owned {
        let claim = put_small(&place, &BlobId::output(task, 1)).await;
        end(&place, task, State::Completed, Some(claim)).await;
    }
    let orphans = (0..600).map(|n| BlobId::output(&task(), n));
    for blob in orphans {
        put_small(&place, &blob).await;
    }
    let swept = sweep(&place, &OLD).await;
    assert_eq!((swept.checked, swept.outputs), (620, 600));
    assert_eq!(place.messages("OBJ_OUT_thumbnail").await, 40);
}

async fn put_small(place: &Place, blob: &BlobId) -> Blob {
    let info = blobs::put_bytes(place.dispatcher.broker(), blob, Bytes::from_static(b"small")).await.expect("stored");
    Blob::from(&info)
}
