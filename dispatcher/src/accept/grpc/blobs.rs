//! Blobs over gRPC: a stream of pieces each way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt as _};
use tokio::time::timeout;
use tonic::{Status, Streaming};
use workfleet_link::blobs::BlobError;
use workfleet_proto::blob::{BlobId, BlobIdError};
use workfleet_proto::v1;
use workfleet_proto::v1::put_blob_request::Part;

use super::status;
use crate::blobs::{BlobRead, Put};
use crate::dispatcher::Dispatcher;
use crate::error::{ApiError, Code};
use crate::limits::BODY_STALL_TIMEOUT;

/// Stores what the stream carries under the name that its first message has.
pub(super) async fn put(
    dispatcher: &Dispatcher,
    mut requests: Streaming<v1::PutBlobRequest>,
) -> Result<v1::BlobInfo, ApiError> {
    let id = match next(&mut requests).await?.and_then(|request| request.part) {
        Some(Part::Id(id)) => blob_id(&id)?,
        Some(Part::Queue(queue)) => dispatcher.new_blob(&queue).await?,
        Some(Part::Data(_)) | None => {
            return Err(ApiError::invalid_option("part", "the first message names the blob, by `id` or by `queue`"));
        }
    };
    let misplaced = Arc::new(AtomicBool::new(false));
    let stored = dispatcher.put_blob(&id, None, pieces(requests, Arc::clone(&misplaced))).await;
    if misplaced.load(Ordering::Relaxed) {
        return Err(ApiError::invalid_option("part", "after the first message there is `data` alone"));
    }
    let (Put::New(view) | Put::Same(view)) = stored?;
    Ok(view.into())
}

/// A blob's bytes, with what is known of it in front.
pub(super) fn parts(read: BlobRead) -> BoxStream<'static, Result<v1::BlobPart, Status>> {
    let head = v1::BlobPart { info: Some(read.info.into()), data: Bytes::new() };
    let pieces = read
        .pieces
        .map(|piece| piece.map(|data| v1::BlobPart { info: None, data }).map_err(|error| status::status(&error)));
    futures::stream::once(std::future::ready(Ok(head))).chain(pieces).boxed()
}

/// A blob's id.
pub(super) fn blob_id(text: &str) -> Result<BlobId, ApiError> {
    text.parse().map_err(|error: BlobIdError| ApiError::invalid_option("id", error.to_string()))
}

fn pieces(
    requests: Streaming<v1::PutBlobRequest>,
    misplaced: Arc<AtomicBool>,
) -> impl Stream<Item = Result<Bytes, BlobError>> + Send {
    futures::stream::unfold(Some(requests), move |requests| {
        let misplaced = Arc::clone(&misplaced);
        async move {
            let mut requests = requests?;
            let broken = |reason: String| Some((Err(BlobError::Source { reason }), None));
            match next(&mut requests).await {
                Ok(Some(v1::PutBlobRequest { part: Some(Part::Data(data)) })) => Some((Ok(data), Some(requests))),
                Ok(Some(_)) => {
                    misplaced.store(true, Ordering::Relaxed);
                    broken("a message without data".to_owned())
                }
                Ok(None) => None,
                Err(error) => broken(error.detail.clone()),
            }
        }
    })
}

/// The next message; who falls silent is cut off.
async fn next(requests: &mut Streaming<v1::PutBlobRequest>) -> Result<Option<v1::PutBlobRequest>, ApiError> {
    match timeout(BODY_STALL_TIMEOUT, requests.message()).await {
        Ok(Ok(request)) => Ok(request),
        Ok(Err(error)) => {
            Err(ApiError::new(Code::RequestTimeout, format!("the stream broke off: {}", error.message())))
        }
        Err(_) => {
            let detail = format!("nothing came for {} s", BODY_STALL_TIMEOUT.as_secs());
            Err(ApiError::new(Code::RequestTimeout, detail))
        }
    }
}
