//! Why a caller is not let in: for the caller, for the log, and for the metric.

use crate::error::{ApiError, Code};

/// When a caller should come again whose JWT cannot be checked.
const KEYS_RETRY_AFTER_MS: u64 = 10_000;
/// When a caller should come again whose key is not known: an issuer's new one is by then.
const KEY_RETRY_AFTER_MS: u64 = 30_000;

/// Why it is not known who a caller is. None of these has the token in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none.
    #[error("there is no token: send `Authorization: Bearer <token>`")]
    NoToken,
    /// What there is, is none.
    #[error("the header Authorization cannot be used: {0}")]
    Malformed(&'static str),
    /// Nobody has this token, or nobody has it any more.
    #[error("the token is not known")]
    UnknownToken,
    /// Its time is over.
    #[error("the token {name:?} has expired")]
    ExpiredToken {
        /// Its name.
        name: String,
    },
    /// A JWT that is not good.
    #[error("the JWT is refused: {0}")]
    Jwt(JwtFault),
    /// No JWT can be checked now.
    #[error("the keys to check JWTs with could not be fetched yet")]
    NoKeys,
}

/// What is wrong with a JWT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtFault {
    /// Its parts, header or claims cannot be read.
    #[error("it cannot be read")]
    Unreadable,
    /// Not one of the three, or not that of its key.
    #[error("its algorithm is not RS256, ES256 or EdDSA, or not that of its key")]
    Algorithm,
    /// Its key is not among those of the issuer.
    #[error("its key (kid) is not among those of the issuer; a new one is known within 30 s")]
    UnknownKey,
    /// Nobody of the issuer's signed it.
    #[error("its signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// Somebody else's.
    #[error("its issuer (iss) is another")]
    Issuer,
    /// For somebody else.
    #[error("its audience (aud) is another")]
    Audience,
    /// `exp`, `iss` or `aud` is missing.
    #[error("exp, iss and aud have to be in it")]
    MissingClaim,
    /// It claims all queues, and some.
    #[error("its claim workfleet has `*` beside other queues; `*` means all queues and stands alone")]
    AllAndSome,
}

impl Refusal {
    /// For the metric: a fixed word.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Malformed(_) => "malformed",
            Self::UnknownToken => "unknown_token",
            Self::ExpiredToken { .. } | Self::Jwt(JwtFault::Expired) => "expired",
            Self::Jwt(JwtFault::UnknownKey) => "unknown_key",
            Self::Jwt(_) => "invalid_jwt",
            Self::NoKeys => "no_keys",
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, 3). Who sent no token is told no error.
    #[must_use]
    pub fn challenge(&self) -> &'static str {
        match self {
            Self::NoToken => r#"Bearer realm="workfleet""#,
            _ => r#"Bearer realm="workfleet", error="invalid_token""#,
        }
    }

    /// What the caller is told.
    #[must_use]
    pub fn api_error(&self) -> ApiError {
        match self {
            Self::NoKeys => ApiError::new(Code::KeysUnavailable, self.to_string()).retry_after_ms(KEYS_RETRY_AFTER_MS),
            Self::Jwt(JwtFault::UnknownKey) => {
                ApiError::new(Code::Unauthenticated, self.to_string()).retry_after_ms(KEY_RETRY_AFTER_MS)
            }
            _ => ApiError::new(Code::Unauthenticated, self.to_string()),
        }
    }
}

impl From<JwtFault> for Refusal {
    fn from(fault: JwtFault) -> Self {
        Self::Jwt(fault)
    }
}

/// For the metric: the caller is known, and may not do this.
pub(crate) const FORBIDDEN_REASON: &str = "forbidden";
/// `WWW-Authenticate` for it.
pub(crate) const FORBIDDEN_CHALLENGE: &str = r#"Bearer realm="workfleet", error="insufficient_scope""#;
