//! Key sets (JWKS, RFC 7517): the public keys of an issuer.
//!
//! A key's own type says which algorithm it is for; what a token says of its algorithm is only compared with that. To go
//! by the token is the classic mistake with JWTs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::reloaded::Format;

/// Largest key set, in bytes.
pub(super) const JWKS_BYTES_MAX: usize = 256 << 10;
/// Most keys of a set.
const KEYS_MAX: usize = 100;
/// Shortest RSA key, in bytes.
const RSA_BYTES_MIN: usize = 2_048 / 8;
/// Longest RSA key, in bytes.
const RSA_BYTES_MAX: usize = 8_192 / 8;
/// Bytes of a coordinate on P-256, and of a point on Ed25519.
const COORDINATE_BYTES: usize = 32;

/// How a key set's file is read.
pub(super) static JWKS_FILE: Format<KeySet> = Format {
    what: "the keys for JWTs",
    bytes_max: JWKS_BYTES_MAX,
    parse: |text| KeySet::parse(text.as_bytes()).map_err(|error| error.to_string()),
};

/// The usable keys of an issuer; there is at least one.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

/// A key and what it is for.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// Why a text is no key set.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("it is no JSON object with `keys`")]
    NoSet,
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
    #[error("it has no key for RS256 (2,048 to 8,192 bits), ES256 or EdDSA (Ed25519)")]
    NoKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys for other purposes, or of other types, are passed over: an issuer may have them.
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let document: Document = serde_json::from_slice(text).map_err(|_| KeySetError::NoSet)?;
        if document.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let jwks = document.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys: Vec<Key> = jwks.filter_map(Jwk::key).collect();
        if keys.is_empty() { Err(KeySetError::NoKey) } else { Ok(Self { keys }) }
    }

    /// The key that a token names. One that names none means the only one that there is for its algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    /// Whether there is a key of this name, for whatever algorithm.
    pub(super) fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl Jwk {
    fn key(self) -> Option<Key> {
        let (algorithm, names, decoding) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(self.n.as_deref())?, bytes(self.e.as_deref())?);
                let modulus_bytes = n.iter().skip_while(|byte| **byte == 0).count();
                (RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&modulus_bytes).then_some(())?;
                (Algorithm::RS256, &["RS256"][..], DecodingKey::from_rsa_raw_components(&n, &e))
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (coordinate(self.x.as_deref())?, coordinate(self.y.as_deref())?);
                let point = [&[4], x.as_slice(), &y].concat();
                (Algorithm::ES256, &["ES256"][..], DecodingKey::from_ec_der(&point))
            }
            ("OKP", Some("Ed25519")) => {
                let point = coordinate(self.x.as_deref())?;
                (Algorithm::EdDSA, &["EdDSA", "Ed25519"][..], DecodingKey::from_ed_der(&point))
            }
            _ => return None,
        };
        let meant = self.alg.is_none_or(|alg| names.contains(&alg.as_str()));
        let signs = self.purpose.is_none_or(|purpose| purpose == "sig");
        (meant && signs).then_some(Key { id: self.kid, algorithm, decoding })
    }
}

fn bytes(text: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok()
}

fn coordinate(text: Option<&str>) -> Option<Vec<u8>> {
    bytes(text).filter(|bytes| bytes.len() == COORDINATE_BYTES)
}
