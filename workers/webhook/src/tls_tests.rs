use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use workfleet_proto::kinds::webhook::{WebhookReply, WebhookRequest};
use workfleet_sdk::Vars;
use workfleet_sdk::testing::{Bench, Ran};

use crate::{Settings, Webhook};

/// Takes deliveries over TLS, with a certificate of an authority of its own.
struct Receiver {
    port: u16,
    folder: TempDir,
    /// What came through, a request each.
    heard: mpsc::UnboundedReceiver<String>,
}

impl Receiver {
    async fn start(certificate: CertificateParams) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = certificate.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.into()], key);
        let mut config = config.unwrap();
        // It would rather speak HTTP/2, and whoever offers that has to.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (calls, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), calls.clone()));
            }
        });
        Self { port, folder, heard }
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What comes of a delivery to it under this name, from a worker that trusts this file.
    async fn deliver(&self, host: &str, ca_file: &str) -> Ran<WebhookReply> {
        let mut vars = Vars::from_pairs([
            ("WORKFLEET_WEBHOOK_CA_FILE", ca_file),
            ("WORKFLEET_WEBHOOK_ALLOW_PRIVATE", "true"),
            ("WORKFLEET_WEBHOOK_TIMEOUT", "10s"),
        ]);
        let settings = Settings::read(&mut vars);
        vars.finish(()).unwrap();
        let url = format!("https://{host}:{}/in", self.port);
        let request = WebhookRequest { url, r#type: "invoice.paid".to_owned(), ..Default::default() };
        Bench::new().run(&Webhook::new(settings), request).await
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, calls: mpsc::UnboundedSender<String>) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        return;
    }
    let mut text = String::new();
    let mut bytes = [0; 1024];
    while let Ok(more @ 1..) = stream.read(&mut bytes).await {
        text.push_str(&String::from_utf8_lossy(&bytes[..more]));
        if text.ends_with('}') {
            let _ = calls.send(std::mem::take(&mut text));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsafe").await;
        }
    }
}

fn certificate(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

#[tokio::test]
async fn an_event_goes_over_tls_to_whom_the_ca_file_vouches_for() {
    let mut receiver = Receiver::start(certificate(&["localhost", "127.0.0.1"])).await;
    for host in ["localhost", "127.0.0.1"] {
        let ran = receiver.deliver(host, &receiver.ca_file().display().to_string()).await;
        assert_eq!((ran.output().status, ran.output().body.as_str()), (200, "safe"), "{host}");
        let call = receiver.heard.recv().await.unwrap();
        assert!(call.starts_with("POST /in HTTP/1.1\r\n"), "{call}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_not_for_this_name_or_old_is_unreachable_and_nothing_is_sent() {
    let mut old = certificate(&["localhost"]);
    (old.not_before, old.not_after) = (rcgen::date_time_ymd(2019, 1, 1), rcgen::date_time_ymd(2020, 1, 1));
    let mut receiver = Receiver::start(certificate(&["localhost"])).await;
    let mut elsewhere = Receiver::start(certificate(&["shop.example"])).await;
    let mut lapsed = Receiver::start(old).await;
    let path = |receiver: &Receiver| receiver.ca_file().display().to_string();
    let cases = [
        (&receiver, "localhost", String::new()),
        (&receiver, "localhost", path(&elsewhere)),
        (&receiver, "127.0.0.1", path(&receiver)),
        (&elsewhere, "localhost", path(&elsewhere)),
        (&lapsed, "localhost", path(&lapsed)),
    ];
    for (receiver, host, ca_file) in cases {
        let ran = receiver.deliver(host, &ca_file).await;
        let failure = ran.failure();
        assert_eq!((failure.code(), failure.is_permanent()), ("unreachable", false), "{host}: {failure}");
        assert!(failure.message().contains("TLS: invalid peer certificate"), "{failure}");
    }
    for receiver in [&mut receiver, &mut elsewhere, &mut lapsed] {
        assert!(receiver.heard.try_recv().is_err());
    }
}
