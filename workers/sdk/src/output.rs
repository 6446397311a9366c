//! Stores an output that is too large to travel, before the result that names it.
//!
//! Each try is a blob of its own. A record whose acknowledgement was lost may be there with its pieces purged, so a name
//! that was tried once is not used again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use workfleet_link::blobs::{self, BlobError};
use workfleet_proto::blob::BlobId;
use workfleet_proto::limits::INLINE_BYTES_MAX;
use workfleet_proto::v1::Blob;

use crate::station::Station;
use crate::task::Held;

/// How long an output is tried to be stored while there is a connection. It costs a slot; giving up costs an attempt.
const STORE_TIME_MAX: Duration = Duration::from_secs(15);
/// How long in all, the time without a connection included.
const AWAY_TIME_MAX: Duration = Duration::from_secs(300);
/// Wait between two tries.
const TRY_DELAY: Duration = Duration::from_millis(500);

/// A handler's output as its result has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    /// The bytes themselves.
    Inline(Bytes),
    /// The claim check of a blob in `OUT_<queue>`.
    Stored(Blob),
}

impl Output {
    pub(crate) fn none() -> Self {
        Self::Inline(Bytes::new())
    }
}

/// Why an output has no place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NotStored {
    /// The store does not take it.
    Refused(BlobError),
    /// The process drains and waits no longer.
    Cut,
}

/// Puts an output where its result can have it.
pub(crate) async fn place(station: &Station, held: &Held, output: Bytes) -> Result<Output, NotStored> {
    if output.len() <= INLINE_BYTES_MAX {
        return Ok(Output::Inline(output));
    }
    let stored = store(station, held, &output).await;
    match &stored {
        Ok(_) => station.metrics.stored(output.len() as u64),
        Err(_) => station.metrics.blob_failed(crate::station::code::OUTPUT_NOT_STORED),
    }
    stored.map(Output::Stored)
}

async fn store(station: &Station, held: &Held, output: &Bytes) -> Result<Blob, NotStored> {
    let start = Instant::now();
    let mut tried = Duration::ZERO;
    loop {
        let blob = BlobId::output(&held.id, rand::random());
        let began = Instant::now();
        let error = match blobs::put_bytes(&station.broker, &blob, output.clone()).await {
            Ok(info) => return Ok(Blob::from(&info)),
            Err(error) => error,
        };
        if matches!(error, BlobError::Unanswered { .. }) {
            // Its record may be there.
            station.discarder.discard(blob);
        }
        tracing::warn!(workfleet.task.id = %held.id, %error, "an output is not stored yet");
        tried += began.elapsed() + TRY_DELAY;
        if tried >= STORE_TIME_MAX || start.elapsed() >= AWAY_TIME_MAX {
            return Err(NotStored::Refused(error));
        }
        let waiting = async {
            tokio::time::sleep(TRY_DELAY).await;
            station.settler.reconnected().await;
        };
        if station.drain.cut.run_until_cancelled(waiting).await.is_none() {
            return Err(NotStored::Cut);
        }
    }
}
