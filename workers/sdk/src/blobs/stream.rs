//! A blob on its way to a handler.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context as Polling, Poll};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncBufRead;
use tokio_util::io::StreamReader;

use super::BlobError;

/// A blob piece by piece; [`Context::blob_stream`](crate::Context::blob_stream) gives one. Its last item is an error if
/// what was read is not what was stored, so what is made of it counts only at its end.
pub struct BlobStream {
    bytes: u64,
    pieces: BoxStream<'static, Result<Bytes, BlobError>>,
}

impl BlobStream {
    pub(crate) fn new(bytes: u64, pieces: impl Stream<Item = Result<Bytes, BlobError>> + Send + 'static) -> Self {
        Self { bytes, pieces: pieces.boxed() }
    }

    /// Size of the whole blob.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same for what reads.
    ///
    /// ```
    /// use tokio::io::AsyncBufReadExt as _;
    /// use workfleet_sdk::{Context, TaskError};
    ///
    /// async fn first_line(ctx: &Context, source: &str) -> Result<Option<String>, TaskError> {
    ///     Ok(ctx.blob_stream(source).await?.into_reader().lines().next_line().await?)
    /// }
    /// ```
    pub fn into_reader(self) -> impl AsyncBufRead + Send + Unpin {
        StreamReader::new(self.pieces.map_err(io::Error::other))
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, BlobError>;

    fn poll_next(mut self: Pin<&mut Self>, polling: &mut Polling<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_next_unpin(polling)
    }
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStream").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
