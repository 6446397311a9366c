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
    use data_encoding::HEXLOWER;
    use jsonwebtoken::{Algorithm, DecodingKey};
    use signature::Verifier as _;

    // Made with OpenSSL; the private key is gone. ring makes no RSA keys.
    const MODULUS: &str = "\
        8f5a99a29edc1e524785a59c13feb17a3fba51cc535039e8bac2a36831cda79ff988731919dae704de8a1ce564386ccd\
        2415edb1b8b9c4934b17424701f0e7f6a9e1c22c2ff969529ced42173de50b3502f355a72118003c0ff58f7be561b1a1\
        7c1c41e7a983aa6339d2fbd57a3241d23875a8c406ca3bec65bd717c16fd55fd0366515c8cc51ec2a508ebf78ea954f6\
        281df69b52f6dc05a1b5000b48631b73c9d814f53ff639ed59d89dc8fba7a4d7673b85b91f86ebebd65eef1b01aa69f6\
        8409cc58784cd373aac472530c413e7b5153c9e6329f136d87a05fccfd6722d34b885d7f563fda569a2222434773c27e\
        3a4193612a87d6ed9afd3f352684fc5d";
    const SIGNATURE: &str = "\
        2fedbea9063c3c867f61d91fb57cba0120f8c438b9006976eda8275dba93abcde320002180631619dfb5b5b3e749c349\
        1fcf41eaecdf1dddcdeb267fd656c76ca36da0677cc5212379be273b4017e2a0404c2775100d5f331d06287fa0245939\
        36fe871485e7e56bb1b4865c08f0eae9da0158d5558850b3dc988525da3488ede8cc7712b56dbcb251632a33a35c0cf9\
        ca64cfe7c9481f85136ee17f2a03a3f5f655b91cf9f9489b3cdbc34708dca9be4fb16e7bc6679ca17a2b553e0c5d2b0c\
        f80aacb50a761bb37e7f7b0baa6bcd0b737c0960f320adfbdfafa6b576e79d3a72e38910815c398f60277b4516fa4998\
        86fc2c876ef221e53282a91cff787212";

    fn bytes(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).expect("hexadecimal")
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
