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

#[cfg(test)]
mod tests {
    use super::Key;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm, DecodingKey};
    use signature::Verifier as _;

    // Made with OpenSSL; the private key is gone. ring makes no RSA keys.
    const MODULUS: &str = "\
        j1qZop7cHlJHhaWcE_6xej-6UcxTUDnousKjaDHNp5_5iHMZGdrnBN6KHOVkOGzNJBXtsbi5xJNLF0JHAfDn9qnhwiwv-WlSnO1C\
        Fz3lCzUC81WnIRgAPA_1j3vlYbGhfBxB56mDqmM50vvVejJB0jh1qMQGyjvsZb1xfBb9Vf0DZlFcjMUewqUI6_eOqVT2KB32m1L2\
        3AWhtQALSGMbc8nYFPU_9jntWdidyPunpNdnO4W5H4br69Ze7xsBqmn2hAnMWHhM03OqxHJTDEE-e1FTyeYynxNth6BfzP1nItNL\
        iF1_Vj_aVpoiIkNHc8J-OkGTYSqH1u2a_T81JoT8XQ";
    const SIGNATURE: &str = "\
        L-2-qQY8PIZ_YdkftXy6ASD4xDi5AGl27agnXbqTq83jIAAhgGMWGd-1tbPnScNJH89B6uzfHd3N6yZ_1lbHbKNtoGd8xSEjeb4n\
        O0AX4qBATCd1EA1fMx0GKH-gJFk5Nv6HFIXn5WuxtIZcCPDq6doBWNVViFCz3JiFJdo0iO3ozHcStW28slFjKjOjXAz5ymTP58lI\
        H4UTbuF_KgOj9fZVuRz5-UibPNvDRwjcqb5PsW57xmecoXorVT4MXSsM-AqstQp2G7N-f3sLqmvNC3N8CWDzIK3736-mtXbnnTpy\
        44kQgVw5j2Ane0UW-kmYhvwsh27yIeUygqkc_3hyEg";

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).expect("base64")
    }

    #[test]
    fn rsa_takes_what_the_key_signed_and_nothing_else() {
        let (n, signature) = (bytes(MODULUS), bytes(SIGNATURE));
        for modulus in [n.clone(), [vec![0], n.clone()].concat()] {
            let key = DecodingKey::from_rsa_raw_components(&modulus, &[1, 0, 1]);
            let key = Key::new(Algorithm::RS256, &key).expect("a key");
            assert!(key.verify(b"a message", &signature).is_ok());
            assert!(key.verify(b"another message", &signature).is_err());
            assert!(key.verify(b"a message", &n).is_err());
            assert!(key.verify(b"a message", &Vec::new()).is_err());
        }
    }

    #[test]
    fn no_key_is_used_for_another_algorithm() {
        let rsa = DecodingKey::from_rsa_raw_components(&bytes(MODULUS), &[1, 0, 1]);
        let point = DecodingKey::from_ec_der(&[4; 65]);
        for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256, Algorithm::PS256, Algorithm::RS512] {
            assert!(Key::new(algorithm, &rsa).is_err(), "{algorithm:?}");
        }
        for algorithm in [Algorithm::RS256, Algorithm::HS256, Algorithm::ES384] {
            assert!(Key::new(algorithm, &point).is_err(), "{algorithm:?}");
        }
    }
}
