//! What callers upload, and the two object stores of a queue.
//!
//! Bytes pass through and are never whole in memory. A blob never changes once it is there: a task that names one sees in
//! its third attempt what it saw in its first. So an upload under a taken name is a success where the bytes are the same
//! and a conflict where they are not, and both are found by the digest, without a second look at the bytes.

mod reads;
mod room;

use bytes::Bytes;
use futures::Stream;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use workfleet_link::blobs::{self, BlobError};
use workfleet_proto::blob::{BlobId, Owner, Store};
use workfleet_proto::v1;

pub(crate) use reads::Reads;

use crate::dispatcher::{Dispatcher, Inner};
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::limits::BLOB_READ_STALL_TIMEOUT;
use crate::view::UnixMs;

/// A blob as callers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlobView {
    /// `<queue>_<name>`.
    pub id: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the whole, 64 hexadecimal digits.
    pub sha256: String,
    /// When it may be swept. What belongs to a task lives as long as that needs it, and at most until then.
    pub expires_at: UnixMs,
}

impl From<BlobView> for v1::BlobInfo {
    fn from(view: BlobView) -> Self {
        Self { id: view.id, bytes: view.bytes, sha256: view.sha256, expires_at: Some(view.expires_at.into()) }
    }
}

/// What an upload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is stored now.
    New(BlobView),
    /// These very bytes were there already.
    Same(BlobView),
}

/// A blob being read.
pub struct BlobRead {
    /// What is known of it.
    pub info: BlobView,
    /// Its bytes, piece by piece. The last item is an error if they are not what was stored.
    pub pieces: BoxStream<'static, Result<Bytes, ApiError>>,
}

impl std::fmt::Debug for BlobRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobRead").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// Stores an upload. `bytes` is its size where that is known, so that what has no room is refused before it is read.
    ///
    /// # Errors
    /// When there are other bytes under this id, the store has no room, or `pieces` ends with an error.
    pub async fn put_blob<E: Into<BlobError>>(
        &self,
        id: &BlobId,
        bytes: Option<u64>,
        pieces: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Put, ApiError> {
        self.inner().put_blob(id, bytes, pieces).await.inspect_err(|error| {
            self.metrics().blob_refused(id.queue().as_str(), error);
        })
    }

    /// The id of an upload whose name does not matter.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn new_blob(&self, queue: &str) -> Result<BlobId, ApiError> {
        let queue = self.inner().connected()?.kinds.queue(queue).await?;
        Ok(BlobId::upload(&queue.name, rand::random()))
    }

    /// A blob, whosever it is. Who takes no piece of it for a minute loses the rest.
    ///
    /// # Errors
    /// `unknown_blob` when there is none, `rate_limited` when too many are read at this moment.
    pub async fn get_blob(&self, id: &BlobId) -> Result<BlobRead, ApiError> {
        let inner = self.inner();
        let place = inner.reads.place()?;
        let queue = inner.queue_of_blob(id).await?;
        let info = blobs::info(&inner.broker, id).await?.ok_or_else(|| unknown_blob(id))?;
        let view = view(&queue, &info);
        let pieces = blobs::stream(&inner.broker, info).map_err(ApiError::from);
        Ok(BlobRead { info: view, pieces: place.paced(BLOB_READ_STALL_TIMEOUT, pieces) })
    }

    /// What is known of a blob.
    ///
    /// # Errors
    /// `unknown_blob` when there is none.
    pub async fn blob(&self, id: &BlobId) -> Result<BlobView, ApiError> {
        let inner = self.inner();
        let queue = inner.queue_of_blob(id).await?;
        let info = blobs::info(&inner.broker, id).await?.ok_or_else(|| unknown_blob(id))?;
        Ok(view(&queue, &info))
    }

    /// Deletes an upload.
    ///
    /// # Errors
    /// `forbidden` when it belongs to a task, `unknown_blob` when there is none.
    pub async fn delete_blob(&self, id: &BlobId) -> Result<(), ApiError> {
        if id.owner() != Owner::Caller {
            let detail = format!("{id} belongs to a task, and goes with it");
            return Err(ApiError::new(Code::Forbidden, detail));
        }
        let inner = self.inner();
        inner.queue_of_blob(id).await?;
        let info = blobs::info(&inner.broker, id).await?.ok_or_else(|| unknown_blob(id))?;
        Ok(blobs::delete_exactly(&inner.broker, &info).await?)
    }
}

impl Inner {
    async fn put_blob<E: Into<BlobError>>(
        &self,
        id: &BlobId,
        bytes: Option<u64>,
        pieces: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Put, ApiError> {
        if id.owner() != Owner::Caller {
            return Err(ApiError::new(Code::Forbidden, format!("{id} is the name of a task's own blob")));
        }
        let queue = self.connected()?.kinds.queue(id.queue().as_str()).await?;
        // The digest is taken on the way, and compared where the name turns out to be taken.
        let mut hash = Sha256::new();
        let mut read = 0;
        let pieces = pieces.map_err(Into::into).inspect_ok(|piece| {
            hash.update(piece);
            read += piece.len() as u64;
        });
        let stored = if let Some(info) = blobs::info(&self.broker, id).await? {
            if bytes.is_some_and(|bytes| bytes != info.bytes) {
                return Err(other_bytes(id));
            }
            drain(pieces, info.bytes).await?;
            Err(BlobError::Exists { blob: id.clone() })
        } else {
            room::check_upload(&queue, bytes.unwrap_or(1))?;
            let left = self.check_store_room(&queue, Store::In, bytes.unwrap_or(1)).await?;
            blobs::put(&self.broker, id, pieces, left.min(room::upload_bytes_max(&queue))).await
        };
        match stored {
            // Its age is counted by the broker's clock, which only the record that is stored tells.
            Ok(info) => Ok(Put::New(view(&queue, &blobs::info(&self.broker, id).await.ok().flatten().unwrap_or(info)))),
            Err(BlobError::Exists { .. }) => {
                let there = blobs::info(&self.broker, id).await?.ok_or_else(|| unknown_blob(id))?;
                let same = there.bytes == read && there.sha256[..] == hash.finalize()[..];
                if same { Ok(Put::Same(view(&queue, &there))) } else { Err(other_bytes(id)) }
            }
            Err(BlobError::TooLarge { .. }) => {
                // It has not the room that was left, or more than any upload may have.
                room::check_upload(&queue, read)?;
                Err(room::full(&queue, Store::In))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn queue_of_blob(&self, id: &BlobId) -> Result<std::sync::Arc<Queue>, ApiError> {
        self.connected()?.kinds.queue(id.queue().as_str()).await.map_err(|error| match error.code {
            // Where there is no queue there is no blob; the caller asked for the blob.
            Code::UnknownQueue => unknown_blob(id),
            _ => error,
        })
    }
}

/// Reads what is compared and not stored; more than is there cannot be the same.
async fn drain(pieces: impl Stream<Item = Result<Bytes, BlobError>> + Send, bytes_max: u64) -> Result<(), BlobError> {
    let mut pieces = std::pin::pin!(pieces);
    let mut read = 0;
    while let Some(piece) = pieces.try_next().await? {
        read += piece.len() as u64;
        if read > bytes_max {
            break;
        }
    }
    Ok(())
}

fn view(queue: &Queue, info: &blobs::BlobInfo) -> BlobView {
    let settings = &queue.settings;
    let age_ms = match info.blob.owner() {
        Owner::Caller => settings.uploads_age_ms,
        Owner::Input(_) => settings.blobs_age_ms,
        Owner::Output(_) => settings.retention_ms,
    };
    BlobView {
        id: info.blob.to_string(),
        bytes: info.bytes,
        sha256: info.sha256_hex(),
        expires_at: UnixMs(info.stored_at_ms.saturating_add(age_ms)),
    }
}

fn other_bytes(id: &BlobId) -> ApiError {
    ApiError::new(Code::Conflict, format!("there are other bytes under {id}; a blob never changes"))
}

/// The refusal of an id under which there is nothing.
pub(crate) fn unknown_blob(id: &BlobId) -> ApiError {
    ApiError::new(Code::UnknownBlob, format!("there is no blob {id}, or it is no longer kept"))
}
