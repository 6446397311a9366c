//! What a sweep meets and cannot read, or is not told.

use workfleet_proto::blob::Store;

use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::limits::SWEEP_UNANSWERED_MAX;

/// How much of it there was, and an example.
#[derive(Debug, Default)]
pub(super) struct Garbled {
    count: u64,
    unanswered: u64,
    first: Option<ApiError>,
}

impl Garbled {
    /// What was read; nothing where it cannot be, which is remembered.
    ///
    /// # Errors
    /// When the broker has not answered too often: then it says nothing about any blob, and each question takes its time.
    pub(super) fn note<T>(&mut self, read: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.code == Code::Internal || self.unanswered < SWEEP_UNANSWERED_MAX => {
                self.unanswered += u64::from(error.code != Code::Internal);
                self.count += 1;
                self.first.get_or_insert(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Says it once for a whole store: there may be many, and every sweep meets them again.
    pub(super) fn tell(self, queue: &Queue, store: Store) {
        if let Some(error) = self.first {
            let (queue, count) = (queue.name.as_str(), self.count);
            tracing::warn!(queue, ?store, count, first = %error, "blobs are kept, since it cannot be told whose they are");
        }
    }
}
