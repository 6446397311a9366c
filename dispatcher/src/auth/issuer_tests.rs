use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use workfleet_link::config::Vars;

use super::{Issuer, JWKS_BYTES_MAX, Remote, WAITING_MAX};
use crate::auth::config::{AuthConfig, KeysConfig};

/// A set with one key; any 32 bytes are a point to look for.
fn set(id: &str) -> String {
    let point = "A".repeat(43);
    format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{point}"}}]}}"#)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    let _ = stream.read(&mut [0; 4_096]).await;
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Somebody who says always the same, until told otherwise.
struct Server {
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    url: String,
}

impl Server {
    async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys", listener.local_addr().expect("bound"));
        let server = Self { answer: Arc::new(Mutex::new(answer)), asked: Arc::default(), url };
        let (answer, asked) = (Arc::clone(&server.answer), Arc::clone(&server.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().expect("whole").clone();
                say(stream, &answer).await;
            }
        });
        server
    }

    fn says(&self, answer: String) {
        *self.answer.lock().expect("whole") = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn issuer(&self, pause_min: Duration) -> Issuer {
        let tls = workfleet_link::tls::client(None).expect("no file");
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().expect("a client");
        let remote = Remote::new(self.url.parse().expect("a URL"), client);
        Issuer::Url(Arc::new(Remote { pause_min, ..remote }))
    }
}

fn has(issuer: &Issuer, id: &str) -> bool {
    issuer.keys().is_some_and(|keys| keys.has(id))
}

#[tokio::test]
async fn keys_are_fetched_when_they_are_asked_for_and_then_not_for_a_while() {
    let server = Server::start(ok(&set("one"))).await;
    let issuer = server.issuer(Duration::from_secs(3_600));
    assert!(issuer.keys().is_none());
    issuer.ask_anew().await;
    assert!(has(&issuer, "one"));
    server.says(ok(&set("two")));
    for _ in 0..100 {
        issuer.ask_anew().await;
    }
    assert_eq!(server.asked(), 1, "strangers decide how often the issuer is asked");
    assert!(!has(&issuer, "two"));
}

#[tokio::test]
async fn many_who_ask_at_once_ask_once() {
    let server = Server::start(ok(&set("one"))).await;
    let issuer = server.issuer(Duration::from_secs(3_600));
    futures::future::join_all((0..50).map(|_| issuer.ask_anew())).await;
    assert_eq!(server.asked(), 1);
    assert!(has(&issuer, "one"));
}

#[tokio::test]
async fn no_more_wait_for_a_silent_issuer_than_may() {
    // Nobody takes its connections.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/keys", silent.local_addr().expect("bound"));
    let server = Server { answer: Arc::default(), asked: Arc::default(), url };
    let issuer = server.issuer(Duration::from_secs(3_600));
    let asks = (0..WAITING_MAX + 10).map(|_| tokio::time::timeout(Duration::from_secs(1), issuer.ask_anew()));
    let answered = futures::future::join_all(asks).await.iter().filter(|ask| ask.is_ok()).count();
    assert_eq!(answered, 10);
}

#[tokio::test]
async fn a_rotated_set_replaces_the_old_one_and_a_broken_one_does_not() {
    let server = Server::start(ok(&set("one"))).await;
    let issuer = server.issuer(Duration::ZERO);
    issuer.ask_anew().await;
    server.says(ok(&set("two")));
    issuer.ask_anew().await;
    assert!(has(&issuer, "two") && !has(&issuer, "one") && !issuer.is_stale());
    let broken = [
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        ok("{}"),
        ok(r#"{"keys":[]}"#),
        ok(&format!("{}{}", set("three"), " ".repeat(JWKS_BYTES_MAX))),
        String::new(),
    ];
    for answer in broken {
        server.says(answer.clone());
        issuer.ask_anew().await;
        assert!(has(&issuer, "two") && issuer.is_stale(), "{answer:.60}");
    }
    server.says(ok(&set("two")));
    issuer.ask_anew().await;
    assert!(!issuer.is_stale());
}

#[tokio::test]
async fn over_tls_the_issuer_is_who_the_authorities_say_or_nobody() {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name").self_signed(&key);
    let certificate = certificate.expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let ca_file = folder.path().join("ca.crt");
    std::fs::write(&ca_file, certificate.pem()).expect("a file");
    let server = ServerConfig::builder_with_provider(workfleet_link::tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("DER"))
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/keys", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                say(stream, &ok(&set("one"))).await;
            }
        }
    });
    let ca_file = ca_file.display().to_string();
    for (ca_file, trusted) in [(ca_file.as_str(), true), ("", false)] {
        let pairs = [
            ("WORKFLEET_JWKS_URL", url.as_str()),
            ("WORKFLEET_JWKS_CA_FILE", ca_file),
            ("WORKFLEET_JWT_ISSUER", "x"),
            ("WORKFLEET_JWT_AUDIENCE", "y"),
        ];
        let mut vars = Vars::from_pairs(pairs);
        let config = AuthConfig::read(&mut vars).jwt.expect("JWTs");
        vars.finish(()).expect("no mistake");
        let KeysConfig::Url(url, client) = config.keys else { panic!("a URL") };
        let issuer = Issuer::Url(Arc::new(Remote::new(url, client)));
        issuer.ask_anew().await;
        assert_eq!(has(&issuer, "one"), trusted);
    }
}
