//! Blobs over gRPC: a stream of pieces each way.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt as _};
use tokio::time::timeout;
use tonic::{Status, Streaming};
use workfleet_link::blobs::BlobError;
use workfleet_proto::blob::{BlobId, BlobIdError};
use workfleet_proto::v1;
use workfleet_proto::v1::put_blob_request::Part;

use super::gate::Door;
use super::service::queue_of;
use super::status;
use crate::auth::Action;
use crate::blobs::{BlobRead, Put};
use crate::error::{ApiError, Code};
use crate::limits::BODY_STALL_TIMEOUT;

/// Stores what the stream carries under the name that its first message has.
pub(super) async fn put(door: &Door, mut requests: Streaming<v1::PutBlobRequest>) -> Result<v1::BlobInfo, ApiError> {
    // Whoever may not upload anywhere is told so before a message is read.
    door.open_some(Action::Submit)?;
    let (dispatcher, id) = match next(&mut requests).await?.and_then(|request| request.part) {
        Some(Part::Id(id)) => (door.open(Action::Submit, queue_of(&id))?, blob_id(&id)?),
        Some(Part::Queue(queue)) => {
            let dispatcher = door.open(Action::Submit, &queue)?;
            (dispatcher, dispatcher.new_blob(&queue).await?)
        }
        Some(Part::Data(_)) | None => {
            return Err(ApiError::invalid_option("part", "the first message names the blob, by `id` or by `queue`"));
        }
    };
    // The store knows that the bytes end too early; why they do is said here.
    let wrong = Arc::new(OnceLock::new());
    let stored = dispatcher.put_blob(&id, None, pieces(requests, Arc::clone(&wrong))).await;
    if let Some(wrong) = wrong.get() {
        return Err(ApiError::clone(wrong));
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
    wrong: Arc<OnceLock<ApiError>>,
) -> impl Stream<Item = Result<Bytes, BlobError>> + Send {
    futures::stream::unfold(Some(requests), move |requests| {
        let wrong = Arc::clone(&wrong);
        async move {
            let mut requests = requests?;
            let error = match next(&mut requests).await {
                Ok(Some(v1::PutBlobRequest { part: Some(Part::Data(data)) })) => {
                    return Some((Ok(data), Some(requests)));
                }
                Ok(None) => return None,
                Ok(Some(_)) => ApiError::invalid_option("part", "after the first message there is `data` alone"),
                Err(error) => error,
            };
            let reason = error.detail.clone();
            // Nothing is read behind the first mistake, so there is no second.
            let _ = wrong.set(error);
            Some((Err(BlobError::Source { reason }), None))
        }
    })
}

/// The next message; who falls silent is cut off.
async fn next(requests: &mut Streaming<v1::PutBlobRequest>) -> Result<Option<v1::PutBlobRequest>, ApiError> {
    match timeout(BODY_STALL_TIMEOUT, requests.message()).await {
        Ok(Ok(request)) => Ok(request),
        Ok(Err(error)) if status::is_too_large(&error) => Err(status::message_too_large()),
        Ok(Err(error)) => {
            Err(ApiError::new(Code::RequestTimeout, format!("the stream broke off: {}", error.message())))
        }
        Err(_) => {
            let detail = format!("nothing came for {} s", BODY_STALL_TIMEOUT.as_secs());
            Err(ApiError::new(Code::RequestTimeout, detail))
        }
    }
}
