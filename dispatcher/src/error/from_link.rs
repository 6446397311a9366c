//! What the broker said, as callers are told it.

use workfleet_link::blobs::BlobError;
use workfleet_link::kinds::KindError;
use workfleet_link::pipeline::PublishError;
use workfleet_link::read::ReadError;

use super::{ApiError, Code};
use crate::limits::{BROKER_RETRY_AFTER_MS, QUEUE_FULL_RETRY_AFTER_MS};

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        unavailable(error.to_string())
    }
}

impl From<KindError> for ApiError {
    fn from(error: KindError) -> Self {
        unavailable(error.to_string())
    }
}

impl From<PublishError> for ApiError {
    /// For a publish that can be repeated without harm; what is unclear is told in the words of rule 17 by the caller,
    /// who knows the task's id.
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Full => {
                Self::new(Code::QueueFull, "the queue has reached its limit").retry_after_ms(QUEUE_FULL_RETRY_AFTER_MS)
            }
            PublishError::TooLarge => Self::new(Code::PayloadTooLarge, error.to_string()),
            PublishError::Lost => Self::new(Code::Conflict, error.to_string()),
            PublishError::InFlight
            | PublishError::NoStream { .. }
            | PublishError::Unanswered
            | PublishError::Refused { .. }
            | PublishError::Closed => unavailable(error.to_string()),
        }
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        let code = match &error {
            BlobError::Gone { .. } => Code::UnknownBlob,
            BlobError::Exists { .. } => Code::Conflict,
            BlobError::TooLarge { .. } => Code::PayloadTooLarge,
            BlobError::Full => {
                return Self::new(Code::BlobsFull, error.to_string()).retry_after_ms(QUEUE_FULL_RETRY_AFTER_MS);
            }
            BlobError::Source { .. } => Code::RequestTimeout,
            BlobError::Damaged { .. } => Code::Internal,
            BlobError::NoStore | BlobError::Refused { .. } | BlobError::Unanswered { .. } => {
                return unavailable(error.to_string());
            }
        };
        Self::new(code, error.to_string())
    }
}

/// The broker cannot be used now.
pub(crate) fn unavailable(detail: String) -> ApiError {
    ApiError::new(Code::BrokerUnavailable, detail).retry_after_ms(BROKER_RETRY_AFTER_MS)
}
