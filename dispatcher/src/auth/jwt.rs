//! JWTs: signed by an issuer's key, for us, and not over.
//!
//! What one may do stands in the claim `workfleet`, `{"queues": ["thumbnail"], "may": ["submit"]}`. Scopes would be
//! the usual way, and cannot say to which queue without a grammar of our own inside them.

use std::sync::Arc;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde::Deserialize;

use super::grant::{Grant, Queues};
use super::issuer::Issuer;
use super::keys::KeySet;
use super::refusal::{JwtFault, Refusal};
use super::signatures;

/// How far the issuer's clock and ours may be apart, in seconds.
const LEEWAY_S: u64 = 30;
/// Longest name of a caller in logs and traces, in characters.
const NAME_LENGTH_MAX: usize = 64;
/// Most queues, or actions, of a claim.
const CLAIMED_MAX: usize = 1_000;

/// Checks JWTs of one issuer.
pub(super) struct Jwts {
    issuer: Issuer,
    /// `iss`.
    name: String,
    /// `aud`.
    audience: String,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    workfleet: Option<Claimed>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Claimed {
    queues: Vec<String>,
    may: Vec<String>,
}

impl Jwts {
    pub(super) fn new(issuer: Issuer, name: String, audience: String) -> Self {
        signatures::install();
        Self { issuer, name, audience }
    }

    pub(super) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Whether a token looks like a JWT at all: three parts.
    pub(super) fn is_one(token: &str) -> bool {
        token.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// What the token grants.
    pub(super) async fn grant(&self, token: &str) -> Result<Arc<Grant>, Refusal> {
        let header = decode_header(token).map_err(|error| fault_of_header(token, &error))?;
        // Nothing critical is understood here (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err(JwtFault::Unreadable.into());
        }
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
            return Err(JwtFault::Algorithm.into());
        }
        let keys = self.keys(&header).await?;
        let claims = self.claims(token, &header, &keys)?;
        Ok(Arc::new(claims.grant()?))
    }

    /// The keys, with that of the token among them if it can be had.
    async fn keys(&self, header: &Header) -> Result<Arc<KeySet>, Refusal> {
        let id = header.kid.as_deref();
        let known = self.issuer.keys();
        let has = |keys: &Arc<KeySet>| id.map_or_else(|| keys.find(None, header.alg).is_some(), |id| keys.has(id));
        if let Some(keys) = known.filter(has) {
            return Ok(keys);
        }
        self.issuer.ask_anew().await;
        self.issuer.keys().ok_or(Refusal::NoKeys)
    }

    fn claims(&self, token: &str, header: &Header, keys: &KeySet) -> Result<Claims, JwtFault> {
        let id = header.kid.as_deref();
        let Some(key) = keys.find(id, header.alg) else {
            // The key is there and is for another algorithm: somebody tries to confuse the two.
            let known = id.is_some_and(|id| keys.has(id));
            return Err(if known { JwtFault::Algorithm } else { JwtFault::UnknownKey });
        };
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.name]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        decode::<Claims>(token, &key.decoding, &validation).map(|data| data.claims).map_err(|error| fault(&error))
    }
}

impl Claims {
    /// What is not understood grants nothing: a claim may name actions, or queues, that are to come. All queues and some
    /// is a mistake, as in a tokens file: nobody can know which of the two was meant.
    fn grant(self) -> Result<Grant, JwtFault> {
        let name: String = self.sub.as_deref().unwrap_or_default().chars().take(NAME_LENGTH_MAX).collect();
        let name = name.replace(|c: char| c.is_control(), " ");
        let claimed = self.workfleet.unwrap_or_default();
        let queues = match claimed.queues.as_slice() {
            [all] if all == "*" => Queues::All,
            some if some.iter().any(|queue| queue == "*") => return Err(JwtFault::AllAndSome),
            some => Queues::Only(some.iter().take(CLAIMED_MAX).filter_map(|name| name.parse().ok()).collect()),
        };
        let may = claimed.may.iter().take(CLAIMED_MAX).filter_map(|action| action.parse().ok()).collect();
        Ok(Grant { name: if name.is_empty() { "jwt".to_owned() } else { name }, queues, may })
    }
}

/// An algorithm that the library does not know, `none` among them, is a JSON mistake to it.
fn fault_of_header(token: &str, error: &Error) -> JwtFault {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "alg")]
        _alg: String,
    }
    use base64::Engine as _;
    let header = token.split('.').next().unwrap_or_default();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let named = matches!(error.kind(), ErrorKind::Json(_)) && serde_json::from_slice::<Named>(&header).is_ok();
    if named { JwtFault::Algorithm } else { JwtFault::Unreadable }
}

fn fault(error: &Error) -> JwtFault {
    match error.kind() {
        ErrorKind::InvalidSignature => JwtFault::Signature,
        ErrorKind::ExpiredSignature => JwtFault::Expired,
        ErrorKind::ImmatureSignature => JwtFault::NotYet,
        ErrorKind::InvalidIssuer => JwtFault::Issuer,
        ErrorKind::InvalidAudience => JwtFault::Audience,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => JwtFault::MissingClaim,
        ErrorKind::InvalidAlgorithm => JwtFault::Algorithm,
        _ => JwtFault::Unreadable,
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
