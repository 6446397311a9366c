//! Signatures of JWTs, checked by ring, which the fleet's TLS uses already.
//!
//! `jsonwebtoken` reads and validates, and leaves cryptography to a provider. Its own are aws-lc, a second library in C
//! beside ring, and a set of pure crates with an RSA that is vulnerable to timing (RUSTSEC-2023-0071). Nothing is signed
//! here.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use signature::Verifier;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| Ok(Box::new(Key::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring the provider of this process. Who has installed another one keeps it.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

struct Key {
    algorithm: Algorithm,
    public: Public,
}

enum Public {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256(UnparsedPublicKey<Vec<u8>>),
    Ed25519(UnparsedPublicKey<Vec<u8>>),
}

impl Key {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, Error> {
        let public = match (algorithm, key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                Public::Rsa(RsaPublicKeyComponents { n: without_zeros(n), e: without_zeros(e) })
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                Public::P256(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.clone()))
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                Public::Ed25519(UnparsedPublicKey::new(&ED25519, point.clone()))
            }
            _ => return Err(ErrorKind::InvalidAlgorithm.into()),
        };
        Ok(Self { algorithm, public })
    }
}

/// Some issuers write a number with zeros in front, which ring does not take.
fn without_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

impl Verifier<Vec<u8>> for Key {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match &self.public {
            Public::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Public::P256(key) | Public::Ed25519(key) => key.verify(message, signature),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Key {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
