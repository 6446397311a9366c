//! Why a mail was not sent.

use workfleet_sdk::TaskError;

/// Why a mail was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// An address is none.
    #[error("{field}: {reason}")]
    InvalidAddress {
        /// Where it stands, as in `to[1]`.
        field: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The sender is of a domain that this worker does not send for.
    #[error("from: this worker does not send for {domain}")]
    FromNotAllowed {
        /// The domain.
        domain: String,
    },
    /// A further header has a name or a value that it must not have.
    #[error("headers[{name:?}]: {reason}")]
    InvalidHeader {
        /// Its name, without what a terminal would not survive.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The subject cannot be sent.
    #[error("subject: {0}")]
    InvalidSubject(&'static str),
    /// Nobody is to get it.
    #[error("there is no recipient in to, cc or bcc")]
    NoRecipient,
    /// Too many are to get it.
    #[error("{count} recipients are more than {}", crate::RECIPIENTS_MAX)]
    TooManyRecipients {
        /// How many.
        count: usize,
    },
    /// There is nothing in it.
    #[error("there is neither text nor html")]
    NoBody,
    /// Its two parts are too large.
    #[error("text and html have {bytes} bytes, more than {}", crate::BODY_BYTES_MAX)]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// The message cannot be made; a fault of ours, not of the task.
    #[error("the message cannot be made: {0}")]
    NotMade(String),
    /// The server does not want it, and will not.
    #[error("{0}")]
    Refused(String),
    /// The server does not want it now.
    #[error("{0}")]
    Deferred(String),
    /// The server does not let us in.
    #[error("{0}")]
    AuthRefused(String),
    /// There is no connection, or no secure one, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the server took longer than {seconds} s")]
    TimedOut {
        /// How long it may take.
        seconds: u64,
    },
}

impl MailError {
    /// The stable code that clients see.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidAddress { .. } => "invalid_address",
            Self::FromNotAllowed { .. } => "from_not_allowed",
            Self::InvalidHeader { .. } => "invalid_header",
            Self::InvalidSubject(_) => "invalid_subject",
            Self::NoRecipient => "no_recipient",
            Self::TooManyRecipients { .. } => "too_many_recipients",
            Self::NoBody => "no_body",
            Self::TooLarge { .. } => "too_large",
            Self::NotMade(_) => "not_made",
            Self::Refused(_) => "refused",
            Self::Deferred(_) => "deferred",
            Self::AuthRefused(_) => "auth_refused",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut { .. } => "smtp_timeout",
        }
    }

    /// Whether the same mail may be taken later. A login that is refused is nothing that the mail could do something
    /// about: it waits for whoever sets the password right.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Deferred(_) | Self::AuthRefused(_) | Self::Unreachable(_) | Self::TimedOut { .. } => true,
            Self::InvalidAddress { .. }
            | Self::FromNotAllowed { .. }
            | Self::InvalidHeader { .. }
            | Self::InvalidSubject(_)
            | Self::NoRecipient
            | Self::TooManyRecipients { .. }
            | Self::NoBody
            | Self::TooLarge { .. }
            | Self::NotMade(_)
            | Self::Refused(_) => false,
        }
    }

    /// As the fleet wants to hear it. (`From` is not possible: every error has one already, which says nothing of codes.)
    pub(crate) fn into_task_error(self) -> TaskError {
        if self.may_pass() { TaskError::retryable(self.code(), self) } else { TaskError::permanent(self.code(), self) }
    }
}
