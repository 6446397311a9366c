//! Why a handler cannot have a blob.

use workfleet_link::blobs;
use workfleet_proto::blob::BlobIdError;

use crate::error::TaskError;

/// Why a blob cannot be read or stored. Returned from a handler with `?`, it becomes a failure with the right code: one
/// that no attempt can change is permanent, any other is tried again.
///
/// ```
/// use workfleet_sdk::{BlobError, TaskError};
///
/// let error = TaskError::from(BlobError::InvalidId);
/// assert_eq!((error.code(), error.is_permanent()), ("invalid_blob_id", true));
/// let error = TaskError::from(BlobError::Full);
/// assert_eq!((error.code(), error.is_permanent()), ("blobs_full", false));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The text is not the id of a blob. Permanent, `invalid_blob_id`.
    #[error("{BlobIdError}")]
    InvalidId,
    /// A handler reaches the blobs of its own queue alone. Permanent, `foreign_blob`.
    #[error("{id} is a blob of another queue, and a handler reaches those of its own alone")]
    Foreign {
        /// Its id.
        id: String,
    },
    /// There is no such blob, or no longer. Permanent, `blob_gone`.
    #[error("there is no blob {id}, or it is no longer kept")]
    Gone {
        /// Its id.
        id: String,
    },
    /// More than is allowed. Permanent, `blob_too_large`.
    #[error("the blob has more than {bytes_max} bytes, which is the limit")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// What was read is not what was stored, or not all of it. Tried again, `blob_damaged`.
    #[error("the blob {id} is damaged: {reason}")]
    Damaged {
        /// Its id.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// The store has no room. Tried again, `blobs_full`.
    #[error("the object store is full")]
    Full,
    /// The broker does not answer, or has no store for blobs. Tried again, `blob_unavailable`.
    #[error("the blob cannot be reached: {reason}")]
    Unanswered {
        /// What was said instead.
        reason: String,
    },
    /// The stream that was to be stored ended with an error. Tried again, `blob_unfinished`.
    #[error("the bytes end too early: {reason}")]
    Source {
        /// In its words.
        reason: String,
    },
}

impl BlobError {
    /// The stable code, for programs.
    ///
    /// ```
    /// assert_eq!(workfleet_sdk::BlobError::Full.code(), "blobs_full");
    /// ```
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidId => "invalid_blob_id",
            Self::Foreign { .. } => "foreign_blob",
            Self::Gone { .. } => "blob_gone",
            Self::TooLarge { .. } => "blob_too_large",
            Self::Damaged { .. } => "blob_damaged",
            Self::Full => "blobs_full",
            Self::Unanswered { .. } => "blob_unavailable",
            Self::Source { .. } => "blob_unfinished",
        }
    }

    /// What is wrong, without the words around it.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Source { reason } => reason.clone(),
            error => error.to_string(),
        }
    }

    /// What a handler fails with that returns it.
    pub(crate) fn failure(&self) -> TaskError {
        match self {
            Self::InvalidId | Self::Foreign { .. } | Self::Gone { .. } | Self::TooLarge { .. } => {
                TaskError::permanent(self.code(), self)
            }
            Self::Damaged { .. } | Self::Full | Self::Unanswered { .. } | Self::Source { .. } => {
                TaskError::retryable(self.code(), self)
            }
        }
    }
}

impl From<blobs::BlobError> for BlobError {
    fn from(error: blobs::BlobError) -> Self {
        match error {
            blobs::BlobError::Gone { blob } => Self::Gone { id: blob.to_string() },
            blobs::BlobError::TooLarge { bytes_max } => Self::TooLarge { bytes_max },
            blobs::BlobError::Damaged { blob, reason } => Self::Damaged { id: blob.to_string(), reason },
            blobs::BlobError::Full => Self::Full,
            blobs::BlobError::Source { reason } => Self::Source { reason },
            // A name with a nonce is taken only by an earlier try of the same.
            error
            @ (blobs::BlobError::Exists { .. } | blobs::BlobError::Refused { .. } | blobs::BlobError::NoStore) => {
                Self::Unanswered { reason: error.to_string() }
            }
            blobs::BlobError::Unanswered { reason } => Self::Unanswered { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BlobError;
    use crate::error::TaskError;

    fn asked(error: BlobError) -> Result<(), TaskError> {
        Err(error)?;
        Ok(())
    }

    #[test]
    fn a_question_mark_keeps_the_code_and_knows_what_no_attempt_can_change() {
        let id = || "mail_x".to_owned();
        let reason = || "x".to_owned();
        for (error, code, permanent) in [
            (BlobError::InvalidId, "invalid_blob_id", true),
            (BlobError::Foreign { id: id() }, "foreign_blob", true),
            (BlobError::Gone { id: id() }, "blob_gone", true),
            (BlobError::TooLarge { bytes_max: 1 }, "blob_too_large", true),
            (BlobError::Damaged { id: id(), reason: reason() }, "blob_damaged", false),
            (BlobError::Full, "blobs_full", false),
            (BlobError::Unanswered { reason: reason() }, "blob_unavailable", false),
            (BlobError::Source { reason: reason() }, "blob_unfinished", false),
        ] {
            let failure = asked(error).expect_err("an error");
            assert_eq!((failure.code(), failure.is_permanent()), (code, permanent));
        }
    }
}
