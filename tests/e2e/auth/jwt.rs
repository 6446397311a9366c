use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use workfleet_proto::v1::ListQueuesRequest;
use workfleet_tests::{Fleet, FleetBuilder, eventually, eventually_within};

use super::grpc::bearing;
use super::{builder, get, submit};
use crate::auth::keyring::Keyring;

const ISSUER: &str = "https://issuer.test";
/// A dispatcher asks an issuer for a key that it does not know no more often than this, and a little.
const ASKED_AGAIN: Duration = Duration::from_secs(45);

/// An issuer's key.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random);
        Self { id, pair: pair.expect("its own key") }
    }

    fn set(&self) -> String {
        let point = self.pair.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": self.id, "x": x, "y": y }] }).to_string()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A good token for the queue `probe`, with these claims changed.
    fn token(&self, changes: &Value) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": "workfleet", "sub": "shop", "exp": in_seconds(60),
            "workfleet": { "queues": ["probe"], "may": ["submit", "read"] },
        });
        for (name, value) in changes.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        self.sign(&json!({ "alg": "ES256", "kid": self.id }), &claims)
    }
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("soon enough") + seconds
}

fn taking_jwts(builder: FleetBuilder) -> FleetBuilder {
    builder.variable("WORKFLEET_JWT_ISSUER", ISSUER).variable("WORKFLEET_JWT_AUDIENCE", "workfleet")
}

async fn status(fleet: &Fleet, token: &str) -> u16 {
    get(fleet, "/v1/queues/probe", token).await.status
}

/// An issuer's web server.
struct Issuer {
    set: Arc<Mutex<Option<String>>>,
    url: String,
}

impl Issuer {
    /// Without a set it breaks every connection off.
    async fn start(set: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/jwks.json", listener.local_addr().expect("bound"));
        let set = Arc::new(Mutex::new(set));
        let served = Arc::clone(&set);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let set = served.lock().expect("whole").clone();
                let Some(set) = set else { continue };
                let _ = stream.read(&mut [0; 4_096]).await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", set.len());
                let _ = stream.write_all(format!("{head}{set}").as_bytes()).await;
            }
        });
        Self { set, url }
    }

    fn serves(&self, set: Option<String>) {
        *self.set.lock().expect("whole") = set;
    }
}

#[tokio::test]
async fn a_jwt_is_checked_in_every_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jwks.json");
    let (key, stranger) = (Key::new("one"), Key::new("one"));
    std::fs::write(&file, key.set()).expect("a file");
    let keyring = Keyring::new();
    let product = keyring.token("product", &["thumbnail"], &["read"]).await;
    let builder = builder().variable("WORKFLEET_JWKS_FILE", &file.display().to_string());
    let mut fleet = taking_jwts(builder).variable("WORKFLEET_TOKENS_FILE", &keyring.path()).start().await;

    let good = key.token(&json!({}));
    submit(&fleet, "probe", &good).await.expect(202);
    submit(&fleet, "thumbnail", &good).await.expect_problem(403, "forbidden");
    get(&fleet, "/v1/queues/thumbnail", &product).await.expect(200);
    let no_claim = key.token(&json!({ "workfleet": null }));
    get(&fleet, "/v1/queues/probe", &no_claim).await.expect_problem(403, "forbidden");

    let claims = json!({ "iss": ISSUER, "aud": "workfleet", "exp": in_seconds(60) });
    let (head, rest) = good.split_once('.').expect("three parts");
    let unsigned =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), rest.split('.').next().expect("claims"));
    let bad = [
        ("issuer", key.token(&json!({ "iss": "https://other.test" }))),
        ("audience", key.token(&json!({ "aud": "another" }))),
        ("expired", key.token(&json!({ "exp": in_seconds(-60) }))),
        ("too early", key.token(&json!({ "nbf": in_seconds(60) }))),
        ("for ever", key.token(&json!({ "exp": null }))),
        ("none", unsigned),
        ("symmetric", key.sign(&json!({ "alg": "HS256", "kid": "one" }), &claims)),
        ("somebody else's key", stranger.token(&json!({}))),
        ("unknown key", key.sign(&json!({ "alg": "ES256", "kid": "two" }), &claims)),
        ("without signature", format!("{head}.{}.", rest.split('.').next().expect("claims"))),
        ("all queues and some", key.token(&json!({ "workfleet": { "queues": ["*", "probe"], "may": ["read"] } }))),
        ("garbage", "a.b.c".to_owned()),
    ];
    for (what, token) in &bad {
        let answer = get(&fleet, "/v1/queues/probe", token).await;
        assert!(answer.header("www-authenticate").is_some_and(|text| text.contains("invalid_token")), "{what}");
        answer.expect_problem(401, "unauthenticated");
    }

    // A rotated file is read again.
    std::fs::write(&file, stranger.set()).expect("a file");
    eventually("the new key counts", async || (status(&fleet, &stranger.token(&json!({}))).await == 200).then_some(()))
        .await;
    assert_eq!(status(&fleet, &good).await, 401);
    let log = fleet.dispatcher().log();
    assert!(log.contains("the JWT is refused: its audience (aud) is another"), "the operator is told why: {log}");
    assert!(!log.contains(&good) && !log.contains(rest), "a JWT in the log");
}

#[tokio::test]
async fn an_issuers_new_key_is_met_by_its_first_token() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::start(Some(old.set())).await;
    let fleet = taking_jwts(builder()).variable("WORKFLEET_JWKS_URL", &issuer.url).start().await;
    let list = bearing(&old.token(&json!({})), ListQueuesRequest {});
    let list = fleet.grpc().await.list_queues(list).await.expect("the same over gRPC").into_inner();
    assert_eq!(list.queues.len(), 1);
    assert_eq!(status(&fleet, &old.token(&json!({}))).await, 200);
    assert_eq!(status(&fleet, &new.token(&json!({}))).await, 401);

    issuer.serves(Some(new.set()));
    let new_is_met = async || (status(&fleet, &new.token(&json!({}))).await == 200).then_some(());
    eventually_within(ASKED_AGAIN, "the issuer is asked again", new_is_met).await;
    assert_eq!(status(&fleet, &old.token(&json!({}))).await, 401, "the old key is gone");

    // What was fetched last stays while the issuer is away.
    issuer.serves(None);
    assert_eq!(status(&fleet, &old.token(&json!({}))).await, 401);
    assert_eq!(status(&fleet, &new.token(&json!({}))).await, 200);
}

#[tokio::test]
async fn a_dispatcher_starts_without_its_issuer_and_takes_static_tokens_meanwhile() {
    let key = Key::new("one");
    let issuer = Issuer::start(None).await;
    let keyring = Keyring::new();
    let product = keyring.token("product", &["probe"], &["read"]).await;
    let builder = taking_jwts(builder()).variable("WORKFLEET_TOKENS_FILE", &keyring.path());
    let fleet = builder.variable("WORKFLEET_JWKS_URL", &issuer.url).start().await;
    assert_eq!(status(&fleet, &product).await, 200);
    let answer = get(&fleet, "/v1/queues/probe", &key.token(&json!({}))).await;
    assert!(answer.header("retry-after").is_some());
    answer.expect_problem(503, "keys_unavailable");
    issuer.serves(Some(key.set()));
    let known = async || (status(&fleet, &key.token(&json!({}))).await == 200).then_some(());
    eventually_within(ASKED_AGAIN, "the issuer is back", known).await;
}
