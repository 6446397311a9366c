//! How many blobs are read at once, and how long a place is kept by who does not read.
//!
//! A piece is handed on beside the reader, so that one who takes nothing is noticed: a server asks for the next piece only
//! where the last one has gone, and never says that it has not. Without that a few hundred idle connections would keep
//! everybody else from reading.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::bounds::Bound;
use crate::error::{ApiError, Code};
use crate::limits::{BLOBS_READ_MAX, LARGE_RETRY_AFTER_MS};
use crate::places::taken;

/// The places.
#[derive(Debug)]
pub(crate) struct Reads {
    left: Arc<Semaphore>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct ReadPlace {
    _permit: OwnedSemaphorePermit,
}

impl Reads {
    pub(crate) fn new() -> Self {
        Self { left: Arc::new(Semaphore::new(BLOBS_READ_MAX)) }
    }

    /// How many of them are taken.
    pub(crate) fn used(&self) -> Bound {
        taken("blobs_read_max", &self.left, BLOBS_READ_MAX)
    }

    /// A place.
    ///
    /// # Errors
    /// `rate_limited` where there is none.
    pub(super) fn place(&self) -> Result<ReadPlace, ApiError> {
        let permit = Arc::clone(&self.left).try_acquire_owned().map_err(|_| {
            let detail = format!("{BLOBS_READ_MAX} blobs are read at this moment, and no more are");
            ApiError::new(Code::RateLimited, detail).retry_after_ms(LARGE_RETRY_AFTER_MS)
        })?;
        Ok(ReadPlace { _permit: permit })
    }
}

impl ReadPlace {
    /// The same pieces, with the place until the last of them, or until none was taken for `stall_max`.
    pub(super) fn paced(
        self,
        stall_max: Duration,
        pieces: impl Stream<Item = Result<Bytes, ApiError>> + Send + 'static,
    ) -> BoxStream<'static, Result<Bytes, ApiError>> {
        let (hand_over, handed) = mpsc::channel(1);
        tokio::spawn(async move {
            let _place = self;
            let mut pieces = std::pin::pin!(pieces);
            loop {
                let piece = tokio::select! {
                    piece = pieces.next() => piece,
                    () = hand_over.closed() => return,
                };
                // The end is said, so that it is told from being cut off.
                let last = piece.is_none();
                let sent = timeout(stall_max, hand_over.send(piece)).await;
                if last || !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        });
        let cut_off = move || {
            let detail = format!("no piece of the blob was taken for {} s", stall_max.as_secs());
            ApiError::new(Code::RequestTimeout, detail)
        };
        futures::stream::unfold(Some(handed), move |handed| async move {
            let mut handed = handed?;
            match handed.recv().await {
                Some(Some(Ok(piece))) => Some((Ok(piece), Some(handed))),
                Some(Some(Err(error))) => Some((Err(error), None)),
                Some(None) => None,
                None => Some((Err(cut_off()), None)),
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures::StreamExt as _;

    use super::{BLOBS_READ_MAX, Reads};
    use crate::error::{ApiError, Code};

    fn pieces() -> impl futures::Stream<Item = Result<Bytes, ApiError>> + Send {
        futures::stream::iter((0..5).map(|n| Ok(Bytes::from(vec![n]))))
    }

    #[tokio::test]
    async fn who_takes_no_piece_loses_the_rest_and_the_place() {
        let reads = Reads::new();
        let mut paced = reads.place().expect("a place").paced(Duration::from_millis(20), pieces());
        paced.next().await.expect("a piece").expect("the first");
        let freed = reads.left.acquire_many(u32::try_from(BLOBS_READ_MAX).expect("a few")).await.expect("open");
        drop(freed);
        let rest: Vec<_> = paced.collect().await;
        let last = rest.last().expect("how it ended");
        assert!(last.as_ref().is_err_and(|error| error.code == Code::RequestTimeout), "{rest:?}");
        assert!(rest.len() < 5, "it was cut off: {rest:?}");
    }

    #[tokio::test]
    async fn who_takes_them_has_them_all_and_leaving_frees_the_place() {
        let reads = Reads::new();
        let paced = reads.place().expect("a place").paced(Duration::from_secs(60), pieces());
        assert_eq!(paced.filter_map(|piece| async { piece.ok() }).count().await, 5);
        let endless = futures::stream::pending();
        drop(reads.place().expect("a place").paced(Duration::from_secs(60), endless));
        let all = reads.left.acquire_many(u32::try_from(BLOBS_READ_MAX).expect("a few")).await;
        drop(all.expect("open"));
    }
}
