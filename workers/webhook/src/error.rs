//! Why an event was not delivered, and what that means for its task.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use workfleet_sdk::TaskError;

/// What can be wrong before anything is sent, on the way, and with the answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliveryError {
    #[error("the URL {0}")]
    InvalidUrl(String),
    #[error("the type is not words of letters, digits and _ with full stops between them, {bytes_max} bytes at most")]
    InvalidType { bytes_max: usize },
    #[error("the name of the secret is not [a-z0-9][a-z0-9_.-]*, 63 bytes at most")]
    InvalidSecretRef,
    #[error("the data {0}")]
    InvalidData(&'static str),
    #[error("there is no secret of the name {0}")]
    UnknownSecret(String),
    #[error("the secret {name} cannot be used: {reason}")]
    BadSecret { name: String, reason: String },
    #[error("{host} is at {address}, which is {range}; such addresses are not called")]
    PrivateAddress { host: String, address: IpAddr, range: &'static str },
    #[error("no answer: {0}")]
    Unreachable(String),
    #[error("no answer within {:.1} s", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("the receiver answered {status}{body}")]
    Answered {
        status: StatusCode,
        /// `: ` and its beginning, or nothing.
        body: String,
        fate: Fate,
    },
}

/// What an answer that is no success means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Another attempt may do better; after this time, if the receiver said one.
    Again { code: &'static str, after: Option<Duration> },
    /// None will.
    Never { code: &'static str },
}

impl DeliveryError {
    pub(crate) fn fate(&self) -> Fate {
        let again = |code| Fate::Again { code, after: None };
        match self {
            Self::InvalidUrl(_) => Fate::Never { code: "invalid_url" },
            Self::InvalidType { .. } => Fate::Never { code: "invalid_type" },
            Self::InvalidSecretRef => Fate::Never { code: "invalid_secret_ref" },
            Self::InvalidData(_) => Fate::Never { code: "invalid_data" },
            Self::UnknownSecret(_) => Fate::Never { code: "unknown_secret" },
            // Somebody may be writing it just now.
            Self::BadSecret { .. } => again("bad_secret"),
            Self::PrivateAddress { .. } => Fate::Never { code: "private_address" },
            Self::Unreachable(_) => again("unreachable"),
            Self::Timeout(_) => again("timeout"),
            Self::Answered { fate, .. } => *fate,
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self.fate() {
            Fate::Again { code, .. } | Fate::Never { code } => code,
        }
    }

    /// What the handler says. Not a `From`, since the SDK's own, which makes every error a retryable one, stands there.
    pub(crate) fn failure(&self) -> TaskError {
        match self.fate() {
            Fate::Never { code } => TaskError::permanent(code, self),
            Fate::Again { code, after: None } => TaskError::retryable(code, self),
            Fate::Again { code, after: Some(after) } => TaskError::retryable(code, self).retry_after(after),
        }
    }
}
