//! Why there is no connection, in words that say what to look at.

use std::error::Error as _;
use std::path::PathBuf;

use async_nats::{ConnectError, ConnectErrorKind};

use super::BrokerConfig;
use crate::tls;

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The address cannot be read.
    #[error("WORKFLEET_NATS_URL={url:?} is not an address: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The credentials cannot be read.
    #[error("the credentials file {path} cannot be used: {reason}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers.
    #[error(
        "no NATS server answers at {url}: {reason}; is it running, and is the address (--nats, WORKFLEET_NATS_URL) right?"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What the last try said.
        reason: String,
    },
    /// Somebody answers, and either side does not trust the other.
    #[error(
        "no TLS with the NATS server at {url}: {reason}; its certificate must be for the name in WORKFLEET_NATS_URL and \
         signed by {authority}"
    )]
    Untrusted {
        /// The address.
        url: String,
        /// What the last try said.
        reason: String,
        /// Whom this side trusts.
        authority: String,
    },
    /// The server does not know this client.
    #[error(
        "the NATS server at {url} refuses the login: {reason}; does its configuration have this user, and is \
         WORKFLEET_NATS_NKEY_FILE, WORKFLEET_NATS_CREDENTIALS_FILE or the login in WORKFLEET_NATS_URL right?"
    )]
    Refused {
        /// The address.
        url: String,
        /// What the server said.
        reason: String,
    },
    /// The login is good, and the server lets this client hear no answer: it listens where its role may not.
    #[error(
        "the broker refuses answers at {inbox}.*: set WORKFLEET_NATS_INBOX_PREFIX to the role's, for example \
         _INBOX_provision"
    )]
    AnswersRefused {
        /// What stands before the subjects of this client's answers.
        inbox: String,
    },
}

impl BrokerError {
    /// What a try to connect said.
    pub(super) fn of_try(config: &BrokerConfig, error: &ConnectError) -> Self {
        let url = config.address();
        let reason = error.to_string();
        if let Some(reason) = tls_reason(error) {
            let authority = match &config.tls.ca_file {
                Some(path) => format!("an authority in {}", path.display()),
                None => "one of the system's authorities, or WORKFLEET_NATS_CA_FILE must name another".to_owned(),
            };
            return Self::Untrusted { url, reason, authority };
        }
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Self::Refused { url, reason }
            }
            _ => Self::Unreachable { url, reason },
        }
    }
}

/// What TLS has to say, where it was TLS that failed.
fn tls_reason(error: &ConnectError) -> Option<String> {
    if let Some(reason) = tls::reason(error) {
        return Some(reason.to_string());
    }
    // A file that cannot be used now, for one.
    (error.kind() == ConnectErrorKind::Tls)
        .then(|| error.source().map_or_else(|| error.to_string(), ToString::to_string))
}
