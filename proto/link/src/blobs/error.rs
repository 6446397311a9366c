//! Why a blob cannot be stored, read or deleted.

use workfleet_proto::blob::BlobId;

use crate::pipeline::PublishError;
use crate::read::ReadError;

/// Why a blob cannot be stored, read or deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// There is no such blob, or no longer.
    #[error("there is no blob {blob}, or it is no longer kept")]
    Gone {
        /// Its id.
        blob: BlobId,
    },
    /// The name is taken. Blobs never change.
    #[error("there is a blob {blob} already")]
    Exists {
        /// Its id.
        blob: BlobId,
    },
    /// More than is allowed.
    #[error("more than {bytes_max} bytes, which is the limit")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// What was read is not what was stored, or not all of it.
    #[error("the blob {blob} is damaged: {reason}")]
    Damaged {
        /// Its id.
        blob: BlobId,
        /// What is wrong.
        reason: String,
    },
    /// The store has no room.
    #[error("the object store is full")]
    Full,
    /// The broker refuses, for a reason that is none of the others; nothing is stored.
    #[error("the broker refuses: {reason}")]
    Refused {
        /// In its words.
        reason: String,
    },
    /// There is no such store.
    #[error("there is no store for blobs: has `workfleet provision` run?")]
    NoStore,
    /// The broker does not answer; the blob may have been stored.
    #[error("the broker does not answer: {reason}")]
    Unanswered {
        /// What was said instead.
        reason: String,
    },
    /// Whoever sends the bytes stopped.
    #[error("the bytes end too early: {reason}")]
    Source {
        /// In its words.
        reason: String,
    },
}

impl From<PublishError> for BlobError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Full => Self::Full,
            PublishError::NoStream { .. } => Self::NoStore,
            PublishError::TooLarge | PublishError::Refused { .. } => Self::Refused { reason: error.to_string() },
            other => Self::Unanswered { reason: other.to_string() },
        }
    }
}

impl From<ReadError> for BlobError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoStream { .. } => Self::NoStore,
            other => Self::Unanswered { reason: other.to_string() },
        }
    }
}
