//! What a handler's context reaches beyond its process: the fleet, or in a test a bench.
//!
//! An enum and no trait: there are two of them, both in this crate, and a trait with async functions would need boxes.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use workfleet_link::blobs as store;
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::v1::Progress;

use crate::blobs::{BlobError, BlobStream};
use crate::child::{self, Asked};
use crate::error::TaskError;
use crate::station::Station;
use crate::testing::Desk;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// The worker's own connection.
    Fleet(Arc<Station>),
    /// What a test has laid out.
    Bench(Arc<Desk>),
}

impl Reach {
    pub(crate) fn fleet(station: &Arc<Station>) -> Self {
        Self::Fleet(Arc::clone(station))
    }

    /// The time of day.
    pub(crate) fn now(&self) -> SystemTime {
        match self {
            Self::Fleet(_) => SystemTime::now(),
            Self::Bench(desk) => desk.now(),
        }
    }

    /// Whether the handler may submit tasks to this queue.
    pub(crate) fn may_submit_to(&self, queue: &QueueName) -> Result<(), TaskError> {
        match self {
            Self::Fleet(station) => child::permitted(&station.settings, queue),
            Self::Bench(desk) => desk.may_submit_to(queue),
        }
    }

    /// Submits a child and gives its id.
    pub(crate) async fn submit(&self, asked: Asked, deadline: Instant) -> Result<TaskId, TaskError> {
        match self {
            Self::Fleet(station) => child::ask(&station.broker, &asked, deadline.into()).await,
            Self::Bench(desk) => desk.submit(asked),
        }
    }

    /// The largest blob that is read or stored as a whole.
    pub(crate) fn blob_bytes_max(&self) -> u64 {
        match self {
            Self::Fleet(station) => station.payload_bytes_max(),
            Self::Bench(desk) => desk.blob_bytes_max(),
        }
    }

    /// Begins to read a blob.
    pub(crate) async fn read_blob(&self, blob: &BlobId) -> Result<BlobStream, BlobError> {
        match self {
            Self::Fleet(station) => {
                let gone = || BlobError::Gone { id: blob.to_string() };
                let info = store::info(&station.broker, blob).await?.ok_or_else(gone)?;
                let (bytes, metrics) = (info.bytes, Arc::clone(&station.metrics));
                let pieces = store::stream(&station.broker, info).map_err(BlobError::from);
                Ok(BlobStream::new(bytes, pieces.inspect_ok(move |piece| metrics.fetched(piece.len() as u64))))
            }
            Self::Bench(desk) => desk.blob(blob),
        }
    }

    /// Stores a blob of at most [`blob_bytes_max`](Self::blob_bytes_max).
    pub(crate) async fn write_blob(
        &self,
        blob: &BlobId,
        pieces: impl Stream<Item = Result<Bytes, BlobError>> + Send,
    ) -> Result<(), BlobError> {
        match self {
            Self::Fleet(station) => {
                // What a source says comes back as what it said.
                let pieces = pieces.map_err(|error| store::BlobError::Source { reason: error.reason() });
                let info = store::put(&station.broker, blob, pieces, self.blob_bytes_max()).await?;
                station.metrics.stored(info.bytes);
            }
            Self::Bench(desk) => {
                let (bytes_max, mut whole) = (self.blob_bytes_max(), Vec::new());
                let mut pieces = std::pin::pin!(pieces);
                while let Some(piece) = pieces.try_next().await? {
                    whole.extend_from_slice(&piece);
                    if whole.len() as u64 > bytes_max {
                        return Err(BlobError::TooLarge { bytes_max });
                    }
                }
                desk.put_blob(blob.clone(), whole.into())?;
            }
        }
        Ok(())
    }

    /// The handler has said how far it is. In a fleet its events read that from the context.
    pub(crate) fn progress(&self, progress: &Progress) {
        match self {
            Self::Fleet(_) => {}
            Self::Bench(desk) => desk.progress(progress),
        }
    }
}
