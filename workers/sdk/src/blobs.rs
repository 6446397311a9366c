//! The blobs that a handler reads and stores.
//!
//! A handler reaches the blobs of its own queue and no others: whoever may submit to one queue must not read another's
//! pictures through it. All of it runs on the handlers' runtime, its digests included, so that a handler that moves
//! gigabytes takes no time of the thread that renews leases.

mod error;
mod stream;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use workfleet_proto::blob::BlobId;

use crate::context::Context;

pub use error::BlobError;
pub use stream::BlobStream;

/// How often a whole blob is read before its failure is the handler's.
const TRIES_MAX: u32 = 3;

/// Blobs.
impl Context {
    /// The whole of a blob of this queue: an upload, or what a task left behind. At most the queue's `payload_bytes_max`;
    /// what is larger is read [piece by piece](Self::blob_stream).
    ///
    /// ```
    /// use workfleet_sdk::{Context, TaskError};
    ///
    /// async fn length(ctx: &Context, source: &str) -> Result<usize, TaskError> {
    ///     let picture = ctx.blob(source).await?; // gone, or of another queue: fails at once; any other: tried again
    ///     Ok(picture.len())
    /// }
    /// ```
    ///
    /// # Errors
    /// See [`BlobError`].
    pub async fn blob(&self, id: impl AsRef<str>) -> Result<Bytes, BlobError> {
        let blob = self.own(id.as_ref())?;
        let mut tries = 1;
        loop {
            match self.whole(&blob).await {
                Err(BlobError::Unanswered { .. } | BlobError::Damaged { .. }) if tries < TRIES_MAX => tries += 1,
                read => return read,
            }
        }
    }

    /// A blob of this queue piece by piece, of whatever size.
    ///
    /// ```
    /// use futures::TryStreamExt as _;
    /// use workfleet_sdk::{Context, TaskError};
    ///
    /// async fn lines(ctx: &Context, source: &str) -> Result<usize, TaskError> {
    ///     let mut pieces = ctx.blob_stream(source).await?;
    ///     let mut lines = 0;
    ///     while let Some(piece) = pieces.try_next().await? {
    ///         lines += piece.iter().filter(|byte| **byte == b'\n').count();
    ///     }
    ///     Ok(lines) // only now is it known that the bytes are those that were stored
    /// }
    /// ```
    ///
    /// # Errors
    /// See [`BlobError`]. The stream's last item is [`BlobError::Damaged`] where the SHA-256 of all pieces is wrong.
    pub async fn blob_stream(&self, id: impl AsRef<str>) -> Result<BlobStream, BlobError> {
        self.reach().read_blob(&self.own(id.as_ref())?).await
    }

    /// Stores a blob, and gives its id for the output. It lives as long as the task and its result. An attempt that runs
    /// again stores another.
    ///
    /// ```
    /// use workfleet_sdk::{Context, TaskError};
    ///
    /// async fn store(ctx: &Context, poster: Vec<u8>) -> Result<String, TaskError> {
    ///     Ok(ctx.put_blob(poster).await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// See [`BlobError`]; [`BlobError::TooLarge`] beyond the queue's `payload_bytes_max`.
    pub async fn put_blob(&self, bytes: impl Into<Bytes>) -> Result<String, BlobError> {
        let bytes = bytes.into();
        let mut tries = 1;
        loop {
            let pieces = futures::stream::iter([Ok(bytes.clone())]);
            match self.put(pieces).await {
                Err(BlobError::Unanswered { .. }) if tries < TRIES_MAX => tries += 1,
                stored => return stored,
            }
        }
    }

    /// The same from pieces of any size; few of them are in memory at once. Where the stream ends with an error, nothing
    /// is stored.
    ///
    /// ```
    /// use workfleet_sdk::{Context, TaskError};
    ///
    /// async fn copy(ctx: &Context, source: &str) -> Result<String, TaskError> {
    ///     Ok(ctx.put_blob_stream(ctx.blob_stream(source).await?).await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`put_blob`](Self::put_blob), and [`BlobError::Source`] with what the stream says.
    pub async fn put_blob_stream<E: std::fmt::Display>(
        &self,
        pieces: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<String, BlobError> {
        self.put(pieces.map(|piece| piece.map_err(|error| BlobError::Source { reason: error.to_string() }))).await
    }

    async fn put(&self, pieces: impl Stream<Item = Result<Bytes, BlobError>> + Send) -> Result<String, BlobError> {
        let blob = BlobId::kept(self.task_id(), rand::random());
        self.reach().write_blob(&blob, pieces).await?;
        Ok(blob.to_string())
    }

    async fn whole(&self, blob: &BlobId) -> Result<Bytes, BlobError> {
        let mut pieces = self.reach().read_blob(blob).await?;
        let (bytes, bytes_max) = (pieces.bytes(), self.reach().blob_bytes_max());
        if bytes > bytes_max {
            return Err(BlobError::TooLarge { bytes_max });
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(bytes).unwrap_or(0));
        while let Some(piece) = pieces.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The blob of this id, if it is one of this queue.
    fn own(&self, id: &str) -> Result<BlobId, BlobError> {
        let blob: BlobId = id.parse().map_err(|_| BlobError::InvalidId)?;
        if *blob.queue() == self.task_id().queue() { Ok(blob) } else { Err(BlobError::Foreign { id: id.to_owned() }) }
    }
}
