//! Whether an object store has room. It would refuse by itself when it is full; but what is under way has to end, so
//! nothing new is taken in beyond [`BLOBS_FULL_PERCENT`]. Each large submit asks: it costs several messages anyway.

use workfleet_proto::blob::Store;
use workfleet_proto::limits::BLOBS_FULL_PERCENT;

use crate::ask;
use crate::dispatcher::Inner;
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::limits::{QUEUE_FULL_RETRY_AFTER_MS, UPLOAD_PERCENT_MAX};

/// Largest upload of a queue: [`UPLOAD_PERCENT_MAX`] of the store.
pub(super) fn upload_bytes_max(queue: &Queue) -> u64 {
    u64::try_from(queue.settings.blobs_bytes_max).unwrap_or(0) / 100 * UPLOAD_PERCENT_MAX
}

/// Refuses what is too large for an upload, however much room there is.
pub(super) fn check_upload(queue: &Queue, bytes: u64) -> Result<(), ApiError> {
    let max = upload_bytes_max(queue);
    if bytes <= max {
        return Ok(());
    }
    let detail = format!("an upload to {} has at most {max} bytes, {UPLOAD_PERCENT_MAX} % of its store", queue.name);
    Err(ApiError::new(Code::PayloadTooLarge, detail))
}

impl Inner {
    /// How many bytes the store still takes in, at least `bytes`.
    ///
    /// # Errors
    /// `blobs_full` when it has no room for so many, `payload_too_large` when it never will have.
    pub(crate) async fn check_store_room(&self, queue: &Queue, store: Store, bytes: u64) -> Result<u64, ApiError> {
        let room = u64::try_from(queue.settings.blobs_bytes_max).unwrap_or(0) / 100 * BLOBS_FULL_PERCENT;
        if bytes > room {
            let detail = format!("{bytes} bytes; the queue {} has room for {room} bytes of blobs", queue.name);
            return Err(ApiError::new(Code::PayloadTooLarge, detail));
        }
        let stream = format!("OBJ_{}", self.broker.names.object_store(store, &queue.name));
        let used = ask::stream(&self.broker, &stream).await?.bytes;
        let left = room.saturating_sub(used);
        if left >= bytes.max(1) { Ok(left) } else { Err(full(queue, store)) }
    }
}

/// The refusal of what has no room now.
pub(super) fn full(queue: &Queue, store: Store) -> ApiError {
    let what = match store {
        Store::In => "payloads and uploads",
        Store::Out => "outputs",
    };
    let max = queue.settings.blobs_bytes_max;
    let detail = format!("the {what} of {} fill {BLOBS_FULL_PERCENT} % of their {max} bytes", queue.name);
    ApiError::new(Code::BlobsFull, detail).retry_after_ms(QUEUE_FULL_RETRY_AFTER_MS)
}
