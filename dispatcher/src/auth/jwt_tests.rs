use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::{Issuer, JwtFault, Jwts, Refusal};
use crate::auth::grant::{Action, Queues};
use crate::auth::keys::{JWKS_FILE, KeySet};
use crate::auth::reloaded::Reloaded;

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

struct P256(EcdsaKeyPair);

impl P256 {
    fn new() -> Self {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random);
        Self(pair.expect("its own key"))
    }

    fn jwk(&self, id: &str) -> Value {
        let point = self.0.public_key().as_ref();
        json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": "ES256",
                "x": text(&point[1..33]), "y": text(&point[33..]) })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", text(signature))
    }
}

fn jwts(keys: &[Value]) -> Jwts {
    let keys = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a key set");
    let file = Reloaded::new("nowhere".into(), &JWKS_FILE, Arc::new(keys));
    Jwts::new(Issuer::File(file), "https://issuer".to_owned(), "workfleet".to_owned())
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "JWT", "kid": "one" })
}

fn claims() -> Value {
    json!({ "iss": "https://issuer", "aud": ["other", "workfleet"], "sub": "shop", "exp": now() + 60,
            "workfleet": { "queues": ["mail", "No Name"], "may": ["submit", "fly"] } })
}

/// The same with another value for one member; null takes it away.
fn with(mut value: Value, name: &str, other: Value) -> Value {
    let members = value.as_object_mut().expect("an object");
    match other {
        Value::Null => members.remove(name),
        other => members.insert(name.to_owned(), other),
    };
    value
}

fn fault(outcome: Result<Arc<crate::auth::Grant>, Refusal>) -> JwtFault {
    match outcome {
        Err(Refusal::Jwt(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_the_claim_says_is_granted_and_what_is_not_understood_grants_nothing() {
    let key = P256::new();
    let grant = jwts(&[key.jwk("one")]).grant(&key.sign(&header(), &claims())).await.expect("good");
    assert_eq!(grant.name, "shop");
    assert_eq!(grant.queues.names(), ["mail"]);
    assert_eq!(grant.may.iter().copied().collect::<Vec<_>>(), [Action::Submit]);
    let all = with(claims(), "workfleet", json!({ "queues": ["*"], "may": ["read"] }));
    let grant = jwts(&[key.jwk("one")]).grant(&key.sign(&header(), &all)).await.expect("good");
    assert_eq!(grant.queues, Queues::All);
    let nothing = with(claims(), "workfleet", Value::Null);
    let grant = jwts(&[key.jwk("one")]).grant(&key.sign(&header(), &nothing)).await.expect("known, and may nothing");
    assert!(grant.may.is_empty() && grant.check(Action::Read, "mail").is_err());
}

#[tokio::test]
async fn all_queues_and_some_is_a_mistake_and_not_all() {
    let key = P256::new();
    let jwts = jwts(&[key.jwk("one")]);
    for queues in [json!(["*", "mail"]), json!(["mail", "*"]), json!(["*", "*"])] {
        let mixed = with(claims(), "workfleet", json!({ "queues": queues, "may": ["read"] }));
        assert_eq!(fault(jwts.grant(&key.sign(&header(), &mixed)).await), JwtFault::AllAndSome, "{queues}");
    }
}

#[tokio::test]
async fn claims_that_are_not_for_us_or_not_for_now() {
    let key = P256::new();
    let jwts = jwts(&[key.jwk("one")]);
    let cases = [
        ("exp", json!(now() - 31), JwtFault::Expired),
        ("exp", Value::Null, JwtFault::MissingClaim),
        ("exp", json!("tomorrow"), JwtFault::MissingClaim),
        ("nbf", json!(now() + 60), JwtFault::NotYet),
        ("iss", json!("https://other"), JwtFault::Issuer),
        ("iss", Value::Null, JwtFault::MissingClaim),
        ("aud", json!("other"), JwtFault::Audience),
        ("aud", json!([]), JwtFault::Audience),
        ("aud", Value::Null, JwtFault::MissingClaim),
    ];
    for (name, value, wanted) in cases {
        let token = key.sign(&header(), &with(claims(), name, value.clone()));
        assert_eq!(fault(jwts.grant(&token).await), wanted, "{name}: {value}");
    }
    let late = key.sign(&header(), &with(claims(), "exp", json!(now() - 10)));
    assert!(jwts.grant(&late).await.is_ok(), "within the leeway");
}

#[tokio::test]
async fn the_key_says_which_algorithm_it_is_for() {
    let key = P256::new();
    let jwts = jwts(&[key.jwk("one")]);
    for algorithm in ["none", "None", "HS256", "RS256", "EdDSA", "PS256", "ES384", "rot13"] {
        let token = key.sign(&with(header(), "alg", json!(algorithm)), &claims());
        assert_eq!(fault(jwts.grant(&token).await), JwtFault::Algorithm, "{algorithm}");
        let (message, _) = token.rsplit_once('.').expect("three parts");
        assert_eq!(fault(jwts.grant(&format!("{message}.")).await), JwtFault::Algorithm, "{algorithm}, unsigned");
    }
}

#[tokio::test]
async fn nobody_elses_signature_is_taken() {
    let (key, other) = (P256::new(), P256::new());
    let jwts = jwts(&[key.jwk("one"), other.jwk("two")]);
    assert_eq!(fault(jwts.grant(&other.sign(&header(), &claims())).await), JwtFault::Signature);
    let unknown = with(header(), "kid", json!("three"));
    assert_eq!(fault(jwts.grant(&key.sign(&unknown, &claims())).await), JwtFault::UnknownKey);
    let nameless = with(header(), "kid", Value::Null);
    assert_eq!(fault(jwts.grant(&key.sign(&nameless, &claims())).await), JwtFault::UnknownKey, "which of two?");
    // A key that the token brings along is nobody's.
    let brought = with(nameless, "jwk", other.jwk("one"));
    assert!(jwts.grant(&other.sign(&brought, &claims())).await.is_err());
    let good = key.sign(&header(), &claims());
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (head, _) = message.split_once('.').expect("two parts");
    let forged = text(with(claims(), "sub", json!("root")).to_string());
    assert_eq!(fault(jwts.grant(&format!("{head}.{forged}.{signature}")).await), JwtFault::Signature);
}

#[tokio::test]
async fn what_is_no_jwt_is_refused_without_a_panic() {
    let key = P256::new();
    let jwts = jwts(&[key.jwk("one")]);
    let critical = key.sign(&with(header(), "crit", json!(["b64"])), &claims());
    let texts = ["..", "a.b.c", "e30.e30.e30", "....", "", "=.=.=", critical.as_str()];
    for token in texts {
        assert_eq!(fault(jwts.grant(token).await), JwtFault::Unreadable, "{token}");
    }
}

#[tokio::test]
async fn a_nameless_key_and_ed25519_work_too() {
    let random = SystemRandom::new();
    let der = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("its own key");
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) });
    let message = format!("{}.{}", text(json!({ "alg": "EdDSA" }).to_string()), text(claims().to_string()));
    let token = format!("{message}.{}", text(pair.sign(message.as_bytes())));
    assert!(jwts(&[jwk, P256::new().jwk("one")]).grant(&token).await.is_ok());
}

#[test]
fn a_key_set_has_at_least_one_key_that_we_can_use() {
    let key = P256::new();
    let sets = [
        json!({ "keys": [] }),
        json!([]),
        json!({}),
        json!({ "keys": [with(key.jwk("one"), "use", json!("enc"))] }),
        json!({ "keys": [with(key.jwk("one"), "alg", json!("ES384"))] }),
        json!({ "keys": [with(key.jwk("one"), "x", json!("AAAA"))] }),
        json!({ "keys": [{ "kty": "oct", "kid": "one", "k": "c2VjcmV0" }] }),
        json!({ "keys": [{ "kty": "RSA", "kid": "one", "n": text([1; 128]), "e": "AQAB" }] }),
        json!({ "keys": vec![key.jwk("one"); 101] }),
    ];
    for set in sets {
        assert!(KeySet::parse(set.to_string().as_bytes()).is_err(), "{set}");
    }
    assert!(KeySet::parse(b"\xff").is_err());
    let mixed = json!({ "keys": [5, { "kty": "new" }, key.jwk("one")] });
    assert_eq!(KeySet::parse(mixed.to_string().as_bytes()).expect("one is good").len(), 1);
}
