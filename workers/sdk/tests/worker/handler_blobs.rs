//! What handlers read and store beside their tasks.

use bytes::Bytes;
use futures::TryStreamExt as _;
use prost::Message as _;
use workfleet_link::blobs;
use workfleet_proto::blob::{BlobId, Owner, Store};
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::v1::call_reply::Answer;
use workfleet_proto::v1::{CallReply, State};
use workfleet_sdk::{BlobError, Context, TaskError};

use crate::fleet::{Fleet, noise};

/// Reads the blob that the task names, in the way that its width says.
async fn read(ctx: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    let image = match task.width_px {
        0 => ctx.blob(&task.blob).await?,
        1 => {
            let mut pieces = ctx.blob_stream(&task.blob).await?;
            let mut whole = Vec::new();
            while let Some(piece) = pieces.try_next().await? {
                whole.extend_from_slice(&piece);
            }
            whole.into()
        }
        _ => {
            let mut whole = Vec::new();
            let mut reader = ctx.blob_stream(&task.blob).await?.into_reader();
            tokio::io::copy_buf(&mut reader, &mut whole).await?;
            whole.into()
        }
    };
    Ok(ThumbnailReply { image, ..Default::default() })
}

fn task(blob: &str, width_px: u32) -> ThumbnailRequest {
    ThumbnailRequest { blob: blob.to_owned(), width_px, ..Default::default() }
}

async fn upload(fleet: &Fleet, name: &str, bytes: Bytes) -> BlobId {
    let blob = BlobId::named(&fleet.queue, name).expect("a name");
    blobs::put_bytes(&fleet.broker, &blob, bytes).await.expect("stored");
    blob
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_read_whole_and_piece_by_piece_and_by_calls_too() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, read).await;
    let bytes = noise(250_000);
    let blob = upload(&fleet, "holiday.jpg", bytes.clone()).await;
    for way in 0..3 {
        let record = fleet.ended(&fleet.submit(task(&blob.to_string(), way)).await).await;
        assert_eq!(record.state(), State::Completed, "{:?}", record.failure);
        let reply = ThumbnailReply::decode(record.output).expect("an output");
        assert!(reply.image == bytes, "way {way}");
    }
    let question = task(&blob.to_string(), 0).encode_to_vec().into();
    let answer = fleet.broker.client.request(fleet.broker.names.call(&fleet.queue), question).await.expect("an answer");
    let Some(Answer::Output(output)) = CallReply::decode(answer.payload).expect("a reply").answer else {
        panic!("the call failed")
    };
    assert!(ThumbnailReply::decode(output).expect("an output").image == bytes);
    assert!(fleet.is_kept(&blob).await, "an upload is its caller's");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_no_attempt_can_have_fails_the_task_at_once() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, read).await;
    for way in 0..3 {
        for (blob, code) in [
            ("thumbnail_nobody.jpg", "blob_gone"),
            ("mail_holiday.jpg", "foreign_blob"),
            ("thumbnail_in.x", "invalid_blob_id"),
            ("", "invalid_blob_id"),
            ("thumbnail_a/../b", "invalid_blob_id"),
        ] {
            let record = fleet.ended(&fleet.submit(task(blob, way)).await).await;
            assert_eq!((record.failure.expect("a failure").code.as_str(), record.attempt), (code, 1), "{blob:?}");
        }
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_an_error_at_the_end_of_its_stream_and_tried_again() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, read).await;
    let blob = upload(&fleet, "holiday.jpg", noise(100_000)).await;
    fleet.damage(Store::In).await;
    for way in 0..2 {
        let record = fleet.ended(&fleet.submit(task(&blob.to_string(), way)).await).await;
        assert_eq!((record.failure.expect("a failure").code.as_str(), record.attempt), ("blob_damaged", 3));
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_blob_has_at_most_the_size_of_a_payload_and_a_stream_any() {
    let fleet = Fleet::start_with(|settings| settings.payload_bytes_max = 200_000).await;
    let ways = |ctx: Context, task: ThumbnailRequest| async move {
        if task.width_px == 0 {
            return read(ctx, task).await;
        }
        let whole: Vec<Bytes> = ctx.blob_stream(&task.blob).await?.try_collect().await?;
        Ok(ThumbnailReply { width_px: u32::try_from(whole.concat().len())?, ..Default::default() })
    };
    let worker = fleet.worker(2, ways).await;
    let blob = upload(&fleet, "large", noise(1_500_000)).await.to_string();
    let whole = fleet.ended(&fleet.submit(task(&blob, 0)).await).await;
    assert_eq!((whole.failure.expect("a failure").code.as_str(), whole.attempt), ("blob_too_large", 1));
    let streamed = fleet.ended(&fleet.submit(task(&blob, 1)).await).await;
    assert_eq!(ThumbnailReply::decode(streamed.output).expect("an output").width_px, 1_500_000);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_stores_is_named_after_its_task_and_outlives_it() {
    let fleet = Fleet::start().await;
    let store = |ctx: Context, task: ThumbnailRequest| async move {
        let id = match task.width_px {
            0 => ctx.put_blob(vec![7; 400_000]).await?,
            _ => ctx.put_blob_stream(ctx.blob_stream(&task.blob).await?).await?,
        };
        assert!(ctx.blob(&id).await?.len() == 400_000);
        Ok(ThumbnailReply { image: id.into(), ..Default::default() })
    };
    let worker = fleet.worker(2, store).await;
    let source = upload(&fleet, "source", vec![7; 400_000].into()).await.to_string();
    for way in 0..2 {
        let id = fleet.submit(task(&source, way)).await;
        let record = fleet.ended(&id).await;
        assert_eq!(record.state(), State::Completed, "{:?}", record.failure);
        let reply = ThumbnailReply::decode(record.output).expect("an output");
        let blob: BlobId = String::from_utf8(reply.image.to_vec()).expect("text").parse().expect("a blob");
        assert_eq!((blob.owner(), blob.store()), (Owner::Output(id), Store::Out));
        assert!(fleet.is_kept(&blob).await);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_blob_that_does_not_come_to_its_end() {
    let fleet = Fleet::start_with(|settings| settings.payload_bytes_max = 1_000_000).await;
    let store = |ctx: Context, task: ThumbnailRequest| async move {
        let stored = match task.width_px {
            0 => {
                let pieces = [Ok(Bytes::from(vec![7; 400_000])), Err("the camera broke")];
                ctx.put_blob_stream(futures::stream::iter(pieces)).await
            }
            _ => ctx.put_blob(vec![7; 1_000_001]).await,
        };
        let expected = match task.width_px {
            0 => BlobError::Source { reason: "the camera broke".to_owned() },
            _ => BlobError::TooLarge { bytes_max: 1_000_000 },
        };
        assert_eq!(stored, Err(expected.clone()));
        Err::<ThumbnailReply, _>(TaskError::permanent(expected.code(), "as it should be"))
    };
    let worker = fleet.worker(2, store).await;
    for (way, code) in [(0, "blob_unfinished"), (1, "blob_too_large")] {
        let record = fleet.ended(&fleet.submit(task("", way)).await).await;
        assert_eq!(record.failure.expect("a failure").code, code);
    }
    assert_eq!(fleet.stored(Store::Out).await, 0);
    worker.stop().await;
}
